//! A relay with a clock of its own, devices that remember what they were told, and an upstream that says what a test wants.
#![allow(dead_code, reason = "each scenario uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use std::collections::BTreeMap;
use std::time::Duration;

use adit_proto::relay::{Conn, Event, Input, Line, Output, Relay, Settings};
use adit_proto::{Fault, Time};
use adit_wire::mining::*;
use adit_wire::tlv::WorkerName;
use adit_wire::{B0_32, B0_64K, Header, Message, Seq0_255, Str0_255, U256};

/// When everything starts.
pub(crate) const START: Time = Time(1_800_000_000_000_000);

/// What the machine has put out, sorted by whom it is for.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) below: Vec<(u64, ToClient)>,
    /// Frames that are no mining message.
    pub(crate) below_frames: Vec<(u64, Vec<u8>)>,
    pub(crate) above: Vec<(u64, ToServer, Option<WorkerName>)>,
    pub(crate) above_frames: Vec<(u64, Vec<u8>)>,
    pub(crate) admitted: Vec<(u64, u32)>,
    pub(crate) denied: Vec<(u64, u32)>,
    pub(crate) cut: Vec<(u64, Fault)>,
    pub(crate) dialled: Vec<(u64, u32)>,
    pub(crate) hung: Vec<u64>,
    pub(crate) events: Vec<Event>,
}

impl Heard {
    pub(crate) fn of(outputs: Vec<Output>) -> Self {
        let mut heard = Self::default();
        for output in outputs {
            match output {
                Output::Below { conn, message } => heard.below.push((conn.0, message)),
                Output::Fan { frame, to } => {
                    for (conn, id) in to {
                        let mut own = Vec::new();
                        adit_proto::relay::readdress(&frame, id, &mut own);
                        let (header, payload) = parts(&own);
                        let message = ToClient::decode(&header, payload).unwrap();
                        heard.below.push((conn.0, message));
                    }
                }
                Output::BelowFrame { conn, frame } => heard.below_frames.push((conn.0, frame)),
                Output::Above {
                    line,
                    message,
                    worker,
                } => heard.above.push((line.0, message, worker)),
                Output::AboveFrame { line, frame } => heard.above_frames.push((line.0, frame)),
                Output::Admit { conn, success_flags } => heard.admitted.push((conn.0, success_flags)),
                Output::Deny { conn, flags } => heard.denied.push((conn.0, flags)),
                Output::Cut { conn, fault } => heard.cut.push((conn.0, fault)),
                Output::Dial { line, flags } => heard.dialled.push((line.0, flags)),
                Output::Hang { line, .. } => heard.hung.push(line.0),
                Output::Event(event) => heard.events.push(event),
            }
        }
        heard
    }

    /// The messages for one device.
    pub(crate) fn to(&self, conn: u64) -> Vec<&ToClient> {
        self.below
            .iter()
            .filter(|(to, _)| *to == conn)
            .map(|(_, message)| message)
            .collect()
    }

    /// The messages for the upstream on one line.
    pub(crate) fn up(&self, line: u64) -> Vec<&ToServer> {
        self.above
            .iter()
            .filter(|(to, ..)| *to == line)
            .map(|(_, message, _)| message)
            .collect()
    }
}

pub(crate) fn parts(frame: &[u8]) -> (Header, &[u8]) {
    let (head, payload) = frame.split_first_chunk::<{ Header::LEN }>().unwrap();
    (Header::parse(*head), payload)
}

/// A relay and the time.
pub(crate) struct Between {
    pub(crate) relay: Relay,
    pub(crate) now: Time,
}

/// An open channel, by its names on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) conn: u64,
    pub(crate) id: u32,
    pub(crate) group: u32,
    pub(crate) line: u64,
    pub(crate) above: u32,
}

impl Between {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            relay: Relay::new(settings),
            now: START,
        }
    }

    pub(crate) fn give(&mut self, input: Input<'_>) -> Heard {
        let mut out = Vec::new();
        self.relay.handle(self.now, input, &mut out);
        Heard::of(out)
    }

    pub(crate) fn say(&mut self, conn: u64, message: impl Into<ToServer>) -> Heard {
        let (conn, message, worker) = (Conn(conn), message.into(), None);
        self.give(Input::Below {
            conn,
            message,
            worker,
        })
    }

    pub(crate) fn hear(&mut self, line: u64, message: impl Into<ToClient>) -> Heard {
        let (line, message) = (Line(line), message.into());
        self.give(Input::Above { line, message })
    }

    pub(crate) fn join(&mut self, conn: u64, flags: u32) -> Heard {
        let conn = Conn(conn);
        self.give(Input::Join { conn, flags })
    }

    pub(crate) fn up(&mut self, line: u64, success_flags: u32) -> Heard {
        let line = Line(line);
        self.give(Input::Up { line, success_flags })
    }

    pub(crate) fn gone(&mut self, line: u64) -> Heard {
        let line = Line(line);
        self.give(Input::Gone { line })
    }

    /// Lets time go by, and gives everything that became due on the way.
    pub(crate) fn wait(&mut self, span: Duration) -> Heard {
        let end = self.now + span;
        let mut out = Vec::new();
        while let Some(at) = self.relay.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.relay.handle(self.now, Input::Deadline, &mut out);
            assert!(
                self.relay.deadline().is_none_or(|next| next > self.now),
                "what is due is done"
            );
        }
        self.now = end;
        Heard::of(out)
    }

    /// A device on a connection above that stands, or is made to; gives its line.
    pub(crate) fn connect(&mut self, conn: u64, flags: u32) -> Option<u64> {
        let heard = self.join(conn, flags);
        if let Some((line, asked)) = heard.dialled.first().copied() {
            assert_eq!(asked, flags);
            let heard = self.up(line, 0);
            assert!(heard.admitted.contains(&(conn, 0)), "{heard:?}");
            return Some(line);
        }
        assert_eq!(heard.admitted, [(conn, 0)]);
        None
    }

    /// Opens a channel below that the upstream gives the id and group; its first job and tip follow.
    pub(crate) fn open(&mut self, conn: u64, size: Option<u16>, above: u32, group: u32) -> Seat {
        let heard = match size {
            None => self.say(conn, open_standard(7)),
            Some(size) => self.say(conn, open_extended(7, size)),
        };
        let (line, request) = asked(&heard);
        self.seat(conn, line, request, size, above, group)
    }

    /// The upstream's answer to a request.
    pub(crate) fn seat(
        &mut self,
        conn: u64,
        line: u64,
        request: u32,
        size: Option<u16>,
        above: u32,
        group: u32,
    ) -> Seat {
        let heard = self.hear(line, success(request, size, above, group));
        let [first] = heard.to(conn)[..] else {
            panic!("the answer and nothing else: {heard:?}")
        };
        let (id, group) = match first {
            ToClient::OpenStandardMiningChannelSuccess(it) => (it.channel_id, it.group_channel_id),
            ToClient::OpenExtendedMiningChannelSuccess(it) => (it.channel_id, it.group_channel_id),
            other => panic!("expected a channel, heard {other:?}"),
        };
        Seat {
            conn,
            id,
            group,
            line,
            above,
        }
    }

    /// A future job and its tip for one channel; gives the job's name below.
    pub(crate) fn start(&mut self, seat: Seat, extended: bool, theirs: u32) -> u32 {
        let heard = match extended {
            true => self.hear(seat.line, extended_job(seat.above, theirs, None)),
            false => self.hear(seat.line, job(seat.above, theirs, None)),
        };
        let ours = match heard.to(seat.conn)[..] {
            [ToClient::NewMiningJob(job)] => job.job_id,
            [ToClient::NewExtendedMiningJob(job)] => job.job_id,
            ref other => panic!("expected a job, heard {other:?}"),
        };
        let heard = self.hear(seat.line, prev_hash(seat.above, theirs));
        let [ToClient::SetNewPrevHash(tip)] = heard.to(seat.conn)[..] else {
            panic!("expected the tip, heard {heard:?}")
        };
        assert_eq!((tip.channel_id, tip.job_id), (seat.id, ours));
        ours
    }
}

/// Line and request id of the only request for a channel.
pub(crate) fn asked(heard: &Heard) -> (u64, u32) {
    let all = all_asked(heard);
    let [one] = all[..] else {
        panic!("expected one request: {heard:?}")
    };
    one
}

/// Line and request id of all requests for channels.
pub(crate) fn all_asked(heard: &Heard) -> Vec<(u64, u32)> {
    heard
        .above
        .iter()
        .filter_map(|(line, message, _)| match message {
            ToServer::OpenStandardMiningChannel(it) => Some((*line, it.request_id)),
            ToServer::OpenExtendedMiningChannel(it) => Some((*line, it.request_id)),
            _ => None,
        })
        .collect()
}

pub(crate) fn text(text: &str) -> Str0_255 {
    text.try_into().unwrap()
}

pub(crate) fn open_standard(request_id: u32) -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id,
        user_identity: text("alice.one"),
        nominal_hash_rate: 1e12,
        max_target: U256::MAX,
    }
}

pub(crate) fn open_extended(request_id: u32, min_extranonce_size: u16) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id,
        user_identity: text("alice.two"),
        nominal_hash_rate: 1e12,
        max_target: U256::MAX,
        min_extranonce_size,
    }
}

/// A prefix that says whose it is.
pub(crate) fn prefix(above: u32) -> B0_32 {
    B0_32::new(&above.to_be_bytes()).unwrap()
}

pub(crate) fn success(
    request_id: u32,
    size: Option<u16>,
    channel_id: u32,
    group_channel_id: u32,
) -> ToClient {
    let (target, extranonce_prefix) = (U256::MAX, prefix(channel_id));
    match size {
        None => OpenStandardMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_prefix,
            group_channel_id,
        }
        .into(),
        Some(extranonce_size) => OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size,
            extranonce_prefix,
            group_channel_id,
        }
        .into(),
    }
}

pub(crate) fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    NewMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        merkle_root: U256([9; 32]),
    }
}

pub(crate) fn extended_job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new(vec![U256([3; 32])]).unwrap(),
        coinbase_tx_prefix: B0_64K::new(&[1; 60]).unwrap(),
        coinbase_tx_suffix: B0_64K::new(&[2; 90]).unwrap(),
    }
}

pub(crate) fn prev_hash(channel_id: u32, job_id: u32) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: U256([5; 32]),
        min_ntime: 1_800_000_000,
        nbits: 0x1d00_ffff,
    }
}

pub(crate) fn share(channel_id: u32, sequence_number: u32, job_id: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id,
        sequence_number,
        job_id,
        nonce: 77,
        ntime: 1_800_000_123,
        version: 0x2000_e000,
    }
}

pub(crate) fn share_extended(
    channel_id: u32,
    sequence_number: u32,
    job_id: u32,
    extranonce: &[u8],
) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id,
        nonce: 77,
        ntime: 1_800_000_123,
        version: 0x2000_e000,
        extranonce: B0_32::new(extranonce).unwrap(),
    }
}

pub(crate) fn accepted(channel_id: u32, last: u32, count: u32) -> SubmitSharesSuccess {
    SubmitSharesSuccess {
        channel_id,
        last_sequence_number: last,
        new_submits_accepted_count: count,
        new_shares_sum: u64::from(count) * 3,
    }
}

pub(crate) fn rejected(channel_id: u32, sequence_number: u32, code: &str) -> SubmitSharesError {
    SubmitSharesError {
        channel_id,
        sequence_number,
        error_code: text(code),
    }
}

pub(crate) fn close(channel_id: u32, reason: &str) -> CloseChannel {
    CloseChannel {
        channel_id,
        reason_code: text(reason),
    }
}

/// Code of the only refused share, with its channel and number.
pub(crate) fn refused(heard: &Heard, conn: u64) -> Vec<(u32, u32, String)> {
    heard
        .to(conn)
        .into_iter()
        .filter_map(|message| match message {
            ToClient::SubmitSharesError(it) => {
                Some((it.channel_id, it.sequence_number, it.error_code.to_string()))
            }
            _ => None,
        })
        .collect()
}

/// A frame of an extension that nobody knows, for a channel.
pub(crate) fn unknown(channel_id: u32, rest: &[u8]) -> (Header, Vec<u8>) {
    let payload = [&channel_id.to_le_bytes()[..], rest].concat();
    let header = Header::new(0x4abc, true, 0x17, u32::try_from(payload.len()).unwrap());
    (header, payload)
}

/// The same as bytes.
pub(crate) fn frame_of(header: &Header, payload: &[u8]) -> Vec<u8> {
    [&header.encode()[..], payload].concat()
}

pub(crate) fn endpoint_changed(channel_id: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    adit_wire::common::ChannelEndpointChanged { channel_id }.encode_frame(&mut frame);
    frame
}

/// Counts of what each connection was told, by message name.
pub(crate) fn names(heard: &Heard) -> BTreeMap<(u64, &'static str), usize> {
    let mut names = BTreeMap::new();
    for (conn, message) in &heard.below {
        *names.entry((*conn, message.name())).or_default() += 1;
    }
    names
}
