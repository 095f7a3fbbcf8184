//! The block file: what was accepted is there after a restart, a torn end is cut, damage is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use adit_node::embedded::{BOOTSTRAP_HEIGHT, Error, Provider, Settings};
use adit_node::{BlockStatus, Verdict};
use bitcoin::consensus::encode;
use common::solve;

const NOW: u64 = 1_800_000_000;

fn open(folder: &Path, work_log2: u8) -> Result<Provider, Error> {
    let path = Some(folder.to_path_buf());
    Provider::new(Settings {
        path,
        ..Settings::new(work_log2, || NOW)
    })
}

fn find_block(provider: &mut Provider) -> bitcoin::BlockHash {
    let kept = provider.template().unwrap();
    let decode = |bytes: &Vec<u8>| encode::deserialize(bytes).unwrap();
    let transactions: Vec<_> = kept.encoded.iter().map(decode).collect();
    let (solution, block) = solve(&kept.template.clone(), &transactions);
    assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
    block.block_hash()
}

#[test]
fn a_restarted_chain_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut provider = open(folder.path(), 2).unwrap();
    let blocks: Vec<_> = (0..5).map(|_| find_block(&mut provider)).collect();
    assert_eq!(provider.reorganise(2), Ok(()));
    let tip = provider.chain().tip();
    drop(provider);

    let mut provider = open(folder.path(), 2).unwrap();
    assert_eq!(provider.chain().tip(), tip);
    assert_eq!(provider.chain().height(), BOOTSTRAP_HEIGHT + 6);
    assert_eq!(provider.status(&blocks[2]), BlockStatus::Confirmed(4));
    assert_eq!(provider.status(&blocks[4]), BlockStatus::Stale);
    assert!(provider.template().unwrap().template.transaction_count > Some(20));
    let next = find_block(&mut provider);
    assert_eq!(provider.chain().tip(), next);
}

#[test]
fn another_work_in_the_same_folder_is_a_chain_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut easy = open(folder.path(), 2).unwrap();
    find_block(&mut easy);
    let hard = open(folder.path(), 3).unwrap();
    assert_eq!(hard.chain().height(), BOOTSTRAP_HEIGHT);
}

#[test]
fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path(), 2).unwrap();
    let error = open(folder.path(), 2).unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
}

#[test]
fn a_block_torn_anywhere_is_cut_and_all_before_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embedded-2.blocks");
    let mut provider = open(folder.path(), 2).unwrap();
    let first = find_block(&mut provider);
    let whole = std::fs::metadata(&file).unwrap().len();
    find_block(&mut provider);
    drop(provider);
    let bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() as u64 - 1;
    for end in (whole..whole + 40).chain([whole + 1000, last - 1, last]) {
        std::fs::write(&file, &bytes[..end as usize]).unwrap();
        let provider = open(folder.path(), 2).unwrap();
        assert_eq!(provider.chain().tip(), first, "cut at {end}");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole, "cut at {end}");
    }
    // A crash may also leave the length of a block that never got its bytes.
    let mut zeros = bytes[..whole as usize].to_vec();
    zeros.resize(bytes.len(), 0);
    std::fs::write(&file, &zeros).unwrap();
    assert_eq!(open(folder.path(), 2).unwrap().chain().tip(), first);
    let mut part = bytes.clone();
    part[whole as usize + 500..].fill(0);
    std::fs::write(&file, &part).unwrap();
    let mut provider = open(folder.path(), 2).unwrap();
    assert_eq!(provider.chain().tip(), first);
    let next = find_block(&mut provider);
    drop(provider);
    assert_eq!(open(folder.path(), 2).unwrap().chain().tip(), next);
}

#[test]
fn damage_in_the_middle_is_told_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embedded-2.blocks");
    let mut provider = open(folder.path(), 2).unwrap();
    let start = std::fs::metadata(&file).unwrap().len() as usize;
    for _ in 0..3 {
        find_block(&mut provider);
    }
    drop(provider);
    let good = std::fs::read(&file).unwrap();
    // In the magic, the length, the checksum, the head's checksum, the block.
    for at in [0, 4, 8, 12, 100] {
        let mut bad = good.clone();
        bad[start + at] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        let error = open(folder.path(), 2).unwrap_err();
        assert!(
            matches!(error, Error::Damaged { offset, .. } if offset == start as u64),
            "{error}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), bad, "byte {at}");
    }
}

#[test]
fn a_sound_record_with_a_bad_block_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embedded-2.blocks");
    drop(open(folder.path(), 2).unwrap());
    let block = b"not a block at all";
    let mut record = b"blk\x01".to_vec();
    record.extend((block.len() as u32).to_le_bytes());
    record.extend(crc32c::crc32c(block).to_le_bytes());
    record.extend(crc32c::crc32c(&record).to_le_bytes());
    record.extend(block);
    OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(&record)
        .unwrap();
    let error = open(folder.path(), 2).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_foreign_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embedded-2.blocks");
    let letter = b"Dear reader, this file has nothing to do with blocks, and never had.";
    std::fs::write(&file, letter).unwrap();
    let error = open(folder.path(), 2).unwrap_err();
    assert!(matches!(error, Error::Foreign(_)), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), letter);
}

#[test]
fn a_head_torn_at_the_first_start_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embedded-2.blocks");
    drop(open(folder.path(), 2).unwrap());
    let head = std::fs::read(&file).unwrap();
    std::fs::write(&file, &head[..20]).unwrap();
    assert_eq!(open(folder.path(), 2).unwrap().chain().height(), BOOTSTRAP_HEIGHT);
    assert_eq!(std::fs::read(&file).unwrap(), head);
}
