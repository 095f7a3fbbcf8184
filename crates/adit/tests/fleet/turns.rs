//! Who may make a batch of payments: one front end after the other, and nobody who does not know what the others have paid.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit::fleet::exchange::pair;
use adit::fleet::{Bus, Common, Holding, Lease};
use adit::shutdown::{Shutdown, Stop};
use adit_ledger::{AccountId, Statement};
use adit_net::Clock;
use adit_testkit::NatsServer;

use crate::leases::holding;
use crate::transport::{nats, until};

/// How long a statement holds.
const STEP: Duration = Duration::from_millis(200);
const MINER: AccountId = [7; 16];

/// A front end that says what it is told to.
struct Speaker {
    common: Common,
    clock: Clock,
    _stop: Stop,
}

impl Speaker {
    async fn start(url: &str, number: u16) -> Self {
        let bus = Bus::connect(&nats(url), "a speaker").await.unwrap();
        let (clock, (stop, shutdown)) = (Clock::system(), Shutdown::new());
        let (common, carrier) = pair(&clock);
        tokio::spawn(carrier.run(bus, number, STEP, shutdown));
        Self {
            common,
            clock,
            _stop: stop,
        }
    }

    fn says(&self, owed_sat: i64) {
        self.common.say(Arc::new(Statement {
            number: self.clock.now().0,
            carries: Arc::new(HashMap::from([(MINER, owed_sat)])),
            ..Statement::default()
        }));
    }

    /// Waits until it has heard that from the others.
    async fn hears(&self, owed_sat: i64) {
        let heard = || self.common.carries_elsewhere().get(&MINER).copied();
        until("what the others owe", || heard() == Some(owed_sat)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_front_end_after_the_other_makes_a_batch() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    let url = server.url();
    let (a, b) = (Speaker::start(&url, 1).await, Speaker::start(&url, 2).await);
    a.says(100);
    b.says(50);
    a.hears(50).await;
    b.hears(100).await;
    assert_eq!((a.common.know().await, b.common.know().await), (Ok(()), Ok(())));

    // What the first one has booked is known before the second one makes a batch.
    assert_eq!(a.common.turn().await, Ok(()));
    let early = b.common.turn().await.unwrap_err();
    assert!(early.contains("front end 1 has made a batch"), "{early}");
    a.common.paid().await;
    let early = b.common.turn().await.unwrap_err();
    assert!(early.contains("front end 1 has made a batch"), "{early}");
    let waits = tokio::spawn({
        let common = b.common.clone();
        async move { (common.turn().await, common.carries_elsewhere()) }
    });
    a.says(0);
    let (turn, elsewhere) = waits.await.unwrap();
    // It takes its turn with what it has heard by then, and not before.
    assert_eq!((turn, elsewhere.get(&MINER).copied().unwrap_or(0)), (Ok(()), 0));

    // A front end follows itself; of two at once, one does.
    assert_eq!(b.common.turn().await, Ok(()));
    b.common.paid().await;
    b.says(1);
    a.hears(1).await;
    let both: [Result<(), String>; 2] = tokio::join!(a.common.turn(), b.common.turn()).into();
    assert_eq!(both.iter().filter(|turn| turn.is_ok()).count(), 1, "{both:?}");

    // Nobody pays without knowing.
    server.kill();
    let unknown = a.common.know().await.unwrap_err();
    assert!(unknown.contains("nothing is paid twice"), "{unknown}");
    server.launch();
    tokio::time::timeout(crate::transport::LIMIT, async {
        while a.common.know().await.is_err() {}
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pays_before_everybody_was_heard() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let url = server.url();
    let bus = Bus::connect(&nats(&url), "a silent one").await.unwrap();
    let silent = Holding {
        split: "00".into(),
        ..holding(9)
    };
    let lease = Lease::take(&bus, silent).await.unwrap();
    let speaker = Speaker::start(&url, 1).await;
    // Both ask at once, and each has its answer.
    let (know, turn) = tokio::join!(speaker.common.know(), speaker.common.turn());
    for answer in [know, turn] {
        let reason = answer.unwrap_err();
        assert!(
            reason.contains("front end 9 (here)") && reason.contains("adit fleet release 9"),
            "{reason}"
        );
    }
    // It has ended in order, and has said nothing that anybody has to know.
    lease.stop().await;
    assert_eq!(speaker.common.turn().await, Ok(()));
}
