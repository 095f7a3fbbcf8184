//! In the pool's custody: the coinbase pays the pool, everybody has a balance, and it can be paid when the block is mature.

use adit_ledger::money::Money;
use adit_proto::mining::server::AccountId;

use super::support::House;
use super::support::miner::{How, Miner};
use super::support::until;
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
    drop((one, other));
    house.close().await;
}
