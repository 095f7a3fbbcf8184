//! Common messages, spec 3.6: how a connection starts and moves.

use crate::types::Str0_255;

/// Values of [`SetupConnection::protocol`].
pub mod protocol {
    /// Mining protocol.
    pub const MINING: u8 = 0;
    /// Job declaration protocol (job negotiation in the seeds).
    pub const JOB_DECLARATION: u8 = 1;
    /// Template distribution protocol.
    pub const TEMPLATE_DISTRIBUTION: u8 = 2;
    /// Job distribution protocol: numbered by the seeds, defined by this project (C-02).
    pub const JOB_DISTRIBUTION: u8 = 3;
}

/// The protocol version that all dialects negotiate (C-01).
pub const PROTOCOL_VERSION: u16 = 2;

/// Bits of [`SetupConnection::flags`] and [`SetupConnectionSuccess::flags`].
pub mod flags {
    /// Mining, client: only standard (header-only) jobs (spec 5.3.1).
    pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
    /// Mining, client: will send SetCustomMiningJob (spec 5.3.1).
    pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
    /// Mining, client: rolls version bits (spec 5.3.1).
    pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
    /// Mining, server: version bits must not be rolled (spec 5.3.1).
    pub const REQUIRES_FIXED_VERSION: u32 = 1 << 0;
    /// Mining, server: only extended channels (spec 5.3.1).
    pub const REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;
    /// Job declaration, client: will declare its transactions (spec 6.4.1).
    pub const DECLARE_TX_DATA: u32 = 1 << 0;
    /// Job distribution, client: sends it no future jobs (job distribution 3).
    pub const REQUIRES_ACTIVE_JOBS: u32 = 1 << 0;
}

messages! {
    extension 0x0000;
    to_server {
        /// The first message of a connection, spec 3.6.1.
        SetupConnection = 0x00, "SetupConnection", connection {
            /// One of [`protocol`].
            protocol: u8,
            /// Lowest protocol version the client speaks; 2.
            min_version: u16,
            /// Highest protocol version the client speaks; 2.
            max_version: u16,
            /// Bits of [`flags`], by protocol.
            flags: u32,
            /// Host the client dialled, as text.
            endpoint_host: Str0_255,
            /// Port the client dialled.
            endpoint_port: u16,
            /// Maker of the device, or name of the software.
            vendor: Str0_255,
            /// Model of the device.
            hardware_version: Str0_255,
            /// Version of the firmware or software.
            firmware: Str0_255,
            /// The device, so that the operator can tell it from others.
            device_id: Str0_255,
        }
    }
    to_client {
        /// The connection may be used, spec 3.6.2.
        SetupConnectionSuccess = 0x01, "SetupConnection.Success", connection {
            /// Version chosen, from the client's range.
            used_version: u16,
            /// Bits of [`flags`], by protocol.
            flags: u32,
        }
        /// The connection is refused and will be closed, spec 3.6.3.
        SetupConnectionError = 0x02, "SetupConnection.Error", connection {
            /// The client's flag bits that the server cannot serve; 0 for another cause.
            flags: u32,
            /// One of [`refusal::SetupConnection`](crate::refusal::SetupConnection).
            error_code: Str0_255,
        }
        /// What lies behind a channel changed: forget the extension state of the channel, spec 3.6.4.
        ChannelEndpointChanged = 0x03, "ChannelEndpointChanged", channel {
            /// The channel.
            channel_id: u32,
        }
        /// Connect to another place and leave this one, spec 3.6.5.
        Reconnect = 0x04, "Reconnect", connection {
            /// Host to dial; empty: the present one.
            new_host: Str0_255,
            /// Port to dial; 0: the present one.
            new_port: u16,
        }
    }
    both {}
}
