//! The lies: each breaks one rule, in frames on their way.

use adit_wire::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use adit_wire::message::Message;
use adit_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetGroupChannel, SetNewPrevHash, SetTarget, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};
use adit_wire::negotiation::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use adit_wire::{B0_32, B0_64K, Header, Seq0_64K, Str0_255, U256, common, mining};

use super::liar::Frame;

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    Expired,
    IgnoresDamage,
    StrangeVersion,
    StaysAfterError,
    TakesAnyFlag,
    TakesAllFlagsAtOnce,
    NamesSomeFlagsOnly,
    NamesFlagsNobodyAskedFor,
    TakesAnyProtocol,
    TakesAnyVersion,
    OverlooksStrangeProtocols,
    OverlooksStrangeVersions,
    SpeaksFirst,
    WaitsForSetup,
    AnswersSecondSetup,
    ControlInCodes,
    NewlineInReason,
    RepeatsChannelId,
    GroupIsChannel,
    TargetAboveMax,
    ForgetsRequest,
    StandardChannelsRefused,
    JobNotFuture,
    PrevHashFirst,
    RepeatsJobId,
    AcceptsBadShares,
    NeverAcknowledges,
    RefusesGoodShares,
    CountsTwice,
    CountsHashes,
    AnswersUpdates,
    OverlooksUnknownUpdates,
    KeepsTarget,
    NewTargetForOldJobs,
    OverlooksClose,
    AnswersUnknownExtensions,
    EndsAtUnknownMessages,
    WrongChannelBit,
    WrongExtension,
    GroupsHeaderOnly,
    GroupsStrangers,
    WitnessInCoinbase,
    ForbidsRolling,
    OverlappingPrefixes,
    UnequalGroup,
    ShortExtranonce,
    TakesAnyFloat,
    EndsAtTrailingBytes,
    PadsTruncated,
    TakesCustomJobs,
    SupportsEverything,
    NeverATarget,
    CutMessages,
    ExtendedJobNotFuture,
    EndsAtRequestExtensions,
    SupportsStrangers,
    EndsAtLongTexts,
    FixesVersion,
    DiesOfExtensions,
}

/// What a lie makes of a frame of the client.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) up: Vec<Frame>,
    pub(crate) down: Vec<Frame>,
    pub(crate) end: bool,
}

impl Answers {
    fn up(frame: Frame) -> Self {
        Self {
            up: vec![frame],
            ..Self::default()
        }
    }

    fn down(frame: Frame) -> Self {
        Self {
            down: vec![frame],
            ..Self::default()
        }
    }

    fn end() -> Self {
        Self {
            end: true,
            ..Self::default()
        }
    }
}

/// One connection's memory of what it told.
pub(crate) struct Teller {
    lie: Lie,
    setups: u32,
    frames: u32,
    refused: bool,
    flags: u32,
    channels: Vec<u32>,
    first_job: Option<u32>,
    held: Vec<Frame>,
    retargeted: bool,
    interrupted: bool,
}

/// Whether a frame is an `M`, and what it says.
fn is<M: Message>(frame: &Frame) -> Option<M> {
    let header = Header::parse(*frame.first_chunk()?);
    let same = (header.extension(), header.msg_type) == (M::EXTENSION, M::TYPE);
    same.then(|| M::decode(&frame[Header::LEN..]).ok()).flatten()
}

fn frame(message: &impl Message) -> Frame {
    let mut out = Vec::new();
    message.encode_frame(&mut out);
    out
}

fn text(text: &str) -> Str0_255 {
    text.try_into().unwrap()
}

impl Teller {
    pub(crate) fn new(lie: Lie) -> Self {
        Self {
            lie,
            setups: 0,
            frames: 0,
            refused: false,
            flags: 0,
            channels: Vec::new(),
            first_job: None,
            held: Vec::new(),
            retargeted: false,
            interrupted: false,
        }
    }

    /// Whether the connection stays open when it should end.
    pub(crate) fn stays(&self) -> bool {
        match self.lie {
            Lie::StaysAfterError => self.refused,
            Lie::IgnoresDamage => self.frames == 0,
            _ => false,
        }
    }

    /// Whether this is what the server does not survive.
    pub(crate) fn dies_of(&self, said: &Frame) -> bool {
        let extension = said
            .first_chunk()
            .map_or(0, |head| Header::parse(*head).extension());
        self.lie == Lie::DiesOfExtensions && extension > 2
    }

    pub(crate) fn is_impatient(&self) -> bool {
        self.lie == Lie::SpeaksFirst && self.frames == 0 && !self.interrupted
    }

    pub(crate) fn interrupts(&mut self) -> Vec<Frame> {
        self.interrupted = true;
        vec![frame(&common::Reconnect {
            new_host: text(""),
            new_port: 0,
        })]
    }

    /// The client said something.
    pub(crate) fn heard(&mut self, said: Frame) -> Answers {
        self.frames += 1;
        let header = Header::parse(*said.first_chunk().unwrap());
        let core = header.extension() == 0;
        if let Some(setup) = is::<SetupConnection>(&said) {
            self.setups += 1;
            self.flags = setup.flags;
            return self.set_up(setup, said);
        }
        match self.lie {
            Lie::WaitsForSetup if self.setups == 0 => return Answers::default(),
            Lie::AnswersUpdates => {
                if let Some(it) = is::<UpdateChannel>(&said) {
                    return Answers::down(frame(&UpdateChannelError {
                        channel_id: it.channel_id,
                        error_code: text("because"),
                    }));
                }
            }
            Lie::OverlooksClose if core && header.msg_type == mining::CloseChannel::TYPE => {
                return Answers::default();
            }
            Lie::AnswersUnknownExtensions if header.extension() > 2 => return Answers::down(said),
            Lie::EndsAtUnknownMessages if core && header.msg_type == 0x7f => return Answers::end(),
            // What is no number cannot be decoded: the bytes are replaced, behind request_id and user_identity.
            Lie::TakesAnyFloat if core && header.msg_type == OpenStandardMiningChannel::TYPE => {
                let mut told = said;
                let at = Header::LEN + 5 + usize::from(told[Header::LEN + 4]);
                told[at..at + 4].copy_from_slice(&1_000f32.to_le_bytes());
                return Answers::up(told);
            }
            Lie::EndsAtTrailingBytes => {
                let known = [
                    is::<OpenStandardMiningChannel>(&said).map(|it| frame(&it)),
                    is::<SubmitSharesExtended>(&said).map(|it| frame(&it)),
                ];
                if known.into_iter().flatten().any(|it| it.len() < said.len()) {
                    return Answers::end();
                }
            }
            Lie::PadsTruncated
                if core
                    && header.msg_type == OpenStandardMiningChannel::TYPE
                    && is::<OpenStandardMiningChannel>(&said).is_none() =>
            {
                return Answers::up([&said[..], &[0xff; 3]].concat());
            }
            Lie::EndsAtRequestExtensions if is::<RequestExtensions>(&said).is_some() => {
                return Answers::end();
            }
            Lie::SupportsStrangers => {
                if let Some(it) = is::<RequestExtensions>(&said) {
                    return Answers::down(frame(&RequestExtensionsSuccess {
                        request_id: it.request_id,
                        supported_extensions: Seq0_64K::new(vec![7]).unwrap(),
                    }));
                }
            }
            Lie::SupportsEverything => {
                if let Some(it) = is::<RequestExtensions>(&said) {
                    return Answers::down(frame(&RequestExtensionsSuccess {
                        request_id: it.request_id,
                        supported_extensions: it.requested_extensions,
                    }));
                }
            }
            Lie::StandardChannelsRefused if self.setups > 0 => {
                if let Some(it) = is::<OpenStandardMiningChannel>(&said) {
                    return Answers::down(frame(&mining::OpenMiningChannelError {
                        request_id: it.request_id,
                        error_code: text("no"),
                    }));
                }
            }
            Lie::ForgetsRequest
                if is::<OpenExtendedMiningChannel>(&said).is_some_and(|it| it.request_id == 0x00ad_1702) =>
            {
                return Answers::default();
            }
            _ => {}
        }
        Answers::up(said)
    }

    fn set_up(&self, mut setup: SetupConnection, said: Frame) -> Answers {
        match self.lie {
            Lie::AnswersSecondSetup if self.setups > 1 => {
                return Answers::down(frame(&SetupConnectionSuccess {
                    used_version: 2,
                    flags: 0,
                }));
            }
            Lie::TakesAnyFlag => setup.flags &= common::flags::REQUIRES_STANDARD_JOBS,
            Lie::TakesAllFlagsAtOnce if setup.flags == u32::MAX => setup.flags = 0,
            Lie::TakesAnyProtocol if setup.protocol == 9 => setup.protocol = 0,
            Lie::TakesAnyVersion => (setup.min_version, setup.max_version) = (2, 2),
            Lie::OverlooksStrangeProtocols if setup.protocol == 9 => return Answers::default(),
            Lie::OverlooksStrangeVersions if setup.min_version == 3 => return Answers::default(),
            Lie::EndsAtLongTexts if setup.vendor.len() == 255 => return Answers::end(),
            Lie::EndsAtTrailingBytes if frame(&setup).len() < said.len() => return Answers::end(),
            _ => return Answers::up(said),
        }
        Answers::up(frame(&setup))
    }

    /// The pool said something.
    pub(crate) fn said(&mut self, said: Frame) -> Vec<Frame> {
        if let Some(mut it) = is::<SetupConnectionError>(&said) {
            self.refused = true;
            match self.lie {
                Lie::NamesSomeFlagsOnly => it.flags &= 0xff,
                Lie::NamesFlagsNobodyAskedFor if it.flags == 0 => it.flags = 4,
                _ => return vec![said],
            }
            return vec![frame(&it)];
        }
        if let Some(mut it) = is::<SetupConnectionSuccess>(&said) {
            match self.lie {
                Lie::StrangeVersion => it.used_version = 9,
                Lie::FixesVersion => it.flags |= common::flags::REQUIRES_FIXED_VERSION,
                _ => {}
            }
            return vec![frame(&it)];
        }
        let opened = is::<OpenExtendedMiningChannelSuccess>(&said).map(|it| it.channel_id);
        let opened = opened.or(is::<OpenStandardMiningChannelSuccess>(&said).map(|it| it.channel_id));
        self.channels.extend(opened);
        if let Some(told) = self.on_opening(&said) {
            return told;
        }
        if let Some(told) = self.on_work(&said) {
            return told;
        }
        self.on_answer(&said).unwrap_or_else(|| vec![said])
    }

    fn on_opening(&mut self, said: &Frame) -> Option<Vec<Frame>> {
        if self.lie == Lie::RepeatsChannelId {
            return self.repeats_channel_id(said);
        }
        if let Some(mut it) = is::<OpenStandardMiningChannelSuccess>(said) {
            match self.lie {
                Lie::OverlappingPrefixes => it.extranonce_prefix = B0_32::new(&[1; 15]).unwrap(),
                Lie::UnequalGroup => {
                    it.extranonce_prefix = B0_32::new(&it.extranonce_prefix[..14]).unwrap();
                }
                Lie::NeverATarget => it.target = U256::ZERO,
                Lie::GroupsHeaderOnly if self.flags & 1 != 0 => {
                    let channel_ids = Seq0_64K::new(vec![it.channel_id]).unwrap();
                    let group_channel_id = it.group_channel_id;
                    let group = SetGroupChannel {
                        group_channel_id,
                        channel_ids,
                    };
                    return Some(vec![said.clone(), frame(&group)]);
                }
                Lie::GroupsStrangers if self.flags & 1 == 0 => {
                    let channel_ids = Seq0_64K::new(vec![it.channel_id, 0x00ff_ffff]).unwrap();
                    let group_channel_id = it.group_channel_id;
                    let group = SetGroupChannel {
                        group_channel_id,
                        channel_ids,
                    };
                    return Some(vec![said.clone(), frame(&group)]);
                }
                _ => return None,
            }
            return Some(vec![frame(&it)]);
        }
        let mut it = is::<OpenExtendedMiningChannelSuccess>(said)?;
        match self.lie {
            // Not of all channels, so that messages to the group still have members.
            Lie::GroupIsChannel if self.channels.len() == 3 => it.group_channel_id = it.channel_id,
            Lie::TargetAboveMax if it.target.0[27..] == [0; 5] => it.target = U256::MAX,
            Lie::ShortExtranonce if it.extranonce_size == 16 => it.extranonce_size = 15,
            Lie::NewlineInReason => {
                let close = mining::CloseChannel {
                    channel_id: 0x0bad_0bad,
                    reason_code: text("bye\n"),
                };
                return Some(vec![said.clone(), frame(&close)]);
            }
            _ => return None,
        }
        Some(vec![frame(&it)])
    }

    /// The third channel of a connection passes for the first.
    fn repeats_channel_id(&self, said: &Frame) -> Option<Vec<Frame>> {
        let (first, third) = (*self.channels.first()?, *self.channels.get(2)?);
        let mut told = said.clone();
        let at = match Header::parse(*said.first_chunk()?) {
            header if header.channel_msg() => Header::LEN,
            header if matches!(header.msg_type, 0x11 | 0x14) => Header::LEN + 4,
            _ => return None,
        };
        if told[at..at + 4] == third.to_le_bytes() {
            told[at..at + 4].copy_from_slice(&first.to_le_bytes());
        }
        Some(vec![told])
    }

    fn on_work(&mut self, said: &Frame) -> Option<Vec<Frame>> {
        if let Some(mut job) = is::<NewMiningJob>(said) {
            match self.lie {
                Lie::JobNotFuture => job.min_ntime = Some(1),
                Lie::RepeatsJobId if job.min_ntime.is_some() => job.job_id = self.first_job?,
                Lie::RepeatsJobId => self.first_job = Some(job.job_id),
                Lie::PrevHashFirst => {
                    self.held.push(said.clone());
                    return Some(Vec::new());
                }
                Lie::WrongChannelBit => {
                    let mut told = said.clone();
                    told[1] = 0;
                    return Some(vec![told]);
                }
                Lie::CutMessages if job.min_ntime.is_some() => {
                    return Some(vec![said[..said.len() - 9].to_vec()]);
                }
                _ => return None,
            }
            return Some(vec![frame(&job)]);
        }
        if is::<SetNewPrevHash>(said).is_some() && self.lie == Lie::PrevHashFirst {
            let mut told = vec![said.clone()];
            told.append(&mut self.held);
            return Some(told);
        }
        if is::<SetTarget>(said).is_some() {
            self.retargeted = true;
            return (self.lie == Lie::KeepsTarget).then(Vec::new);
        }
        let mut job = is::<NewExtendedMiningJob>(said)?;
        match self.lie {
            Lie::ExtendedJobNotFuture => job.min_ntime = Some(1),
            Lie::ForbidsRolling => job.version_rolling_allowed = false,
            Lie::WitnessInCoinbase => {
                let (version, rest) = job.coinbase_tx_prefix.split_at(4);
                job.coinbase_tx_prefix = B0_64K::new(&[version, &[0, 1], rest].concat()).unwrap();
            }
            _ => return None,
        }
        Some(vec![frame(&job)])
    }

    fn on_answer(&self, said: &Frame) -> Option<Vec<Frame>> {
        if let Some(mut it) = is::<SubmitSharesError>(said) {
            let told = match self.lie {
                Lie::ControlInCodes => {
                    it.error_code = Str0_255::new(b"stale\x1b[2J").unwrap();
                    frame(&it)
                }
                Lie::AcceptsBadShares => frame(&SubmitSharesSuccess {
                    channel_id: it.channel_id,
                    last_sequence_number: it.sequence_number,
                    new_submits_accepted_count: 1,
                    new_shares_sum: 0,
                }),
                _ => return None,
            };
            return Some(vec![told]);
        }
        if let Some(mut it) = is::<SubmitSharesSuccess>(said) {
            let refused = frame(&SubmitSharesError {
                channel_id: it.channel_id,
                sequence_number: it.last_sequence_number,
                error_code: text("difficulty-too-low"),
            });
            match self.lie {
                Lie::NeverAcknowledges => return Some(Vec::new()),
                Lie::RefusesGoodShares => return Some(vec![refused]),
                Lie::NewTargetForOldJobs if self.retargeted => return Some(vec![refused]),
                Lie::CountsTwice => it.new_submits_accepted_count *= 2,
                Lie::CountsHashes => it.new_shares_sum += 1_250,
                _ => return None,
            }
            return Some(vec![frame(&it)]);
        }
        match self.lie {
            Lie::OverlooksUnknownUpdates => is::<UpdateChannelError>(said).map(|_| Vec::new()),
            Lie::WrongExtension => is::<UpdateChannelError>(said).map(|_| {
                let mut told = said.clone();
                told[0] = 3;
                vec![told]
            }),
            Lie::TakesCustomJobs => is::<SetCustomMiningJobError>(said).map(|it| {
                vec![frame(&SetCustomMiningJobSuccess {
                    channel_id: it.channel_id,
                    request_id: it.request_id,
                    job_id: 1,
                })]
            }),
            Lie::SupportsEverything => is::<RequestExtensionsError>(said).map(|_| Vec::new()),
            _ => None,
        }
    }
}
