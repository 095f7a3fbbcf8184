//! Mining protocol, spec 5.3: channels, jobs and shares.

use crate::types::{B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255, Str0_255, U256};

messages! {
    extension 0x0000;
    to_server {
        /// Asks for a standard channel, spec 5.3.2.
        OpenStandardMiningChannel = 0x10, "OpenStandardMiningChannel", connection {
            /// Chosen by the client, unique on the connection, repeated in the answer.
            request_id: u32,
            /// Whom to pay, in the pool's own terms.
            user_identity: Str0_255,
            /// Expected hash rate, in hashes a second.
            nominal_hash_rate: f32,
            /// Highest (easiest) target the client accepts.
            max_target: U256,
        }
        /// Asks for an extended channel, spec 5.3.4.
        OpenExtendedMiningChannel = 0x13, "OpenExtendedMiningChannel", connection {
            /// Chosen by the client, unique on the connection, repeated in the answer.
            request_id: u32,
            /// Whom to pay, in the pool's own terms.
            user_identity: Str0_255,
            /// Expected hash rate, in hashes a second.
            nominal_hash_rate: f32,
            /// Highest (easiest) target the client accepts.
            max_target: U256,
            /// Fewest bytes of extranonce the client must be able to roll.
            min_extranonce_size: u16,
        }
        /// The hash rate behind a channel changed, spec 5.3.7.
        UpdateChannel = 0x16, "UpdateChannel", channel {
            /// The channel.
            channel_id: u32,
            /// Expected hash rate, in hashes a second.
            nominal_hash_rate: f32,
            /// Highest (easiest) target the client accepts.
            maximum_target: U256,
        }
        /// A share of a standard channel, spec 5.3.11.
        SubmitSharesStandard = 0x1a, "SubmitSharesStandard", channel {
            /// The channel.
            channel_id: u32,
            /// Counts the channel's submissions up.
            sequence_number: u32,
            /// The job solved.
            job_id: u32,
            /// Header nonce.
            nonce: u32,
            /// Header time, in seconds since 1970.
            ntime: u32,
            /// The header's whole version.
            version: u32,
        }
        /// A share of an extended channel, spec 5.3.12. TLVs may follow (extension 0x0002).
        SubmitSharesExtended = 0x1b, "SubmitSharesExtended", channel {
            /// The channel.
            channel_id: u32,
            /// Counts the channel's submissions up.
            sequence_number: u32,
            /// The job solved.
            job_id: u32,
            /// Header nonce.
            nonce: u32,
            /// Header time, in seconds since 1970.
            ntime: u32,
            /// The header's whole version.
            version: u32,
            /// What the miner rolled: exactly the channel's `extranonce_size` bytes.
            extranonce: B0_32,
        }
        /// A job that the client made itself, spec 5.3.18.
        SetCustomMiningJob = 0x22, "SetCustomMiningJob", channel {
            /// The extended or group channel.
            channel_id: u32,
            /// Chosen by the client, repeated in the answer.
            request_id: u32,
            /// Token from AllocateMiningJobToken.Success or DeclareMiningJob.Success.
            mining_job_token: B0_255,
            /// Header version.
            version: u32,
            /// Header previous block hash, raw hash order.
            prev_hash: U256,
            /// Smallest header time, in seconds since 1970.
            min_ntime: u32,
            /// Header nBits.
            nbits: u32,
            /// Coinbase transaction version.
            coinbase_tx_version: u32,
            /// First bytes of the coinbase scriptSig (BIP34 height); at most 8.
            coinbase_prefix: B0_255,
            /// nSequence of the coinbase input.
            coinbase_tx_input_n_sequence: u32,
            /// CompactSize count and the outputs, serialized.
            coinbase_tx_outputs: B0_64K,
            /// Coinbase lock time.
            coinbase_tx_locktime: u32,
            /// Hashes beside the coinbase's branch, deepest first.
            merkle_path: Seq0_255<U256>,
        }
    }
    to_client {
        /// A standard channel is open, spec 5.3.3.
        OpenStandardMiningChannelSuccess = 0x11, "OpenStandardMiningChannel.Success", connection {
            /// The request answered.
            request_id: u32,
            /// The new channel, unique on the connection.
            channel_id: u32,
            /// Target of the channel's shares.
            target: U256,
            /// All extranonce bytes of the channel.
            extranonce_prefix: B0_32,
            /// The group the channel belongs to.
            group_channel_id: u32,
        }
        /// A channel is refused, spec 5.3.6.
        OpenMiningChannelError = 0x12, "OpenMiningChannel.Error", connection {
            /// The request answered.
            request_id: u32,
            /// One of [`refusal::OpenMiningChannel`](crate::refusal::OpenMiningChannel).
            error_code: Str0_255,
        }
        /// An extended channel is open, spec 5.3.5.
        OpenExtendedMiningChannelSuccess = 0x14, "OpenExtendedMiningChannel.Success", connection {
            /// The request answered.
            request_id: u32,
            /// The new channel, unique on the connection.
            channel_id: u32,
            /// Target of the channel's shares.
            target: U256,
            /// Bytes of extranonce that the client rolls.
            extranonce_size: u16,
            /// Extranonce bytes before those that the client rolls.
            extranonce_prefix: B0_32,
            /// The group the channel belongs to.
            group_channel_id: u32,
        }
        /// A job for a standard channel, spec 5.3.15.
        NewMiningJob = 0x15, "NewMiningJob", channel {
            /// The standard channel.
            channel_id: u32,
            /// The job, never reused on the connection.
            job_id: u32,
            /// Smallest header time in seconds since 1970; none: a future job, started by SetNewPrevHash.
            min_ntime: Option<u32>,
            /// Header version; its rollable bits may change.
            version: u32,
            /// Header merkle root, raw hash order.
            merkle_root: U256,
        }
        /// UpdateChannel is refused, spec 5.3.8.
        UpdateChannelError = 0x17, "UpdateChannel.Error", channel {
            /// The channel.
            channel_id: u32,
            /// One of [`refusal::UpdateChannel`](crate::refusal::UpdateChannel).
            error_code: Str0_255,
        }
        /// A new extranonce prefix for jobs sent from now on, spec 5.3.10.
        SetExtranoncePrefix = 0x19, "SetExtranoncePrefix", channel {
            /// The channel.
            channel_id: u32,
            /// The new prefix.
            extranonce_prefix: B0_32,
        }
        /// Shares up to a sequence number are accepted, spec 5.3.13.
        SubmitSharesSuccess = 0x1c, "SubmitShares.Success", channel {
            /// The channel.
            channel_id: u32,
            /// The last submission that this answers.
            last_sequence_number: u32,
            /// Shares accepted since the last such message.
            new_submits_accepted_count: u32,
            /// Their difficulties summed up, in units of 2^32 hashes.
            new_shares_sum: u64,
        }
        /// A share is refused, spec 5.3.14.
        SubmitSharesError = 0x1d, "SubmitShares.Error", channel {
            /// The channel.
            channel_id: u32,
            /// The submission refused.
            sequence_number: u32,
            /// One of [`refusal::SubmitShares`](crate::refusal::SubmitShares).
            error_code: Str0_255,
        }
        /// A job for an extended or group channel, spec 5.3.16.
        NewExtendedMiningJob = 0x1f, "NewExtendedMiningJob", channel {
            /// The extended or group channel.
            channel_id: u32,
            /// The job, never reused on the connection.
            job_id: u32,
            /// Smallest header time in seconds since 1970; none: a future job, started by SetNewPrevHash.
            min_ntime: Option<u32>,
            /// Header version.
            version: u32,
            /// Whether the rollable bits of the version may change.
            version_rolling_allowed: bool,
            /// Hashes beside the coinbase's branch, deepest first.
            merkle_path: Seq0_255<U256>,
            /// Coinbase bytes before the extranonce, without BIP141 fields.
            coinbase_tx_prefix: B0_64K,
            /// Coinbase bytes after the extranonce, without BIP141 fields.
            coinbase_tx_suffix: B0_64K,
        }
        /// A new block to build on, spec 5.3.17: starts a future job and makes all others stale.
        SetNewPrevHash = 0x20, "SetNewPrevHash", channel {
            /// The channel or group.
            channel_id: u32,
            /// The future job that becomes the active one.
            job_id: u32,
            /// Header previous block hash, raw hash order.
            prev_hash: U256,
            /// Smallest header time, in seconds since 1970.
            min_ntime: u32,
            /// Header nBits.
            nbits: u32,
        }
        /// A new target for jobs sent from now on, spec 5.3.21.
        SetTarget = 0x21, "SetTarget", channel {
            /// The channel or group.
            channel_id: u32,
            /// Highest hash of a share.
            maximum_target: U256,
        }
        /// A custom job is accepted, spec 5.3.19.
        SetCustomMiningJobSuccess = 0x23, "SetCustomMiningJob.Success", channel {
            /// The channel.
            channel_id: u32,
            /// The request answered.
            request_id: u32,
            /// The server's name for the job.
            job_id: u32,
        }
        /// A custom job is refused, spec 5.3.20.
        SetCustomMiningJobError = 0x24, "SetCustomMiningJob.Error", channel {
            /// The channel.
            channel_id: u32,
            /// The request answered.
            request_id: u32,
            /// One of [`refusal::SetCustomMiningJob`](crate::refusal::SetCustomMiningJob).
            error_code: Str0_255,
        }
        /// Puts channels into a group, spec 5.3.22. Without channel bit, although an id comes first.
        SetGroupChannel = 0x25, "SetGroupChannel", connection {
            /// The group.
            group_channel_id: u32,
            /// Its channels.
            channel_ids: Seq0_64K<u32>,
        }
    }
    both {
        /// A channel, or all channels of a group, ends, spec 5.3.9.
        CloseChannel = 0x18, "CloseChannel", channel {
            /// The channel or group.
            channel_id: u32,
            /// One of [`refusal::CloseChannel`](crate::refusal::CloseChannel), or any text.
            reason_code: Str0_255,
        }
    }
}
