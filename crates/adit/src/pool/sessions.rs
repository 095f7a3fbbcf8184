//! What a worker notes of sessions and refused shares, beside the shares themselves.
//!
//! Neither can fill the disk: a session is noted with its first accepted share, which has cost work, and refused shares are
//! summed up by account and reason and written once in a while.

use std::collections::HashMap;

use adit_ledger::Lane;
use adit_ledger::record::{ChannelKind, Ending, Protocol, Rejects, SessionClosed, SessionOpened};
use adit_net::{End, Link};
use adit_noise::Suite;
use adit_proto::Time;
use adit_proto::mining::server::{AccountId, Kind, Share};
use adit_proto::setup::Device;

use super::records;

/// Accounts and reasons that are counted one by one between two writes; any more are counted as nobody's.
const COUNTED_MAX: usize = 10_000;
/// Accounts without an accepted share whose refused ones are noted under their name, between two writes.
const STRANGERS_MAX: usize = 20;

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) account: AccountId,
    pub(super) kind: Kind,
    opened: Time,
    /// Its session and extranonce prefix, once they are noted.
    noted: Option<(u64, u64)>,
}

impl Channel {
    pub(super) fn new(id: u32, account: AccountId, kind: Kind, opened: Time) -> Self {
        Self {
            id,
            account,
            kind,
            opened,
            noted: None,
        }
    }

    pub(super) fn is_noted(&self) -> bool {
        self.noted.is_some()
    }

    /// The session begins with this share. Gives what is to be noted.
    pub(super) fn begin(&mut self, session: u64, share: &Share, by: &Client) -> SessionOpened {
        let channel = records::channel(share.prefix);
        self.noted = Some((session, channel));
        let kind = match self.kind {
            Kind::Standard => ChannelKind::Standard,
            Kind::Extended => ChannelKind::Extended,
        };
        let account = self.account.0;
        SessionOpened::new(account, session, channel, self.opened.0, kind, by.protocol).on(&by.device)
    }

    /// The session ends, if it was noted.
    pub(super) fn end(&self, ending: Ending) -> Option<SessionClosed> {
        let (session, channel) = self.noted?;
        Some(SessionClosed {
            account: self.account.0,
            session,
            channel,
            ending,
        })
    }
}

/// Who is at the other end, in its own words.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) protocol: Protocol,
    pub(super) device: Box<str>,
}

impl Client {
    /// What a link says about its protocol.
    pub(super) fn on(link: &Link) -> Self {
        let protocol = match (link.is_lines(), link.is_tls(), link.suite()) {
            (true, true, _) => Protocol::StratumV1Tls,
            (true, false, _) => Protocol::StratumV1,
            (false, _, Suite::Current) => Protocol::Current,
            (false, _, Suite::Draft2022(_)) => Protocol::Draft2022,
            (false, _, Suite::Plain) => Protocol::Plain,
        };
        Self {
            protocol,
            device: "".into(),
        }
    }

    /// It has said what it is: maker, model, firmware.
    pub(super) fn introduce(&mut self, device: &Device) {
        let words = [&device.vendor, &device.hardware_version, &device.firmware];
        let words = words.map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned());
        let words: Vec<_> = words
            .iter()
            .filter(|word| !word.is_empty())
            .map(String::as_str)
            .collect();
        self.device = words.join(" ").into();
    }
}

/// How a connection ended, for its sessions.
pub(super) fn ending(end: &End, is_leaving: bool) -> Ending {
    match end {
        End::Fault(_) | End::Session(_) | End::Slow => Ending::Fault,
        _ if is_leaving => Ending::Stopped,
        End::Closed | End::Io(_) => Ending::Lost,
        End::Finished => Ending::Stopped,
    }
}

/// Refused shares that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Refused {
    counts: HashMap<(Option<AccountId>, &'static str), u64>,
    strangers: Vec<AccountId>,
    since: Option<Time>,
}

impl Refused {
    /// Counts one. `owner`: whose it would have been, and whether that account has had a share accepted.
    pub(super) fn count(
        &mut self,
        now: Time,
        owner: Option<(AccountId, bool)>,
        reason: &'static str,
    ) -> Counted {
        self.since.get_or_insert(now);
        let (account, is_new) = match owner {
            Some((account, true)) => (Some(account), false),
            Some((account, false)) if self.strangers.contains(&account) => (Some(account), false),
            Some((account, false)) if self.strangers.len() < STRANGERS_MAX => {
                self.strangers.push(account);
                (Some(account), true)
            }
            _ => (None, false),
        };
        let key = (account, reason);
        let fits = self.counts.len() < COUNTED_MAX || self.counts.contains_key(&key);
        let key = if fits { key } else { (None, reason) };
        *self.counts.entry(key).or_default() += 1;
        match is_new {
            true => Counted::Stranger,
            false => Counted::Known,
        }
    }

    /// Writes everything that was counted `every_us` ago or earlier; what the ledger has no room for waits.
    pub(super) fn write(&mut self, now: Time, every_us: u64, lane: &mut Lane) {
        let Some(since) = self.since else { return };
        if now.0.saturating_sub(since.0) < every_us {
            return;
        }
        self.counts.retain(|(account, reason), count| {
            let account = account.map(|account| account.0);
            lane.rejects(Rejects::new(account, None, reason, *count, since.0))
                .is_err()
        });
        if self.counts.is_empty() {
            self.since = None;
            self.strangers.clear();
        }
    }
}

/// What a refused share means for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing more.
    Known,
    /// Its account is to be named.
    Stranger,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_reasons_are_bounded() {
        let mut refused = Refused::default();
        let now = Time(7);
        for n in 0..1_000u32 {
            let account = AccountId::of(&n.to_le_bytes());
            for _ in 0..2 {
                refused.count(now, Some((account, false)), "stale-share");
            }
        }
        assert_eq!(refused.counts.len(), STRANGERS_MAX + 1);
        assert_eq!(
            refused.counts.values().sum::<u64>(),
            2_000,
            "every one is counted"
        );
        let friends = (0..20_000u32).map(|n| AccountId::of(&n.to_be_bytes()));
        friends.for_each(|account| {
            assert_eq!(
                refused.count(now, Some((account, true)), "stale-share"),
                Counted::Known
            );
        });
        assert_eq!(refused.counts.len(), COUNTED_MAX);
        assert_eq!(refused.counts.values().sum::<u64>(), 22_000);
    }
}
