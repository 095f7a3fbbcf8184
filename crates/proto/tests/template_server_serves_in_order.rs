//! The template provider's machine: ids, order, room, and what becomes of old templates.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod templates;

use std::sync::Arc;
use std::time::Duration;

use adit_proto::template::server::{
    CHANGES_MAX, Event, Input, Offer, Output, REQUESTS_MAX, Server, Settings, TIPS_MAX,
};
use adit_proto::{Fault, Time};
use adit_wire::message::Message;
use adit_wire::template::{
    CoinbaseOutputConstraints, RequestTransactionData, SIGOPS_OF_2022, SubmitSolution, ToClient, ToServer,
    decode_to_server,
};
use adit_wire::{Header, Reason};
use templates::{ROOM, offer};

const NOW: Time = Time(1_000_000);

struct Provider(Server);

impl Provider {
    fn new() -> Self {
        Self(Server::new(NOW, &Settings::default()))
    }

    /// Of a client that has said what room it needs.
    fn serving() -> Self {
        let mut provider = Self::new();
        assert_eq!(
            provider.say(CoinbaseOutputConstraints::from(ROOM)),
            [Output::Constraints(ROOM)]
        );
        provider
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.handle(NOW, input, &mut out).unwrap();
        out
    }

    fn say(&mut self, message: impl Into<ToServer>) -> Vec<Output> {
        self.give(Input::Message(message.into()))
    }

    /// Names and ids of what is sent for an offer: whether it was a future template, and whether a tip followed.
    fn offer(&mut self, offer: Arc<Offer>) -> Vec<(u64, bool, bool)> {
        let mut sent = Vec::new();
        for output in self.give(Input::Offer(offer)) {
            match output {
                Output::Send(ToClient::NewTemplate(it)) => {
                    sent.push((it.template_id, it.future_template, false));
                }
                Output::Send(ToClient::SetNewPrevHash(it)) => {
                    let (id, _, tip) = sent.last_mut().unwrap();
                    assert_eq!(*id, it.template_id);
                    *tip = true;
                }
                other => panic!("{other:?}"),
            }
        }
        sent
    }
}

fn solution(template_id: u64) -> SubmitSolution {
    SubmitSolution {
        template_id,
        version: 0x2000_0000,
        header_timestamp: 1_800_000_001,
        header_nonce: 5,
        coinbase_tx: [1u8; 90][..].try_into().unwrap(),
    }
}

/// REQ-TDP-003: nothing before the constraints, and not for ever.
#[test]
fn no_template_before_the_constraints() {
    let mut provider = Provider::new();
    assert_eq!(provider.give(Input::Offer(offer(1, 1))), []);
    let until = provider.0.deadline().unwrap();
    assert_eq!(until, NOW + Settings::default().timeout);
    let mut out = Vec::new();
    assert_eq!(provider.0.handle(NOW, Input::Deadline, &mut out), Ok(()));
    let late = provider.0.handle(until, Input::Deadline, &mut out);
    assert!(matches!(late, Err(Fault::Expired(_))), "{late:?}");
}

/// REQ-TDP-002, REQ-TDP-015, REQ-TDP-025, REQ-TDP-027: the first template and each on a new tip goes out as a future
/// one with its SetNewPrevHash right behind it; others count for the tip that is. Ids rise, whatever the source says.
#[test]
fn a_future_template_goes_before_each_tip() {
    let mut provider = Provider::serving();
    assert_eq!(provider.offer(offer(70, 1)), [(1, true, true)]);
    assert_eq!(provider.offer(offer(71, 1)), [(2, false, false)]);
    assert_eq!(provider.offer(offer(71, 1)), [], "the same again");
    assert_eq!(provider.offer(offer(72, 2)), [(3, true, true)]);
    assert_eq!(
        provider.offer(offer(3, 1)),
        [(4, true, true)],
        "a tip that returns"
    );
    let mut harder = Offer::clone(&offer(4, 1));
    harder.paired.tip.n_bits -= 1;
    let harder = provider.offer(Arc::new(harder));
    assert_eq!(harder, [(5, true, true)], "another difficulty is a new tip");
    // REQ-TDP-031: so is another target alone.
    let mut asked = Offer::clone(&offer(5, 1));
    asked.paired.tip.target.0[31] -= 1;
    assert_eq!(provider.offer(Arc::new(asked)), [(6, true, true)]);
}

/// REQ-TDP-014: later constraints replace earlier ones, and a template with that room follows.
#[test]
fn later_constraints_replace_earlier_ones() {
    let mut provider = Provider::serving();
    assert_eq!(provider.offer(offer(1, 1)), [(1, true, true)]);
    let mut more = ROOM;
    more.max_additional_size += 1;
    provider.say(CoinbaseOutputConstraints::from(more));
    assert_eq!(provider.0.wanted(), Some(more));
    assert_eq!(provider.offer(offer(2, 1)), [], "too little room");
    let roomy = Offer {
        constraints: more,
        ..Offer::clone(&offer(3, 1))
    };
    assert_eq!(provider.offer(Arc::new(roomy)), [(2, false, false)]);
    provider.say(CoinbaseOutputConstraints::from(ROOM));
    assert_eq!(
        provider.offer(offer(3, 1)),
        [(3, false, false)],
        "said again, answered again"
    );
}

/// REQ-TDP-013: the 4-byte message of 2022 leaves room for 400 signature operations (C-79); a shorter one is malformed.
#[test]
fn the_message_of_2022_is_taken() {
    let header = |bytes| Header::new(0, false, CoinbaseOutputConstraints::TYPE, bytes);
    let message = decode_to_server(&header(4), &[100, 0, 0, 0]).unwrap();
    let expected = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 100,
        coinbase_output_max_additional_sigops: SIGOPS_OF_2022,
    };
    assert_eq!(SIGOPS_OF_2022, 400);
    assert_eq!(message, ToServer::from(expected.clone()));
    let whole = decode_to_server(&header(6), &[100, 0, 0, 0, 0x90, 1]).unwrap();
    assert_eq!(whole, ToServer::from(expected));
    for bytes in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        let error = decode_to_server(&header(bytes.len() as u32), bytes).unwrap_err();
        assert!(
            matches!(
                error,
                adit_wire::DecodeError::Malformed {
                    reason: Reason::Truncated,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// Room that no block has ends the connection with a reason (C-87), and so does asking for another room all the time.
#[test]
fn insane_constraints_are_refused() {
    let mut out = Vec::new();
    for size in [999_709, 4_000_001, u32::MAX] {
        let constraints = CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: size,
            coinbase_output_max_additional_sigops: 0,
        };
        let mut provider = Provider::new();
        let fault = provider
            .0
            .handle(NOW, Input::Message(constraints.into()), &mut out);
        assert!(
            matches!(fault, Err(Fault::Misbehaved(why)) if why.contains("room")),
            "{fault:?}"
        );
    }
    let mut provider = Provider::new();
    let message = || Input::Message(CoinbaseOutputConstraints::from(ROOM).into());
    for _ in 0..CHANGES_MAX {
        provider.give(message());
    }
    assert!(provider.0.handle(NOW, message(), &mut out).is_err());
    let later = NOW + Duration::from_secs(1);
    assert_eq!(provider.0.handle(later, message(), &mut out), Ok(()));
}

/// REQ-TDP-032, REQ-TDP-033, REQ-TDP-038: transactions in their order, or a code for the same id.
#[test]
fn each_request_for_transactions_is_answered() {
    let mut provider = Provider::serving();
    provider.offer(offer(9, 1));
    let asked = provider.say(RequestTransactionData { template_id: 1 });
    assert_eq!(
        asked,
        [Output::Transactions {
            template_id: 1,
            source: 9
        }]
    );
    let list = Arc::new(vec![vec![3, 3], vec![1], vec![2, 2, 2]]);
    let answer = |known| Input::Transactions {
        template_id: 1,
        transactions: known,
    };
    match &provider.give(answer(Some(Arc::clone(&list))))[..] {
        [Output::Send(ToClient::RequestTransactionDataSuccess(it))] => {
            let got: Vec<Vec<u8>> = it.transaction_list.iter().map(|tx| tx.to_vec()).collect();
            assert_eq!((it.template_id, &got), (1, &*list));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(provider.give(answer(None)), [], "nobody asked again");
    provider.say(RequestTransactionData { template_id: 1 });
    let code = |outputs: &[Output]| match outputs {
        [Output::Send(ToClient::RequestTransactionDataError(it))] => {
            (it.template_id, it.error_code.to_string())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        code(&provider.give(answer(None))),
        (1, "stale-template-id".to_owned())
    );
    for never in [0, 2, u64::MAX] {
        let refused = provider.say(RequestTransactionData { template_id: never });
        assert_eq!(code(&refused), (never, "template-id-not-found".to_owned()));
    }
    // Far down the chain it is forgotten.
    for tip in 2..=TIPS_MAX as u8 + 2 {
        provider.offer(offer(u64::from(tip) + 9, tip));
    }
    let refused = provider.say(RequestTransactionData { template_id: 1 });
    assert_eq!(code(&refused), (1, "stale-template-id".to_owned()));
}

#[test]
fn waiting_requests_are_bounded() {
    let mut provider = Provider::serving();
    provider.offer(offer(9, 1));
    let request = || Input::Message(RequestTransactionData { template_id: 1 }.into());
    for _ in 0..REQUESTS_MAX {
        provider.give(request());
    }
    let fault = provider.0.handle(NOW, request(), &mut Vec::new());
    assert!(matches!(fault, Err(Fault::Misbehaved(_))), "{fault:?}");
}

/// REQ-TDP-006, REQ-TDP-045: a solution goes on however old its template is; of an unknown one only the log hears.
#[test]
fn a_solution_of_an_old_template_goes_on() {
    let mut provider = Provider::serving();
    provider.offer(offer(9, 1));
    for tip in 2..=TIPS_MAX as u8 {
        provider.offer(offer(u64::from(tip) + 9, tip));
    }
    let on = provider.say(solution(1));
    assert_eq!(
        on,
        [Output::Solution {
            source: 9,
            solution: solution(1)
        }]
    );
    let lost = provider.say(solution(99));
    assert_eq!(lost, [Output::Event(Event::UnknownTemplate { template_id: 99 })]);
}
