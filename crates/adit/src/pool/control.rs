//! The way to a running pool for who owns its data folder: a socket in it, mode 0600, one line a command.
//!
//! ```text
//!   drain [HOST[:PORT]]   ->  draining TO            then `left N of M` as peers leave, then `drained`;
//!                                                    the socket closes when the process has let go of its folder
//!   payout                ->  the next coinbase as one line of JSON
//!   channels              ->  `NUMBER NAME`, a line for each channel
//!   coinbase NUMBER       ->  what that channel mines, as one line of JSON
//!   due SAT               ->  everybody who could be paid so much, as one line of JSON; nothing is booked
//!   batch NAME SAT        ->  the batch of everybody who is owed so much, booked, as one line of JSON; again: the same
//!   settle NAME TXID HEIGHT  ->  the same batch, in the chain
//!   cancel NAME           ->  the same batch, owed again
//!   anything else         ->  error WHAT
//! ```
//!
//! The socket needs no port and no password: who may open it could read the keys beside it as well.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::cashier::{Cashier, Order};
use super::drain::Progress;
use crate::config::Place;
use crate::exit::Exit;
use crate::payout::Prover;

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Longest path of a socket that every system takes, in bytes.
const PATH_BYTES_MAX: usize = 100;
/// Longest command, in bytes.
const LINE_BYTES_MAX: u64 = 512;
/// Callers at once.
const CALLERS_MAX: usize = 8;
/// How long a caller may take to say what it wants, and to take what it is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a pool may take to answer: what it books must be on disk first.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// The socket of a running pool; removed when dropped.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// What a caller may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// Something that is answered at once.
    Tell(Question),
    Order(Order),
    Wish(Wish),
}

/// What can be told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Payout,
    Channels,
    Coinbase(String),
}

/// Who answers callers.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) prover: Prover,
    pub(super) cashier: Cashier,
}

/// What a caller may wish of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To the place given, or to the one that is configured.
    Drain(Option<Place>),
}

impl Control {
    /// Makes the socket. The caller holds the lock of the folder, so one that is there is left over. `None`: the path is
    /// too long for a socket, and signals have to do.
    pub(super) fn bind(data: &Path) -> io::Result<Option<Self>> {
        let path = data.join(SOCKET);
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Ok(None);
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // The folder is its owner's alone already.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Some(Self { listener, path }))
    }

    /// Serves until dropped, or until nobody takes wishes any more.
    pub(super) async fn serve(
        self,
        wishes: mpsc::Sender<Wish>,
        progress: watch::Receiver<Progress>,
        told: Told,
    ) {
        let told = Arc::new(told);
        let room = Arc::new(Semaphore::new(CALLERS_MAX));
        let mut callers = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                // The pool is gone.
                () = wishes.closed() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (wishes, progress, told) = (wishes.clone(), progress.clone(), Arc::clone(&told));
                    callers.spawn(async move {
                        // A caller that has gone away is told nothing.
                        let _ = attend(stream, &wishes, progress, &told).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no callers");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
            while callers.try_join_next().is_some() {}
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn attend(
    mut stream: UnixStream,
    wishes: &mpsc::Sender<Wish>,
    mut progress: watch::Receiver<Progress>,
    told: &Told,
) -> io::Result<()> {
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut read = tokio::io::BufReader::new(read).take(LINE_BYTES_MAX);
    tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
    let wish = match parse(line.trim()) {
        Ok(Ask::Wish(wish)) => wish,
        Ok(Ask::Tell(question)) => return say(&mut write, &tell(&question, &told.prover)).await,
        Ok(Ask::Order(order)) => return say(&mut write, &serve(&order, &told.cashier).await).await,
        Err(what) => return say(&mut write, &format!("error {what}")).await,
    };
    if progress.borrow().to.is_none() && wishes.try_send(wish).is_err() {
        return say(&mut write, "error the pool is stopping already").await;
    }
    follow(&mut write, &mut progress).await
}

/// Tells a caller how far it is until the process ends.
async fn follow(
    write: &mut (impl AsyncWriteExt + Unpin),
    progress: &mut watch::Receiver<Progress>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let begun = progress
        .wait_for(|now| now.to.is_some())
        .await
        .map_err(gone)?
        .clone();
    let to = begun.to.unwrap_or_default();
    say(write, &format!("draining {to}")).await?;
    loop {
        let now = progress.borrow_and_update().clone();
        say(write, &format!("left {} of {}", now.left, now.total)).await?;
        if now.done {
            say(write, "drained").await?;
            // The caller hears the end when the process is about to exit.
            std::future::pending::<()>().await;
        }
        progress.changed().await.map_err(gone)?;
    }
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), line: &str) -> io::Result<()> {
    let line = format!("{line}\n");
    tokio::time::timeout(PATIENCE, write.write_all(line.as_bytes())).await?
}

/// What a question is answered with.
fn tell(question: &Question, prover: &Prover) -> String {
    let json = |value: Option<serde_json::Result<String>>, nothing: &str| match value {
        Some(Ok(json)) => json,
        _ => format!("error {nothing}"),
    };
    match question {
        Question::Payout => json(
            prover.preview().map(|it| serde_json::to_string(&it)),
            "there is no work of our own yet: look at the node",
        ),
        Question::Coinbase(channel) => json(
            prover.prove(channel).map(|it| serde_json::to_string(&it)),
            "no such channel, or no work yet: `channels` lists those that are open",
        ),
        Question::Channels => {
            let lines = prover
                .channels()
                .into_iter()
                .map(|(number, name)| format!("{number} {name}"));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// What an order is answered with.
async fn serve(order: &Order, cashier: &Cashier) -> String {
    let payments = cashier.serve(order).await;
    let json = payments.and_then(|it| serde_json::to_string(&it).map_err(|error| error.to_string()));
    json.unwrap_or_else(|what| format!("error {what}"))
}

/// Asks the pool that runs on `data` something that it answers at once; `None` when no pool runs there.
///
/// # Errors
/// When it refuses, or does not answer.
pub fn ask(data: &Path, question: &str) -> Result<Option<Vec<String>>, Exit> {
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(data.join(SOCKET)) else {
        return Ok(None);
    };
    let broke = |error: io::Error| Exit::failed(format!("the pool does not answer: {error}"));
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(broke)?;
    stream
        .write_all(format!("{question}\n").as_bytes())
        .map_err(broke)?;
    let lines: io::Result<Vec<String>> = BufReader::new(stream).lines().collect();
    let lines = lines.map_err(broke)?;
    match lines.first().and_then(|line| line.strip_prefix("error ")) {
        Some(what) => Err(Exit::failed(format!("the pool refused: {what}"))),
        None => Ok(Some(lines)),
    }
}

const COMMANDS: &str = "commands are drain [HOST[:PORT]], payout, channels, coinbase NUMBER, due SAT, batch NAME SAT, \
     settle NAME TXID HEIGHT and cancel NAME";

fn order(command: &str, rest: &str) -> Result<Order, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (command, words.as_slice()) {
        ("due", [sat]) => Ok(Order::Show {
            minimum_sat: sat.parse().map_err(|_| COMMANDS)?,
        }),
        ("batch", [name, sat]) => Ok(Order::Make {
            name: (*name).to_owned(),
            minimum_sat: sat.parse().map_err(|_| COMMANDS)?,
        }),
        ("settle", [name, txid, height]) => {
            let txid: bitcoin::Txid = txid
                .parse()
                .map_err(|_| format!("{txid} is no transaction's id: it has 64 hexadecimal digits"))?;
            Ok(Order::Settle {
                name: (*name).to_owned(),
                txid: txid.to_byte_array(),
                height: height.parse().map_err(|_| COMMANDS)?,
            })
        }
        ("cancel", [name]) => Ok(Order::Cancel {
            name: (*name).to_owned(),
        }),
        _ => Err(COMMANDS.into()),
    }
}

fn parse(line: &str) -> Result<Ask, String> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (command, rest.trim()) {
        ("drain", "") => Ok(Ask::Wish(Wish::Drain(None))),
        ("drain", place) => place
            .parse()
            .map(|place| Ask::Wish(Wish::Drain(Some(place))))
            .map_err(|()| Place::EXPECTED.to_owned()),
        ("payout", "") => Ok(Ask::Tell(Question::Payout)),
        ("channels", "") => Ok(Ask::Tell(Question::Channels)),
        ("due" | "batch" | "settle" | "cancel", rest) => order(command, rest).map(Ask::Order),
        ("coinbase", channel) if !channel.is_empty() => Ok(Ask::Tell(Question::Coinbase(channel.to_owned()))),
        _ => Err(COMMANDS.into()),
    }
}

/// `adit pool --drain`: asks the pool that runs on `data`, tells `say` how far it is, and returns when that pool has let go
/// of its folder.
///
/// # Errors
/// When no pool runs there, it refuses, or it ends before everybody was seen off.
pub fn drain(data: &Path, place: Option<&Place>, mut told: impl FnMut(&str)) -> Result<(), Exit> {
    let path = data.join(SOCKET);
    let nobody = |error: io::Error| {
        Exit::failed(format!("no pool answers at {}: {error}", path.display()))
            .help("name the data folder of the running pool with --data DIR")
    };
    let mut stream = std::os::unix::net::UnixStream::connect(&path).map_err(nobody)?;
    let place = place.map(|place| format!(" {place}")).unwrap_or_default();
    stream
        .write_all(format!("drain{place}\n").as_bytes())
        .map_err(nobody)?;
    let mut drained = false;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        if let Some(what) = line.strip_prefix("error ") {
            return Err(Exit::failed(format!("the pool refused: {what}")));
        }
        drained |= line == "drained";
        told(&line);
    }
    if drained {
        return Ok(());
    }
    Err(Exit::failed("the pool ended before everybody had left")
        .help("acknowledged shares are safe; its log says why it ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_are_refused() {
        let place = |host: &str, port| {
            let host = host.to_owned();
            Ok(Ask::Wish(Wish::Drain(Some(Place { host, port }))))
        };
        assert_eq!(parse("drain"), Ok(Ask::Wish(Wish::Drain(None))));
        assert_eq!(parse("payout"), Ok(Ask::Tell(Question::Payout)));
        assert_eq!(
            parse("coinbase 00"),
            Ok(Ask::Tell(Question::Coinbase("00".into())))
        );
        let name = || "may".to_owned();
        let make = Order::Make {
            name: name(),
            minimum_sat: 5,
        };
        assert_eq!(parse("batch may 5"), Ok(Ask::Order(make)));
        assert_eq!(
            parse("cancel may"),
            Ok(Ask::Order(Order::Cancel { name: name() }))
        );
        let settle = Order::Settle {
            name: name(),
            txid: [0xab; 32],
            height: 7,
        };
        assert_eq!(
            parse(&format!("settle may {} 7", "ab".repeat(32))),
            Ok(Ask::Order(settle))
        );
        assert!(
            parse("settle may 00 7")
                .unwrap_err()
                .contains("64 hexadecimal digits")
        );
        for wrong in [
            "due",
            "due x",
            "batch may",
            "batch may x",
            "batch",
            "settle may",
            "cancel",
            "cancel a b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("drain b.example:3333"), place("b.example", 3333));
        assert_eq!(parse("drain :3334"), place("", 3334));
        assert_eq!(parse("drain [::1]:5"), place("::1", 5));
        assert!(
            parse("drain a b").is_err()
                && parse("stop").is_err()
                && parse("coinbase").is_err()
                && parse("").is_err()
        );
    }
}
