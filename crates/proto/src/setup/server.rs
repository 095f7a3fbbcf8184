//! The server's side: who may come in, with which protocol, version and features.

use std::sync::Arc;
use std::time::Duration;

use adit_wire::common::{
    PROTOCOL_VERSION, SetupConnection, SetupConnectionError, SetupConnectionSuccess, ToClient, ToServer,
    flags, protocol,
};
use adit_wire::{Str0_255, refusal};

use super::Device;
use crate::{Fault, Time};

/// One protocol that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Number of the protocol, see [`adit_wire::common::protocol`].
    pub protocol: u8,
    /// Bits of SetupConnection.flags that can be served. Any other bit is refused.
    pub supported_flags: u32,
    /// Bits of SetupConnection.flags that every client must set; today only DECLARE_TX_DATA can be asked for (C-77).
    pub required_flags: u32,
    /// Bits of SetupConnection.Success.flags, told to every client.
    pub success_flags: u32,
}

impl Served {
    /// The flags that a client may ask for: what is supported and does not contradict what we require of it.
    /// A server that fixes the version cannot serve version rolling (REQ-MIN-015), nor can one that wants
    /// extended channels serve header-only devices (C-53).
    fn granted(&self) -> u32 {
        let mut granted = self.supported_flags;
        if self.protocol == protocol::MINING {
            if self.success_flags & flags::REQUIRES_FIXED_VERSION != 0 {
                granted &= !flags::REQUIRES_VERSION_ROLLING;
            }
            if self.success_flags & flags::REQUIRES_EXTENDED_CHANNELS != 0 {
                granted &= !flags::REQUIRES_STANDARD_JOBS;
            }
        }
        granted
    }
}

/// What every connection of a listener is offered. Same for all servers behind one host and port (REQ-COM-015).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The protocols served here.
    pub protocols: Vec<Served>,
    /// How long a client may take to send SetupConnection.
    pub timeout: Duration,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A common message.
    Message(ToServer),
    /// A frame of another protocol or an unknown one.
    Other,
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToClient),
    /// The connection is set up; from now on its frames belong to the protocol's own machine.
    Established(Box<Established>),
}

/// What was agreed on, for the life of the connection (spec 3.6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// Number of the protocol.
    pub protocol: u8,
    /// Version chosen.
    pub version: u16,
    /// The client's flags: all of them are granted.
    pub flags: u32,
    /// The flags we told the client.
    pub success_flags: u32,
    /// Host the client dialled, as it says.
    pub endpoint_host: Str0_255,
    /// Port the client dialled, as it says.
    pub endpoint_port: u16,
    /// What the client says about itself.
    pub device: Device,
}

/// Answers SetupConnection (spec 3.6).
#[derive(Clone, Debug)]
pub struct Server {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    ExpectSetup { settings: Arc<Settings>, until: Time },
    Established,
    Refused,
}

impl Server {
    /// A machine for a connection that was accepted at `now`.
    #[must_use]
    pub fn new(now: Time, settings: Arc<Settings>) -> Self {
        let until = now + settings.timeout;
        Self {
            state: State::ExpectSetup { settings, until },
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Incompatible` after SetupConnection.Error was put out, `Misbehaved` when anything but SetupConnection
    /// comes first (REQ-COM-004), `Expired` when nothing comes in time.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match (&self.state, input) {
            (State::ExpectSetup { settings, .. }, Input::Message(ToServer::SetupConnection(setup))) => {
                let settings = Arc::clone(settings);
                self.setup(&settings, setup, out)
            }
            (State::ExpectSetup { until, .. }, Input::Deadline) if now >= *until => {
                Err(Fault::Expired("no SetupConnection in time"))
            }
            (State::ExpectSetup { .. }, Input::Other) => {
                Err(Fault::Misbehaved("SetupConnection must come first"))
            }
            (State::Refused, _) => Err(Fault::Incompatible("the connection was refused")),
            // A second SetupConnection changes nothing (REQ-COM-006).
            (State::Established, _) | (State::ExpectSetup { .. }, Input::Deadline) => Ok(()),
        }
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::ExpectSetup { until, .. } => Some(until),
            State::Established | State::Refused => None,
        }
    }

    fn setup(
        &mut self,
        settings: &Settings,
        setup: SetupConnection,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        match judge(settings, &setup) {
            Ok(served) => {
                self.state = State::Established;
                let success = SetupConnectionSuccess {
                    used_version: PROTOCOL_VERSION,
                    flags: served.success_flags,
                };
                out.push(Output::Send(success.into()));
                out.push(Output::Established(Box::new(established(served, setup))));
                Ok(())
            }
            Err(refused) => {
                self.state = State::Refused;
                let error = SetupConnectionError {
                    flags: refused.flags,
                    error_code: refused.code.into(),
                };
                out.push(Output::Send(error.into()));
                Err(Fault::Incompatible(refused.why))
            }
        }
    }
}

struct Refused {
    flags: u32,
    code: refusal::SetupConnection,
    why: &'static str,
}

/// The first thing that does not fit, asked in the order in which a client can act on it. Only unsupported flags
/// are listed in the answer; 0 says that the cause is another (REQ-COM-014, REQ-COM-017).
fn judge<'a>(settings: &'a Settings, setup: &SetupConnection) -> Result<&'a Served, Refused> {
    let Some(served) = settings
        .protocols
        .iter()
        .find(|served| served.protocol == setup.protocol)
    else {
        let code = refusal::SetupConnection::UnsupportedProtocol;
        return Err(Refused {
            flags: 0,
            code,
            why: "the protocol is not served here",
        });
    };
    if !(setup.min_version..=setup.max_version).contains(&PROTOCOL_VERSION) {
        let code = refusal::SetupConnection::ProtocolVersionMismatch;
        return Err(Refused {
            flags: 0,
            code,
            why: "no protocol version in common",
        });
    }
    let flags = setup.flags & !served.granted();
    if flags != 0 {
        let code = refusal::SetupConnection::UnsupportedFeatureFlags;
        return Err(Refused {
            flags,
            code,
            why: "unsupported feature flags",
        });
    }
    // The bit is not unsupported: the answer lists none (REQ-COM-017).
    if setup.flags & served.required_flags != served.required_flags {
        let code = refusal::SetupConnection::MissingDeclareTxDataFlag;
        return Err(Refused {
            flags: 0,
            code,
            why: "DECLARE_TX_DATA is not set",
        });
    }
    Ok(served)
}

fn established(served: &Served, setup: SetupConnection) -> Established {
    Established {
        protocol: setup.protocol,
        version: PROTOCOL_VERSION,
        flags: setup.flags,
        success_flags: served.success_flags,
        endpoint_host: setup.endpoint_host,
        endpoint_port: setup.endpoint_port,
        device: Device {
            vendor: setup.vendor,
            hardware_version: setup.hardware_version,
            firmware: setup.firmware,
            device_id: setup.device_id,
        },
    }
}
