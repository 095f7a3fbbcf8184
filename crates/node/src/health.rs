//! Whether the node is well, told to the consumer when it changes.

use std::cell::RefCell;

use tokio::sync::mpsc;

use crate::Event;

/// The last thing said about the node, and the way to say it.
pub(crate) struct Health {
    events: mpsc::Sender<Event>,
    /// What the source calls its node, for people.
    node: &'static str,
    trouble: RefCell<Option<Trouble>>,
}

struct Trouble {
    /// Same kind, same trouble: it is said once.
    kind: &'static str,
    reason: String,
}

impl Health {
    /// Nothing is known yet. `node` is what people call such a node.
    pub(crate) fn new(node: &'static str, events: mpsc::Sender<Event>) -> Self {
        let start = Trouble {
            kind: "start",
            reason: format!("not connected to {node} yet"),
        };
        Self {
            events,
            node,
            trouble: RefCell::new(Some(start)),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.trouble.borrow().is_none()
    }

    /// Why the node cannot be asked.
    pub(crate) fn reason(&self) -> String {
        let trouble = self.trouble.borrow();
        trouble.as_ref().map_or_else(
            || format!("no connection to {}", self.node),
            |trouble| trouble.reason.clone(),
        )
    }

    /// Says [`Event::Down`], unless trouble of that kind was said last.
    pub(crate) async fn down(&self, kind: &'static str, reason: String) {
        let trouble = Trouble {
            kind,
            reason: reason.clone(),
        };
        let before = self.trouble.borrow_mut().replace(trouble);
        if before.is_none_or(|before| before.kind != kind) {
            tracing::warn!(kind, "{reason}");
            self.tell(Event::Down { reason }).await;
        }
    }

    /// Says [`Event::Up`], unless that was said last.
    pub(crate) async fn up(&self, node: &str) {
        if self.trouble.borrow_mut().take().is_some() {
            tracing::info!(node, "{} gives templates", self.node);
            self.tell(Event::Up {
                node: node.to_owned(),
            })
            .await;
        }
    }

    /// Sends an event; nobody listening is no trouble of ours, requests are served all the same.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: &mut mpsc::Receiver<Event>) -> String {
        match events.try_recv() {
            Ok(Event::Down { reason }) => format!("down {reason}"),
            Ok(Event::Up { node }) => format!("up {node}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn trouble_of_one_kind_is_said_once_until_the_node_is_up() {
        let (sender, mut events) = mpsc::channel(8);
        let health = Health::new("the node", sender);
        assert!(!health.is_up());
        health.down("lost", "gone".into()).await;
        health.down("lost", "gone, second attempt".into()).await;
        assert_eq!(said(&mut events), "down gone");
        assert_eq!(health.reason(), "gone, second attempt");
        health.down("socket", "no socket".into()).await;
        assert_eq!(said(&mut events), "down no socket");
        health.up("core").await;
        health.up("core").await;
        assert_eq!(said(&mut events), "up core");
        assert!(events.try_recv().is_err());
        assert!(health.is_up());
    }
}
