//! User names that cannot be paid: refused on every protocol, with what would be right.

use adit_wire::mining::ToClient;
use serde_json::json;

use super::support::House;
use super::support::lines::Lines;
use super::support::miner::{How, ask};
use super::support::peer::Peer;
use super::{address, pool_address};

/// Of the network of real coins.
const MAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

/// An address of another network, no address, a prefix that is not served; and a good one after them on the same
/// connection.
#[tokio::test]
async fn wrong_names_are_refused_and_said_to_be() {
    let pool = pool_address();
    for scheme in ["solo", "pplns", "pool"] {
        let changes = [("payout.scheme", scheme), ("payout.address", pool.text.as_str())];
        let house = House::open(&changes).await;
        let url = house.pool.url().clone();
        let good = address(1).text;
        let other = if scheme == "solo" { "pool" } else { "solo" };
        let wrong = [
            (format!("{MAIN}.rig"), "not of network regtest"),
            ("bob.rig".to_owned(), "give your payout address as user name"),
            (format!("{other}:{good}"), "out of the user name"),
        ];
        for (name, says) in &wrong {
            for how in [How::Grouped, How::Extended] {
                let mut peer = Peer::join(&url, 0).await;
                ask(&mut peer, how, name, 9).await;
                let ToClient::OpenMiningChannelError(error) = peer.hear_mining().await else {
                    panic!("{name} was let in");
                };
                assert_eq!(
                    (error.request_id, error.error_code.as_bytes()),
                    (9, &b"unknown-user"[..])
                );
                ask(&mut peer, how, &format!("{good}.rig"), 10).await;
                assert!(matches!(
                    peer.hear_mining().await,
                    ToClient::OpenStandardMiningChannelSuccess(_)
                        | ToClient::OpenExtendedMiningChannelSuccess(_)
                ));
            }
            let mut lines = Lines::connect(&url).await;
            lines.ask("mining.subscribe", json!(["cgminer/4.12"])).await;
            let answer = lines.ask("mining.authorize", json!([name, "x"])).await;
            assert_eq!(
                (&answer["result"], &answer["error"][0]),
                (&json!(null), &json!(24))
            );
            let told = answer["error"][1].as_str().unwrap();
            assert!(told.contains(says), "{scheme} {name}: {told}");
            let answer = lines
                .ask("mining.authorize", json!([format!("{good}.rig"), "x"]))
                .await;
            assert_eq!(answer["result"], json!(true), "{answer}");
        }
        house.close().await;
    }
}
