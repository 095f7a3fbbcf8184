//! What can be changed in a running pool, and the way to it.

use std::sync::Arc;

use adit_ledger::payout::Payee;
use tokio::sync::watch;

use super::front_end;
use crate::config::{Payouts, Settings};
use crate::payout;

/// Changes a running pool; cheap to clone.
#[derive(Clone, Debug)]
pub struct Live {
    to_hub: watch::Sender<Values>,
    node: adit_node::Handle,
    /// How miners are paid: that stays.
    payouts: Payouts,
}

/// What the hub works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    /// Whom the pool's part pays, and how that is booked.
    pub(super) pool: (Payee, Arc<str>),
    pub(super) tag: Vec<u8>,
    pub(super) certificate_warning_days: u32,
    /// What front ends have to do alike.
    pub(super) policy: String,
}

impl Values {
    fn of(settings: &Settings) -> Self {
        Self {
            pool: (
                payout::payee(&settings.payout, settings.network),
                payout::name(&settings.payout, settings.network).into(),
            ),
            tag: settings.coinbase.tag.as_bytes().to_vec(),
            certificate_warning_days: settings.keys.certificate_warning_days,
            policy: front_end::policy(settings),
        }
    }
}

impl Live {
    pub(super) fn new(settings: &Settings, node: adit_node::Handle) -> Self {
        Self {
            to_hub: watch::Sender::new(Values::of(settings)),
            node,
            payouts: settings.payouts.clone(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Values> {
        self.to_hub.subscribe()
    }

    /// Takes the live keys of these settings: the next job is made with them. Another payout may need other room in the
    /// coinbase, which is asked for first.
    pub async fn apply(&self, settings: &Settings) {
        let values = Values::of(settings);
        if self.to_hub.borrow().pool != values.pool {
            let room = super::constraints(&Settings {
                payouts: self.payouts.clone(),
                ..settings.clone()
            });
            if let Err(error) = self.node.constrain(vec![room]).await {
                tracing::warn!(?error, "the node makes templates for the old payout still");
            }
        }
        self.to_hub.send_if_modified(|now| {
            let news = *now != values;
            *now = values;
            news
        });
    }
}
