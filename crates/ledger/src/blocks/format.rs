//! The bytes of a block file (`docs/ledger.md`); a file may be longer, when it was a reserve.

use super::FoundBlock;

const MAGIC: [u8; 8] = *b"ADITBLK2";
/// Before there were credits: the same without them.
const MAGIC_1: [u8; 8] = *b"ADITBLK1";

pub(super) fn encode(found: &FoundBlock) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&found.hash);
    out.extend_from_slice(&found.height.to_le_bytes());
    for number in [found.time_us, found.value, found.channel] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&found.account);
    out.extend_from_slice(&found.header);
    for part in [
        &found.coinbase[..],
        &found.block,
        found.template.as_bytes(),
        found.credits.as_bytes(),
    ] {
        // `BlockStore::put` refuses what does not fit 32 bits by far.
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<FoundBlock> {
    let mut rest = bytes;
    let magic = take::<8>(&mut rest)?;
    [MAGIC, MAGIC_1].contains(&magic).then_some(())?;
    let (hash, height) = (take(&mut rest)?, u32::from_le_bytes(take(&mut rest)?));
    let mut number = || take(&mut rest).map(u64::from_le_bytes);
    let (time_us, value, channel) = (number()?, number()?, number()?);
    let (account, header) = (take(&mut rest)?, take(&mut rest)?);
    let mut part = || {
        let length = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (part, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(part.to_vec())
    };
    let (coinbase, block, template) = (part()?, part()?, part()?);
    let credits = if magic == MAGIC { part()? } else { Vec::new() };
    let covered = &bytes[..bytes.len() - rest.len()];
    (u32::from_le_bytes(take(&mut rest)?) == crc32c::crc32c(covered)).then_some(())?;
    let template = String::from_utf8(template).ok()?;
    let credits = String::from_utf8(credits).ok()?;
    Some(FoundBlock {
        hash,
        height,
        time_us,
        value,
        account,
        channel,
        header,
        coinbase,
        block,
        template,
        credits,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*field)
}
