//! A node's template as ours. Four questions travel together: one round trip, whatever the template.

use std::rc::Rc;

use bitcoin::TxOut;
use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use capnp::data_list;

use super::Shared;
use super::call::{PATIENCE, QUERY, Trouble, watched};
use super::connect::{Session, Version};
use super::core30;
use super::generated::mining_capnp::block_template::Client;
use super::generated::mining_capnp::coinbase_tx;
use crate::{Constraints, Template, TemplateId, height};

/// A coinbase scriptSig starts with 8 bytes of the node at most (spec 7.2).
const MERKLE_PATH_MAX: usize = 16;
const TRANSACTIONS_MAX: u32 = 1 << MERKLE_PATH_MAX;
/// Today there is one: the witness commitment.
const REQUIRED_OUTPUTS_MAX: u32 = 64;

/// Asks for header, coinbase, merkle path and fees of a template at the same time.
pub(super) async fn read(
    shared: &Shared,
    session: &Rc<Session>,
    client: &Client,
    id: TemplateId,
) -> Result<Template, Trouble> {
    let (health, lanes) = (&shared.health, &session.lanes);
    let mut header = client.get_block_header_request();
    header.get().init_context().set_thread(lanes.header.clone());
    let mut fees = client.get_tx_fees_request();
    fees.get().init_context().set_thread(lanes.fees.clone());
    let (header, coinbase, path, fees) = tokio::try_join!(
        watched(
            health,
            "BlockTemplate.getBlockHeader",
            QUERY,
            PATIENCE,
            header.send().promise
        ),
        watched(
            health,
            "BlockTemplate.getCoinbaseTx",
            QUERY,
            PATIENCE,
            coinbase_of(session, client)
        ),
        watched(
            health,
            "BlockTemplate.getCoinbaseMerklePath",
            QUERY,
            PATIENCE,
            path_of(session, client)
        ),
        watched(
            health,
            "BlockTemplate.getTxFees",
            QUERY,
            PATIENCE,
            fees.send().promise
        ),
    )?;
    let template = (|| {
        let fees = sum(fees.get()?.get_result()?);
        template(id, header.get()?.get_result()?, coinbase?, path?, fees)
    })();
    template.map_err(|wrong: Wrong| Trouble::Strange(wrong.0))
}

async fn coinbase_of(session: &Session, client: &Client) -> Result<Result<Coinbase, Wrong>, capnp::Error> {
    let lane = &session.lanes.coinbase;
    if session.version == Version::Core30 {
        return core30::coinbase(client, lane).await;
    }
    let mut request = client.get_coinbase_tx_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = request.send().promise.await?;
    Ok(Coinbase::read(answer.get()?.get_result()?))
}

async fn path_of(session: &Session, client: &Client) -> Result<Result<Vec<[u8; 32]>, Wrong>, capnp::Error> {
    let lane = &session.lanes.path;
    if session.version == Version::Core30 {
        return core30::path(client, lane).await;
    }
    let mut request = client.get_coinbase_merkle_path_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = request.send().promise.await?;
    Ok(branches(answer.get()?.get_result()?))
}

/// What the node says about the coinbase of a template.
#[derive(Debug)]
pub(super) struct Coinbase {
    pub(super) version: u32,
    pub(super) sequence: u32,
    /// Start of the scriptSig.
    pub(super) prefix: Vec<u8>,
    /// The one item of the witness; nothing where no transaction has a witness.
    pub(super) witness: Vec<u8>,
    /// Satoshis.
    pub(super) reward_remaining: u64,
    pub(super) required_outputs: Vec<TxOut>,
    pub(super) lock_time: u32,
}

impl Coinbase {
    fn read(coinbase: coinbase_tx::Reader<'_>) -> Result<Self, Wrong> {
        let Ok(reward_remaining) = u64::try_from(coinbase.get_block_reward_remaining()) else {
            return wrong("a negative block reward");
        };
        Ok(Self {
            version: coinbase.get_version(),
            sequence: coinbase.get_sequence(),
            prefix: coinbase.get_script_sig_prefix()?.to_vec(),
            witness: coinbase.get_witness()?.to_vec(),
            reward_remaining,
            required_outputs: outputs(coinbase.get_required_outputs()?)?,
            lock_time: coinbase.get_lock_time(),
        })
    }
}

/// What is wrong with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

impl From<capnp::Error> for Wrong {
    fn from(error: capnp::Error) -> Self {
        Self(error.to_string())
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(what.into()))
}

fn template(
    id: TemplateId,
    header: &[u8],
    coinbase: Coinbase,
    merkle_path: Vec<[u8; 32]>,
    fees: Option<(u32, u64)>,
) -> Result<Template, Wrong> {
    let Ok(header) = deserialize::<Header>(header) else {
        return wrong(format!("a block header of {} bytes", header.len()));
    };
    let prefix = coinbase.prefix;
    let Some(height) = height::of_prefix(&prefix) else {
        return wrong(format!(
            "a coinbase that does not start with its height: {prefix:02x?}"
        ));
    };
    Ok(Template {
        id,
        constraints: Constraints::default(),
        height,
        prev_hash: header.prev_blockhash,
        version: header.version.to_consensus().cast_unsigned(),
        nbits: header.bits,
        header_timestamp: header.time,
        min_ntime: header.time,
        coinbase_tx_version: coinbase.version,
        coinbase_prefix: prefix,
        coinbase_tx_input_sequence: coinbase.sequence,
        coinbase_tx_value_remaining: coinbase.reward_remaining,
        coinbase_tx_outputs: coinbase.required_outputs,
        coinbase_tx_locktime: coinbase.lock_time,
        coinbase_witness: witness(&coinbase.witness)?,
        target: None,
        merkle_path,
        transaction_count: fees.map(|(count, _)| count),
        fees: fees.map(|(_, sum)| sum),
    })
}

/// The one witness item of the coinbase input; none where no transaction has a witness.
fn witness(item: &[u8]) -> Result<Option<[u8; 32]>, Wrong> {
    match item {
        [] => Ok(None),
        _ => item
            .try_into()
            .map(Some)
            .or_else(|_| wrong(format!("a coinbase witness of {} bytes", item.len()))),
    }
}

fn outputs(list: data_list::Reader<'_>) -> Result<Vec<TxOut>, Wrong> {
    if list.len() > REQUIRED_OUTPUTS_MAX {
        return wrong(format!("{} required coinbase outputs", list.len()));
    }
    let decode =
        |bytes: &[u8]| deserialize::<TxOut>(bytes).map_err(|e| Wrong(format!("a coinbase output: {e}")));
    list.iter().map(|bytes| decode(bytes?)).collect()
}

pub(super) fn branches(list: data_list::Reader<'_>) -> Result<Vec<[u8; 32]>, Wrong> {
    if list.len() as usize > MERKLE_PATH_MAX {
        return wrong(format!("a merkle path of {} hashes", list.len()));
    }
    let hash = |bytes: &[u8]| {
        bytes
            .try_into()
            .or_else(|_| wrong(format!("a merkle hash of {} bytes", bytes.len())))
    };
    list.iter().map(|bytes| hash(bytes?)).collect()
}

/// Number of transactions and the sum of their fees; none when that makes no sense.
fn sum(fees: capnp::primitive_list::Reader<'_, i64>) -> Option<(u32, u64)> {
    if fees.len() > TRANSACTIONS_MAX {
        return None;
    }
    let total = fees
        .iter()
        .try_fold(0_u64, |total, fee| total.checked_add(u64::try_from(fee).ok()?))?;
    Some((fees.len(), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coinbase_of_the_node_becomes_a_template() {
        let mut message = capnp::message::Builder::new_default();
        let mut coinbase = message.init_root::<coinbase_tx::Builder<'_>>();
        coinbase.set_version(2);
        coinbase.set_sequence(0xffff_fffe);
        coinbase.set_script_sig_prefix(&[2, 0x80, 0]);
        coinbase.set_witness(&[0; 32]);
        coinbase.set_block_reward_remaining(5_000_000_000);
        coinbase.set_lock_time(127);
        let mut required = coinbase.reborrow().init_required_outputs(1);
        required.set(0, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0x6a]);
        fn read(header: &[u8], coinbase: coinbase_tx::Reader<'_>) -> Result<Template, Wrong> {
            let coinbase = Coinbase::read(coinbase)?;
            template(TemplateId(3), header, coinbase, vec![[7; 32]], Some((1, 9)))
        }
        let made = read(&[1; 80], coinbase.reborrow().into_reader()).unwrap();
        assert_eq!(
            (
                made.height,
                made.coinbase_tx_locktime,
                made.coinbase_tx_value_remaining
            ),
            (128, 127, 5_000_000_000)
        );
        assert_eq!(
            (made.coinbase_tx_outputs.len(), made.coinbase_witness),
            (1, Some([0; 32]))
        );
        assert_eq!(
            (made.version, made.min_ntime, made.fees),
            (0x0101_0101, 0x0101_0101, Some(9))
        );
        assert!(read(&[1; 79], coinbase.reborrow().into_reader()).is_err());
        coinbase.set_block_reward_remaining(-1);
        assert!(read(&[1; 80], coinbase.reborrow().into_reader()).is_err());
        coinbase.set_block_reward_remaining(1);
        coinbase.set_witness(&[0; 31]);
        assert!(read(&[1; 80], coinbase.into_reader()).is_err());
    }
}
