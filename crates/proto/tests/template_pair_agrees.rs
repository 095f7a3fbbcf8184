//! Provider and pool, each fed with what the other puts out.

mod templates;

use std::sync::Arc;
use std::time::Duration;

use adit_proto::template::server::Offer;
use adit_proto::template::{Constraints, client, server};
use adit_proto::{Fault, Time};
use adit_wire::template::{RequestTransactionData, SubmitSolution, ToServer};
use proptest::prelude::*;
use templates::paired;

/// What happens at the provider, or what the pool wants.
#[derive(Clone, Debug)]
enum Step {
    Node { source: u64, tip: u8, size: u32 },
    Room { size: u32 },
    Ask { template_id: u64 },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..50u64, 0..5u8, 0..4u32).prop_map(|(source, tip, size)| Step::Node { source, tip, size }),
        1 => (0..4u32).prop_map(|size| Step::Room { size }),
        1 => (0..60u64).prop_map(|template_id| Step::Ask { template_id }),
        1 => (0..5_000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn room(size: u32) -> Constraints {
    Constraints {
        max_additional_size: size,
        max_additional_sigops: 0,
    }
}

fn offered(source: u64, tip: u8, size: u32) -> Arc<Offer> {
    Arc::new(Offer {
        source,
        constraints: room(size),
        paired: paired(0, false, tip),
    })
}

struct Pair {
    now: Time,
    server: server::Server,
    client: client::Client,
    /// Everything that was put out, in order.
    said: Vec<String>,
    work: Vec<client::Work>,
}

impl Pair {
    fn new() -> Self {
        let now = Time(1);
        Self {
            now,
            server: server::Server::new(now, &server::Settings::default()),
            client: client::Client::new(client::Settings::default()),
            said: Vec::new(),
            work: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match *step {
            Step::Node { source, tip, size } => self.server(server::Input::Offer(offered(source, tip, size))),
            Step::Room { size } => self.client(client::Input::Constraints(room(size))),
            Step::Ask { template_id } => self.client(client::Input::Request { template_id }),
            Step::Wait { ms } => {
                self.now = self.now + Duration::from_millis(ms);
                self.server(server::Input::Deadline)?;
                self.client(client::Input::Deadline)
            }
        }
    }

    fn server(&mut self, input: server::Input) -> Result<(), Fault> {
        let mut out = Vec::new();
        let result = self.server.handle(self.now, input, &mut out);
        for output in out {
            self.said.push(format!("{output:?}"));
            match output {
                server::Output::Send(message) => self.client(client::Input::Message(message))?,
                server::Output::Transactions { template_id, .. } => {
                    let transactions = Some(Arc::new(vec![vec![1]]));
                    self.server(server::Input::Transactions {
                        template_id,
                        transactions,
                    })?;
                }
                _ => {}
            }
        }
        result
    }

    fn client(&mut self, input: client::Input) -> Result<(), Fault> {
        let mut out = Vec::new();
        let result = self.client.handle(self.now, input, &mut out);
        for output in out {
            self.said.push(format!("{output:?}"));
            match output {
                client::Output::Send(message) => self.server(server::Input::Message(message))?,
                client::Output::Work(work) => self.work.push(*work),
                client::Output::Event(_) => {}
            }
        }
        result
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// REQ-TDP-009, REQ-TDP-015: whatever the node does, the pool mines what has its room, each id once and higher than
    /// the last, and never finds fault with the provider. Replayed, it is the same.
    #[test]
    fn the_pool_never_finds_fault(steps in prop::collection::vec(step(), 0..60)) {
        let run = || {
            let mut pair = Pair::new();
            for step in &steps {
                match pair.step(step) {
                    Ok(()) => {}
                    Err(Fault::Expired(_)) => break,
                    Err(Fault::Misbehaved(why)) => {
                        // The provider's patience with a pool that changes its mind is the only thing that ends.
                        assert!(why.contains("change"), "{why}");
                        break;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            pair
        };
        let pair = run();
        prop_assert!(pair.work.windows(2).all(|two| two[0].paired.template.template_id < two[1].paired.template.template_id));
        prop_assert_eq!(&pair.said, &run().said);
        let mut wanted = None;
        let mut works = pair.work.iter();
        for said in &pair.said {
            if let Some(rest) = said.strip_prefix("Constraints(") {
                wanted = Some(rest.to_owned());
            } else if said.starts_with("Work(") {
                let asked = works.next().unwrap().constraints;
                let asked = format!("{asked:?})");
                prop_assert_eq!(Some(&asked), wanted.as_ref());
            }
        }
    }

    /// Any list of messages, in any order, is answered or ends the connection; nothing panics.
    #[test]
    fn the_provider_survives_anything(
        messages in prop::collection::vec((0..4u8, any::<u64>(), any::<u32>()), 0..80),
    ) {
        let mut server = server::Server::new(Time(1), &server::Settings::default());
        let mut out = Vec::new();
        for (kind, number, size) in messages {
            let input = match kind {
                0 => server::Input::Message(ToServer::from(RequestTransactionData { template_id: number % 64 })),
                1 => server::Input::Message(adit_wire::template::CoinbaseOutputConstraints::from(room(size % 2_000_000)).into()),
                2 => server::Input::Message(SubmitSolution {
                    template_id: number % 64, version: size, header_timestamp: size, header_nonce: size,
                    coinbase_tx: Default::default(),
                }.into()),
                _ => server::Input::Offer(offered(number, (number % 5) as u8, size)),
            };
            if server.handle(Time(number), input, &mut out).is_err() {
                break;
            }
        }
        prop_assert!(out.len() <= 200);
    }
}
