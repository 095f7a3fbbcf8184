//! Whether a node's chain is far enough to mine on.

use std::time::Duration;

use tokio::time::Instant;

/// Headers whose blocks do not come hold templates up for this long only: anybody can invent headers
/// on a test network. Bitcoin Core itself waits as long.
const STALL: Duration = Duration::from_secs(20);

/// What decides whether there may be templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) chain: String,
    pub(crate) test_chain: bool,
    pub(crate) initial_download: bool,
    /// Height of the tip and of the best header, where the node tells.
    pub(crate) heights: Option<(u64, u64)>,
}

impl Progress {
    /// On a real network initial download means no templates. On a test chain the flag only says that
    /// the last block is old. Missing blocks count everywhere but on regtest, where no peers bring them.
    fn behind(&self) -> Behind {
        let missing = self.heights.is_some_and(|(blocks, headers)| headers > blocks);
        match (
            self.initial_download && !self.test_chain,
            missing && self.chain != "regtest",
        ) {
            (true, _) => Behind::Download,
            (false, true) => Behind::CatchingUp,
            (false, false) => Behind::No,
        }
    }
}

/// What is said of a node on another chain than is configured.
pub(crate) fn other_chain(node: &str, found: &str, wanted: &str) -> String {
    format!(
        "{node} is on the chain {found:?}, but adit is set to {wanted:?} (by `network`, the folder of a socket, or \
         `payout.address`): name the other node, or set `network` and the payout address to the node's"
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    No,
    CatchingUp,
    Download,
}

/// Lets a node through once its chain is far enough.
pub(crate) struct Gate {
    /// What people call such a node.
    node: &'static str,
    heights: Option<(u64, u64)>,
    /// When the heights moved last.
    moved: Instant,
}

impl Gate {
    pub(crate) fn new(node: &'static str) -> Self {
        Self {
            node,
            heights: None,
            moved: Instant::now(),
        }
    }

    /// Nothing when templates make sense; else the kind of trouble, and what it is and what would help.
    pub(crate) fn look(&mut self, progress: &Progress) -> Result<(), (&'static str, String)> {
        if self.heights != progress.heights {
            (self.heights, self.moved) = (progress.heights, Instant::now());
        }
        match progress.behind() {
            Behind::No => Ok(()),
            Behind::CatchingUp if self.moved.elapsed() > STALL => Ok(()),
            Behind::CatchingUp => Err(("catching-up", self.catching_up(progress))),
            Behind::Download => Err(("download", self.downloading(progress))),
        }
    }

    fn downloading(&self, progress: &Progress) -> String {
        let at = progress
            .heights
            .map(|(blocks, headers)| format!(", block {blocks} of {headers}"));
        format!(
            "{} is in its initial download of {}{}: a block on an old tip is worth nothing, so there are no templates \
             until it is done. Let it finish",
            self.node,
            progress.chain,
            at.unwrap_or_default()
        )
    }

    fn catching_up(&self, progress: &Progress) -> String {
        let (blocks, headers) = progress.heights.unwrap_or_default();
        format!(
            "{} is catching up with {} (block {blocks} of {headers}); wait a little",
            self.node, progress.chain
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(chain: &str, initial_download: bool, heights: Option<(u64, u64)>) -> Progress {
        Progress {
            chain: chain.into(),
            test_chain: chain != "main",
            initial_download,
            heights,
        }
    }

    #[test]
    fn real_networks_wait_for_the_download_and_test_chains_for_blocks_only() {
        assert_eq!(progress("main", true, Some((9, 9))).behind(), Behind::Download);
        assert_eq!(progress("main", true, None).behind(), Behind::Download);
        assert_eq!(progress("main", false, Some((8, 9))).behind(), Behind::CatchingUp);
        assert_eq!(progress("main", false, Some((9, 9))).behind(), Behind::No);
        assert_eq!(progress("main", false, None).behind(), Behind::No);
        assert_eq!(
            progress("signet", true, Some((8, 9))).behind(),
            Behind::CatchingUp
        );
        assert_eq!(progress("signet", true, Some((9, 9))).behind(), Behind::No);
        assert_eq!(progress("regtest", true, Some((8, 9))).behind(), Behind::No);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_without_blocks_hold_templates_up_for_a_while_only() {
        let mut gate = Gate::new("the node");
        let ahead = progress("signet", true, Some((8, 9)));
        let (kind, reason) = gate.look(&ahead).unwrap_err();
        assert!(
            kind == "catching-up" && reason.contains("block 8 of 9"),
            "{reason}"
        );
        tokio::time::advance(STALL + Duration::from_secs(1)).await;
        assert_eq!(gate.look(&ahead), Ok(()));
        let (kind, reason) = gate.look(&progress("main", true, Some((8, 9)))).unwrap_err();
        assert!(
            kind == "download" && reason.contains("initial download of main"),
            "{reason}"
        );
    }
}
