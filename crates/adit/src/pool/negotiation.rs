//! How a pool's configuration becomes job negotiation.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::declare::server as machine;
use adit_proto::declare::{Budget, Policy, TokensSettings};
use adit_proto::setup;
use adit_wire::common::{flags, protocol};
use bitcoin::{Amount, TxOut};
use tokio::sync::mpsc;

use super::desk::{self, Door, ToDesk};
use crate::config::{NegotiationMode, Settings};

/// Live tokens of a connection.
const TOKENS_OF_A_CONNECTION: usize = 8;

/// Everything that job negotiation is made with.
pub(super) struct Plan {
    pub(super) desk: desk::Settings,
    pub(super) budget: Budget,
    machine: Arc<machine::Settings>,
}

impl Plan {
    /// As configured; none when it is off. Who stands below an upstream has no jobs of others to judge.
    pub(super) fn of(settings: &Settings, is_pool: bool) -> Option<Self> {
        let keys = &settings.negotiation;
        if keys.mode == NegotiationMode::Off || !is_pool {
            return None;
        }
        let payout = TxOut {
            value: Amount::ZERO,
            script_pubkey: settings.payout.script.clone(),
        };
        Some(Self {
            desk: desk::Settings {
                data: settings.data.clone(),
                coinbase_only: keys.mode.coinbase_only(),
                shared_tokens: keys.shared_tokens,
                tokens: TokensSettings {
                    ttl: Duration::from_secs(keys.token_ttl_s),
                    per_connection: TOKENS_OF_A_CONNECTION,
                    total: keys.tokens_max as usize,
                },
                policy: Policy {
                    outputs: vec![payout],
                    keep_max_bp: keys.keep_max_bp,
                    value_min_bp: keys.value_min_bp,
                    claim_max_bp: keys.claim_max_bp,
                },
                exposure_millis: keys.credit_millis,
                exposure_total_millis: keys.credit_total_millis,
            },
            budget: Budget::new(usize::try_from(keys.memory_bytes).unwrap_or(usize::MAX)),
            machine: Arc::new(machine::Settings {
                full_template: keys.mode.full_template(),
                ..machine::Settings::default()
            }),
        })
    }

    /// The way to the desk.
    pub(super) fn door(&self, asks: mpsc::Sender<ToDesk>) -> Door {
        Door {
            asks,
            budget: self.budget.clone(),
            machine: Arc::clone(&self.machine),
        }
    }
}

/// Job declaration as SetupConnection knows it. A pool that takes declared jobs only needs the flag; one that takes none
/// does not know it (C-77).
pub(super) fn served(mode: NegotiationMode) -> setup::Served {
    let flag = |wanted: bool| if wanted { flags::DECLARE_TX_DATA } else { 0 };
    setup::Served {
        protocol: protocol::JOB_DECLARATION,
        supported_flags: flag(mode.full_template()),
        required_flags: flag(mode.full_template() && !mode.coinbase_only()),
        success_flags: 0,
    }
}
