//! The machine of a pool on a template provider: which template is to be mined when.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod templates;

use std::time::Duration;

use adit_proto::template::client::{Client, EARLY_MAX, Event, FUTURES_MAX, Input, Output, Settings, Work};
use adit_proto::{Fault, Time};
use adit_wire::template::{
    CoinbaseOutputConstraints, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SubmitSolution, ToClient,
};
use adit_wire::types::{B0_16M, TransactionList};
use templates::{ROOM, paired};

const NOW: Time = Time(1_000_000);

struct Pool(Client);

impl Pool {
    fn new() -> Self {
        let mut pool = Self(Client::new(Settings::default()));
        let said = pool.give(Input::Constraints(ROOM));
        assert_eq!(said, [Output::Send(CoinbaseOutputConstraints::from(ROOM).into())]);
        pool
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.handle(NOW, input, &mut out).unwrap();
        out
    }

    fn hear(&mut self, message: impl Into<ToClient>) -> Vec<Output> {
        self.give(Input::Message(message.into()))
    }

    fn fault(&mut self, message: impl Into<ToClient>) -> Fault {
        let mut out = Vec::new();
        self.0
            .handle(NOW, Input::Message(message.into()), &mut out)
            .unwrap_err()
    }
}

/// Which template is to be mined on which tip.
fn work(outputs: &[Output]) -> (u64, u8) {
    match outputs {
        [Output::Work(work)] => {
            let Work { paired, outputs, .. } = &**work;
            assert_eq!(outputs.len(), 1);
            (paired.template.template_id, paired.tip.prev_hash.0[0])
        }
        other => panic!("{other:?}"),
    }
}

/// REQ-TDP-001, REQ-TDP-008: the constraints are the first thing that is said, size and signature operations; the same
/// ones are not said twice.
#[test]
fn constraints_are_said_first_and_once() {
    let mut pool = Pool::new();
    assert_eq!(pool.give(Input::Constraints(ROOM)), []);
    let mut more = ROOM;
    more.max_additional_sigops += 4;
    assert_eq!(pool.give(Input::Constraints(more)).len(), 1);
}

/// REQ-TDP-016, REQ-TDP-026, REQ-TDP-028, REQ-TDP-029: future templates wait for the tip that names one of them, the
/// others are dropped then; a template for now is mined at once.
#[test]
fn a_future_template_waits_for_its_tip() {
    let mut pool = Pool::new();
    for id in 1..=3 {
        let future = pool.hear(paired(id, true, 1).template);
        assert_eq!(future, [Output::Event(Event::Future { template_id: id })]);
    }
    assert_eq!(work(&pool.hear(paired(2, true, 1).tip)), (2, 1));
    assert_eq!(work(&pool.hear(paired(4, false, 1).template)), (4, 1));
    let dropped = pool.hear(paired(3, true, 2).tip);
    assert_eq!(dropped, [Output::Event(Event::UnknownTip { template_id: 3 })]);
    assert_eq!(
        work(&pool.hear(paired(5, false, 2).template)),
        (5, 2),
        "on the newest tip"
    );
}

/// REQ-TDP-018, REQ-TDP-020: as many outputs as the template counts, byte for byte; REQ-TDP-017: no longer prefix than
/// any height needs (C-85).
#[test]
fn a_template_that_cannot_be_mined_ends_the_connection() {
    let with = |change: fn(&mut adit_wire::template::NewTemplate)| {
        let mut template = paired(1, true, 1).template;
        change(&mut template);
        Pool::new().fault(template)
    };
    let kinds = [
        with(|it| it.coinbase_tx_outputs_count = 2),
        with(|it| it.coinbase_tx_outputs_count = 0),
        with(|it| it.coinbase_tx_outputs = [1u8; 9][..].try_into().unwrap()),
        with(|it| it.coinbase_prefix = [1u8; 9][..].try_into().unwrap()),
        with(|it| it.merkle_path = vec![Default::default(); 33].try_into().unwrap()),
        with(|it| it.future_template = false),
    ]
    .map(|fault| fault.kind());
    assert_eq!(
        kinds,
        [
            "malformed",
            "malformed",
            "malformed",
            "misbehaved",
            "misbehaved",
            "misbehaved"
        ]
    );
}

/// REQ-TDP-015: ids that do not rise would mix up which template was solved.
#[test]
fn ids_rise() {
    let mut pool = Pool::new();
    pool.hear(paired(5, true, 1).template);
    assert!(matches!(
        pool.fault(paired(5, true, 1).template),
        Fault::Misbehaved(_)
    ));
    assert!(matches!(
        pool.fault(paired(4, true, 1).template),
        Fault::Misbehaved(_)
    ));
}

#[test]
fn future_templates_are_bounded_and_the_newest_stay() {
    let mut pool = Pool::new();
    let last = FUTURES_MAX as u64 + 5;
    for id in 1..=last {
        pool.hear(paired(id, true, 1).template);
    }
    assert_eq!(
        pool.hear(paired(5, true, 1).tip),
        [Output::Event(Event::UnknownTip { template_id: 5 })]
    );
    let mut pool = Pool::new();
    for id in 1..=last {
        pool.hear(paired(id, true, 1).template);
    }
    assert_eq!(work(&pool.hear(paired(last, true, 1).tip)), (last, 1));
}

/// REQ-TDP-034, REQ-TDP-035: transactions are handed on as they came, whatever the extra data is; only when asked for.
#[test]
fn transactions_are_handed_on_when_asked_for() {
    let mut pool = Pool::new();
    let list = TransactionList::new(vec![B0_16M::new(&[1, 2]).unwrap(), B0_16M::new(&[]).unwrap()]).unwrap();
    let success = RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: [0xff; 40][..].try_into().unwrap(),
        transaction_list: list.clone(),
    };
    assert_eq!(pool.hear(success.clone()), []);
    let request = Input::Request { template_id: 7 };
    let asked = pool.give(request.clone());
    assert_eq!(
        asked,
        [Output::Send(RequestTransactionData { template_id: 7 }.into())]
    );
    assert_eq!(pool.give(request.clone()), [], "under way already");
    let got = Output::Event(Event::Transactions {
        template_id: 7,
        transactions: list,
    });
    assert_eq!(pool.hear(success), [got]);
    pool.give(request.clone());
    let error = RequestTransactionDataError {
        template_id: 7,
        error_code: "stale-template-id".try_into().unwrap(),
    };
    let refused = Event::NoTransactions {
        template_id: 7,
        code: Some("stale-template-id".try_into().unwrap()),
    };
    assert_eq!(pool.hear(error), [Output::Event(refused)]);
    pool.give(request);
    let mut out = Vec::new();
    let until = pool.0.deadline().unwrap();
    pool.0.handle(until, Input::Deadline, &mut out).unwrap();
    let silent = Event::NoTransactions {
        template_id: 7,
        code: None,
    };
    assert_eq!(out, [Output::Event(silent)]);
    assert_eq!(pool.0.deadline(), None);
}

/// REQ-TDP-039, REQ-TDP-043: a solution goes out at once, its coinbase untouched.
#[test]
fn a_solution_goes_out_as_it_is() {
    let solution = SubmitSolution {
        template_id: 3,
        version: 1,
        header_timestamp: 2,
        header_nonce: 3,
        coinbase_tx: [2, 0, 0, 0, 0, 1, 1][..].try_into().unwrap(),
    };
    let said = Pool::new().give(Input::Solution(solution.clone()));
    assert_eq!(said, [Output::Send(solution.into())]);
}

/// REQ-TDP-030: the header time of a tip is where its headers start, not the network's least: on the same tip it goes on
/// with the clock, and the next tip may start before it.
#[test]
fn header_times_start_where_the_provider_says_and_go_on_with_the_clock() {
    let mut pool = Pool::new();
    let start = |outputs: &[Output]| match outputs {
        [Output::Work(work)] => (work.header_timestamp, work.paired.tip.header_timestamp),
        other => panic!("{other:?}"),
    };
    let first = paired(1, true, 1);
    let told = first.tip.header_timestamp;
    pool.hear(first.template);
    assert_eq!(start(&pool.hear(first.tip)), (told, told));
    let mut out = Vec::new();
    let later = NOW + Duration::from_millis(7_900);
    let second = Input::Message(paired(2, false, 1).template.into());
    pool.0.handle(later, second, &mut out).unwrap();
    assert_eq!(start(&out), (told + 7, told));
    let mut next = paired(3, true, 2);
    next.tip.header_timestamp = told - 600;
    pool.hear(next.template);
    assert_eq!(start(&pool.hear(next.tip)), (told - 600, told - 600));
}

/// REQ-TDP-042: a solution goes out at once; one of a later second once more when it has come (C-100).
#[test]
fn a_solution_of_a_later_second_goes_out_twice() {
    let mut pool = Pool::new();
    let work = paired(1, true, 1);
    let told = work.tip.header_timestamp;
    pool.hear(work.template);
    pool.hear(work.tip);
    let solution = |seconds: u32, header_nonce: u32| SubmitSolution {
        template_id: 1,
        version: 1,
        header_timestamp: told + seconds,
        header_nonce,
        coinbase_tx: Default::default(),
    };
    let at = |milliseconds| NOW + Duration::from_millis(milliseconds);
    let mut say = |now, input| {
        let mut out = Vec::new();
        pool.0.handle(now, input, &mut out).unwrap();
        (out, pool.0.deadline())
    };
    let sent = |solution: SubmitSolution| Output::Send(solution.into());
    let early = |seconds| {
        Output::Event(Event::Early {
            template_id: 1,
            seconds,
        })
    };
    let passed = solution(5, 1);
    let said = say(at(5_000), Input::Solution(passed.clone()));
    assert_eq!(said, (vec![sent(passed)], None));
    let ahead = solution(8, 2);
    let said = say(at(5_999), Input::Solution(ahead.clone()));
    assert_eq!(said, (vec![early(3), sent(ahead.clone())], Some(at(8_000))));
    // Whoever gets no answer asks again.
    let said = say(at(7_000), Input::Solution(ahead.clone()));
    assert_eq!(said, (vec![early(1), sent(ahead.clone())], Some(at(8_000))));
    assert_eq!(say(at(7_999), Input::Deadline), (vec![], Some(at(8_000))));
    assert_eq!(say(at(8_000), Input::Deadline), (vec![sent(ahead)], None));
    for nonce in 0..2 * EARLY_MAX as u32 {
        say(at(8_000), Input::Solution(solution(20, nonce)));
    }
    assert_eq!(say(at(20_000), Input::Deadline).0.len(), EARLY_MAX);
}

/// REQ-TDP-031: the target is the provider's to name, but some hash has to meet it.
#[test]
fn a_tip_whose_target_nothing_meets_ends_the_connection() {
    let mut tip = paired(1, true, 1).tip;
    tip.target = Default::default();
    assert!(matches!(Pool::new().fault(tip), Fault::Misbehaved(_)));
}
