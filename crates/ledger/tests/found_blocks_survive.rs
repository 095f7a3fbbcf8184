//! Found blocks: stored before anything else, pending until settled, stored even on a full disk.

use adit_ledger::disk::{Disk, Fault, FaultKind};
use adit_ledger::record::Outcome;
use adit_ledger::{BlockStore, FoundBlock, MemDisk};

fn found(n: u8) -> FoundBlock {
    FoundBlock {
        hash: [n; 32],
        height: u32::from(n),
        time_us: 3,
        value: 5_000_000_000,
        account: [7; 16],
        channel: 9,
        header: [n; 80],
        coinbase: vec![n; 300],
        block: vec![n; 100_000],
        template: "node 1, template 5\n".into(),
        credits: format!("{n} 0 name"),
    }
}

#[test]
fn a_stored_block_is_pending_after_a_power_cut_until_it_is_settled() {
    let disk = MemDisk::new(1);
    let store = BlockStore::open(disk.clone()).unwrap();
    for n in [2, 1, 3] {
        store.put(&found(n)).unwrap();
    }
    store.put(&found(1)).unwrap();
    let store = BlockStore::open(disk.power_cut(1)).unwrap();
    assert_eq!(store.pending().unwrap().blocks, [found(1), found(2), found(3)]);
    store.settle(&[1; 32], Outcome::Accepted, "").unwrap();
    assert_eq!(
        store.pending().unwrap().blocks.len(),
        3,
        "accepted is not yet seen in the chain"
    );
    store.settle(&[1; 32], Outcome::Confirmed, "").unwrap();
    store.settle(&[2; 32], Outcome::Stale, "").unwrap();
    assert_eq!(store.pending().unwrap().blocks, [found(3)]);
}

#[test]
fn a_block_is_found_by_its_hash_whatever_became_of_it_unless_it_was_rejected() {
    let disk = MemDisk::new(1);
    let store = BlockStore::open(disk).unwrap();
    for n in 1..=4 {
        store.put(&found(n)).unwrap();
    }
    store.settle(&found(2).hash, Outcome::Confirmed, "").unwrap();
    store.settle(&found(3).hash, Outcome::Stale, "").unwrap();
    store.settle(&found(4).hash, Outcome::Rejected, "bad").unwrap();
    for n in 1..=3 {
        assert_eq!(store.find(&found(n).hash).unwrap(), Some(found(n)));
    }
    assert_eq!(store.find(&found(4).hash).unwrap(), None);
    assert_eq!(store.find(&found(5).hash).unwrap(), None);
}

#[test]
fn a_rejected_block_leaves_a_report() {
    let disk = MemDisk::new(1);
    let store = BlockStore::open(disk.clone()).unwrap();
    store.put(&found(4)).unwrap();
    store
        .settle(&[4; 32], Outcome::Rejected, "bad-txnmrklroot\n\u{1b}[2J")
        .unwrap();
    assert!(store.pending().unwrap().blocks.is_empty());
    let names = disk.list().unwrap();
    let report = names.iter().find(|name| name.ends_with(".report.txt")).unwrap();
    let bytes = adit_ledger::disk::read_whole(&disk.open_read(report).unwrap(), 1 << 20).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("bad-txnmrklroot") && !text.contains('\u{1b}') && text.contains(&"04".repeat(80)));
    assert!(
        names.iter().any(|name| name.ends_with(".rejected")),
        "the block itself is kept"
    );
}

#[test]
fn a_full_disk_takes_blocks_from_the_reserve() {
    let disk = MemDisk::new(1);
    let store = BlockStore::open(disk.clone()).unwrap();
    disk.limit(0);
    store.put(&found(1)).unwrap();
    store.put(&found(2)).unwrap();
    assert!(store.put(&found(3)).is_err(), "the reserve is for two");
    let after = BlockStore::open(disk.power_cut(1)).unwrap();
    assert_eq!(after.pending().unwrap().blocks, [found(1), found(2)]);
    disk.limit(u64::MAX);
    store.refill().unwrap();
    disk.limit(0);
    store.put(&found(3)).unwrap();
}

#[test]
fn a_block_is_stored_or_refused_at_every_failing_call() {
    for at in 0..12 {
        let disk = MemDisk::new(at);
        let store = BlockStore::open(disk.clone()).unwrap();
        disk.inject(Some(Fault {
            at,
            calls: 1,
            kind: FaultKind::Io,
        }));
        let stored = store.put(&found(1));
        assert!(
            stored.is_ok(),
            "one failure at call {at} is what the reserve is for"
        );
        let after = BlockStore::open(disk.power_cut(at)).unwrap().pending().unwrap();
        assert_eq!(
            (after.blocks, after.unreadable.len()),
            (vec![found(1)], 0),
            "call {at}"
        );
    }
}

#[test]
fn a_damaged_block_file_is_named_and_hides_no_other() {
    let disk = MemDisk::new(1);
    let store = BlockStore::open(disk.clone()).unwrap();
    store.put(&found(1)).unwrap();
    store.put(&found(2)).unwrap();
    let name = disk
        .list()
        .unwrap()
        .into_iter()
        .find(|name| name.starts_with("0000000001"))
        .unwrap();
    disk.flip(&name, 200, 1);
    let pending = store.pending().unwrap();
    assert_eq!(pending.blocks, [found(2)]);
    assert!(pending.unreadable[0].contains(&name));
}
