//! No node at all: for who mines on other people's jobs only.

use tokio::sync::mpsc;

use crate::{Event, Requests, SubmitError, TemplateSource};

/// A source that has no node: it says nothing, and cannot do anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl TemplateSource for Nothing {
    async fn run(self, mut requests: Requests, _events: mpsc::Sender<Event>) {
        while let Some(request) = requests.recv().await {
            request.refuse(SubmitError::Unsupported);
        }
    }
}
