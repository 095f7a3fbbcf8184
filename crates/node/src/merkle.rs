//! Merkle trees of a block: root, and the coinbase's path.

use bitcoin::hashes::{Hash, sha256d};

/// One node of a tree, raw hash order.
pub(crate) type Node = [u8; 32];

/// The root of `leaves` and whether two neighbours were equal, which lets a different list of
/// transactions have the same root (CVE-2012-2459). No leaves give a zero root.
pub(crate) fn root(mut level: Vec<Node>) -> (Node, bool) {
    let mut doubled = false;
    while level.len() > 1 {
        doubled |= level.chunks_exact(2).any(|pair| pair.first() == pair.last());
        level = level.chunks(2).map(parent).collect();
    }
    (level.pop().unwrap_or_default(), doubled)
}

/// The path of the coinbase over the `others`, the transactions after it, from the deepest.
pub(crate) fn path(others: Vec<Node>) -> Vec<Node> {
    let mut path = Vec::new();
    let mut level = others;
    while let Some((neighbour, rest)) = level.split_first() {
        path.push(*neighbour);
        level = rest.chunks(2).map(parent).collect();
    }
    path
}

/// The root over a coinbase with `txid` and its path.
pub(crate) fn fold(txid: Node, path: &[Node]) -> Node {
    path.iter().fold(txid, |left, right| parent(&[left, *right]))
}

fn parent(pair: &[Node]) -> Node {
    let left = pair.first().copied().unwrap_or_default();
    let right = pair.last().copied().unwrap_or_default();
    let mut both = [0u8; 64];
    let (low, high) = both.split_at_mut(32);
    low.copy_from_slice(&left);
    high.copy_from_slice(&right);
    sha256d::Hash::hash(&both).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{TxMerkleNode, merkle_tree};

    #[test]
    fn root_and_path_agree_with_the_library_for_every_size() {
        for size in 1..70u8 {
            let leaves: Vec<Node> = (0..size).map(|i| [i; 32]).collect();
            let nodes = leaves.iter().map(|leaf| TxMerkleNode::from_byte_array(*leaf));
            let want = merkle_tree::calculate_root(nodes).unwrap().to_byte_array();
            let (coinbase, others) = leaves.split_first().unwrap();
            assert_eq!(root(leaves.clone()), (want, false), "{size}");
            assert_eq!(fold(*coinbase, &path(others.to_vec())), want, "{size}");
        }
    }

    #[test]
    fn a_doubled_pair_is_seen_on_every_level() {
        let leaves: Vec<Node> = [0u8, 1, 2].iter().map(|i| [*i; 32]).collect();
        let doubled: Vec<Node> = [0u8, 1, 2, 2].iter().map(|i| [*i; 32]).collect();
        assert_eq!(root(leaves).0, root(doubled.clone()).0);
        assert!(root(doubled).1);
        let high: Vec<Node> = [0u8, 1, 2, 3, 4, 5, 4, 5].iter().map(|i| [*i; 32]).collect();
        assert!(root(high).1);
    }
}
