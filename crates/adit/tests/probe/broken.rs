//! Servers that break one rule, and the checks that have to say so: these and no others.

use std::collections::BTreeSet;

use super::lies::Lie;
use super::support::House;
use super::{ask, failed, liar, options, shown};

/// Lies, and the checks that fail.
const FOUND: &[(Lie, &[&str])] = &[
    (Lie::None, &[]),
    (Lie::Expired, &["sec.certificate-window"]),
    (Lie::IgnoresDamage, &["sec.damaged-record"]),
    (Lie::StrangeVersion, &["com.version-chosen"]),
    (
        Lie::StaysAfterError,
        &["com.close-after-error", "com.version-mismatch"],
    ),
    (Lie::TakesAnyFlag, &["com.undefined-flags"]),
    (Lie::TakesAllFlagsAtOnce, &["com.error-flags"]),
    (Lie::NamesSomeFlagsOnly, &["com.error-flags"]),
    (
        Lie::NamesFlagsNobodyAskedFor,
        &["com.error-flags-zero", "com.suggested-codes"],
    ),
    (Lie::TakesAnyProtocol, &["com.unknown-protocol"]),
    (Lie::TakesAnyVersion, &["com.version-mismatch"]),
    (Lie::OverlooksStrangeProtocols, &["com.unknown-protocol"]),
    (
        Lie::OverlooksStrangeVersions,
        &["com.setup-answered", "com.version-mismatch"],
    ),
    (Lie::SpeaksFirst, &["com.silent-first"]),
    (Lie::WaitsForSetup, &["com.first-message"]),
    (Lie::AnswersSecondSetup, &["com.second-setup"]),
    (Lie::ControlInCodes, &["heard.codes", "heard.codes-printable"]),
    (Lie::NewlineInReason, &["heard.reasons"]),
    (Lie::RepeatsChannelId, &["channel.ids", "heard.job-ids"]),
    (Lie::GroupIsChannel, &["channel.id-space"]),
    (Lie::TargetAboveMax, &["channel.max-target"]),
    (Lie::ForgetsRequest, &["channel.request-ids"]),
    (Lie::StandardChannelsRefused, &["channel.both-kinds"]),
    (Lie::JobNotFuture, &["heard.prev-hash", "job.first-standard"]),
    (Lie::PrevHashFirst, &["heard.prev-hash", "job.first-standard"]),
    (Lie::RepeatsJobId, &["heard.job-ids"]),
    (
        Lie::AcceptsBadShares,
        &[
            "ext.worker-name-too-long",
            "share.duplicate",
            "share.early-ntime",
            "share.short-extranonce",
            "share.stale",
            "share.too-easy",
            "share.unknown-channel",
            "share.unknown-job",
            "share.version-bits",
            "share.wrong-kind",
        ],
    ),
    (Lie::NeverAcknowledges, &["share.acknowledged"]),
    (
        Lie::RefusesGoodShares,
        &[
            "ext.unnegotiated-tlv",
            "ext.worker-named",
            "share.extended",
            "share.late-ntime",
            "share.rolled-ntime",
            "share.standard",
            "update.old-target",
        ],
    ),
    (Lie::CountsTwice, &["share.counts"]),
    (Lie::CountsHashes, &["share.sum"]),
    (Lie::AnswersUpdates, &["update.lower", "update.silent"]),
    (
        Lie::OverlooksUnknownUpdates,
        &[
            "close.channel",
            "close.group",
            "frm.wrong-channel-bit",
            "update.unknown-channel",
        ],
    ),
    (Lie::KeepsTarget, &["update.lower"]),
    (Lie::NewTargetForOldJobs, &["update.old-target"]),
    (Lie::OverlooksClose, &["close.channel", "close.group"]),
    (
        Lie::AnswersUnknownExtensions,
        &[
            "ext.unknown-channel",
            "ext.unknown-discarded",
            "heard.core-extension",
            "heard.well-formed",
        ],
    ),
    (
        Lie::EndsAtUnknownMessages,
        &["frm.unknown-message", "sec.empty-payload"],
    ),
    (Lie::WrongChannelBit, &["heard.channel-bits"]),
    (
        Lie::WrongExtension,
        &[
            "close.channel",
            "close.group",
            "frm.wrong-channel-bit",
            "heard.core-extension",
            "heard.well-formed",
            "update.unknown-channel",
        ],
    ),
    (Lie::GroupsHeaderOnly, &["job.header-only"]),
    (Lie::GroupsStrangers, &["heard.grouping"]),
    (
        Lie::WitnessInCoinbase,
        &[
            "ext.unnegotiated-tlv",
            "ext.worker-named",
            "job.stripped-coinbase",
            "share.extended",
        ],
    ),
    (Lie::ForbidsRolling, &["job.rolling-allowed"]),
    (Lie::OverlappingPrefixes, &["channel.unique-space"]),
    (Lie::UnequalGroup, &["channel.group-size"]),
    (Lie::ShortExtranonce, &["channel.extranonce-size"]),
    (Lie::TakesAnyFloat, &["frm.odd-floats"]),
    (
        Lie::EndsAtTrailingBytes,
        &["ext.unnegotiated-tlv", "ext.worker-named", "frm.trailing-bytes"],
    ),
    (Lie::PadsTruncated, &["frm.truncated"]),
    (Lie::TakesCustomJobs, &["custom.refused"]),
    (
        Lie::SupportsEverything,
        &["ext.none-supported", "ext.worker-name-too-long"],
    ),
    (Lie::NeverATarget, &["heard.targets"]),
    (Lie::CutMessages, &["heard.well-formed"]),
    (
        Lie::ExtendedJobNotFuture,
        &["heard.prev-hash", "job.first-extended"],
    ),
    (
        Lie::EndsAtRequestExtensions,
        &[
            "ext.none-supported",
            "ext.request",
            "ext.supported",
            "ext.worker-name-too-long",
            "ext.worker-named",
        ],
    ),
    (Lie::SupportsStrangers, &["ext.none-supported", "ext.supported"]),
    (Lie::EndsAtLongTexts, &["frm.text-lengths"]),
    (Lie::FixesVersion, &["job.fixed-version", "min.fixed-version"]),
    (Lie::DiesOfExtensions, &["com.still-there"]),
];

/// Lies told at the same time by servers of their own.
const AT_ONCE: usize = 8;

/// Every lie is found, by the checks that are named for it, and by no others.
#[tokio::test]
async fn each_lie_is_found_and_nothing_else() {
    // Blocks come so seldom here that none crosses anything. One lie is about blocks.
    let quiet = House::open(&[("node", "embedded:40")]).await;
    let busy = House::open(&[]).await;
    let mut wrong = Vec::new();
    for some in FOUND.chunks(AT_ONCE) {
        let mut asked = Vec::new();
        for (lie, expected) in some {
            let house = if *lie == Lie::AcceptsBadShares {
                &busy
            } else {
                &quiet
            };
            let url = liar::lie(house.pool.url(), *lie).await;
            let mut options = options();
            if *lie == Lie::SpeaksFirst {
                options.quiet_ms = 800;
            }
            let report = tokio::spawn(async move { ask(&url, options).await });
            asked.push((lie, *expected, report));
        }
        for (lie, expected, report) in asked {
            let report = report.await.unwrap();
            let (found, expected) = (failed(&report), BTreeSet::from_iter(expected.iter().copied()));
            if found != expected {
                wrong.push(format!(
                    "{lie:?}: found {found:?}, expected {expected:?}\n{}",
                    failures(&report)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    quiet.close().await;
    busy.close().await;
}

/// A server that hangs up on a peer that never begins is told from one that waits for ever.
#[tokio::test]
async fn a_server_that_waits_for_ever_is_found() {
    let house = House::open(&[]).await;
    let url = liar::lie(house.pool.url(), Lie::None).await;
    let mut options = options();
    options.idle_seconds = 1;
    let report = ask(&url, options).await;
    assert_eq!(failed(&report), ["sec.idle-peer"].into(), "{}", shown(&report));
    house.close().await;
}

/// Only the lines of the report that tell of failures.
fn failures(report: &adit::probe::Report) -> String {
    let all = shown(report);
    let lines: Vec<&str> = all.lines().collect();
    let tells = |at: &usize| {
        lines[at.saturating_sub(3)..=*at]
            .iter()
            .any(|line| line.contains("  FAIL "))
    };
    let told: Vec<&str> = (0..lines.len()).filter(tells).map(|at| lines[at]).collect();
    told.join("\n")
}
