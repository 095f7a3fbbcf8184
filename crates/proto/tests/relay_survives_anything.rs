//! Properties of the relay as a whole, whatever comes from either side.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use adit_proto::Time;
use adit_proto::relay::{Conn, Input, Line, Output, Relay, Settings};
use adit_wire::mining::*;
use adit_wire::{B0_32, Header, Seq0_64K, U256};
use proptest::prelude::*;
use relay::*;

/// Inputs as values: what they borrow is theirs.
#[derive(Clone, Debug)]
enum Step {
    Join(u64, u32),
    Below(u64, ToServer),
    BelowOther(u64, u32, Vec<u8>),
    BelowChanged(u64, u32),
    Left(u64),
    Up(u64, u32),
    Refused(u64, u32),
    Above(u64, ToClient),
    /// An answer that fits a request under way, so that channels come into being.
    Grant(u64, u32, Option<u16>, u32),
    AboveOther(u64, u32, Vec<u8>),
    AboveChanged(u64, u32),
    Gone(u64),
    Turn,
    Deadline,
}

fn any_conn() -> impl Strategy<Value = u64> {
    1u64..5
}

/// Lines are numbered by the machine, from 1.
fn any_line() -> impl Strategy<Value = u64> {
    1u64..12
}

fn any_id() -> impl Strategy<Value = u32> {
    prop_oneof![10 => 0u32..9, 1 => any::<u32>()]
}

fn any_job() -> impl Strategy<Value = u32> {
    prop_oneof![10 => 0u32..40, 1 => any::<u32>()]
}

fn any_ntime() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), any::<u32>().prop_map(Some)]
}

fn any_to_server() -> impl Strategy<Value = ToServer> {
    prop_oneof![
        3 => any_id().prop_map(|id| open_standard(id).into()),
        3 => (any_id(), 0u16..34).prop_map(|(id, size)| open_extended(id, size).into()),
        2 => (any_id(), any::<f32>()).prop_map(|(channel_id, nominal_hash_rate)| {
            UpdateChannel { channel_id, nominal_hash_rate, maximum_target: U256::MAX }.into()
        }),
        2 => any_id().prop_map(|id| close(id, "x").into()),
        6 => (any_id(), any::<u32>(), any_job()).prop_map(|(id, number, job)| share(id, number, job).into()),
        6 => (any_id(), any::<u32>(), any_job(), 0usize..33)
            .prop_map(|(id, number, job, size)| share_extended(id, number, job, &vec![1; size]).into()),
    ]
}

fn any_to_client() -> impl Strategy<Value = ToClient> {
    prop_oneof![
        3 => (any_id(), proptest::option::of(0u16..34), any_id(), any_id())
            .prop_map(|(request, size, id, group)| success(request, size, id, group)),
        1 => any_id().prop_map(|request_id| OpenMiningChannelError { request_id, error_code: text("x") }.into()),
        4 => (any_id(), 0u32..6, any_ntime()).prop_map(|(id, it, ntime)| job(id, it, ntime).into()),
        5 => (any_id(), 0u32..6, any_ntime()).prop_map(|(id, it, ntime)| extended_job(id, it, ntime).into()),
        5 => (any_id(), 0u32..6).prop_map(|(id, job)| prev_hash(id, job).into()),
        2 => any_id().prop_map(|channel_id| SetTarget { channel_id, maximum_target: U256::MAX }.into()),
        1 => (any_id(), 0usize..33).prop_map(|(channel_id, size)| {
            let extranonce_prefix = B0_32::new(&vec![7; size]).unwrap();
            SetExtranoncePrefix { channel_id, extranonce_prefix }.into()
        }),
        1 => (any_id(), proptest::collection::vec(any_id(), 0..4)).prop_map(|(group_channel_id, ids)| {
            SetGroupChannel { group_channel_id, channel_ids: Seq0_64K::new(ids).unwrap() }.into()
        }),
        1 => any_id().prop_map(|id| close(id, "x").into()),
        4 => (any_id(), any::<u32>(), 0u32..4).prop_map(|(id, last, count)| accepted(id, last, count).into()),
        3 => (any_id(), any::<u32>()).prop_map(|(id, number)| rejected(id, number, "x").into()),
        1 => any_id().prop_map(|channel_id| UpdateChannelError { channel_id, error_code: text("x") }.into()),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..9);
    prop_oneof![
        3 => (any_conn(), 0u32..8).prop_map(|(conn, flags)| Step::Join(conn, flags)),
        24 => (any_conn(), any_to_server()).prop_map(|(conn, message)| Step::Below(conn, message)),
        1 => (any_conn(), any_id(), bytes()).prop_map(|(conn, id, rest)| Step::BelowOther(conn, id, rest)),
        1 => (any_conn(), any_id()).prop_map(|(conn, id)| Step::BelowChanged(conn, id)),
        1 => any_conn().prop_map(Step::Left),
        6 => (any_line(), 0u32..4).prop_map(|(line, flags)| Step::Up(line, flags)),
        1 => (any_line(), 0u32..8).prop_map(|(line, flags)| Step::Refused(line, flags)),
        16 => (any_line(), any_to_client()).prop_map(|(line, message)| Step::Above(line, message)),
        12 => (any_line(), 1u32..30, proptest::option::of(Just(8u16)), 30u32..33)
            .prop_map(|(line, id, size, group)| Step::Grant(line, id, size, group)),
        1 => (any_line(), any_id(), bytes()).prop_map(|(line, id, rest)| Step::AboveOther(line, id, rest)),
        1 => (any_line(), any_id()).prop_map(|(line, id)| Step::AboveChanged(line, id)),
        2 => any_line().prop_map(Step::Gone),
        1 => Just(Step::Turn),
        4 => Just(Step::Deadline),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<(Duration, Step)>> {
    let pause =
        prop_oneof![6 => 0u64..50, 2 => 0u64..2_000, 1 => 0u64..70_000].prop_map(Duration::from_millis);
    proptest::collection::vec((pause, any_step()), 1..220)
}

/// What somebody who watches both sides knows.
#[derive(Default)]
struct Watcher {
    /// Who is in, as far as that was said.
    conns: BTreeSet<u64>,
    admitted: BTreeSet<u64>,
    lines: BTreeSet<u64>,
    /// Open requests below.
    requests: BTreeSet<(u64, u32)>,
    /// Open channels below with their group.
    channels: BTreeMap<(u64, u32), u32>,
    /// Names that a connection has had.
    names: BTreeMap<u64, BTreeSet<u32>>,
    /// The only requests under way on a line, with the kind of channel.
    asked: BTreeMap<(u64, u32), bool>,
    /// Which line gave a job, by our name of it: the newest input decides.
    jobs: BTreeMap<u32, u64>,
}

impl Watcher {
    fn check(&mut self, input: &Step, outputs: &[Output]) -> Result<(), TestCaseError> {
        match input {
            Step::Below(conn, ToServer::OpenStandardMiningChannel(it)) if self.admitted.contains(conn) => {
                self.requests.insert((*conn, it.request_id));
            }
            Step::Below(conn, ToServer::OpenExtendedMiningChannel(it)) if self.admitted.contains(conn) => {
                self.requests.insert((*conn, it.request_id));
            }
            Step::Below(conn, ToServer::CloseChannel(it)) => {
                let id = it.channel_id;
                self.channels
                    .retain(|(of, channel), group| of != conn || (*channel != id && *group != id));
            }
            Step::Left(conn) => self.forget(*conn),
            _ => {}
        }
        let source = match input {
            Step::Above(line, _) | Step::Grant(line, ..) => Some(*line),
            _ => None,
        };
        for output in outputs {
            match output {
                Output::Below { conn, message } => self.told(conn.0, message, source)?,
                Output::Fan { frame, to } => {
                    for (conn, id) in to {
                        let mut own = Vec::new();
                        adit_proto::relay::readdress(frame, *id, &mut own);
                        let (header, payload) = parts(&own);
                        let message = ToClient::decode(&header, payload).unwrap();
                        self.told(conn.0, &message, source)?;
                    }
                }
                Output::Above { line, message, .. } => self.sent(line.0, message, input)?,
                Output::Admit { conn, .. } => {
                    prop_assert!(self.conns.contains(&conn.0) && self.admitted.insert(conn.0));
                }
                Output::Deny { conn, .. } | Output::Cut { conn, .. } => self.forget(conn.0),
                Output::Dial { line, .. } => prop_assert!(self.lines.insert(line.0), "never twice"),
                Output::Hang { line, .. } => self.asked.retain(|(of, _), _| *of != line.0),
                Output::BelowFrame { conn, .. } => prop_assert!(self.admitted.contains(&conn.0)),
                Output::AboveFrame { line, .. } => prop_assert!(self.lines.contains(&line.0)),
                Output::Event(_) => {}
            }
        }
        Ok(())
    }

    fn forget(&mut self, conn: u64) {
        self.conns.remove(&conn);
        self.admitted.remove(&conn);
        self.requests.retain(|(of, _)| *of != conn);
        self.channels.retain(|(of, _), _| *of != conn);
        self.names.remove(&conn);
    }

    /// A strict device: every message is for a channel or group that it has, every request gets one answer.
    fn told(&mut self, conn: u64, message: &ToClient, source: Option<u64>) -> Result<(), TestCaseError> {
        prop_assert!(self.admitted.contains(&conn), "{conn} is not in: {message:?}");
        let channel = |id: &u32| self.channels.contains_key(&(conn, *id));
        let group = |id: &u32| {
            let mut own = self.channels.range((conn, 0)..=(conn, u32::MAX));
            own.any(|(_, group)| group == id)
        };
        match message {
            ToClient::OpenStandardMiningChannelSuccess(it) => {
                self.opened(conn, it.request_id, it.channel_id, it.group_channel_id)?;
            }
            ToClient::OpenExtendedMiningChannelSuccess(it) => {
                self.opened(conn, it.request_id, it.channel_id, it.group_channel_id)?;
            }
            ToClient::OpenMiningChannelError(it) => {
                // A request with an id that is in use is refused, and the first goes on.
                if it.error_code.to_string() != "duplicate-request-id" {
                    prop_assert!(self.requests.remove(&(conn, it.request_id)));
                }
            }
            ToClient::NewMiningJob(it) => {
                prop_assert!(channel(&it.channel_id), "{message:?}");
                self.given(it.job_id, source)?;
            }
            ToClient::NewExtendedMiningJob(it) => {
                prop_assert!(channel(&it.channel_id) || group(&it.channel_id), "{message:?}");
                self.given(it.job_id, source)?;
            }
            ToClient::SetNewPrevHash(it) => {
                prop_assert!(channel(&it.channel_id) || group(&it.channel_id), "{message:?}");
                prop_assert!(
                    self.jobs.contains_key(&it.job_id),
                    "it names a job that was given"
                );
            }
            ToClient::SetTarget(it) => prop_assert!(channel(&it.channel_id) || group(&it.channel_id)),
            ToClient::SetExtranoncePrefix(it) => prop_assert!(channel(&it.channel_id), "REQ-MIN-044"),
            ToClient::SetGroupChannel(it) => {
                let ids: Vec<u32> = it.channel_ids.iter().copied().collect();
                prop_assert!(!ids.is_empty() && ids.iter().all(channel));
                for id in ids {
                    self.channels.insert((conn, id), it.group_channel_id);
                }
                let fresh = self.names.entry(conn).or_default().insert(it.group_channel_id);
                prop_assert!(fresh, "REQ-MIN-099");
            }
            ToClient::CloseChannel(it) => {
                let id = it.channel_id;
                prop_assert!(channel(&id) || group(&id));
                self.channels
                    .retain(|(of, channel), group| *of != conn || (*channel != id && *group != id));
            }
            ToClient::SubmitSharesSuccess(it) => prop_assert!(channel(&it.channel_id)),
            ToClient::SubmitSharesError(_) | ToClient::UpdateChannelError(_) => {}
            ToClient::SetCustomMiningJobSuccess(_) | ToClient::SetCustomMiningJobError(_) => {}
        }
        Ok(())
    }

    /// REQ-MIN-007, REQ-MIN-008, REQ-MIN-022: one answer a request, and no id means two things.
    fn opened(&mut self, conn: u64, request: u32, id: u32, group: u32) -> Result<(), TestCaseError> {
        prop_assert!(self.requests.remove(&(conn, request)), "one answer a request");
        let names = self.names.entry(conn).or_default();
        prop_assert!(names.insert(id), "a channel's name was used before");
        let known = self
            .channels
            .range((conn, 0)..=(conn, u32::MAX))
            .any(|(_, it)| *it == group);
        let fresh = names.insert(group);
        prop_assert!(known || fresh, "a group's name was used before");
        self.channels.insert((conn, id), group);
        Ok(())
    }

    fn given(&mut self, job: u32, source: Option<u64>) -> Result<(), TestCaseError> {
        let line = source.unwrap();
        let first = *self.jobs.entry(job).or_insert(line);
        prop_assert_eq!(first, line, "a job's name belongs to one upstream");
        Ok(())
    }

    /// An upstream is told only what it can understand: shares of jobs that it gave itself.
    fn sent(&mut self, line: u64, message: &ToServer, input: &Step) -> Result<(), TestCaseError> {
        prop_assert!(self.lines.contains(&line));
        let named = match input {
            Step::Below(_, ToServer::SubmitSharesStandard(it)) => Some(it.job_id),
            Step::Below(_, ToServer::SubmitSharesExtended(it)) => Some(it.job_id),
            _ => None,
        };
        match message {
            ToServer::OpenStandardMiningChannel(it) => {
                let fresh = self.asked.insert((line, it.request_id), false).is_none();
                prop_assert!(fresh, "REQ-MIN-021");
            }
            ToServer::OpenExtendedMiningChannel(it) => {
                let fresh = self.asked.insert((line, it.request_id), true).is_none();
                prop_assert!(fresh, "REQ-MIN-021");
            }
            ToServer::SubmitSharesStandard(_) | ToServer::SubmitSharesExtended(_) => {
                let gave = named.and_then(|job| self.jobs.get(&job)).copied();
                prop_assert_eq!(
                    gave,
                    Some(line),
                    "a share for an upstream that did not give its job"
                );
            }
            _ => {}
        }
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        channels_max: 4,
        line_channels_max: 5,
        asked_max: 3,
        shares_per_second: 20,
        refused_in_a_row_max: 12,
        ..Settings::default()
    }
}

/// Gives a history to a relay; `watch` sees each step with its outputs.
fn run(
    history: &[(Duration, Step)],
    mut watch: impl FnMut(&Step, &[Output], &Relay) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut relay = Relay::new(settings());
    let mut now = START;
    // A connection's number is used once, so that a second device of that name is another one.
    let mut rooms: BTreeMap<u64, u64> = BTreeMap::new();
    let mut asked: BTreeMap<u64, BTreeMap<u32, bool>> = BTreeMap::new();
    for (pause, step) in history {
        now = now + *pause;
        let mut out = Vec::new();
        let conn = |name: &u64, rooms: &BTreeMap<u64, u64>| rooms.get(name).map(|turn| name + 10 * turn);
        let step = match step.clone() {
            Step::Join(name, flags) => {
                *rooms.entry(name).or_default() += 1;
                Step::Join(conn(&name, &rooms).unwrap(), flags)
            }
            Step::Below(name, message) => match conn(&name, &rooms) {
                Some(conn) => Step::Below(conn, message),
                None => continue,
            },
            Step::BelowOther(name, id, rest) => match conn(&name, &rooms) {
                Some(conn) => Step::BelowOther(conn, id, rest),
                None => continue,
            },
            Step::BelowChanged(name, id) => match conn(&name, &rooms) {
                Some(conn) => Step::BelowChanged(conn, id),
                None => continue,
            },
            Step::Left(name) => match conn(&name, &rooms) {
                Some(conn) => Step::Left(conn),
                None => continue,
            },
            Step::Grant(line, id, size, group) => {
                let Some((request, extended)) = asked.get_mut(&line).and_then(BTreeMap::pop_first) else {
                    continue;
                };
                let size = extended.then(|| size.unwrap_or(20));
                Step::Above(line, success(request, size, id, group))
            }
            other => other,
        };
        give(&mut relay, now, &step, &mut out);
        for output in &out {
            if let Output::Above { line, message, .. } = output {
                let entry = match message {
                    ToServer::OpenStandardMiningChannel(it) => Some((it.request_id, false)),
                    ToServer::OpenExtendedMiningChannel(it) => Some((it.request_id, true)),
                    _ => None,
                };
                asked.entry(line.0).or_default().extend(entry);
            }
        }
        watch(&step, &out, &relay)?;
    }
    Ok(())
}

fn give(relay: &mut Relay, now: Time, step: &Step, out: &mut Vec<Output>) {
    let header = |rest: &[u8]| Header::new(0x4001, true, 1, u32::try_from(rest.len() + 4).unwrap());
    let payload = |id: &u32, rest: &[u8]| [&id.to_le_bytes()[..], rest].concat();
    match step {
        Step::BelowOther(conn, id, rest) => {
            let (conn, header, payload) = (Conn(*conn), header(rest), &payload(id, rest));
            relay.handle(
                now,
                Input::BelowOther {
                    conn,
                    header,
                    payload,
                },
                out,
            );
        }
        Step::AboveOther(line, id, rest) => {
            let (line, header, payload) = (Line(*line), header(rest), &payload(id, rest));
            relay.handle(
                now,
                Input::AboveOther {
                    line,
                    header,
                    payload,
                },
                out,
            );
        }
        Step::Join(conn, flags) => relay.handle(
            now,
            Input::Join {
                conn: Conn(*conn),
                flags: *flags,
            },
            out,
        ),
        Step::Below(conn, message) => {
            let (conn, message, worker) = (Conn(*conn), message.clone(), None);
            relay.handle(
                now,
                Input::Below {
                    conn,
                    message,
                    worker,
                },
                out,
            );
        }
        Step::BelowChanged(conn, id) => {
            let (conn, channel_id) = (Conn(*conn), *id);
            relay.handle(now, Input::BelowChanged { conn, channel_id }, out);
        }
        Step::Left(conn) => relay.handle(now, Input::Left { conn: Conn(*conn) }, out),
        Step::Up(line, flags) => {
            let (line, success_flags) = (Line(*line), *flags);
            relay.handle(now, Input::Up { line, success_flags }, out);
        }
        Step::Refused(line, flags) => {
            relay.handle(
                now,
                Input::Refused {
                    line: Line(*line),
                    flags: *flags,
                },
                out,
            );
        }
        Step::Above(line, message) => {
            let (line, message) = (Line(*line), message.clone());
            relay.handle(now, Input::Above { line, message }, out);
        }
        Step::Grant(..) => unreachable!("made an answer before"),
        Step::AboveChanged(line, id) => {
            let (line, channel_id) = (Line(*line), *id);
            relay.handle(now, Input::AboveChanged { line, channel_id }, out);
        }
        Step::Gone(line) => relay.handle(now, Input::Gone { line: Line(*line) }, out),
        Step::Turn => relay.handle(now, Input::Turn, out),
        Step::Deadline => relay.handle(now, Input::Deadline, out),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The same inputs give the same outputs, and none of them a panic.
    #[test]
    fn replaying_a_history_gives_the_same_outputs(history in any_history()) {
        let play = || {
            let mut all = Vec::new();
            run(&history, |_, out, relay| {
                all.push(format!("{out:?} {:?}", relay.deadline()));
                Ok(())
            })
            .map(|()| all)
        };
        prop_assert_eq!(play()?, play()?);
    }

    /// Whatever either side says: nobody hears of a channel that is not his, no request gets two answers, no name means two
    /// things, and no upstream gets a share of a job that it did not give.
    #[test]
    fn both_sides_can_follow(history in any_history()) {
        let mut watcher = Watcher::default();
        run(&history, |step, out, _| {
            if let Step::Join(conn, _) = step {
                watcher.conns.insert(*conn);
            }
            watcher.check(step, out)
        })?;
    }

    /// Nothing is left of devices that are gone, and no line of an upstream that was left.
    #[test]
    fn nothing_is_left_of_who_is_gone(history in any_history()) {
        let mut relay = Relay::new(settings());
        let mut now = START;
        let mut out = Vec::new();
        for (pause, step) in &history {
            now = now + *pause;
            if !matches!(step, Step::Grant(..)) {
                give(&mut relay, now, step, &mut out);
            }
        }
        for conn in 0..20 {
            relay.handle(now, Input::Left { conn: Conn(conn) }, &mut out);
        }
        prop_assert_eq!(relay.channel_counts(), (0, 0));
        prop_assert_eq!(relay.demand(), None);
        relay.handle(now, Input::Turn, &mut out);
        prop_assert_eq!(relay.line_count(), 0);
    }
}
