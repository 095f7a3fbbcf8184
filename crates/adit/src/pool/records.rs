//! From the machines' words to the ledger's.

use adit_ledger::blocks::FoundBlock;
use adit_ledger::{Share as Record, record::BlockFound};
use adit_proto::Time;
use adit_proto::mining::server::{Found, Share, WorkerId};
use bitcoin::consensus::Encodable;

/// The record of an accepted share.
pub(super) fn share(share: &Share, height: u32, is_block: bool) -> Record {
    Record {
        account: share.account.0,
        worker: share.worker.map(|worker| worker.0),
        hash: share.hash,
        work: share.work,
        channel: channel(share.prefix),
        time_us: share.time.0,
        ntime: share.ntime,
        nonce: share.nonce,
        version: share.version,
        height,
        is_block,
        solo: share.solo,
    }
}

/// The record of a found block.
pub(super) fn block(found: &FoundBlock, worker: Option<WorkerId>) -> BlockFound {
    BlockFound {
        hash: found.hash,
        height: found.height,
        value: found.value,
        account: found.account,
        channel: found.channel,
        worker: worker.map(|worker| worker.0),
    }
}

/// The file of a found block. `transactions` are all but the coinbase, where the source gave them.
pub(super) fn found(found: &Found, height: u32, now: Time, transactions: Option<&[Vec<u8>]>) -> FoundBlock {
    FoundBlock {
        hash: found.hash,
        height,
        time_us: now.0,
        value: found.job.fields().coinbase.value(),
        account: found.account.0,
        channel: channel(found.prefix),
        header: found.header,
        coinbase: found.coinbase.clone(),
        block: transactions
            .map(|rest| whole(&found.header, &found.coinbase, rest))
            .unwrap_or_default(),
        template: found.job.fields().template.to_string(),
        credits: String::new(),
    }
}

/// A consensus-encoded block.
fn whole(header: &[u8; 80], coinbase: &[u8], rest: &[Vec<u8>]) -> Vec<u8> {
    let bytes: usize = rest.iter().map(Vec::len).sum();
    let mut block = Vec::with_capacity(80 + 9 + coinbase.len() + bytes);
    block.extend_from_slice(header);
    let count = bitcoin::VarInt(rest.len() as u64 + 1);
    // Writing to a vector cannot fail.
    let _ = count.consensus_encode(&mut block);
    block.extend_from_slice(coinbase);
    rest.iter()
        .for_each(|transaction| block.extend_from_slice(transaction));
    block
}

/// A channel's number in the ledger: its seven bytes of extranonce prefix, big endian.
pub(super) fn channel(prefix: [u8; 7]) -> u64 {
    let [a, b, c, d, e, f, g] = prefix;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_block_reads_back() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let bytes = bitcoin::consensus::serialize(&genesis);
        let coinbase = bitcoin::consensus::serialize(&genesis.txdata[0]);
        let header: [u8; 80] = bytes[..80].try_into().unwrap();
        assert_eq!(whole(&header, &coinbase, &[]), bytes);
        let more = whole(&header, &coinbase, &[coinbase.clone(), coinbase.clone()]);
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&more).unwrap();
        assert_eq!(block.txdata.len(), 3);
    }

    #[test]
    fn a_channel_is_its_prefix_as_a_number() {
        assert_eq!(channel([0, 0, 0, 0, 1, 0, 2]), 0x1_0002);
    }
}
