//! Money and window in a checkpoint.
//!
//! Accounts of the window stand once, in a table; slices name them by their place in it.

use std::collections::HashMap;

use super::{Reader, encode_entry};
use crate::book::Book;
use crate::money::Balance;
use crate::record::{AccountId, Credit, Entry, Outcome, Record};
use crate::window::{Slice, Window};

pub(super) fn encode(book: &Book, out: &mut Vec<u8>) {
    let parts = book.money().parts();
    count(parts.balances.len(), out);
    for (account, balance) in parts.balances {
        out.extend_from_slice(account);
        for sum in [balance.earned_sat, balance.received_sat, balance.paid_sat] {
            out.extend_from_slice(&sum.to_le_bytes());
        }
    }
    count(parts.open.len(), out);
    for ((height, hash), block) in parts.open {
        out.extend_from_slice(&height.to_le_bytes());
        out.extend_from_slice(hash);
        out.push(block.outcome().map_or(0, |outcome| outcome as u8));
        count(block.credits().count(), out);
        block
            .credits()
            .for_each(|credit| encode_entry(0, Entry::Credit(*credit), out));
    }
    count(parts.folded.len(), out);
    parts.folded.iter().for_each(|hash| out.extend_from_slice(hash));
    let batches = book.money().batches().all();
    count(batches.len(), out);
    for (id, batch) in batches {
        out.extend_from_slice(id);
        out.extend_from_slice(&batch.number.to_le_bytes());
        count(batch.lines().len(), out);
        batch
            .lines()
            .for_each(|line| encode_entry(0, Entry::Payout(*line), out));
    }
    encode_window(book.window(), out);
}

pub(super) fn decode(from: &mut Reader<'_>, book: &mut Book) -> Option<()> {
    let money = book.money_mut();
    for _ in 0..from.u64()? {
        let account = from.take()?;
        let balance = Balance {
            earned_sat: from.u64()?,
            received_sat: from.u64()?,
            paid_sat: from.u64()?,
        };
        money.insert_balance(account, balance);
    }
    for _ in 0..from.u64()? {
        let (height, hash) = (from.u32()?, from.take()?);
        let [outcome] = from.take()?;
        let lines: Option<Vec<Credit>> = (0..from.u64()?).map(|_| decode_credit(from)).collect();
        money.insert_open((height, hash), Outcome::of(outcome), lines?);
    }
    for _ in 0..from.u64()? {
        money.insert_folded(from.take()?);
    }
    for _ in 0..from.u64()? {
        money.batches_mut().insert(from.take()?, from.u64()?);
        for _ in 0..from.u64()? {
            match decode_entry(from)? {
                Entry::Payout(line) => money.batches_mut().restore(&line),
                _ => return None,
            }
        }
    }
    book.insert_window(decode_window(from)?);
    Some(())
}

fn count(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

fn decode_credit(from: &mut Reader<'_>) -> Option<Credit> {
    match decode_entry(from)? {
        Entry::Credit(credit) => Some(credit),
        _ => None,
    }
}

fn decode_entry(from: &mut Reader<'_>) -> Option<Entry> {
    Some(Record::decode(&from.take()?).ok()?.entry)
}

fn encode_window(window: &Window, out: &mut Vec<u8>) {
    let (newest, slices) = window.parts();
    let slices: Vec<(u64, &Slice)> = slices.collect();
    let mut places: HashMap<AccountId, u32> = HashMap::new();
    let mut table: Vec<AccountId> = Vec::new();
    for account in slices.iter().flat_map(|(_, slice)| slice.accounts.keys()) {
        places.entry(*account).or_insert_with(|| {
            table.push(*account);
            table.len() as u32 - 1
        });
    }
    out.extend_from_slice(&newest.to_le_bytes());
    count(table.len(), out);
    table.iter().for_each(|account| out.extend_from_slice(account));
    count(slices.len(), out);
    for (start, slice) in slices {
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&slice.level.to_le_bytes());
        count(slice.accounts.len(), out);
        for (account, work) in &slice.accounts {
            let place = places.get(account).copied().unwrap_or(u32::MAX);
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&work.to_le_bytes());
        }
    }
}

fn decode_window(from: &mut Reader<'_>) -> Option<Window> {
    let newest = from.u64()?;
    let mut table: Vec<AccountId> = Vec::new();
    for _ in 0..from.u64()? {
        table.push(from.take()?);
    }
    let mut slices = Vec::new();
    for _ in 0..from.u64()? {
        let (start, level) = (from.u64()?, from.u32()?);
        let mut slice = Slice {
            level,
            ..Slice::default()
        };
        for _ in 0..from.u64()? {
            let (account, work) = (*table.get(from.u32s()?)?, from.u128()?);
            slice.work = slice.work.checked_add(work)?;
            slice.accounts.insert(account, work);
        }
        slices.push((start, slice));
    }
    Some(Window::of_parts(newest, slices))
}
