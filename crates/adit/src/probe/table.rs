//! The one table of checks. A row is a name, the requirements (the one it is named for first), how strongly that one is
//! worded, where it stands, what is expected, and the function that asks. Adding a check touches this place and its
//! function; `cargo test` holds level and section against docs/spec/requirements.md.

use super::Probe;
use super::checks::{
    capture, channels, declaration, extensions, framing, jobs, security, setup, shares, templates, updates,
};
use super::verdict::{Level, Outcome};

/// One row.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) requirements: &'static [&'static str],
    pub(super) level: Level,
    pub(super) section: &'static str,
    pub(super) title: &'static str,
    pub(super) run: fn(&Probe) -> Outcome,
}

macro_rules! checks {
    ($($name:literal [$($id:literal),+] $level:ident $section:literal $title:literal => $run:path;)*) => {
        /// In the order of the report. What looks at everything that was heard comes last.
        pub(super) static CHECKS: &[Check] = &[$(Check {
            name: $name,
            requirements: &[$($id),+],
            level: Level::$level,
            section: $section,
            title: $title,
            run: $run,
        }),*];
    };
}

checks! {
    "sec.current-suite" ["REQ-SEC-024", "REQ-SEC-026"] Must "C4.3" "the current handshake is served" => security::current_suite;
    "sec.draft-suites" ["REQ-SEC-007", "REQ-SEC-005", "REQ-SEC-013"] Must "S3.3.3" "each algorithm of the 2022 draft is taken when it alone is offered" => security::draft_suites;
    "sec.draft-unknown" ["REQ-SEC-008"] Implied "S3.3.3" "an offer without a known algorithm ends the connection" => security::draft_unknown;
    "sec.certificate" ["REQ-SEC-028"] Must "C4.5.3" "the authority of the URL has signed the certificate" => security::signature;
    "sec.certificate-version" ["REQ-SEC-018"] Implied "C4.5.2" "the certificate has version 0" => security::version;
    "sec.certificate-window" ["REQ-SEC-017"] Must "C4.5" "the certificate is valid now, or clients must refuse it" => security::window;
    "sec.damaged-record" ["REQ-SEC-022"] Must "C4.4.1" "a damaged record ends the connection without an answer" => security::damaged_record;
    "sec.trickled" ["REQ-SEC-033", "REQ-COM-001"] Must "C4.6" "frames may arrive in any pieces" => security::trickled;
    "sec.empty-payload" ["REQ-SEC-034"] Implied "C4.6" "a frame without payload is read" => security::empty_payload;
    "sec.idle-peer" ["REQ-SEC-037"] Implied "peers" "a peer that never begins the handshake is hung up on" => security::idle_peer;
    "sec.plaintext" ["REQ-SEC-003", "REQ-SEC-001"] MustNot "C4.1" "nothing is said unencrypted on a port that is not local" => security::plaintext;

    "com.setup-answered" ["REQ-COM-003"] Must "C3.6.1" "every SetupConnection gets Success or Error" => setup::answered;
    "com.first-message" ["REQ-COM-004"] Implied "C3.6.1" "another first message ends the connection" => setup::first_message;
    "com.silent-first" ["REQ-COM-005"] Implied "C3.6.1" "the server says nothing before SetupConnection" => setup::silent_first;
    "com.second-setup" ["REQ-COM-006"] Implied "C3.6.2" "a second SetupConnection changes nothing" => setup::second_setup;
    "com.version-chosen" ["REQ-COM-011"] Must "C3.6.2" "used_version lies in the range offered" => setup::version_chosen;
    "com.version-mismatch" ["REQ-COM-012"] Implied "C3.6.3" "ranges without version 2 are refused" => setup::version_mismatch;
    "com.close-after-error" ["REQ-COM-013"] Must "C3.6.3" "the connection ends after SetupConnection.Error" => setup::closes_after_error;
    "com.error-flags" ["REQ-COM-014"] Must "C3.6.3" "SetupConnection.Error names every unsupported flag" => setup::error_flags;
    "com.undefined-flags" ["REQ-COM-016"] Implied "C3.6.3" "undefined flags are refused" => setup::undefined_flags;
    "com.error-flags-zero" ["REQ-COM-017"] Must "C3.6.3" "Error.flags is 0 when flags are not the cause" => setup::error_flags_zero;
    "com.unknown-protocol" ["REQ-COM-020"] Implied "C3.6.1" "an unknown protocol is refused" => setup::unknown_protocol;
    "com.suggested-codes" ["REQ-COM-030"] Should "S3.6" "the suggested error codes are used where they fit" => setup::suggested_codes;
    "jdist.protocol" ["REQ-JDIST-001", "REQ-JDIST-002"] Implied "S3.7.1" "protocol 3 is refused, or defined by the implementation" => setup::job_distribution;

    "frm.trailing-bytes" ["REQ-FRM-022"] Implied "C3.4.3" "bytes behind the last field are no error" => framing::trailing_bytes;
    "frm.truncated" ["REQ-FRM-021"] Implied "C3.2" "a payload that ends inside a field ends the connection" => framing::truncated;
    "frm.unknown-message" ["REQ-FRM-023"] Implied "C3.4" "unknown message types are ignored" => framing::unknown_message;
    "frm.wrong-channel-bit" ["REQ-FRM-026"] Implied "C8" "a wrong channel bit does not make a message unknown" => framing::channel_bit;
    "frm.odd-floats" ["REQ-FRM-014"] Implied "C5.3.2" "a hash rate that is no number, or negative, is refused" => framing::odd_floats;
    "frm.text-lengths" ["REQ-FRM-004"] Must "C3.1" "texts of 0 and 255 bytes are read" => framing::text_lengths;
    "frm.huge-frame" ["REQ-FRM-024"] Implied "C3.2" "an announced frame of 16 MiB disturbs nobody else" => framing::huge_frame;

    "ext.unknown-discarded" ["REQ-EXT-003"] Must "C3.4.1" "unknown extensions are discarded silently" => extensions::unknown_discarded;
    "ext.unknown-channel" ["REQ-EXT-004"] Must "C3.4.1" "unknown extensions for a channel are discarded" => extensions::unknown_channel_discarded;
    "ext.request" ["REQ-EXT-031"] Implied "E1 4.3" "RequestExtensions is answered, or ignored" => extensions::request_ignored_or_answered;
    "ext.supported" ["REQ-EXT-025", "REQ-EXT-012"] Implied "E1 2" "Success lists a part of the request, with its id" => extensions::supported_subset;
    "ext.none-supported" ["REQ-EXT-026"] Must "E1 4.1" "Error when nothing of the request is supported" => extensions::none_supported;
    "ext.unnegotiated-tlv" ["REQ-EXT-037"] Must "E2 1.3" "TLVs that were not negotiated are ignored" => extensions::unnegotiated_tlv;
    "ext.worker-named" ["REQ-EXT-021"] Must "C3.4.3" "a share with a worker's name is accepted" => extensions::worker_named;
    "ext.worker-name-too-long" ["REQ-EXT-019"] Must "C3.4.3" "a worker's name of 33 bytes is refused" => extensions::worker_name_too_long;

    "min.work-selection" ["REQ-MIN-013"] Implied "C3.6.3" "work selection is granted or refused by name" => setup::work_selection;
    "min.fixed-version" ["REQ-MIN-015"] MustNot "C5.3.1" "version rolling and a fixed version are not both agreed on" => setup::fixed_version;
    "channel.both-kinds" ["REQ-MIN-004"] Must "C5.2.2" "standard and extended channels are opened" => channels::both_kinds;
    "channel.extended-only" ["REQ-MIN-018"] Implied "C5.3.1" "with REQUIRES_EXTENDED_CHANNELS standard ones are refused" => channels::extended_only;
    "channel.request-ids" ["REQ-MIN-022"] Must "C5.3.3" "every open request gets an answer with its id" => channels::request_ids;
    "channel.ids" ["REQ-MIN-007"] MustNot "C5.2" "no two channels have one id" => channels::distinct_ids;
    "channel.id-space" ["REQ-MIN-008", "REQ-MIN-009", "REQ-MIN-099"] Must "C5.2.3" "groups and channels do not share ids" => channels::id_space;
    "channel.unique-space" ["REQ-MIN-002"] Must "C5.1" "each channel has a search space of its own" => channels::unique_space;
    "channel.group-size" ["REQ-MIN-010"] Must "C5.2.3" "one full extranonce size in a group" => channels::group_size;
    "channel.max-target" ["REQ-MIN-023", "REQ-MIN-098"] Must "C5.3.2" "the target is not above max_target, or an Error" => channels::max_target;
    "channel.extranonce-size" ["REQ-MIN-027"] Implied "C5.3.4" "the extranonce is as long as asked for, or an Error" => channels::extranonce_size;

    "job.first-standard" ["REQ-MIN-028"] Must "C5.3.15" "a standard channel begins with a future NewMiningJob" => jobs::first_standard;
    "job.first-extended" ["REQ-MIN-029"] Implied "C5.3.16" "an extended channel begins with a future NewExtendedMiningJob" => jobs::first_extended;
    "job.then-prev-hash" ["REQ-MIN-030"] Implied "C5.3.17" "SetNewPrevHash then names that job" => jobs::then_prev_hash;
    "job.header-only" ["REQ-MIN-011"] MustNot "C5.3.1" "with REQUIRES_STANDARD_JOBS no extended job and no SetGroupChannel" => jobs::header_only;
    "job.rolling-allowed" ["REQ-MIN-014"] MustNot "C5.3.1" "with REQUIRES_VERSION_ROLLING no job forbids it" => jobs::rolling_allowed;
    "job.fixed-version" ["REQ-MIN-016"] MustNot "C5.3.1" "with REQUIRES_FIXED_VERSION no job allows rolling" => jobs::fixed_jobs;
    "job.stripped-coinbase" ["REQ-MIN-077"] Must "C5.3.16" "the coinbase comes without marker, flag and witness" => jobs::stripped_coinbase;

    "share.standard" ["REQ-FRM-011"] Must "C3.1" "a standard share that meets the target is accepted" => shares::standard;
    "share.extended" ["REQ-MIN-076"] Must "C5.3.16" "an extended share that meets the target is accepted" => shares::extended;
    "share.acknowledged" ["REQ-MIN-063"] Implied "C5.3.13" "a single share is acknowledged in time" => shares::acknowledged;
    "share.counts" ["REQ-MIN-060", "REQ-MIN-061"] Must "C5.3.13" "answers count each share once and name the last" => shares::counts;
    "share.sum" ["REQ-MIN-062"] Must "C5.3.13" "new_shares_sum is the difficulty of the target" => shares::sum;
    "share.too-easy" ["REQ-MIN-095", "REQ-MIN-064"] Must "C5.3.21" "a hash above the target is refused" => shares::too_easy;
    "share.duplicate" ["REQ-MIN-066"] Implied "C5.3.14" "a share that comes twice is refused" => shares::duplicate;
    "share.unknown-job" ["REQ-MIN-066"] Implied "C5.3.14" "a share of an unknown job is refused" => shares::unknown_job;
    "share.unknown-channel" ["REQ-MIN-105"] Implied "C5.3" "a share of an unknown channel is refused or ignored" => shares::unknown_channel;
    "share.wrong-kind" ["REQ-MIN-058"] Implied "C5.3.12" "a standard share on an extended channel is not accepted" => shares::wrong_kind;
    "share.short-extranonce" ["REQ-MIN-057", "REQ-MIN-064"] Must "C5.3.12" "an extranonce of another length is refused" => shares::short_extranonce;
    "share.version-bits" ["REQ-MIN-051", "REQ-MIN-064"] Must "C5.3.11" "a version that differs where it may not is refused" => shares::version_bits;
    "share.early-ntime" ["REQ-MIN-046", "REQ-MIN-064"] Must "C5.3.11" "a header time below min_ntime is refused" => shares::early_ntime;
    "share.rolled-ntime" ["REQ-MIN-047"] Must "C10.2" "a header time rolled once a second is accepted" => shares::rolled_ntime;
    "share.late-ntime" ["REQ-MIN-048"] Should "C10.2" "a header time within consensus limits is accepted" => shares::late_ntime;
    "share.stale" ["REQ-MIN-067"] Implied "C5.3.17" "a share from before the newest block is refused" => shares::stale;
    "share.block-found" ["REQ-MIN-107"] Must "C3" "a block that a client finds is propagated" => shares::block_found;

    "update.unknown-channel" ["REQ-MIN-036"] Must "C5.3.8" "UpdateChannel of an unknown channel is refused" => updates::unknown;
    "update.silent" ["REQ-MIN-035"] MustNot "C5.3.8" "a valid UpdateChannel gets no answer" => updates::silent;
    "update.lower" ["REQ-MIN-034"] Must "C5.3.7" "a lower maximum_target is followed with SetTarget" => updates::lowered;
    "update.old-target" ["REQ-MIN-096"] Must "C5.3.21" "SetTarget does not change jobs that are under way" => updates::old_target;
    "close.channel" ["REQ-MIN-037"] Must "C5.3.9" "after CloseChannel the channel is gone" => updates::close;
    "close.group" ["REQ-MIN-042"] Must "C5.3.9" "CloseChannel on a group closes its channels" => updates::close_group;
    "custom.refused" ["REQ-MIN-088", "REQ-MIN-087", "REQ-MIN-089"] Must "C5.3.19" "a custom job that was not agreed on is refused" => updates::custom_job;

    "jd.request-ids" ["REQ-JD-006"] Must "C6.4" "answers have the ids of their requests" => declaration::request_ids;
    "jd.tokens" ["REQ-JD-007"] Implied "C6.4.3" "no token is given twice" => declaration::tokens;
    "jd.payout" ["REQ-JD-022"] Must "C6.4.3" "the first output is the pool's, with a value of 0" => declaration::payout;
    "jd.unknown-token" ["REQ-JD-015"] Implied "C6.4.6" "a job with an unknown token is refused" => declaration::unknown_token;

    "tdp.answers" ["REQ-TDP-002"] Must "C7" "a template follows the constraints" => templates::answers;
    "tdp.waits" ["REQ-TDP-003"] Implied "C7" "no template comes before the constraints" => templates::waits;
    "tdp.replaced" ["REQ-TDP-014"] Implied "C7.1" "new constraints bring a new template" => templates::replaced;
    "tdp.ids" ["REQ-TDP-015"] Must "C7.2" "template ids go up" => templates::ids;
    "tdp.prefix" ["REQ-TDP-017"] Must "C7.2" "coinbase_prefix has at most 8 bytes" => templates::prefix;
    "tdp.outputs" ["REQ-TDP-019"] MustNot "C7.2" "coinbase_tx_outputs has no count of its own" => templates::outputs;
    "tdp.commitment" ["REQ-TDP-021"] Must "C7.2" "the outputs hold the witness commitment" => templates::commitment;
    "tdp.future-first" ["REQ-TDP-025"] Must "C7.3" "a future template comes before SetNewPrevHash" => templates::future_first;
    "tdp.transactions" ["REQ-TDP-032"] Must "C7.4" "RequestTransactionData is answered" => templates::transactions;
    "tdp.unknown-template" ["REQ-TDP-033"] Must "C7.6" "the transactions of an unknown template are refused" => templates::unknown_template;
    "tdp.unknown-solution" ["REQ-TDP-045"] Implied "C7.7" "a solution of an unknown template changes nothing" => templates::unknown_solution;

    "heard.well-formed" ["REQ-FRM-015"] Must "C3.2" "every frame is a whole message of the spec" => capture::well_formed;
    "heard.core-extension" ["REQ-FRM-020"] Must "C3.4.1" "core messages have extension 0" => capture::core_extension;
    "heard.channel-bits" ["REQ-FRM-025"] Implied "C8" "the channel bit is that of the message table" => capture::channel_bits;
    "heard.channel-id" ["REQ-FRM-018"] Must "C3.2.1" "a channel message begins with the channel id" => capture::channel_id_counts;
    "heard.no-channel-bit" ["REQ-FRM-019"] Must "C3.2.1" "no channel bit outside mining" => capture::no_channel_bit;
    "heard.codes-printable" ["REQ-COM-027"] Should "C3.5" "error codes are printable ASCII" => capture::codes_printable;
    "heard.codes" ["REQ-COM-028"] MustNot "C3.5" "error codes have no control characters" => capture::codes_without_control;
    "heard.reasons" ["REQ-COM-029"] MustNot "C3.5" "nor has the reason of CloseChannel" => capture::reasons_without_control;
    "heard.standard-jobs" ["REQ-MIN-070"] Implied "C5.3.15" "NewMiningJob goes to standard channels" => capture::standard_jobs;
    "heard.extended-jobs" ["REQ-MIN-071"] Implied "C5.3.16" "NewExtendedMiningJob goes to extended channels and groups" => capture::extended_jobs;
    "heard.job-ids" ["REQ-MIN-072"] MustNot "C5.3.15" "no job id comes twice for a channel" => capture::job_ids;
    "heard.prev-hash" ["REQ-MIN-082"] MustNot "C5.3.17" "SetNewPrevHash names no job that was not a future job" => capture::prev_hash_names_future;
    "heard.prefix" ["REQ-MIN-044"] MustNot "C5.3.10" "SetExtranoncePrefix does not go to groups" => capture::prefix_to_channel;
    "heard.grouping" ["REQ-MIN-100"] Implied "C5.3.22" "SetGroupChannel names open channels" => capture::grouping;
    "heard.targets" ["REQ-MIN-095"] Must "C5.3.21" "targets can be met" => capture::targets;
    "com.still-there" ["REQ-COM-003"] Must "C3.6.1" "after all of this SetupConnection is answered as before" => security::still_answers;
}
