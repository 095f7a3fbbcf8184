//! Who is connected, with which device, on which channels, and who of them is silent.
//!
//! Workers tell of comings and goings with their reports; what happens to a share is summed up by channel there. So the
//! share path pays nothing for this picture.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::Time;
use adit_proto::mining::server::{AccountId, Kind, WorkerId};
use adit_proto::target::Target;

use super::report::{ByChannel, Tally, WorkerKey};
use crate::observe::{self as picture, Device, Pace, State};

/// Connections that are shown one by one. Any more are counted.
const PEERS_MAX: usize = 32_768;
/// Channels that are shown one by one.
const CHANNELS_MAX: usize = 65_536;
/// A channel is silent when no share has come for so many times as long as one takes. By accident that happens to a
/// channel that mines once in e^20 such times.
const SILENT_TIMES: f64 = 20.0;
/// And never before this: devices take a while to start.
const SILENT_MIN: Duration = Duration::from_secs(90);
/// Nor later than this, however slow it is.
const SILENT_MAX: Duration = Duration::from_secs(6 * 3600);

/// A connection: number of its worker, and how many came to that one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PeerId(u64);

impl PeerId {
    /// Bits that count; the rest is the worker. Together they are exact in every language that reads JSON.
    const COUNT_BITS: u32 = 42;

    pub(super) const fn new(worker: u32, count: u64) -> Self {
        Self((worker as u64) << Self::COUNT_BITS | count & ((1 << Self::COUNT_BITS) - 1))
    }

    /// As it was told to somebody.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// The worker that owns it.
    pub(super) const fn worker(self) -> u32 {
        (self.0 >> Self::COUNT_BITS) as u32
    }
}

/// A channel of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChannelKey {
    pub(super) peer: PeerId,
    pub(super) channel_id: u32,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Name of the suite, or of Stratum V1.
    pub(super) protocol: &'static str,
    pub(super) at: Time,
}

/// What a connection is for.
pub(super) type Role = &'static str;

/// What happened to a connection or a channel.
#[derive(Debug)]
pub(super) enum News {
    Came {
        peer: PeerId,
        door: Door,
    },
    Told {
        peer: PeerId,
        role: Role,
        device: Box<Device>,
    },
    Opened {
        channel: ChannelKey,
        account: AccountId,
        kind: Kind,
        work: u64,
        claimed: f32,
    },
    Retargeted {
        channel: ChannelKey,
        work: u64,
    },
    Closed {
        channel: ChannelKey,
    },
    Left {
        peer: PeerId,
    },
}

/// Everybody who is here.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<PeerId, Peer>,
    channels: ByChannel<Channel>,
    /// Connections that are not in `peers`: they came when it was full, or their coming was missed.
    unlisted: u64,
    /// Least time that a share takes, in seconds: what difficulty leads to.
    share_s: f64,
}

#[derive(Debug)]
struct Peer {
    door: Door,
    /// Where it comes from, as it is shown.
    address: Arc<str>,
    role: Role,
    device: Arc<Device>,
    channels: Vec<u32>,
}

#[derive(Debug)]
struct Channel {
    account: AccountId,
    worker: Option<WorkerKey>,
    kind: Kind,
    opened: Time,
    work: u64,
    claimed: f64,
    pace: Pace,
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    best: [u8; 32],
    last_share: Option<Time>,
}

/// What a name is shown with.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) work: u64,
    pub(super) device: Option<Arc<Device>>,
    pub(super) protocol: &'static str,
}

impl Peers {
    /// `shares_per_minute` is what channels are led to.
    pub(super) fn new(shares_per_minute: u32) -> Self {
        Self {
            share_s: 60.0 / f64::from(shares_per_minute.max(1)),
            ..Self::default()
        }
    }

    /// Adds what one worker told, before its tallies. With `missed`, some of it is lost: whoever of that worker is
    /// listed may be gone, so that nobody of them is shown any more.
    pub(super) fn tell(&mut self, now: Time, news: Vec<News>, missed: bool) {
        let worker = news.first().map(News::worker);
        for news in news {
            self.one(now, news);
        }
        if let Some(worker) = worker.filter(|_| missed) {
            tracing::warn!(
                worker,
                "far too many comings and goings: those who are here are counted only"
            );
            let before = self.peers.len();
            self.peers.retain(|peer, _| peer.worker() != worker);
            self.channels.retain(|channel, _| channel.peer.worker() != worker);
            self.unlisted += (before - self.peers.len()) as u64;
        }
    }

    fn one(&mut self, now: Time, news: News) {
        match news {
            News::Came { peer, door } if self.peers.len() < PEERS_MAX => {
                let came = Peer {
                    door,
                    address: door.address.to_string().into(),
                    role: "",
                    device: Arc::default(),
                    channels: Vec::new(),
                };
                self.peers.insert(peer, came);
            }
            News::Came { .. } => self.unlisted += 1,
            News::Told { peer, role, device } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    (peer.role, peer.device) = (role, device.into());
                }
            }
            News::Opened { .. } => self.opened(now, news),
            News::Retargeted { channel, work } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.work = work;
                }
            }
            News::Closed { channel } => self.closed(channel),
            News::Left { peer } => match self.peers.remove(&peer) {
                Some(left) => left.channels.iter().for_each(|channel_id| {
                    let channel_id = *channel_id;
                    self.channels.remove(&ChannelKey { peer, channel_id });
                }),
                None => self.unlisted = self.unlisted.saturating_sub(1),
            },
        }
    }

    fn opened(&mut self, now: Time, news: News) {
        let News::Opened {
            channel,
            account,
            kind,
            work,
            claimed,
        } = news
        else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&channel.peer) else {
            return;
        };
        if self.channels.len() >= CHANNELS_MAX {
            return;
        }
        peer.channels.push(channel.channel_id);
        self.channels.insert(
            channel,
            Channel {
                account,
                worker: None,
                kind,
                opened: now,
                work,
                claimed: if claimed.is_finite() {
                    f64::from(claimed.max(0.0))
                } else {
                    0.0
                },
                pace: Pace::starting(now.0),
                accepted: 0,
                refused: BTreeMap::new(),
                best: [0xff; 32],
                last_share: None,
            },
        );
    }

    fn closed(&mut self, channel: ChannelKey) {
        self.channels.remove(&channel);
        if let Some(peer) = self.peers.get_mut(&channel.peer) {
            peer.channels.retain(|open| *open != channel.channel_id);
        }
    }

    /// Adds accepted shares of a channel.
    pub(super) fn accepted(&mut self, now: Time, tally: &Tally) {
        let Some(channel) = self.channels.get_mut(&tally.channel) else {
            return;
        };
        channel.accepted += tally.accepted;
        channel.pace.add(now.0, tally.work as f64, tally.squares);
        if tally.best.iter().rev().lt(channel.best.iter().rev()) {
            channel.best = tally.best;
        }
        channel.last_share = tally.last_share.or(channel.last_share);
    }

    /// This worker's share was the last one of its channel.
    pub(super) fn worked(&mut self, worker: WorkerKey, channel: ChannelKey) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.worker = Some(worker);
        }
    }

    /// The worker of the last share of a channel, if it named one.
    pub(super) fn worker_on(&self, channel: ChannelKey) -> Option<WorkerId> {
        let (_, worker) = self.channels.get(&channel)?.worker?;
        Some(worker)
    }

    /// Adds refused shares of a channel; whose they would have been.
    pub(super) fn refused(
        &mut self,
        channel: ChannelKey,
        code: &'static str,
        count: u64,
    ) -> Option<(AccountId, Option<WorkerKey>)> {
        let channel = self.channels.get_mut(&channel)?;
        *channel.refused.entry(code).or_default() += count;
        Some((channel.account, channel.worker))
    }

    /// Whether a channel is open.
    pub(super) fn has(&self, key: ChannelKey) -> bool {
        self.channels.contains_key(&key)
    }

    /// What there is to be seen of an open channel.
    pub(super) fn seen(&self, key: ChannelKey) -> Option<Seen> {
        let (channel, peer) = (self.channels.get(&key)?, self.peers.get(&key.peer)?);
        Some(Seen {
            work: channel.work,
            device: Some(Arc::clone(&peer.device)),
            protocol: peer.door.protocol,
        })
    }

    /// What each account does, and on which channel: the liveliest that it has.
    pub(super) fn liveliest(&self, now: Time) -> HashMap<AccountId, (State, ChannelKey)> {
        let mut accounts: HashMap<AccountId, (State, ChannelKey)> = HashMap::new();
        for (key, channel) in &self.channels {
            let state = self.state(now, channel, channel.last_share);
            let best = accounts.entry(channel.account).or_insert((state, *key));
            if state < best.0 {
                *best = (state, *key);
            }
        }
        accounts
    }

    /// What somebody does on a channel whose last share came then.
    pub(super) fn state_on(&self, now: Time, key: ChannelKey, last_share: Option<Time>) -> State {
        self.channels
            .get(&key)
            .map_or(State::Offline, |channel| self.state(now, channel, last_share))
    }

    fn state(&self, now: Time, channel: &Channel, last_share: Option<Time>) -> State {
        let since = last_share.unwrap_or(channel.opened);
        match (now - since > self.patience(now, channel), last_share) {
            (true, _) => State::Silent,
            (false, None) => State::Starting,
            (false, Some(_)) => State::Mining,
        }
    }

    /// How long a channel may be without a share: by what difficulty leads to, and by what it has shown or claimed.
    fn patience(&self, now: Time, channel: &Channel) -> Duration {
        let shown = channel.pace.estimate(now.0).hash_rate;
        let rate = match channel.accepted {
            0 => channel.claimed,
            // What fades away must not make us wait for ever.
            _ => shown.max(channel.claimed),
        };
        let by_rate = if rate > 0.0 {
            channel.work as f64 / rate
        } else {
            0.0
        };
        let seconds = SILENT_TIMES * by_rate.max(self.share_s);
        let longest = SILENT_MAX.as_secs_f64();
        Duration::from_secs_f64(seconds.clamp(SILENT_MIN.as_secs_f64(), longest))
    }

    /// Channels that are silent, and the accounts of the first of them.
    pub(super) fn silent(&self, now: Time) -> (u64, Vec<AccountId>) {
        let mut count = 0;
        let mut first: Vec<(Time, AccountId)> = Vec::new();
        for channel in self.channels.values() {
            if self.state(now, channel, channel.last_share) == State::Silent {
                count += 1;
                first.push((channel.opened, channel.account));
                if first.len() > 64 {
                    first.sort_unstable();
                    first.truncate(picture::Status::SILENT_MAX);
                }
            }
        }
        first.sort_unstable();
        first.truncate(picture::Status::SILENT_MAX);
        (count, first.into_iter().map(|(_, account)| account).collect())
    }

    /// How many connections and channels are shown one by one.
    pub(super) fn len(&self) -> usize {
        self.peers.len() + self.channels.len()
    }

    /// Connections that are not shown.
    pub(super) fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Everybody, by when they came.
    pub(super) fn paint(
        &self,
        now: Time,
        name_of: impl Fn(AccountId, Option<WorkerKey>) -> Arc<str>,
    ) -> Vec<picture::Peer> {
        let peers = self.peers.iter().map(|(id, peer)| picture::Peer {
            id: id.number(),
            address: Arc::clone(&peer.address),
            protocol: peer.door.protocol,
            role: peer.role,
            device: Arc::clone(&peer.device),
            since_us: peer.door.at.0,
            channels: peer
                .channels
                .iter()
                .filter_map(|channel_id| {
                    let key = ChannelKey {
                        peer: *id,
                        channel_id: *channel_id,
                    };
                    let channel = self.channels.get(&key)?;
                    let name = name_of(channel.account, channel.worker);
                    Some(self.channel(now, *channel_id, channel, name))
                })
                .collect(),
        });
        peers.collect()
    }

    fn channel(&self, now: Time, id: u32, channel: &Channel, name: Arc<str>) -> picture::Channel {
        picture::Channel {
            id,
            kind: match channel.kind {
                Kind::Standard => "standard",
                Kind::Extended => "extended",
            },
            name,
            state: self.state(now, channel, channel.last_share),
            since_us: channel.opened.0,
            share_work: channel.work.into(),
            claimed_hash_rate: channel.claimed,
            pace: channel.pace.estimate(now.0),
            accepted: channel.accepted,
            rejected: channel.refused.values().sum(),
            by_reason: channel.refused.clone(),
            best_work: match channel.accepted {
                0 => 0,
                _ => Target(channel.best).work(),
            },
            last_share_us: channel.last_share.map(|time| time.0),
        }
    }
}

impl News {
    fn worker(&self) -> u32 {
        match self {
            Self::Came { peer, .. } | Self::Told { peer, .. } | Self::Left { peer } => peer.worker(),
            Self::Opened { channel, .. } | Self::Retargeted { channel, .. } | Self::Closed { channel } => {
                channel.peer.worker()
            }
        }
    }
}

/// Orders to close from this side: a channel of a connection, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kick {
    pub(super) peer: PeerId,
    pub(super) channel_id: Option<u32>,
}

/// Orders that wait for their connection, by connection.
pub(super) type Kicks = HashMap<PeerId, Vec<Option<u32>>>;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    fn at(second: u64) -> Time {
        Time::from_unix_s(1_000_000 + second)
    }

    fn key(count: u64, channel_id: u32) -> ChannelKey {
        ChannelKey {
            peer: PeerId::new(3, count),
            channel_id,
        }
    }

    fn came(count: u64) -> News {
        News::Came {
            peer: PeerId::new(3, count),
            door: Door {
                address: "10.0.0.1:9".parse().unwrap(),
                protocol: "current",
                at: at(0),
            },
        }
    }

    fn opened(count: u64, work: u64, claimed: f32) -> News {
        News::Opened {
            channel: key(count, 1),
            account: AccountId([1; 16]),
            kind: Kind::Standard,
            work,
            claimed,
        }
    }

    fn share(count: u64, second: u64) -> Tally {
        Tally {
            accepted: 1,
            work: 5,
            squares: 25.0,
            last_share: Some(at(second)),
            ..Tally::new(AccountId([1; 16]), key(count, 1))
        }
    }

    #[test]
    fn who_sends_nothing_for_long_is_silent() {
        let mut peers = Peers::new(12);
        // One that claims a share every five seconds, and one that claims one an hour.
        peers.tell(
            at(0),
            vec![came(1), opened(1, 500, 100.0), came(2), opened(2, 360_000, 100.0)],
            false,
        );
        let state = |peers: &Peers, second, count| {
            let key = key(count, 1);
            peers.state_on(at(second), key, peers.channels[&key].last_share)
        };
        assert_eq!(state(&peers, 60, 1), State::Starting);
        assert_eq!(state(&peers, 2 * MINUTE, 1), State::Silent);
        assert_eq!(state(&peers, 2 * MINUTE, 2), State::Starting);
        assert_eq!(peers.silent(at(2 * MINUTE)), (1, vec![AccountId([1; 16])]));
        peers.accepted(at(2 * MINUTE), &share(1, 2 * MINUTE));
        assert_eq!(state(&peers, 3 * MINUTE, 1), State::Mining);
        assert_eq!(state(&peers, 10 * MINUTE, 1), State::Silent);
        assert_eq!(state(&peers, 10 * 3600, 2), State::Silent, "however slow it is");
        assert_eq!(peers.state_on(at(0), key(9, 1), None), State::Offline);
    }

    #[test]
    fn who_left_is_forgotten_with_its_channels() {
        let mut peers = Peers::new(12);
        peers.tell(
            at(0),
            vec![came(1), opened(1, 5, 0.0), came(2), opened(2, 5, 0.0)],
            false,
        );
        assert_eq!(peers.len(), 4);
        peers.tell(at(1), vec![News::Closed { channel: key(1, 1) }], false);
        peers.tell(
            at(1),
            vec![News::Left {
                peer: PeerId::new(3, 2),
            }],
            false,
        );
        assert_eq!(peers.len(), 1);
        let shown = peers.paint(at(2), |_, _| Arc::default());
        assert_eq!((shown.len(), shown[0].channels.len()), (1, 0));
        assert_eq!(PeerId::from_number(shown[0].id), PeerId::new(3, 1));
    }

    #[test]
    fn the_picture_is_bounded_and_never_wrong() {
        let mut peers = Peers::new(12);
        for count in 0..PEERS_MAX as u64 + 10 {
            peers.tell(at(0), vec![came(count), opened(count, 5, 1.0)], false);
        }
        assert_eq!((peers.peers.len(), peers.unlisted()), (PEERS_MAX, 10));
        let last = PeerId::new(3, PEERS_MAX as u64 + 9);
        peers.tell(at(1), vec![News::Left { peer: last }], false);
        assert_eq!(peers.unlisted(), 9);
        // News were lost: nobody of that worker is sure to be there.
        let retargeted = News::Retargeted {
            channel: key(0, 1),
            work: 7,
        };
        peers.tell(at(2), vec![retargeted], true);
        assert_eq!((peers.len(), peers.unlisted()), (0, PEERS_MAX as u64 + 9));
    }

    #[test]
    fn numbers_of_peers_are_exact_in_json() {
        let last = PeerId::new(1023, u64::MAX);
        assert!(last.number() < 1 << 53, "{last:?}");
        assert_eq!(last.worker(), 1023);
    }
}
