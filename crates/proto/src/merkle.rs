//! From a coinbase to the Merkle root, one branch at a time (spec 5.3.16).

use crate::sha::{self, BLOCK_BYTES, Block, START, State};

/// Folds `leaf` with the branches of `path`, from the deepest: `root = dSHA256(root || branch)`.
///
/// `leaf` is the double SHA-256 of the stripped coinbase; all hashes are in raw order. An empty path
/// gives the leaf itself: a block with nothing but a coinbase. Three compressions a branch.
#[inline]
pub fn fold(leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(leaf, |root, branch| pair(&root, branch))
}

/// The path of the coinbase, deepest first, over the txids of the transactions after it (raw hash order).
pub fn path(others: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    let mut path = Vec::new();
    let mut level = others;
    while let Some((neighbour, rest)) = level.split_first() {
        path.push(*neighbour);
        // The last of an odd number is paired with itself.
        let parent = |two: &[[u8; 32]]| match two {
            [left, right] => pair(left, right),
            [alone] => pair(alone, alone),
            _ => [0; 32],
        };
        level = rest.chunks(2).map(parent).collect();
    }
    path
}

/// Double SHA-256 of two hashes: one step up the tree.
#[inline]
pub fn pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [0u8; BLOCK_BYTES];
    let (head, tail) = bytes.split_at_mut(32);
    head.copy_from_slice(left);
    tail.copy_from_slice(right);
    let mut state: State = START;
    // Both blocks in one call: the chaining value stays in registers between them.
    sha::compress(&mut state, &[sha::block(bytes), padding()]);
    sha::second(&state)
}

/// The padding block behind a message of exactly one block: 512 bits.
#[inline]
fn padding() -> Block {
    const PADDING: [u8; BLOCK_BYTES] = {
        let mut bytes = [0u8; BLOCK_BYTES];
        bytes[0] = 0x80;
        bytes[62] = 0x02;
        bytes
    };
    sha::block(PADDING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::{Hash, sha256d};

    /// REQ-MIN-079
    #[test]
    fn folds_from_the_deepest_branch_and_an_empty_path_is_the_leaf() {
        let path: Vec<[u8; 32]> = (1..=12u8).map(|n| [n; 32]).collect();
        let mut expected = [7u8; 32];
        assert_eq!(fold(expected, &[]), expected);
        for branch in &path {
            expected = sha256d::Hash::hash(&[expected, *branch].concat()).to_byte_array();
        }
        assert_eq!(fold([7; 32], &path), expected);
    }

    #[test]
    fn a_path_leads_to_the_librarys_root_for_every_size() {
        for size in 1..70u8 {
            let leaves: Vec<[u8; 32]> = (0..size).map(|n| [n; 32]).collect();
            let nodes = leaves.iter().map(|leaf| sha256d::Hash::from_byte_array(*leaf));
            let root = bitcoin::merkle_tree::calculate_root(nodes).unwrap();
            let (coinbase, others) = leaves.split_first().unwrap();
            assert_eq!(
                fold(*coinbase, &path(others.to_vec())),
                root.to_byte_array(),
                "{size}"
            );
        }
    }

    #[test]
    fn gives_the_root_of_a_real_tree() {
        let leaves: Vec<sha256d::Hash> = (0..5u8).map(|n| sha256d::Hash::hash(&[n])).collect();
        let raw: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.to_byte_array()).collect();
        // Five leaves: the path of leaf 0 is leaf 1, pair(2,3), pair(pair(4,4), pair(4,4)).
        let last = pair(&raw[4], &raw[4]);
        let path = [raw[1], pair(&raw[2], &raw[3]), pair(&last, &last)];
        let root = bitcoin::merkle_tree::calculate_root(leaves.into_iter()).unwrap();
        assert_eq!(fold(raw[0], &path), root.to_byte_array());
    }
}
