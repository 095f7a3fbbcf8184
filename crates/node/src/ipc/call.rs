//! One call to the node: its deadline, its patience, and what can become of it.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::health::Health;

/// Deadline of a call that reads something the node has at hand.
pub(super) const QUERY: Duration = Duration::from_secs(2);
/// Deadline of a call that makes a template or takes a block.
pub(super) const WORK: Duration = Duration::from_secs(10);
/// After a deadline the connection is kept this long: a node that was busy goes on where it was, and
/// its templates can still be solved.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The call that a node answers when it has loaded its chain.
pub(super) const LOAD: &str = "Init.makeMining";

/// Why a call, and with it the connection, brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection could be made: kind, and what is wrong and what would be right.
    Connect(&'static str, String),
    /// The connection ended.
    Lost(String),
    /// The node did not answer this call, deadline and patience are over.
    Stuck(&'static str),
    /// The node does not know the method.
    Unimplemented(&'static str),
    /// The node answered with an error of its own.
    Failed(&'static str, String),
    /// The node's answer is not what its interface promises.
    Strange(String),
}

impl Trouble {
    /// The node's error as ours; `call` names the method.
    pub(super) fn of(call: &'static str, error: capnp::Error) -> Self {
        match error.kind {
            capnp::ErrorKind::Unimplemented => Self::Unimplemented(call),
            capnp::ErrorKind::Disconnected => Self::Lost(error.extra),
            _ => Self::Failed(call, error.extra),
        }
    }

    /// What kind of trouble it is: the same kind is told once.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Connect(kind, _) => kind,
            Self::Lost(_) => "lost",
            Self::Stuck(_) => "stuck",
            Self::Unimplemented(_) => "version",
            Self::Failed(..) => "failed",
            Self::Strange(_) => "strange",
        }
    }

    /// For the operator: what is wrong and what would be right.
    pub(super) fn reason(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Connect(_, reason) => reason.clone(),
            Self::Lost(cause) => format!(
                "the connection to Bitcoin Core at {path} ended ({cause}): was it stopped? Connecting again"
            ),
            Self::Stuck(call) => format!(
                "Bitcoin Core at {path} never answered {call}: look into its debug.log and restart it if it \
                 hangs. Connecting again"
            ),
            Self::Unimplemented(call) => {
                format!("the Bitcoin Core at {path} does not know {call}: version 30 or later is needed")
            }
            Self::Failed(call, cause) => format!("Bitcoin Core at {path} failed in {call}: {cause}"),
            Self::Strange(what) => format!("Bitcoin Core at {path} sent something unexpected: {what}"),
        }
    }
}

/// Waits for `answer`: after `deadline` says that the node is down, after `patience` gives up.
pub(super) async fn watched<T>(
    health: &Health,
    call: &'static str,
    deadline: Duration,
    patience: Duration,
    answer: impl Future<Output = Result<T, capnp::Error>>,
) -> Result<T, Trouble> {
    let mut answer = pin!(answer);
    if let Ok(done) = timeout(deadline, &mut answer).await {
        return done.map_err(|error| Trouble::of(call, error));
    }
    health.down("silent", silent(call, deadline)).await;
    match timeout(patience, answer).await {
        Ok(done) => done.map_err(|error| Trouble::of(call, error)),
        Err(_) => Err(Trouble::Stuck(call)),
    }
}

/// What a missed deadline means, for the operator.
fn silent(call: &str, deadline: Duration) -> String {
    let cause = match call {
        LOAD => "it loads its chain, or hangs",
        _ => "it is stopped, overloaded or hangs",
    };
    format!(
        "Bitcoin Core has not answered {call} for {} s: {cause}; waiting for it",
        deadline.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_down_first_and_an_answer_still() {
        let (sender, mut events) = mpsc::channel(8);
        let health = Health::new("Bitcoin Core", sender);
        let late = async {
            tokio::time::sleep(QUERY * 2).await;
            Ok(7)
        };
        assert_eq!(watched(&health, "getTip", QUERY, PATIENCE, late).await, Ok(7));
        assert!(matches!(events.try_recv(), Ok(crate::Event::Down { reason }) if reason.contains("getTip")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_returns_ends() {
        let (sender, _events) = mpsc::channel(8);
        let never = std::future::pending::<Result<(), capnp::Error>>();
        let end = watched(
            &Health::new("Bitcoin Core", sender),
            "createNewBlock",
            WORK,
            PATIENCE,
            never,
        )
        .await;
        assert_eq!(end, Err(Trouble::Stuck("createNewBlock")));
    }
}
