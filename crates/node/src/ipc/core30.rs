//! Bitcoin Core 30: the same objects, with other method numbers and parameters for some of what they do.
//!
//! Everything that is not here is called as in later versions. What version 30 cannot do at all: take a whole block
//! (`submitBlock`), look transactions up, and answer RPC over this socket.

use bitcoin::Transaction;
use bitcoin::consensus::deserialize;
use capnp::capability::FromClientHook;

use super::connect::Lane;
use super::generated::core30_capnp::{block_template, init, mining};
use super::generated::{init_capnp, mining_capnp};
use super::parse::{Coinbase, Wrong, branches};
use crate::{BlockCheck, Constraints, height};

/// As later versions call it.
type Template = mining_capnp::block_template::Client;

/// The mining interface.
pub(super) async fn make_mining(
    client: &init_capnp::init::Client,
    lane: &Lane,
) -> Result<mining_capnp::mining::Client, capnp::Error> {
    let mut request = same::<init::Client>(client).make_mining_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = request.send().promise.await?;
    Ok(same(&answer.get()?.get_result()?))
}

/// A template made now; none when the node is shutting down.
pub(super) async fn create(
    client: &mining_capnp::mining::Client,
    constraints: &Constraints,
    reserved_weight: u64,
) -> Result<Option<Template>, capnp::Error> {
    let mut request = same::<mining::Client>(client).create_new_block_request();
    let mut options = request.get().init_options();
    options.set_use_mempool(true);
    options.set_block_reserved_weight(reserved_weight);
    options.set_coinbase_output_max_additional_sigops(constraints.max_additional_sigops.into());
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    match answer.has_result() {
        true => Ok(Some(same(&answer.get_result()?))),
        false => Ok(None),
    }
}

/// The next template, once there is a new tip or so much more in fees; none after `timeout_ms`.
pub(super) async fn wait_next(
    client: &Template,
    lane: &Lane,
    timeout_ms: f64,
    fee_threshold: i64,
) -> Result<Option<Template>, capnp::Error> {
    let mut request = same::<block_template::Client>(client).wait_next_request();
    let mut params = request.get();
    params.reborrow().init_context().set_thread(lane.clone());
    let mut options = params.init_options();
    options.set_timeout(timeout_ms);
    options.set_fee_threshold(fee_threshold);
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    match answer.has_result() {
        true => Ok(Some(same(&answer.get_result()?))),
        false => Ok(None),
    }
}

/// The node's coinbase transaction.
pub(super) async fn coinbase(
    client: &Template,
    lane: &Lane,
) -> Result<Result<Coinbase, Wrong>, capnp::Error> {
    let mut request = same::<block_template::Client>(client).get_coinbase_tx_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = request.send().promise.await?;
    Ok(parts(answer.get()?.get_result()?))
}

/// The merkle path of the coinbase.
pub(super) async fn path(
    client: &Template,
    lane: &Lane,
) -> Result<Result<Vec<[u8; 32]>, Wrong>, capnp::Error> {
    let mut request = same::<block_template::Client>(client).get_coinbase_merkle_path_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = request.send().promise.await?;
    Ok(branches(answer.get()?.get_result()?))
}

/// Whether the node processed the solved template.
pub(super) async fn submit(
    client: &Template,
    lane: &Lane,
    solution: &crate::Solution,
) -> Result<bool, capnp::Error> {
    let mut request = same::<block_template::Client>(client).submit_solution_request();
    let mut params = request.get();
    params.reborrow().init_context().set_thread(lane.clone());
    params.set_version(solution.version);
    params.set_timestamp(solution.header_timestamp);
    params.set_nonce(solution.header_nonce);
    params.set_coinbase(&solution.coinbase_tx);
    Ok(request.send().promise.await?.get()?.get_result())
}

/// Whether a block would be valid as the next one.
pub(super) async fn check(
    client: &mining_capnp::mining::Client,
    block: &[u8],
    check_pow: bool,
) -> Result<BlockCheck, capnp::Error> {
    let mut request = same::<mining::Client>(client).check_block_request();
    let mut params = request.get();
    params.set_block(block);
    let mut options = params.init_options();
    options.set_check_merkle_root(true);
    options.set_check_pow(check_pow);
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    Ok(super::inquire::said(
        answer.get_result(),
        answer.get_reason(),
        answer.get_debug(),
    ))
}

/// The same object under the other version's methods.
fn same<T: FromClientHook>(client: &impl FromClientHook) -> T {
    T::new(client.as_client_hook().add_ref())
}

/// What a coinbase of ours needs, from the one that stands in the template: the start of its scriptSig without the dummy
/// behind the height, the reward in its first output, and what the block requires in the others.
fn parts(coinbase: &[u8]) -> Result<Coinbase, Wrong> {
    let coinbase: Transaction =
        deserialize(coinbase).map_err(|error| Wrong(format!("a coinbase transaction: {error}")))?;
    let (Some(input), Some((reward, required))) = (coinbase.input.first(), coinbase.output.split_first())
    else {
        return Err(Wrong("a coinbase without input or output".into()));
    };
    let script = input.script_sig.as_bytes();
    let Some(prefix) = height::push(script) else {
        return Err(Wrong(format!(
            "a coinbase that does not start with its height: {script:02x?}"
        )));
    };
    Ok(Coinbase {
        version: coinbase.version.0.cast_unsigned(),
        sequence: input.sequence.0,
        prefix: prefix.to_vec(),
        witness: input.witness.iter().next().unwrap_or_default().to_vec(),
        reward_remaining: reward.value.to_sat(),
        required_outputs: required.to_vec(),
        lock_time: coinbase.lock_time.to_consensus_u32(),
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use bitcoin::{Amount, ScriptBuf, Sequence, TxIn, TxOut, Witness, absolute, transaction};

    use super::*;

    #[test]
    fn a_whole_coinbase_is_taken_apart() {
        let commitment = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(vec![0x6a; 38]),
        };
        let mut coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::from_consensus(127),
            input: vec![TxIn {
                script_sig: ScriptBuf::from_bytes(vec![2, 0x80, 0, 0]),
                sequence: Sequence(0xffff_fffe),
                witness: Witness::from_slice(&[[0; 32]]),
                ..TxIn::default()
            }],
            output: vec![
                TxOut {
                    value: Amount::from_sat(5_000_000_123),
                    script_pubkey: ScriptBuf::new(),
                },
                commitment.clone(),
            ],
        };
        let made = parts(&serialize(&coinbase)).unwrap();
        assert_eq!(
            (made.version, made.sequence, made.lock_time),
            (2, 0xffff_fffe, 127)
        );
        assert_eq!(
            (made.prefix, made.reward_remaining),
            (vec![2, 0x80, 0], 5_000_000_123)
        );
        assert_eq!(
            (made.witness, made.required_outputs),
            (vec![0; 32], vec![commitment])
        );
        coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51, 0]);
        assert_eq!(parts(&serialize(&coinbase)).unwrap().prefix, [0x51]);
        coinbase.output.clear();
        assert!(parts(&serialize(&coinbase)).is_err());
        assert!(parts(&[]).is_err());
    }
}
