//! The miner's side of job declaration: tokens in stock, declarations, and what a malicious or unlucky server may say.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use std::sync::Arc;
use std::time::Duration;

use adit_proto::declare::client::{
    Client, DECLARATIONS_MAX, Declaration, Event, Input, Mode, NO_TOKEN, NO_VERDICT, Output, Settings,
    UNASKED_MAX, Unasked, Withheld,
};
use adit_proto::{Fault, Time};
use adit_wire::declare::{
    AllocateMiningJobTokenSuccess, DeclareMiningJob, DeclareMiningJobError, DeclareMiningJobSuccess,
    ProvideMissingTransactions, ProvideMissingTransactionsSuccess, PushSolution, ToServer,
};
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_64K, Str0_255, U256};
use bitcoin::consensus::serialize;
use bitcoin::{Amount, ScriptBuf, TxOut};
use proptest::prelude::*;

const NOW: Time = Time(1_800_000_000_000_000);

struct World {
    client: Client,
    now: Time,
    sent: Vec<ToServer>,
    events: Vec<Event>,
}

impl World {
    fn new(mode: Mode) -> Self {
        let settings = Settings {
            mode,
            user_identifier: Str0_255::try_from("farm").unwrap(),
            ..Settings::default()
        };
        let mut world = Self {
            client: Client::new(settings),
            now: NOW,
            sent: Vec::new(),
            events: Vec::new(),
        };
        world.tell(Input::Start).unwrap();
        world
    }

    fn tell(&mut self, input: Input) -> Result<(), Fault> {
        let mut out = Vec::new();
        let result = self.client.handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send(message) => self.sent.push(message),
                Output::Event(event) => self.events.push(event),
            }
        }
        result
    }

    /// Answers every request for a token that was sent so far.
    fn give_tokens(&mut self, script: &[u8]) {
        for request_id in self.take_requests() {
            self.tell(token(request_id, request_id as u8, script)).unwrap();
        }
    }

    fn take_requests(&mut self) -> Vec<u32> {
        let mut ids = Vec::new();
        self.sent.retain(|message| match message {
            ToServer::AllocateMiningJobToken(it) => {
                assert_eq!(it.user_identifier, Str0_255::try_from("farm").unwrap());
                ids.push(it.request_id);
                false
            }
            _ => true,
        });
        ids
    }

    fn take_declared(&mut self) -> DeclareMiningJob {
        let at = self
            .sent
            .iter()
            .position(|it| matches!(it, ToServer::DeclareMiningJob(_)));
        match self.sent.remove(at.unwrap()) {
            ToServer::DeclareMiningJob(it) => it,
            _ => unreachable!(),
        }
    }

    /// A declared job, and the id of its request.
    fn declare(&mut self, job: u32, transactions: usize) -> u32 {
        self.tell(Input::Reserve { job }).unwrap();
        self.give_tokens(&[0x51]);
        let declaration = Box::new(declaration(transactions));
        self.tell(Input::Declare { job, declaration }).unwrap();
        self.take_declared().request_id
    }
}

fn token(request_id: u32, name: u8, script: &[u8]) -> Input {
    let outputs = vec![TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }];
    Input::Message(
        AllocateMiningJobTokenSuccess {
            request_id,
            mining_job_token: B0_255::new(&[name]).unwrap(),
            coinbase_tx_outputs: B0_64K::new(&serialize(&outputs)).unwrap(),
        }
        .into(),
    )
}

fn declaration(transactions: usize) -> Declaration {
    let name = |number: usize| vec![number as u8; 3];
    Declaration {
        version: 0x2000_0000,
        coinbase_tx_prefix: vec![1; 50],
        coinbase_tx_suffix: vec![2; 60],
        wtxids: (0..transactions).map(|number| U256([number as u8; 32])).collect(),
        transactions: Arc::new((0..transactions).map(name).collect()),
    }
}

fn missing(request_id: u32, positions: &[u16]) -> Input {
    Input::Message(
        ProvideMissingTransactions {
            request_id,
            unknown_tx_position_list: Seq0_64K::new(positions.to_vec()).unwrap(),
        }
        .into(),
    )
}

fn success(request_id: u32) -> Input {
    Input::Message(
        DeclareMiningJobSuccess {
            request_id,
            new_mining_job_token: B0_255::new(&[0xaa]).unwrap(),
        }
        .into(),
    )
}

fn error(request_id: u32) -> Input {
    Input::Message(
        DeclareMiningJobError {
            request_id,
            error_code: Str0_255::try_from("no").unwrap(),
            error_details: B0_64K::default(),
        }
        .into(),
    )
}

/// REQ-JD-012, REQ-JD-033, REQ-JD-036: wtxids in block order, transactions in the order asked for, and the new token for
/// SetCustomMiningJob.
#[test]
fn a_job_is_declared_with_its_missing_transactions() {
    let mut world = World::new(Mode::FullTemplate);
    world.give_tokens(&[0x51]);
    assert!(matches!(&world.events[..], [Event::Outputs(outputs)] if outputs.len() == 1));
    world.tell(Input::Reserve { job: 7 }).unwrap();
    assert!(matches!(world.events.last(), Some(Event::Token { job: 7, .. })));
    let declaration = Box::new(declaration(5));
    let wtxids = declaration.wtxids.clone();
    world.tell(Input::Declare { job: 7, declaration }).unwrap();
    let sent = world.take_declared();
    assert_eq!(
        (sent.wtxid_list.to_vec(), sent.mining_job_token.len()),
        (wtxids, 1)
    );
    world.tell(missing(sent.request_id, &[4, 0, 2])).unwrap();
    let Some(ToServer::ProvideMissingTransactionsSuccess(ProvideMissingTransactionsSuccess {
        request_id,
        transaction_list,
    })) = world.sent.pop()
    else {
        panic!("not provided")
    };
    assert_eq!(request_id, sent.request_id);
    let list: Vec<u8> = transaction_list
        .iter()
        .map(|transaction| transaction[0])
        .collect();
    assert_eq!(list, [4, 0, 2]);
    world.tell(success(sent.request_id)).unwrap();
    let token = B0_255::new(&[0xaa]).unwrap();
    assert_eq!(world.events.last(), Some(&Event::Declared { job: 7, token }));
}

#[test]
fn tokens_are_kept_in_stock_and_old_ones_are_not_used() {
    let mut world = World::new(Mode::FullTemplate);
    assert_eq!(world.take_requests().len(), 2);
    let mut world = World::new(Mode::FullTemplate);
    world.give_tokens(&[0x51]);
    assert_eq!(world.client.stock(), 2);
    world.tell(Input::Reserve { job: 1 }).unwrap();
    assert_eq!(
        world.take_requests().len(),
        1,
        "the stock is filled again at once"
    );
    world.now = NOW + Settings::default().token_age_max;
    // The outstanding request would be late by now.
    assert_eq!(world.tell(Input::Deadline), Err(NO_TOKEN));
    let mut world = World::new(Mode::FullTemplate);
    world.give_tokens(&[0x51]);
    world.now = NOW + Settings::default().token_age_max;
    world.tell(Input::Deadline).unwrap();
    assert_eq!((world.client.stock(), world.take_requests().len()), (0, 2));
}

#[test]
fn a_job_waits_for_a_token_and_the_newest_one_gets_it() {
    let mut world = World::new(Mode::CoinbaseOnly);
    let requests = world.take_requests();
    world.tell(Input::Reserve { job: 1 }).unwrap();
    world.tell(Input::Reserve { job: 2 }).unwrap();
    world.tell(token(requests[0], 9, &[0x51])).unwrap();
    let given: Vec<&Event> = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Token { .. }))
        .collect();
    assert!(matches!(given[..], [Event::Token { job: 2, .. }]), "{given:?}");
}

#[test]
fn a_token_of_a_job_that_is_not_declared_is_used_for_the_next() {
    let mut world = World::new(Mode::FullTemplate);
    world.give_tokens(&[0x51]);
    world.tell(Input::Reserve { job: 1 }).unwrap();
    let Some(Event::Token { token: first, .. }) = world.events.last().cloned() else {
        panic!("no token")
    };
    world.tell(Input::Release { job: 1 }).unwrap();
    world.tell(Input::Reserve { job: 2 }).unwrap();
    assert_eq!(world.events.last(), Some(&Event::Token { job: 2, token: first }));
}

#[test]
fn changed_outputs_are_told_and_make_older_tokens_worthless() {
    let mut world = World::new(Mode::FullTemplate);
    world.give_tokens(&[0x51]);
    world.tell(Input::Reserve { job: 1 }).unwrap();
    world.give_tokens(&[0x52]);
    assert!(
        matches!(world.events.last(), Some(Event::Outputs(outputs)) if outputs[0].script_pubkey.as_bytes() == [0x52])
    );
    let declaration = Box::new(declaration(0));
    world.tell(Input::Declare { job: 1, declaration }).unwrap();
    assert_eq!(
        world.events.last(),
        Some(&Event::Withheld {
            job: 1,
            why: Withheld::NoToken
        })
    );
}

/// REQ-JD-038: a token that does not come in time.
#[test]
fn a_server_that_gives_no_token_is_left() {
    let mut world = World::new(Mode::FullTemplate);
    world.now = world.client.deadline().unwrap();
    assert_eq!(world.now - NOW, Settings::default().token_timeout);
    assert_eq!(world.tell(Input::Deadline), Err(NO_TOKEN));
}

#[test]
fn a_server_that_gives_no_verdict_is_left() {
    let mut world = World::new(Mode::FullTemplate);
    world.declare(1, 0);
    world.give_tokens(&[0x51]);
    world.now = world.client.deadline().unwrap();
    assert_eq!(world.now - NOW, Settings::default().declare_timeout);
    assert_eq!(world.tell(Input::Deadline), Err(NO_VERDICT));
}

/// REQ-JD-031: in Coinbase-only mode nothing is declared, no transaction is given away and no solution pushed.
#[test]
fn coinbase_only_mode_reveals_nothing() {
    let mut world = World::new(Mode::CoinbaseOnly);
    world.give_tokens(&[0x51]);
    world.tell(Input::Reserve { job: 1 }).unwrap();
    assert!(matches!(world.events.last(), Some(Event::Token { job: 1, .. })));
    world.give_tokens(&[0x51]);
    let declaration = Box::new(declaration(3));
    world.tell(Input::Declare { job: 1, declaration }).unwrap();
    assert_eq!(
        world.events.last(),
        Some(&Event::Withheld {
            job: 1,
            why: Withheld::CoinbaseOnly
        })
    );
    world.tell(Input::Solution(solution())).unwrap();
    assert_eq!(world.sent, []);
    assert!(matches!(world.tell(missing(3, &[0])), Err(Fault::Misbehaved(_))));
}

/// REQ-JD-046: in Full-Template mode the solution goes out as it is.
#[test]
fn a_solution_is_pushed() {
    let mut world = World::new(Mode::FullTemplate);
    world.take_requests();
    world.tell(Input::Solution(solution())).unwrap();
    assert_eq!(world.sent, [solution().into()]);
}

fn solution() -> PushSolution {
    PushSolution {
        extranonce: B0_32::new(&[5; 20]).unwrap(),
        prev_hash: U256([1; 32]),
        nonce: 2,
        ntime: 3,
        nbits: 4,
        version: 5,
    }
}

/// A malicious pool: answers to nobody's question change nothing, and many of them end the connection.
#[test]
fn unasked_answers_change_nothing() {
    let mut world = World::new(Mode::FullTemplate);
    let request = world.declare(1, 2);
    world.give_tokens(&[0x51]);
    let stock = world.client.stock();
    world.events.clear();
    let lies = [
        (token(9_999, 1, &[0x66]), Unasked::Token),
        (success(9_999), Unasked::Success),
        (error(9_999), Unasked::Error),
        (missing(9_999, &[0]), Unasked::Transactions),
    ];
    for (lie, what) in lies.clone() {
        world.tell(lie).unwrap();
        assert_eq!(world.events.pop(), Some(Event::Unasked(what)));
    }
    assert_eq!((world.client.stock(), world.sent.len()), (stock, 0));
    // The open request is still open.
    world.tell(success(request)).unwrap();
    assert!(matches!(
        world.events.last(),
        Some(Event::Declared { job: 1, .. })
    ));
    // A second answer to it is one too many.
    world.tell(error(request)).unwrap();
    assert_eq!(world.events.last(), Some(&Event::Unasked(Unasked::Error)));
    let mut left = UNASKED_MAX - 5;
    let fault = loop {
        match world.tell(success(9_999)) {
            Ok(()) => left -= 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!((left, matches!(fault, Fault::Misbehaved(_))), (0, true));
}

#[test]
fn transactions_that_were_not_declared_or_were_given_are_not_given() {
    for positions in [&[2u16][..], &[0, 0], &[u16::MAX]] {
        let mut world = World::new(Mode::FullTemplate);
        let request = world.declare(1, 2);
        assert!(
            matches!(world.tell(missing(request, positions)), Err(Fault::Misbehaved(_))),
            "{positions:?}"
        );
        assert_eq!(world.sent.len(), 0);
    }
    // Twice in two messages is no better.
    let mut world = World::new(Mode::FullTemplate);
    let request = world.declare(1, 2);
    world.tell(missing(request, &[1])).unwrap();
    world.tell(missing(request, &[0])).unwrap();
    assert!(matches!(
        world.tell(missing(request, &[1])),
        Err(Fault::Misbehaved(_))
    ));
}

#[test]
fn declarations_under_way_are_bounded() {
    let mut world = World::new(Mode::FullTemplate);
    for job in 0..DECLARATIONS_MAX as u32 {
        world.declare(job, 0);
    }
    world.tell(Input::Reserve { job: 77 }).unwrap();
    let declaration = Box::new(declaration(0));
    world.tell(Input::Declare { job: 77, declaration }).unwrap();
    assert_eq!(
        world.events.last(),
        Some(&Event::Withheld {
            job: 77,
            why: Withheld::TooMany
        })
    );
}

#[test]
fn outputs_that_do_not_decode_are_malformed() {
    for bytes in [&[][..], &[0], &[2, 0], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]] {
        let mut world = World::new(Mode::FullTemplate);
        let request_id = world.take_requests()[0];
        let message = AllocateMiningJobTokenSuccess {
            request_id,
            mining_job_token: B0_255::default(),
            coinbase_tx_outputs: B0_64K::new(bytes).unwrap(),
        };
        assert!(
            matches!(
                world.tell(Input::Message(message.into())),
                Err(Fault::Malformed(_))
            ),
            "{bytes:?}"
        );
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0u32..12, 0u8..3, 0u8..3).prop_map(|(id, name, script)| token(id, name, &[0x51 + script])),
        (0u32..12).prop_map(success),
        (0u32..12).prop_map(error),
        (0u32..12, proptest::collection::vec(0u16..6, 0..4)).prop_map(|(id, list)| missing(id, &list)),
        (0u32..5).prop_map(|job| Input::Reserve { job }),
        (0u32..5).prop_map(|job| Input::Release { job }),
        (0u32..5, 0usize..5).prop_map(|(job, count)| Input::Declare {
            job,
            declaration: Box::new(declaration(count))
        }),
        Just(Input::Deadline),
    ]
}

proptest! {
    /// Whatever is said: replay gives the same outputs, a declaration has a token that was given, and no token is used
    /// twice.
    #[test]
    fn no_token_is_used_twice(inputs in proptest::collection::vec((any_input(), 0u64..3_000_000), 0..60)) {
        let settings = Settings { user_identifier: Str0_255::default(), ..Settings::default() };
        let (mut one, mut two) = (Client::new(settings.clone()), Client::new(settings));
        let (mut now, mut name) = (NOW, 0u16);
        let mut used = std::collections::BTreeSet::new();
        let mut given = std::collections::BTreeSet::new();
        for (mut input, us) in std::iter::once((Input::Start, 0)).chain(inputs) {
            now = now + Duration::from_micros(us);
            // Every token that a server gives is another one.
            if let Input::Message(adit_wire::declare::ToClient::AllocateMiningJobTokenSuccess(it)) = &mut input {
                name += 1;
                it.mining_job_token = B0_255::new(&name.to_le_bytes()).unwrap();
                given.insert(it.mining_job_token.to_vec());
            }
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let result = one.handle(now, input.clone(), &mut a);
            prop_assert_eq!(&result, &two.handle(now, input, &mut b));
            prop_assert_eq!(&a, &b);
            for output in a {
                if let Output::Send(ToServer::DeclareMiningJob(it)) = output {
                    prop_assert!(given.contains(&it.mining_job_token.to_vec()));
                    prop_assert!(used.insert(it.mining_job_token.to_vec()));
                }
            }
            if result.is_err() {
                break;
            }
        }
    }
}
