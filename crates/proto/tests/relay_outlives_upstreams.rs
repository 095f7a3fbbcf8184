//! What a transparent proxy does about upstreams that are full, silent, gone, or others than before.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod relay;

use std::time::Duration;

use adit_proto::relay::{Conn, Hang, Input, Line, Output, Settings};
use adit_wire::common::flags::{REQUIRES_FIXED_VERSION, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use adit_wire::mining::*;
use relay::*;

/// Devices with other needs are on other connections, and are told what the upstream requires (REQ-COM-019).
#[test]
fn needs_are_honoured_on_connections_of_their_own() {
    let mut between = Between::new();
    let all = between.join(1, 0);
    let header_only = between.join(2, REQUIRES_STANDARD_JOBS);
    let rolling = between.join(3, REQUIRES_VERSION_ROLLING);
    let [(a, 0)] = all.dialled[..] else {
        panic!("{all:?}")
    };
    let [(b, REQUIRES_STANDARD_JOBS)] = header_only.dialled[..] else {
        panic!("{header_only:?}")
    };
    let [(c, REQUIRES_VERSION_ROLLING)] = rolling.dialled[..] else {
        panic!("{rolling:?}")
    };
    assert!(between.join(4, 0).dialled.is_empty(), "one is on its way");
    let heard = between.up(a, REQUIRES_FIXED_VERSION);
    assert_eq!(
        heard.admitted,
        [(1, REQUIRES_FIXED_VERSION), (4, REQUIRES_FIXED_VERSION)]
    );
    assert_eq!(between.up(b, 0).admitted, [(2, 0)]);
    // The upstream cannot do what the third needs: it is told so, and others that come are at once, for a while.
    let refused = Input::Refused {
        line: Line(c),
        flags: REQUIRES_VERSION_ROLLING,
    };
    assert_eq!(between.give(refused).denied, [(3, REQUIRES_VERSION_ROLLING)]);
    let heard = between.join(5, REQUIRES_VERSION_ROLLING);
    assert_eq!(heard.denied, [(5, REQUIRES_VERSION_ROLLING)]);
    assert!(heard.dialled.is_empty());
    between.wait(Duration::from_secs(61));
    assert_eq!(between.join(6, REQUIRES_VERSION_ROLLING).dialled.len(), 1);
    assert_eq!(between.relay.demand(), Some(0), "most devices");
}

/// Who is told nothing for too long is sent home.
#[test]
fn nobody_waits_for_ever() {
    let mut between = Between::new();
    let heard = between.join(1, 0);
    let line = heard.dialled[0].0;
    assert!(between.wait(Duration::from_secs(19)).cut.is_empty());
    assert_eq!(between.wait(Duration::from_secs(2)).cut.len(), 1);
    between.up(line, 0);
    between.connect(2, 0);
    // An opening that no upstream has answered, because there is none.
    between.gone(line);
    let heard = between.say(2, open_standard(7));
    assert!(heard.above.is_empty() && heard.below.is_empty());
    let heard = between.wait(Duration::from_secs(21));
    let [ToClient::OpenMiningChannelError(error)] = heard.to(2)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(
        (error.request_id, error.error_code.to_string()),
        (7, "not-ready".into())
    );
    // REQ-MIN-020: nor does a connection without a channel stay for ever.
    assert_eq!(between.wait(Duration::from_secs(3_601)).cut.len(), 1);
}

/// The upstream dies. Everything that waited is refused, shares are stale until another upstream gives a job, and each
/// channel is told its new prefix and target, a future job and its tip; no connection below ends.
#[test]
fn channels_move_and_devices_stay() {
    let mut between = Between::new();
    let old = between.connect(1, 0).unwrap();
    let headers = between.connect(2, REQUIRES_STANDARD_JOBS).unwrap();
    let standard = between.open(1, None, 70, 1);
    let extended = between.open(1, Some(8), 71, 1);
    let header_only = between.open(2, None, 5, 1);
    let job_s = between.start(standard, false, 500);
    let job_e = between.start(extended, true, 500);
    let job_h = between.start(header_only, false, 500);
    between.say(1, share(standard.id, 1, job_s));
    between.say(1, share(standard.id, 2, job_s));
    between.say(1, share_extended(extended.id, 9, job_e, &[4; 8]));
    let (_, opening) = asked(&between.say(1, open_standard(8)));
    // One of the two is answered before the end.
    between.hear(old, accepted(70, 1, 1));

    let heard = between.give(Input::Turn);
    assert_eq!(heard.hung, [old, headers]);
    assert!(heard.cut.is_empty());
    assert_eq!(
        refused(&heard, 1),
        [
            (standard.id, 2, "stale-share".to_owned()),
            (extended.id, 9, "stale-share".to_owned())
        ]
    );
    let new: Vec<(u64, u32)> = heard.dialled.clone();
    assert_eq!(new.len(), 2, "{heard:?}");
    // Until then nothing goes anywhere.
    let heard = between.say(1, share(standard.id, 3, job_s));
    assert_eq!(refused(&heard, 1)[0].2, "stale-share");
    assert!(heard.above.is_empty());
    // Words of the old one are nobody's any more.
    assert!(between.hear(old, accepted(70, 2, 1)).below.is_empty());
    assert!(between.hear(old, success(opening, None, 90, 1)).below.is_empty());

    let line = new.iter().find(|(_, flags)| *flags == 0).unwrap().0;
    let headers = new.iter().find(|(_, flags)| *flags != 0).unwrap().0;
    let heard = between.up(line, 0);
    let requests = all_asked(&heard);
    let [
        ToServer::OpenStandardMiningChannel(first),
        ToServer::OpenExtendedMiningChannel(second),
        ToServer::OpenStandardMiningChannel(_),
    ] = heard.up(line)[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!(
        (&first.user_identity, first.nominal_hash_rate),
        (&text("alice.one"), 1e12)
    );
    assert_eq!(
        second.min_extranonce_size, 8,
        "what the device rolls stays as long"
    );

    // The new upstream leaves more to roll: zeros stand in for it, in the prefix and in shares.
    let heard = between.hear(line, success(requests[1].1, Some(11), 40, 3));
    let [ToClient::SetExtranoncePrefix(moved), ToClient::SetTarget(target)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((moved.channel_id, target.channel_id), (extended.id, extended.id));
    assert_eq!(
        moved.extranonce_prefix.as_bytes(),
        [prefix(40).as_bytes(), &[0; 3]].concat()
    );
    let again = Seat {
        line,
        above: 40,
        ..extended
    };
    let job_new = between.start(again, true, 500);
    assert_ne!(job_new, job_e, "the same name there is another job here");
    let heard = between.say(1, share_extended(extended.id, 10, job_new, &[4; 8]));
    let whole = [&[0; 3][..], &[4; 8]].concat();
    assert_eq!(
        heard.up(line),
        [&ToServer::from(share_extended(40, 10, 500, &whole))]
    );
    // A late share of the old job is for nobody.
    let heard = between.say(1, share_extended(extended.id, 11, job_e, &[4; 8]));
    assert_eq!(refused(&heard, 1)[0].2, "stale-share");
    assert!(heard.above.is_empty());

    // REQ-MIN-044: each channel gets its own; the opening gets its first answer.
    let heard = between.hear(line, success(requests[0].1, None, 41, 3));
    assert!(matches!(
        heard.to(1)[..],
        [ToClient::SetExtranoncePrefix(_), ToClient::SetTarget(_)]
    ));
    let heard = between.hear(line, success(requests[2].1, None, 42, 3));
    assert!(
        matches!(heard.to(1)[..], [ToClient::OpenStandardMiningChannelSuccess(it)] if it.request_id == 8)
    );

    // Who mines headers only has no use for a prefix.
    let request = all_asked(&between.up(headers, 0))[0].1;
    let heard = between.hear(headers, success(request, None, 1, 2));
    assert!(matches!(heard.to(2)[..], [ToClient::SetTarget(_)]));
    let again = Seat {
        line: headers,
        above: 1,
        ..header_only
    };
    let job_new = between.start(again, false, 500);
    assert!(job_new > job_h);
}

/// Members of one group below may be in several above after a move, and are told one by one then.
#[test]
fn a_group_that_was_torn_apart_is_told_one_by_one() {
    let mut between = Between::new();
    let old = between.connect(1, 0).unwrap();
    let a = between.open(1, None, 70, 1);
    let b = between.open(1, Some(8), 71, 1);
    assert_eq!(a.group, b.group);
    let heard = between.gone(old);
    assert!(heard.dialled.len() == 1 && heard.cut.is_empty());
    let line = heard.dialled[0].0;
    let requests = all_asked(&between.up(line, 0));
    between.hear(line, success(requests[0].1, None, 10, 1));
    between.hear(line, success(requests[1].1, Some(8), 11, 2));
    let heard = between.hear(line, extended_job(1, 3, Some(1)));
    assert!(
        matches!(heard.to(1)[..], [ToClient::NewMiningJob(it)] if it.channel_id == a.id),
        "{heard:?}"
    );
    let heard = between.hear(line, extended_job(2, 4, Some(1)));
    assert!(matches!(heard.to(1)[..], [ToClient::NewExtendedMiningJob(it)] if it.channel_id == b.id));
    // Once more together, they are one again.
    between.gone(line);
    let line = between
        .wait(Duration::from_secs(1))
        .dialled
        .first()
        .map_or_else(|| line + 1, |it| it.0);
    let requests = all_asked(&between.up(line, 0));
    between.hear(line, success(requests[0].1, None, 20, 7));
    between.hear(line, success(requests[1].1, Some(8), 21, 7));
    let heard = between.hear(line, extended_job(7, 3, Some(1)));
    assert!(matches!(heard.to(1)[..], [ToClient::NewExtendedMiningJob(it)] if it.channel_id == a.group));
}

/// An upstream that cannot give what a device has loses that channel, with a word below; the socket stays.
#[test]
fn a_channel_that_cannot_move_is_closed() {
    let mut between = Between::new();
    let old = between.connect(1, 0).unwrap();
    let seat = between.open(1, Some(8), 70, 1);
    let other = between.open(1, None, 71, 1);
    let line = between.gone(old).dialled[0].0;
    let requests = all_asked(&between.up(line, 0));
    let heard = between.hear(
        line,
        OpenMiningChannelError {
            request_id: requests[0].1,
            error_code: text("min-extranonce-size-too-large"),
        },
    );
    let [ToClient::CloseChannel(closed)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(
        (closed.channel_id, closed.reason_code.to_string()),
        (seat.id, "upstream-lost".into())
    );
    assert!(heard.cut.is_empty());
    let heard = between.hear(line, success(requests[1].1, None, 9, 1));
    assert!(
        heard
            .to(1)
            .iter()
            .any(|it| matches!(it, ToClient::SetTarget(it) if it.channel_id == other.id))
    );
    // A smaller extranonce than was asked for is a fault, and the channel is asked for elsewhere.
    let between = &mut Between::new();
    let old = between.connect(1, 0).unwrap();
    between.open(1, Some(8), 70, 1);
    let line = between.gone(old).dialled[0].0;
    let request = all_asked(&between.up(line, 0))[0].1;
    let heard = between.hear(line, success(request, Some(7), 10, 1));
    assert_eq!(heard.hung, [line]);
    assert!(heard.below.is_empty());
}

/// Firmware that mines on with its old prefix is refused again and again: it has to come again. So has one that does not
/// know CloseChannel.
#[test]
fn a_device_that_does_not_follow_has_to_come_again() {
    let mut between = Between::new();
    let old = between.connect(1, 0).unwrap();
    let seat = between.open(1, Some(8), 70, 1);
    between.connect(2, 0);
    let line = between.gone(old).dialled[0].0;
    let request = all_asked(&between.up(line, 0))[0].1;
    between.hear(line, success(request, Some(8), 10, 1));
    let job_id = between.start(
        Seat {
            line,
            above: 10,
            ..seat
        },
        true,
        1,
    );
    for number in 1..=8 {
        between.say(1, share_extended(seat.id, number, job_id, &[4; 8]));
        let heard = between.hear(line, rejected(10, number, "difficulty-too-low"));
        assert_eq!(heard.cut.len(), usize::from(number == 8), "{number}");
    }
    // One good share, and it has understood.
    let seat = between.open(2, Some(8), 11, 1);
    let line = between.gone(line).dialled[0].0;
    let request = all_asked(&between.up(line, 0))[0].1;
    between.hear(line, success(request, Some(8), 10, 1));
    let job_id = between.start(
        Seat {
            line,
            above: 10,
            ..seat
        },
        true,
        1,
    );
    between.say(2, share_extended(seat.id, 0, job_id, &[4; 8]));
    between.hear(line, accepted(10, 0, 1));
    for number in 1..=30 {
        between.say(2, share_extended(seat.id, number, job_id, &[4; 8]));
        let heard = between.hear(line, rejected(10, number, "difficulty-too-low"));
        assert!(heard.cut.is_empty());
    }
    between.hear(line, close(10, "idle"));
    for number in 1..=8 {
        let heard = between.say(2, share_extended(seat.id, number, job_id, &[4; 8]));
        assert_eq!(heard.cut.len(), usize::from(number == 8), "{number}");
    }
}

/// REQ-COM-031: an extension's other end is another one after the move: who has spoken with it is told, before anything of
/// the new one.
#[test]
fn a_moved_channel_has_another_endpoint() {
    let mut between = Between::new();
    let old = between.connect(1, 0).unwrap();
    let seat = between.open(1, None, 70, 1);
    between.open(1, None, 71, 1);
    let (header, payload) = unknown(70, &[1, 2]);
    between.give(Input::AboveOther {
        line: Line(old),
        header,
        payload: &payload,
    });
    let line = between.gone(old).dialled[0].0;
    let (header, payload) = unknown(seat.id, &[1, 2]);
    let lost = between.give(Input::BelowOther {
        conn: Conn(1),
        header,
        payload: &payload,
    });
    assert!(lost.above_frames.is_empty(), "there is nobody to hear it");
    let requests = all_asked(&between.up(line, 0));
    let mut out = Vec::new();
    let input = Input::Above {
        line: Line(line),
        message: success(requests[0].1, None, 5, 1),
    };
    between.relay.handle(between.now, input, &mut out);
    let Output::BelowFrame { frame, .. } = &out[0] else {
        panic!("{out:?}")
    };
    assert_eq!(*frame, endpoint_changed(seat.id));
    let heard = between.hear(line, success(requests[1].1, None, 6, 1));
    assert!(heard.below_frames.is_empty());
}

/// REQ-MIN-006: an upstream that takes three channels a connection gets as many connections as are needed, and no more;
/// what it refuses for another reason is refused.
#[test]
fn a_full_line_is_not_the_last() {
    const TAKES: usize = 3;
    let mut between = Between::new();
    let mut lines = vec![between.connect(1, 0).unwrap()];
    let mut above = 100;
    let mut counts = std::collections::BTreeMap::<u64, usize>::new();
    let mut opened = 0;
    for request in 0..10u32 {
        let mut heard = between.say(1, open_standard(request));
        loop {
            if let Some((line, _)) = heard.dialled.first().copied() {
                lines.push(line);
                heard = between.up(line, 0);
                continue;
            }
            let (line, asked) = asked(&heard);
            let count = counts.entry(line).or_default();
            if *count < TAKES {
                *count += 1;
                above += 1;
                let heard = between.hear(line, success(asked, None, above, 1));
                assert_eq!(heard.to(1).len(), 1);
                opened += 1;
                break;
            }
            let error_code = text("zz-anything");
            heard = between.hear(
                line,
                OpenMiningChannelError {
                    request_id: asked,
                    error_code,
                },
            );
            assert!(heard.below.is_empty(), "it is tried elsewhere: {heard:?}");
        }
    }
    assert_eq!((opened, lines.len()), (10, 4));
    assert!(counts.values().all(|count| *count <= TAKES));
    // A request that no connection takes is refused after one more try.
    let mut heard = between.say(1, open_standard(50));
    let mut tries = 0;
    loop {
        if let Some((line, _)) = heard.dialled.first().copied() {
            heard = between.up(line, 0);
            continue;
        }
        let Some(&(line, asked)) = all_asked(&heard).first() else {
            break;
        };
        tries += 1;
        let error_code = text("unknown-user");
        heard = between.hear(
            line,
            OpenMiningChannelError {
                request_id: asked,
                error_code,
            },
        );
    }
    assert_eq!(tries, 2);
    assert!(
        matches!(heard.to(1)[..], [ToClient::OpenMiningChannelError(it)] if it.error_code.to_string() == "unknown-user")
    );
}

/// A connection that says nothing is asked something that must be answered; one that does not answer is left.
#[test]
fn a_silent_upstream_is_noticed() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    let seat = between.open(1, None, 70, 1);
    let job_id = between.start(seat, false, 1);
    assert!(
        between.wait(Duration::from_secs(600)).hung.is_empty(),
        "nothing is due"
    );
    between.say(1, share(seat.id, 1, job_id));
    let heard = between.wait(Duration::from_secs(21));
    let [ToServer::UpdateChannel(question)] = heard.up(line)[..] else {
        panic!("{heard:?}")
    };
    let answer = UpdateChannelError {
        channel_id: question.channel_id,
        error_code: text("invalid-channel-id"),
    };
    let heard = between.hear(line, answer);
    assert!(heard.below.is_empty(), "it was our question");
    // Shares that wait for minutes are another matter: batches are answered late.
    let heard = between.wait(Duration::from_secs(30));
    assert_eq!((heard.hung.len(), heard.up(line).len()), (0, 1));
    let heard = between.wait(Duration::from_secs(21));
    assert_eq!(heard.hung, [line]);
    assert_eq!(refused(&heard, 1), [(seat.id, 1, "stale-share".to_owned())]);

    // A request for a channel is answered in seconds, or the line is left and the next one asked.
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.say(1, open_standard(7));
    let heard = between.wait(Duration::from_secs(11));
    assert_eq!(heard.hung, [line]);
    assert!(heard.below.is_empty());
    let next = between
        .wait(Duration::from_secs(1))
        .dialled
        .first()
        .map_or(line + 1, |it| it.0);
    assert_eq!(all_asked(&between.up(next, 0)).len(), 1);
}

/// An upstream that breaks the protocol loses that connection; its channels are asked for elsewhere.
#[test]
fn what_breaks_the_protocol_is_left() {
    let faults: Vec<fn(u64) -> ToClient> = vec![
        |_| success(999, None, 80, 1),
        |_| job(71, 1, None).into(),
        |_| extended_job(70, 1, None).into(),
        |_| prev_hash(70, 12345).into(),
        |_| prev_hash(1, 12345).into(),
        |_| {
            OpenMiningChannelError {
                request_id: 999,
                error_code: text("x"),
            }
            .into()
        },
    ];
    for (number, fault) in faults.iter().enumerate() {
        let mut between = Between::new();
        let line = between.connect(1, 0).unwrap();
        between.open(1, None, 70, 1);
        between.open(1, Some(8), 71, 1);
        let mut out = Vec::new();
        let input = Input::Above {
            line: Line(line),
            message: fault(line),
        };
        between.relay.handle(between.now, input, &mut out);
        let hung = out.iter().any(|it| {
            matches!(
                it,
                Output::Hang {
                    why: Hang::Misbehaved(_),
                    ..
                }
            )
        });
        assert!(hung, "{number}: {out:?}");
        let heard = Heard::of(out);
        assert!(heard.cut.is_empty() && heard.below.is_empty(), "{number}");
        assert_eq!(heard.dialled.len(), 1);
    }
}

/// An upstream that requires more than devices were told loses those devices: they come again and are told.
#[test]
fn new_requirements_are_told_to_new_connections_only() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.open(1, None, 70, 1);
    let line = between.gone(line).dialled[0].0;
    let heard = between.up(line, REQUIRES_FIXED_VERSION);
    assert_eq!(heard.cut.len(), 1);
    assert_eq!(between.join(2, 0).admitted, [(2, REQUIRES_FIXED_VERSION)]);
    // What is required no longer disturbs nobody.
    let line = between.gone(line);
    let line = line
        .dialled
        .first()
        .map_or_else(|| between.wait(Duration::from_secs(1)).dialled[0].0, |it| it.0);
    assert!(between.up(line, 0).cut.is_empty());
}

/// Lines that cannot be made are tried more and more seldom.
#[test]
fn a_line_that_cannot_be_made_is_not_hammered() {
    let mut between = Between::new();
    let mut line = between.join(1, 0).dialled[0].0;
    let mut dials = 0;
    for _ in 0..200 {
        between.gone(line);
        let heard = between.wait(Duration::from_millis(100));
        if let Some((next, _)) = heard.dialled.first() {
            line = *next;
            dials += 1;
        }
        if !heard.cut.is_empty() {
            break;
        }
    }
    assert!((4..12).contains(&dials), "{dials} in twenty seconds");
}

/// A line that nobody uses any more is ended, while another one serves; targets and prefixes are those of the new one.
#[test]
fn spare_lines_are_ended() {
    let settings = Settings {
        line_channels_max: 1,
        ..Settings::default()
    };
    let mut between = Between::with(settings);
    let first = between.connect(1, 0).unwrap();
    between.open(1, None, 70, 1);
    let heard = between.say(1, open_standard(8));
    let second = heard.dialled[0].0;
    let (_, request) = asked(&between.up(second, 0));
    let seat = between.seat(1, second, request, None, 70, 1);
    between.say(1, close(seat.id, "done"));
    let heard = between.wait(Duration::from_secs(61));
    assert_eq!(heard.hung, [second]);
    between.give(Input::Left { conn: Conn(1) });
    assert_eq!(between.wait(Duration::from_secs(61)).hung, [first]);
    assert_eq!((between.relay.line_count(), between.relay.demand()), (0, None));
}
