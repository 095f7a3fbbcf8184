//! A miner and a pool meet over loopback TCP: a handshake, one frame each way, the end.
//!
//! Shows what a caller brings to this crate: sockets, the time, and random bytes.
//!
//! ```text
//! cargo run -p adit-noise --example handshake_tcp
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime};

use adit_noise::{
    ACT1_BYTES, ACT2_BYTES, Authority, AuthorityKeypair, AuthorityPublicKey, Feed, Header, Initiator,
    ServerIdentity, Session, Trust, respond,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// No message of this example is longer; a real reader decides by message type.
const PAYLOAD_BYTES_MAX: u32 = 64;

#[allow(dead_code, reason = "the test that includes this file calls `run`")]
fn main() -> Outcome<()> {
    for payload in run()? {
        println!("{}", String::from_utf8_lossy(&payload));
    }
    Ok(())
}

/// Runs both ends and gives what the pool and what the miner received.
pub(crate) fn run() -> Outcome<[Vec<u8>; 2]> {
    let authority = Authority::new(AuthorityKeypair::from_secret(random()?)?, 86_400);
    let identity = ServerIdentity::issued_by(&authority, random()?, now(), random()?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!(
        "the pool listens on stratum2+tcp://{address}/{}",
        authority.public()
    );

    let pool = thread::spawn(move || pool(&listener, &identity));
    let answered = miner(address, authority.public())?;
    let asked = pool.join().map_err(|_| "the pool panicked")??;
    Ok([asked, answered])
}

/// Answers one miner.
fn pool(listener: &TcpListener, identity: &ServerIdentity) -> Outcome<Vec<u8>> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut act1 = [0; ACT1_BYTES];
    stream.read_exact(&mut act1)?;
    let (act2, mut session) = respond(identity, &act1, random()?)?;
    stream.write_all(&act2)?;

    let asked = receive(&mut stream, &mut session)?;
    send(&mut stream, &mut session, b"pong from the pool")?;
    Ok(asked)
}

/// Believes only the pool whose key it was given.
fn miner(address: SocketAddr, key: AuthorityPublicKey) -> Outcome<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (initiator, act1) = Initiator::new(random()?)?;
    stream.write_all(&act1)?;
    let mut act2 = [0; ACT2_BYTES];
    stream.read_exact(&mut act2)?;
    let mut session = initiator.finish(&act2, &Trust::Authority(key), now())?;

    send(&mut stream, &mut session, b"ping from the miner")?;
    receive(&mut stream, &mut session)
}

fn send(stream: &mut TcpStream, session: &mut Session, payload: &[u8]) -> Outcome<()> {
    let header = Header::new(0, false, 0x7f, u32::try_from(payload.len())?);
    let frame = [&header.encode(), payload].concat();
    let mut sealed = Vec::new();
    session.seal(&frame, &mut sealed)?;
    Ok(stream.write_all(&sealed)?)
}

/// Reads until one frame is whole.
fn receive(stream: &mut TcpStream, session: &mut Session) -> Outcome<Vec<u8>> {
    let mut buffer = Vec::new();
    loop {
        let wanted = match session.feed(&mut buffer, |_| PAYLOAD_BYTES_MAX)? {
            Feed::Frame { payload, .. } => return Ok(payload.to_vec()),
            Feed::Need(bytes) => bytes,
        };
        let start = buffer.len();
        buffer.resize(wanted, 0);
        stream.read_exact(&mut buffer[start..])?;
    }
}

fn random() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example has no clock but the system's"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
