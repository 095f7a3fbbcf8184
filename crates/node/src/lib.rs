//! Where templates come from and blocks go.
//!
//! A *source* ([`TemplateSource`]) runs on a thread of its own ([`spawn`]), tells its consumer what
//! to mine ([`Event`]) and takes found blocks ([`Handle`]). A source never ends by itself: when its
//! node dies it says [`Event::Down`], reconnects for ever, and says [`Event::Up`] again.

mod accepted;
pub mod assemble;
pub mod check;
pub mod embedded;
mod handle;
mod health;
mod height;
pub mod ipc;
mod kept;
mod lookup;
mod merkle;
pub mod nothing;
mod progress;
pub mod rpc;
pub mod several;
pub mod tdp;
mod template;

pub use adit_proto::template::Constraints;
pub use handle::{
    BlockCheck, BlockStatus, CONSTRAINTS_MAX, Event, Found, Handle, INQUIRY_LIMIT, Node, Request, Requests,
    SubmitError, TRANSACTIONS_BYTES_MAX, Verdict, WTXIDS_MAX, spawn,
};
pub use template::{Solution, Template, TemplateId};

/// A place where templates come from and blocks go: one Bitcoin node, embedded or real.
///
/// The source sends [`Event`]s until the receiving side is gone, and answers every [`Request`]
/// within a bounded time.
pub trait TemplateSource: Send + 'static {
    /// Runs until `requests` is closed. Runs inside a `LocalSet` on a current-thread runtime of its own.
    fn run(
        self,
        requests: Requests,
        events: tokio::sync::mpsc::Sender<Event>,
    ) -> impl std::future::Future<Output = ()>;
}
