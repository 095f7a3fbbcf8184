//! Nodes of other versions than the one that the tests can run: the embedded chain behind their interfaces.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction};
use capnp::Error;
use capnp::capability::{DispatchCallResult, FromClientHook, Params, Promise, Results};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, new_client, twoparty};
use tokio::net::UnixListener;
use tokio::time::sleep;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::generated::{core30_capnp, core32_capnp, init_capnp, mining_capnp, proxy_capnp};
use crate::embedded::{Kept, Provider, Settings};
use crate::{BlockCheck, Constraints, Solution, Verdict, assemble};

/// How often a wait looks for a new tip.
const LOOK: Duration = Duration::from_millis(5);

/// Which version is spoken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    /// Before the mining interface was there.
    Old,
    Core30,
    Core32,
}

/// Serves on `socket` from a thread of its own, for as long as the process lives. Each connection finds the next of the
/// versions there, and then the last.
pub(super) fn serve(socket: &Path, speaks: &'static [Speaks]) {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let listener = UnixListener::from_std(listener).unwrap();
            let provider = Provider::new(Settings::new(8, || 1_800_000_000)).unwrap();
            let chain = Rc::new(RefCell::new(provider));
            let mut left = speaks;
            while let Ok((stream, _)) = listener.accept().await {
                let Some((speaks, others)) = left.split_first() else {
                    return;
                };
                if !others.is_empty() {
                    left = others;
                }
                let (read, write) = stream.into_split();
                let options = capnp::message::ReaderOptions::new();
                let network =
                    twoparty::VatNetwork::new(read.compat(), write.compat_write(), Side::Server, options);
                let node = Node {
                    chain: Rc::clone(&chain),
                };
                let bootstrap = match speaks {
                    Speaks::Old => new_client::<core30_capnp::init::Client, _>(Old).client,
                    Speaks::Core30 => new_client::<core30_capnp::init::Client, _>(node).client,
                    Speaks::Core32 => new_client::<init_capnp::init::Client, _>(node).client,
                };
                tokio::task::spawn_local(RpcSystem::new(Box::new(network), Some(bootstrap)));
            }
        });
    });
}

/// Init and Mining.
#[derive(Clone)]
struct Node {
    chain: Rc<RefCell<Provider>>,
}

/// One template.
struct Template {
    chain: Rc<RefCell<Provider>>,
    kept: Kept,
    /// The block with the solution that was submitted.
    solved: RefCell<Option<Vec<u8>>>,
}

struct Threads;
struct Thread;

impl proxy_capnp::thread::Server for Thread {}

impl proxy_capnp::thread_map::Server for Threads {
    async fn make_thread(
        self: Rc<Self>,
        _: proxy_capnp::thread_map::MakeThreadParams,
        mut results: proxy_capnp::thread_map::MakeThreadResults,
    ) -> Result<(), Error> {
        results.get().set_result(new_client(Thread));
        Ok(())
    }
}

impl Node {
    fn template(&self, constraints: Constraints) -> Template {
        self.chain.borrow_mut().constrain(vec![constraints]);
        let kept = self.chain.borrow().template().cloned().unwrap();
        let chain = Rc::clone(&self.chain);
        Template {
            chain,
            kept,
            solved: RefCell::new(None),
        }
    }

    fn tip(&self) -> ([u8; 32], i32) {
        let chain = self.chain.borrow();
        let chain = chain.chain();
        (
            chain.tip().to_byte_array(),
            i32::try_from(chain.height()).unwrap(),
        )
    }

    fn check(&self, block: &[u8]) -> (bool, String) {
        match self.chain.borrow_mut().check_block(block) {
            BlockCheck::Valid => (true, String::new()),
            BlockCheck::Invalid(reason) => (false, reason),
        }
    }
}

impl Template {
    /// The node's own coinbase, as version 30 makes it.
    fn coinbase(&self) -> Transaction {
        let template = &self.kept.template;
        let mut script = template.coinbase_prefix.clone();
        script.push(0);
        let reward = TxOut {
            value: Amount::from_sat(template.coinbase_tx_value_remaining),
            script_pubkey: ScriptBuf::new(),
        };
        Transaction {
            version: transaction::Version(template.coinbase_tx_version.cast_signed()),
            lock_time: absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
            input: vec![TxIn {
                script_sig: ScriptBuf::from_bytes(script),
                sequence: Sequence(template.coinbase_tx_input_sequence),
                witness: Witness::from_slice(&[template.coinbase_witness.unwrap()]),
                ..TxIn::default()
            }],
            output: [vec![reward], template.coinbase_tx_outputs.clone()].concat(),
        }
    }

    fn made(&self, solution: &Solution) -> Vec<u8> {
        let header = assemble::header(&self.kept.template, solution).unwrap();
        assemble::block(&header, solution, &self.kept.encoded)
    }

    fn block(&self) -> Vec<u8> {
        let template = &self.kept.template;
        self.solved.borrow().clone().unwrap_or_else(|| {
            self.made(&Solution {
                template: template.id,
                version: template.version,
                header_timestamp: template.header_timestamp,
                header_nonce: 0,
                coinbase_tx: serialize(&self.coinbase()),
            })
        })
    }

    fn submit(&self, version: u32, timestamp: u32, nonce: u32, coinbase: &[u8]) -> Result<Verdict, Error> {
        let block = self.made(&Solution {
            template: self.kept.template.id,
            version,
            header_timestamp: timestamp,
            header_nonce: nonce,
            coinbase_tx: coinbase.to_vec(),
        });
        deserialize::<bitcoin::Block>(&block).map_err(|e| Error::failed(e.to_string()))?;
        *self.solved.borrow_mut() = Some(block.clone());
        let verdict = self.chain.borrow_mut().submit_block(&block);
        verdict.map_err(|e| Error::failed(format!("{e:?}")))
    }

    /// The next template once the tip is another.
    async fn next(&self, timeout_ms: f64) -> Option<Template> {
        let mut left = Duration::from_secs_f64(timeout_ms / 1_000.0);
        while self.chain.borrow().chain().tip() == self.kept.template.prev_hash {
            left = left.checked_sub(LOOK)?;
            sleep(LOOK).await;
        }
        let chain = Rc::clone(&self.chain);
        Some(Node { chain }.template(self.kept.template.constraints))
    }

    fn fees(&self) -> Vec<i64> {
        let count = self.kept.encoded.len();
        let total = i64::try_from(self.kept.template.fees.unwrap()).unwrap();
        (0..count)
            .map(|place| if place == 0 { total } else { 0 })
            .collect()
    }
}

/// An Init that makes threads and nothing else.
struct Old;

impl core30_capnp::init::Server for Old {
    async fn construct(
        self: Rc<Self>,
        _: core30_capnp::init::ConstructParams,
        mut results: core30_capnp::init::ConstructResults,
    ) -> Result<(), Error> {
        results.get().set_thread_map(new_client(Threads));
        Ok(())
    }
}

impl core30_capnp::init::Server for Node {
    async fn construct(
        self: Rc<Self>,
        _: core30_capnp::init::ConstructParams,
        mut results: core30_capnp::init::ConstructResults,
    ) -> Result<(), Error> {
        results.get().set_thread_map(new_client(Threads));
        Ok(())
    }

    async fn make_mining(
        self: Rc<Self>,
        _: core30_capnp::init::MakeMiningParams,
        mut results: core30_capnp::init::MakeMiningResults,
    ) -> Result<(), Error> {
        results.get().set_result(new_client(Self::clone(&self)));
        Ok(())
    }
}

impl core30_capnp::mining::Server for Node {
    async fn is_test_chain(
        self: Rc<Self>,
        _: core30_capnp::mining::IsTestChainParams,
        mut results: core30_capnp::mining::IsTestChainResults,
    ) -> Result<(), Error> {
        results.get().set_result(true);
        Ok(())
    }

    async fn is_initial_block_download(
        self: Rc<Self>,
        _: core30_capnp::mining::IsInitialBlockDownloadParams,
        mut results: core30_capnp::mining::IsInitialBlockDownloadResults,
    ) -> Result<(), Error> {
        results.get().set_result(false);
        Ok(())
    }

    async fn get_tip(
        self: Rc<Self>,
        _: core30_capnp::mining::GetTipParams,
        mut results: core30_capnp::mining::GetTipResults,
    ) -> Result<(), Error> {
        let (hash, height) = self.tip();
        let mut results = results.get();
        results.set_has_result(true);
        let mut tip = results.init_result();
        tip.set_hash(&hash);
        tip.set_height(height);
        Ok(())
    }

    async fn create_new_block(
        self: Rc<Self>,
        params: core30_capnp::mining::CreateNewBlockParams,
        mut results: core30_capnp::mining::CreateNewBlockResults,
    ) -> Result<(), Error> {
        let options = params.get()?.get_options()?;
        assert!(
            options.get_use_mempool(),
            "no defaults in this version: all is said"
        );
        let weight = options.get_block_reserved_weight();
        assert!((2_000..4_000_000).contains(&weight), "{weight}");
        let sigops = options.get_coinbase_output_max_additional_sigops();
        let constraints = Constraints {
            max_additional_sigops: u16::try_from(sigops).unwrap(),
            ..Constraints::default()
        };
        results.get().set_result(new_client(self.template(constraints)));
        Ok(())
    }

    async fn check_block(
        self: Rc<Self>,
        params: core30_capnp::mining::CheckBlockParams,
        mut results: core30_capnp::mining::CheckBlockResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        assert!(params.get_options()?.get_check_merkle_root());
        let (valid, reason) = self.check(params.get_block()?);
        results.get().set_result(valid);
        results.get().set_reason(reason.as_str());
        Ok(())
    }
}

impl core30_capnp::block_template::Server for Template {
    async fn destroy(
        self: Rc<Self>,
        _: core30_capnp::block_template::DestroyParams,
        _: core30_capnp::block_template::DestroyResults,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn get_block_header(
        self: Rc<Self>,
        _: core30_capnp::block_template::GetBlockHeaderParams,
        mut results: core30_capnp::block_template::GetBlockHeaderResults,
    ) -> Result<(), Error> {
        results.get().set_result(self.block().get(..80).unwrap());
        Ok(())
    }

    async fn get_block(
        self: Rc<Self>,
        _: core30_capnp::block_template::GetBlockParams,
        mut results: core30_capnp::block_template::GetBlockResults,
    ) -> Result<(), Error> {
        results.get().set_result(&self.block());
        Ok(())
    }

    async fn get_tx_fees(
        self: Rc<Self>,
        _: core30_capnp::block_template::GetTxFeesParams,
        mut results: core30_capnp::block_template::GetTxFeesResults,
    ) -> Result<(), Error> {
        results.get().set_result(self.fees().as_slice())
    }

    async fn get_coinbase_tx(
        self: Rc<Self>,
        _: core30_capnp::block_template::GetCoinbaseTxParams,
        mut results: core30_capnp::block_template::GetCoinbaseTxResults,
    ) -> Result<(), Error> {
        results.get().set_result(&serialize(&self.coinbase()));
        Ok(())
    }

    async fn get_coinbase_merkle_path(
        self: Rc<Self>,
        _: core30_capnp::block_template::GetCoinbaseMerklePathParams,
        mut results: core30_capnp::block_template::GetCoinbaseMerklePathResults,
    ) -> Result<(), Error> {
        let path = &self.kept.template.merkle_path;
        let mut list = results.get().init_result(u32::try_from(path.len()).unwrap());
        for (place, hash) in (0..).zip(path) {
            list.set(place, hash);
        }
        Ok(())
    }

    async fn submit_solution(
        self: Rc<Self>,
        params: core30_capnp::block_template::SubmitSolutionParams,
        mut results: core30_capnp::block_template::SubmitSolutionResults,
    ) -> Result<(), Error> {
        let it = params.get()?;
        let coinbase = it.get_coinbase()?;
        let verdict = self.submit(it.get_version(), it.get_timestamp(), it.get_nonce(), coinbase)?;
        results.get().set_result(!matches!(verdict, Verdict::Rejected(_)));
        Ok(())
    }

    async fn wait_next(
        self: Rc<Self>,
        params: core30_capnp::block_template::WaitNextParams,
        mut results: core30_capnp::block_template::WaitNextResults,
    ) -> Result<(), Error> {
        let timeout_ms = params.get()?.get_options()?.get_timeout();
        if let Some(next) = self.next(timeout_ms).await {
            results.get().set_result(new_client(next));
        }
        Ok(())
    }
}

impl init_capnp::init::Server for Node {
    async fn construct(
        self: Rc<Self>,
        _: init_capnp::init::ConstructParams,
        mut results: init_capnp::init::ConstructResults,
    ) -> Result<(), Error> {
        results.get().set_thread_map(new_client(Threads));
        Ok(())
    }

    async fn make_mining(
        self: Rc<Self>,
        _: init_capnp::init::MakeMiningParams,
        mut results: init_capnp::init::MakeMiningResults,
    ) -> Result<(), Error> {
        results.get().set_result(new_client(Self::clone(&self)));
        Ok(())
    }
}

impl mining_capnp::mining::Server for Node {
    async fn is_test_chain(
        self: Rc<Self>,
        _: mining_capnp::mining::IsTestChainParams,
        mut results: mining_capnp::mining::IsTestChainResults,
    ) -> Result<(), Error> {
        results.get().set_result(true);
        Ok(())
    }

    async fn is_initial_block_download(
        self: Rc<Self>,
        _: mining_capnp::mining::IsInitialBlockDownloadParams,
        mut results: mining_capnp::mining::IsInitialBlockDownloadResults,
    ) -> Result<(), Error> {
        results.get().set_result(false);
        Ok(())
    }

    async fn get_tip(
        self: Rc<Self>,
        _: mining_capnp::mining::GetTipParams,
        mut results: mining_capnp::mining::GetTipResults,
    ) -> Result<(), Error> {
        let (hash, height) = self.tip();
        let mut results = results.get();
        results.set_has_result(true);
        let mut tip = results.init_result();
        tip.set_hash(&hash);
        tip.set_height(height);
        Ok(())
    }

    async fn create_new_block(
        self: Rc<Self>,
        _: mining_capnp::mining::CreateNewBlockParams,
        mut results: mining_capnp::mining::CreateNewBlockResults,
    ) -> Result<(), Error> {
        let template = new_client::<Newer, _>(self.template(Constraints::default()));
        results.get().set_result(FromClientHook::new(template.0.hook));
        Ok(())
    }
}

impl mining_capnp::block_template::Server for Template {
    async fn destroy(
        self: Rc<Self>,
        _: mining_capnp::block_template::DestroyParams,
        _: mining_capnp::block_template::DestroyResults,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn get_block_header(
        self: Rc<Self>,
        _: mining_capnp::block_template::GetBlockHeaderParams,
        mut results: mining_capnp::block_template::GetBlockHeaderResults,
    ) -> Result<(), Error> {
        results.get().set_result(self.block().get(..80).unwrap());
        Ok(())
    }

    async fn get_block(
        self: Rc<Self>,
        _: mining_capnp::block_template::GetBlockParams,
        mut results: mining_capnp::block_template::GetBlockResults,
    ) -> Result<(), Error> {
        results.get().set_result(&self.block());
        Ok(())
    }

    async fn get_tx_fees(
        self: Rc<Self>,
        _: mining_capnp::block_template::GetTxFeesParams,
        mut results: mining_capnp::block_template::GetTxFeesResults,
    ) -> Result<(), Error> {
        results.get().set_result(self.fees().as_slice())
    }

    async fn get_coinbase_tx(
        self: Rc<Self>,
        _: mining_capnp::block_template::GetCoinbaseTxParams,
        mut results: mining_capnp::block_template::GetCoinbaseTxResults,
    ) -> Result<(), Error> {
        let template = &self.kept.template;
        let mut coinbase = results.get().init_result();
        coinbase.set_version(template.coinbase_tx_version);
        coinbase.set_sequence(template.coinbase_tx_input_sequence);
        coinbase.set_script_sig_prefix(&template.coinbase_prefix);
        coinbase.set_witness(&template.coinbase_witness.unwrap());
        coinbase.set_block_reward_remaining(i64::try_from(template.coinbase_tx_value_remaining).unwrap());
        coinbase.set_lock_time(template.coinbase_tx_locktime);
        let mut list = coinbase.init_required_outputs(1);
        list.set(0, &serialize(template.coinbase_tx_outputs.first().unwrap()));
        Ok(())
    }

    async fn get_coinbase_merkle_path(
        self: Rc<Self>,
        _: mining_capnp::block_template::GetCoinbaseMerklePathParams,
        mut results: mining_capnp::block_template::GetCoinbaseMerklePathResults,
    ) -> Result<(), Error> {
        let path = &self.kept.template.merkle_path;
        let mut list = results.get().init_result(u32::try_from(path.len()).unwrap());
        for (place, hash) in (0..).zip(path) {
            list.set(place, hash);
        }
        Ok(())
    }

    async fn wait_next(
        self: Rc<Self>,
        params: mining_capnp::block_template::WaitNextParams,
        mut results: mining_capnp::block_template::WaitNextResults,
    ) -> Result<(), Error> {
        let timeout_ms = params.get()?.get_options()?.get_timeout();
        if let Some(next) = self.next(timeout_ms).await {
            let next = new_client::<Newer, _>(next);
            results.get().set_result(FromClientHook::new(next.0.hook));
        }
        Ok(())
    }
}

/// The template of version 32: another number for submitSolution, an error under the old one.
impl core32_capnp::block_template::Server for Template {
    async fn submit_solution(
        self: Rc<Self>,
        params: core32_capnp::block_template::SubmitSolutionParams,
        mut results: core32_capnp::block_template::SubmitSolutionResults,
    ) -> Result<(), Error> {
        let it = params.get()?;
        assert!(!it.get_precious());
        let coinbase = it.get_coinbase()?;
        let verdict = self.submit(it.get_version(), it.get_timestamp(), it.get_nonce(), coinbase)?;
        let mut results = results.get();
        match verdict {
            Verdict::Accepted => results.set_result(true),
            Verdict::Duplicate => results.set_reason("duplicate"),
            Verdict::Rejected(reason) => results.set_reason(reason.as_str()),
        }
        Ok(())
    }
}

struct Newer(capnp::capability::Client);

impl FromClientHook for Newer {
    fn new(hook: Box<capnp::capability::DynClientHook>) -> Self {
        Self(capnp::capability::Client::new(hook))
    }

    fn into_client_hook(self) -> Box<capnp::capability::DynClientHook> {
        self.0.hook
    }

    fn as_client_hook(&self) -> &capnp::capability::DynClientHook {
        &*self.0.hook
    }
}

impl capnp::capability::FromServer<Template> for Newer {
    type Dispatch = Methods;

    fn from_server(template: Rc<Template>) -> Methods {
        Methods(template)
    }
}

#[derive(Clone)]
struct Methods(Rc<Template>);

impl std::ops::Deref for Methods {
    type Target = Template;

    fn deref(&self) -> &Template {
        &self.0
    }
}

impl capnp::capability::Server for Methods {
    fn dispatch_call(
        self,
        interface: u64,
        method: u16,
        params: Params<capnp::any_pointer::Owned>,
        results: Results<capnp::any_pointer::Owned>,
    ) -> DispatchCallResult {
        let server = self.0;
        match method {
            7 => {
                let gone = Error::failed("no longer supported".into());
                DispatchCallResult::new(Promise::err(gone), false)
            }
            10 => core32_capnp::block_template::ServerDispatch { server }
                .dispatch_call(interface, method, params, results),
            _ => mining_capnp::block_template::ServerDispatch { server }
                .dispatch_call(interface, method, params, results),
        }
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}

mod tests {
    use bitcoin::Target;
    use capnp::traits::HasTypeId;
    use tokio::time::timeout;

    use super::super::{Ipc, Settings};
    use super::*;
    use crate::{BlockStatus, Event, SubmitError, spawn};

    const LIMIT: Duration = Duration::from_secs(30);

    fn solve(template: &crate::Template, value: u64) -> Solution {
        let mut script = template.coinbase_prefix.clone();
        script.extend([3, 1, 2, 3]);
        let paid = TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]).to_p2wsh(),
        };
        let coinbase = Transaction {
            version: transaction::Version(template.coinbase_tx_version.cast_signed()),
            lock_time: absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
            input: vec![TxIn {
                script_sig: ScriptBuf::from_bytes(script),
                sequence: Sequence(template.coinbase_tx_input_sequence),
                witness: Witness::from_slice(&[template.coinbase_witness.unwrap()]),
                ..TxIn::default()
            }],
            output: [vec![paid], template.coinbase_tx_outputs.clone()].concat(),
        };
        let mut solution = Solution {
            template: template.id,
            version: template.version,
            header_timestamp: template.header_timestamp,
            header_nonce: 0,
            coinbase_tx: serialize(&coinbase),
        };
        let mut header = assemble::header(template, &solution).unwrap();
        while !Target::from_compact(header.bits).is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        solution.header_nonce = header.nonce;
        solution
    }

    async fn event<T>(node: &mut crate::Node, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                match node.events.recv().await.unwrap() {
                    Event::Down { reason } => panic!("{reason}"),
                    event => {
                        if let Some(found) = wanted(event) {
                            return found;
                        }
                    }
                }
            }
        };
        timeout(LIMIT, found).await.unwrap()
    }

    /// Up, a template with its transactions, a refused solution with its reason, an accepted one, the next tip.
    async fn a_block_is_found(speaks: &'static [Speaks; 1], name: &str) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("node.sock");
        serve(&socket, speaks);
        let mut node = spawn(Ipc::new(Settings::new(&socket))).unwrap();
        let up = event(&mut node, |event| match event {
            Event::Up { node } => Some(node),
            _ => None,
        });
        let up = up.await;
        assert!(up.starts_with(name), "{up}");
        let first = event(&mut node, |event| match event {
            Event::Template(template) => Some(template),
            _ => None,
        });
        let first = first.await;
        let transactions = event(&mut node, |event| match event {
            Event::Transactions {
                template,
                transactions,
            } if template == first.id => Some(transactions),
            _ => None,
        });
        let transactions = transactions.await;
        assert_eq!(first.transaction_count, Some(transactions.len() as u32));
        assert!(!first.merkle_path.is_empty() && first.fees > Some(0));

        let greedy = node
            .handle
            .submit(solve(&first, first.coinbase_tx_value_remaining + 1))
            .await;
        assert!(
            matches!(&greedy, Ok(Verdict::Rejected(reason)) if reason.starts_with("bad-cb-amount")),
            "{greedy:?}"
        );
        let solution = solve(&first, first.coinbase_tx_value_remaining);
        assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Accepted));
        let hash = assemble::header(&first, &solution).unwrap().block_hash();
        let next = event(&mut node, |event| match event {
            Event::Template(template) if template.prev_hash == hash => Some(template),
            _ => None,
        });
        assert_eq!(next.await.height, first.height + 1);
        assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Confirmed(1)));
        assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Duplicate));

        // What these versions, or these stand-ins, cannot do is said.
        let block = assemble::block(
            &assemble::header(&first, &solution).unwrap(),
            &solution,
            &transactions,
        );
        assert_eq!(
            node.handle.submit_block(block.clone()).await,
            Err(SubmitError::Unsupported)
        );
        let unknown = vec![bitcoin::Wtxid::from_byte_array([9; 32])];
        assert_eq!(
            node.handle.transactions_by_wtxid(unknown).await,
            Err(SubmitError::Unsupported)
        );
        if let [Speaks::Core30] = speaks {
            let check = node.handle.check_block(block).await.unwrap();
            assert!(check.is_off_tip(), "{check:?}");
        }
    }

    /// A method is called by the id of its interface and its number: the first is the same in all versions.
    #[test]
    fn the_interfaces_of_all_versions_are_the_same() {
        fn id<T: HasTypeId>() -> u64 {
            T::TYPE_ID
        }
        assert_eq!(
            id::<core30_capnp::init::Client>(),
            id::<init_capnp::init::Client>()
        );
        assert_eq!(
            id::<core30_capnp::mining::Client>(),
            id::<mining_capnp::mining::Client>()
        );
        let template = id::<mining_capnp::block_template::Client>();
        assert_eq!(id::<core30_capnp::block_template::Client>(), template);
        assert_eq!(id::<core32_capnp::block_template::Client>(), template);
    }

    #[tokio::test]
    async fn version_30_is_recognised_and_mined_on() {
        a_block_is_found(&[Speaks::Core30], "Bitcoin Core 30 on a test chain").await;
    }

    #[tokio::test]
    async fn the_submission_with_a_reason_of_after_version_31_is_found() {
        a_block_is_found(&[Speaks::Core32], "Bitcoin Core on a test chain").await;
    }

    /// What is wrong, until it is Up; a template comes then.
    async fn troubles(node: &mut crate::Node) -> Vec<String> {
        let mut reasons = Vec::new();
        let well = async {
            loop {
                match node.events.recv().await.unwrap() {
                    Event::Down { reason } => reasons.push(reason),
                    Event::Template(_) => return,
                    _ => {}
                }
            }
        };
        timeout(LIMIT, well).await.unwrap();
        reasons
    }

    /// A node without the mining interface is named as too old; when a newer one is started in its place, it is mined on.
    #[tokio::test]
    async fn an_old_node_is_named_and_its_upgrade_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("node.sock");
        serve(&socket, &[Speaks::Old, Speaks::Old, Speaks::Core30]);
        let mut node = spawn(Ipc::new(Settings::new(&socket))).unwrap();
        let reasons = troubles(&mut node).await;
        let [reason] = &reasons[..] else {
            panic!("{reasons:?}")
        };
        assert!(
            reason.contains("Init.makeMining") && reason.contains("version 30 or later"),
            "{reason}"
        );
        assert!(reason.contains(socket.to_str().unwrap()), "{reason}");
    }

    /// A test chain where the real network was asked for; version 30 does not say which.
    #[tokio::test]
    async fn a_node_on_another_chain_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("node.sock");
        serve(&socket, &[Speaks::Core30]);
        let on = |chain: &str| Settings {
            chain: Some(chain.into()),
            ..Settings::new(&socket)
        };
        let mut node = spawn(Ipc::new(on("main"))).unwrap();
        let Ok(Some(Event::Down { reason })) = timeout(LIMIT, node.events.recv()).await else {
            panic!("no word about the chain");
        };
        for part in ["a test chain", "\"main\"", "network", "payout.address"] {
            assert!(reason.contains(part), "{reason}");
        }
        let mut right = spawn(Ipc::new(on("regtest"))).unwrap();
        assert_eq!(troubles(&mut right).await, [""; 0]);
    }
}
