//! Which blocks the node took, so that a repetition is no news.

use std::collections::VecDeque;

use bitcoin::BlockHash;

use crate::Verdict;

/// Accepted blocks remembered, to tell a repetition from news.
const REMEMBERED_MAX: usize = 64;

/// Hashes of the blocks that the node took last.
#[derive(Default)]
pub(crate) struct Accepted(VecDeque<BlockHash>);

impl Accepted {
    /// [`Verdict::Accepted`] the first time, then [`Verdict::Duplicate`].
    pub(crate) fn verdict(&mut self, block: BlockHash) -> Verdict {
        if self.0.contains(&block) {
            return Verdict::Duplicate;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(block);
        Verdict::Accepted
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn a_block_is_news_once_and_memory_is_bounded() {
        let mut accepted = Accepted::default();
        let block = |number: u8| BlockHash::from_byte_array([number; 32]);
        assert_eq!(accepted.verdict(block(1)), Verdict::Accepted);
        assert_eq!(accepted.verdict(block(1)), Verdict::Duplicate);
        for number in 2..=200 {
            accepted.verdict(block(number));
        }
        assert_eq!(accepted.0.len(), REMEMBERED_MAX);
        assert_eq!(accepted.verdict(block(1)), Verdict::Accepted);
    }
}
