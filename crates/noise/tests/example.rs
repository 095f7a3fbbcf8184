//! The example does what it says.

#[path = "../examples/handshake_tcp.rs"]
mod handshake_tcp;

#[test]
fn handshake_tcp_ends_by_itself() {
    let said = handshake_tcp::run().unwrap();
    assert_eq!(said, [b"ping from the miner".as_slice(), b"pong from the pool"]);
}
