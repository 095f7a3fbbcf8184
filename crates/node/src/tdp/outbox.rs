//! What the consumer has not taken yet: newer templates replace those that wait.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::Shared;
use crate::{Constraints, Event, Template, TemplateId};

/// Transactions but the coinbase, in block order, consensus encoded.
type Transactions = Arc<Vec<Vec<u8>>>;

/// Words about the connection that may wait.
const WORDS_MAX: usize = 16;

/// What waits for the consumer. Bounded by the sets of constraints there can be.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: RefCell<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    words: VecDeque<Event>,
    templates: BTreeMap<Constraints, Arc<Template>>,
    transactions: BTreeMap<Constraints, (TemplateId, Transactions)>,
}

impl Outbox {
    /// Up or down.
    pub(super) fn say(&self, event: Event) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.words.len() >= WORDS_MAX {
            waiting.words.pop_front();
        }
        waiting.words.push_back(event);
        self.news.notify_one();
    }

    pub(super) fn template(&self, template: Arc<Template>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.templates.insert(template.constraints, template);
        self.news.notify_one();
    }

    pub(super) fn transactions(&self, template: &Template, transactions: Arc<Vec<Vec<u8>>>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting
            .transactions
            .insert(template.constraints, (template.id, transactions));
        self.news.notify_one();
    }

    /// Words first, then work, and transactions when there is nothing else.
    fn next(&self) -> Option<Event> {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(word) = waiting.words.pop_front() {
            return Some(word);
        }
        if let Some((_, template)) = waiting.templates.pop_first() {
            return Some(Event::Template(template));
        }
        let (_, (template, transactions)) = waiting.transactions.pop_first()?;
        Some(Event::Transactions {
            template,
            transactions,
        })
    }
}

/// Hands everything to the consumer at its pace. Nobody listening is no trouble of ours.
pub(super) async fn tell(shared: Rc<Shared>, events: mpsc::Sender<Event>) {
    while let Ok(place) = events.reserve().await {
        loop {
            match shared.outbox.next() {
                Some(event) => {
                    place.send(event);
                    break;
                }
                None => shared.outbox.news.notified().await,
            }
        }
    }
}
