//! In the pool's custody: the coinbase pays the pool, everybody has a balance, and it can be paid when the block is mature.

use std::path::Path;
use std::time::Duration;

use adit::books::query::{Page, PayoutRow, payouts};
use adit_ledger::money::Money;
use adit_ledger::record::PayoutState;
use adit_proto::mining::server::AccountId;

use super::support::House;
use super::support::miner::{How, Miner};
use super::support::process::run;
use super::support::{SOON, until};
use super::{address, coinbase, find_block, outputs, pool_address, work};

#[tokio::test]
async fn balances_follow_from_the_window_and_mature() {
    let pool = pool_address();
    let changes = [
        ("payout.scheme", "pool"),
        ("payout.address", pool.text.as_str()),
        ("payout.fee_bp", "200"),
        ("payout.refresh_ms", "100"),
        ("embedded.transactions", "2"),
        ("node", "embedded:12"),
    ];
    let house = House::open(&changes).await;
    let url = house.pool.url().clone();
    let (a, b) = (address(1), address(2));
    let mut one = Miner::start(&url, How::Extended, &a.text).await;
    let mut other = Miner::start(&url, How::Extended, &b.text).await;
    work(&mut one, 30).await;
    work(&mut other, 10).await;
    let prover = house.pool.prover().clone();
    until("the work is in the window", || {
        prover
            .preview()
            .is_some_and(|it| it.work == "40" && it.lines.len() == 3)
    })
    .await;
    // Its first job is the newest one.
    drop(one);
    let mut one = Miner::start(&url, How::Extended, &a.text).await;
    let only = outputs(&coinbase(&one).1);
    assert_eq!(only.len(), 1, "the pool is paid");
    let block = find_block(&house, &mut one).await;
    assert_eq!(block.outputs(), [(pool.script.to_bytes(), only[0].1)]);
    let value = only[0].1;
    let rest = value - value / 50;
    let id = |payout: &adit::config::Payout| AccountId::of(payout.text.as_bytes()).0;
    let money = || Money::clone(adit_ledger::verify::book(house.data.path()).unwrap().money());
    until("it is booked", || money().carry_sat(&id(&a)) > 0).await;
    let now = money();
    let (of_a, of_b) = ((rest * 30 / 40) as i64, (rest * 10 / 40) as i64);
    assert_eq!(
        (now.immature_sat(&id(&a)), now.immature_sat(&id(&b))),
        (of_a, of_b)
    );
    assert_eq!(now.carry_sat(&id(&pool)), -(of_a + of_b));
    assert_eq!(now.mature().len(), 0, "nothing can be paid yet");
    for _ in 0..100 {
        house.pool.node().reorganise(0).await.unwrap();
        one.next_tip().await;
    }
    until("it matures", || money().mature().len() == 3).await;
    let now = money();
    let owed = |payout| {
        now.mature()
            .find(|(account, _)| **account == id(payout))
            .unwrap()
            .1
            .owed_sat()
    };
    assert_eq!((owed(&a), owed(&b), owed(&pool)), (of_a, of_b, -(of_a + of_b)));
    let rest = Paid {
        house: &house,
        pool: &pool.text,
        a: (&a.text, of_a),
        b: (&b.text, of_b),
    };
    rest.is_booked_once().await;
    rest.can_be_taken_back().await;
    rest.is_in_the_books().await;
    drop((one, other));
    house.close().await;
}

/// A pool that owes two miners, and the command line of who runs it.
struct Paid<'a> {
    house: &'a House,
    pool: &'a str,
    a: (&'a str, i64),
    b: (&'a str, i64),
}

const TXID: &str = "00000000000000000000000000000000000000000000000000000000000000ab";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000cd";

impl Paid<'_> {
    /// `adit payout WORDS`: whether it went well, and what it printed. The pool goes on meanwhile.
    async fn payout(&self, words: &str) -> (bool, String) {
        let data = self.house.data.path().to_owned();
        let more = format!(
            "--set network=regtest --set payout.scheme=pool --set payout.address={} --data {}",
            self.pool,
            data.display()
        );
        let line = format!("payout {words} {more}");
        let run = tokio::task::spawn_blocking(move || run(Path::new(&data), &line));
        let output = run.await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    async fn prints(&self, words: &str, expected: &str) {
        assert_eq!(self.payout(words).await, (true, expected.to_owned()), "{words}");
    }

    async fn refuses(&self, words: &str, why: &str) {
        let (well, said) = self.payout(words).await;
        assert!(!well && said.contains(why), "{words}: {said}");
    }

    fn list(&self, who: &[(&str, i64)]) -> String {
        let lines = who.iter().map(|(address, sat)| format!("{address},{sat}\n"));
        format!("address,sat\n{}", lines.collect::<String>())
    }

    /// What is listed under a name is taken from the balances, and is told again as it was.
    async fn is_booked_once(&self) {
        let (a, b) = (self.a, self.b);
        for _ in 0..2 {
            self.prints("export", &self.list(&[a, b])).await;
        }
        let first = format!("export --batch first --minimum {}", b.1 + 1);
        for _ in 0..2 {
            self.prints(&first, &self.list(&[a])).await;
        }
        self.prints("export", &self.list(&[b])).await;
        for _ in 0..2 {
            self.prints("export --batch second", &self.list(&[b])).await;
        }
        self.prints("export", &self.list(&[])).await;
        self.refuses("export --batch third", "nobody can be paid").await;
        self.refuses("export --batch two,words", "1 to 16 letters").await;
        let coins = |sat: i64| format!("{}.{:08}", sat / 100_000_000, sat % 100_000_000);
        let psbt = format!("[{{\"{}\":\"{}\"}}]\n", a.0, coins(a.1));
        self.prints("export --batch first --psbt", &psbt).await;
        let (_, balances) = self.payout("balances").await;
        for (name, sat) in [a, b] {
            assert!(
                balances.contains(&format!("{name},{sat},0,{sat},0,0\n")),
                "{balances}"
            );
        }
    }

    /// A cancelled batch is owed again, once; one in the chain stays.
    async fn can_be_taken_back(&self) {
        let (a, b) = (self.a, self.b);
        let header = "batch,state,outputs,total_sat,txid\n";
        let (first, second) = (
            format!("first,confirmed,1,{},{TXID}\n", a.1),
            format!("second,cancelled,1,{},\n", b.1),
        );
        for _ in 0..2 {
            self.prints("cancel second", &format!("{header}{second}")).await;
            self.prints("export", &self.list(&[b])).await;
        }
        self.refuses("export --batch second", "was cancelled").await;
        self.refuses(&format!("settle second {TXID}"), "was cancelled")
            .await;
        for _ in 0..2 {
            self.prints(
                &format!("settle first {TXID} --height 200"),
                &format!("{header}{first}"),
            )
            .await;
        }
        self.refuses(&format!("settle first {OTHER}"), "another transaction")
            .await;
        self.refuses("settle first 00", "64 hexadecimal digits").await;
        self.refuses("cancel first", "in the chain").await;
        self.refuses("cancel nothing", "no batch nothing").await;
        self.prints("batches", &format!("{header}{first}{second}")).await;
    }

    /// Who asks the database sees the same.
    async fn is_in_the_books(&self) {
        let books = self.house.pool.books().unwrap();
        let row = |it: PayoutRow| (it.name, it.satoshis as i64, it.state, it.height);
        let all = async || {
            let rows = books.ask(|store| payouts(store, None, Page::default())).await;
            let mut rows: Vec<_> = rows.unwrap().into_iter().map(row).collect();
            rows.sort_by_key(|row| -row.1);
            rows
        };
        let wanted = |(name, sat): (&str, i64), state, height| (name.to_owned(), sat, Some(state), height);
        let expected = [
            wanted(self.a, PayoutState::Confirmed, 200),
            wanted(self.b, PayoutState::Cancelled, 0),
        ];
        let following = async {
            while all().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let followed = tokio::time::timeout(SOON, following).await;
        assert!(followed.is_ok(), "the books have them: {:?}", all().await);
    }
}
