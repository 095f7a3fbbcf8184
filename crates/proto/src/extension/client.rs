//! The client's side of extension 0x0001: asks, waits, and uses only what was confirmed.

use std::time::Duration;

use adit_wire::Seq0_64K;
use adit_wire::negotiation::{
    RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess, ToClient, ToServer,
};

use crate::{Fault, Time};

/// What a client wants of a connection. Empty is the default: then nothing is sent (C-36).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Ids to ask for.
    pub wanted: Vec<u16>,
    /// Ids without which the connection is of no use; asked for as well.
    pub required: Vec<u16>,
    /// Ids that this client can speak: it asks for them too when the server requires them (REQ-EXT-028).
    pub able: Vec<u16>,
    /// How long the server may be silent, see [`Patience`](super::Patience).
    pub answer_timeout: Duration,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The connection is set up; to be said once, first.
    Start,
    /// A message of extension 0x0001.
    Message(ToClient),
    /// ChannelEndpointChanged: what was agreed on holds no longer (REQ-COM-032).
    EndpointChanged,
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToServer),
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first negotiation is over: other messages may be sent now. [`Client::agreed`] says what is in use.
    Settled,
    /// The server does not support these; for the log.
    Unsupported(Vec<u16>),
}

/// Asks a server for extensions (extension 0x0001, 4).
#[derive(Clone, Debug)]
pub struct Client {
    wishes: Wishes,
    state: State,
    /// Sorted; what is in use.
    agreed: Vec<u16>,
    /// Whether [`Event::Settled`] was said.
    settled: bool,
    next_request: u16,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    ExpectStart,
    /// `asked` was sent; `again` says that it was the second try, after an Error.
    ExpectAnswer {
        request_id: u16,
        asked: Vec<u16>,
        again: bool,
        until: Time,
    },
    Settled,
}

impl Client {
    /// A machine for a connection that is about to be set up.
    #[must_use]
    pub const fn new(wishes: Wishes) -> Self {
        Self {
            wishes,
            state: State::ExpectStart,
            agreed: Vec::new(),
            settled: false,
            next_request: 1,
        }
    }

    /// The extensions in use, sorted by id. Nothing else may be used (REQ-EXT-024).
    #[must_use]
    #[inline]
    pub fn agreed(&self) -> &[u16] {
        &self.agreed
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::ExpectAnswer { until, .. } => Some(*until),
            State::ExpectStart | State::Settled => None,
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Incompatible` when the server requires what this client cannot speak or lacks what it requires, `Misbehaved`
    /// when it grants what was not asked for, `Expired` when it stays silent.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Start if self.state == State::ExpectStart => {
                let asked = sorted(self.wishes.wanted.iter().chain(&self.wishes.required));
                if asked.is_empty() {
                    self.settle(Vec::new(), out);
                } else {
                    self.ask(now, asked, false, out);
                }
                Ok(())
            }
            Input::Start => Ok(()),
            Input::Message(ToClient::RequestExtensionsSuccess(success)) => self.granted(success, out),
            Input::Message(ToClient::RequestExtensionsError(error)) => self.refused(now, error, out),
            Input::EndpointChanged => {
                self.start_over(now, out);
                Ok(())
            }
            Input::Deadline => match self.deadline() {
                Some(until) if now >= until => Err(Fault::Expired("no answer to RequestExtensions in time")),
                _ => Ok(()),
            },
        }
    }

    fn ask(&mut self, now: Time, asked: Vec<u16>, again: bool, out: &mut Vec<Output>) {
        let request_id = self.next_request;
        self.next_request = request_id.wrapping_add(1);
        out.push(Output::Send(
            RequestExtensions {
                request_id,
                requested_extensions: Seq0_64K::new(asked.clone()).unwrap_or_else(|_| Seq0_64K::empty()),
            }
            .into(),
        ));
        self.state = State::ExpectAnswer {
            request_id,
            asked,
            again,
            until: now + self.wishes.answer_timeout,
        };
    }

    fn granted(&mut self, success: RequestExtensionsSuccess, out: &mut Vec<Output>) -> Result<(), Fault> {
        // An answer to an older request, or to none, is no answer.
        let State::ExpectAnswer {
            request_id, asked, ..
        } = &self.state
        else {
            return Ok(());
        };
        if *request_id != success.request_id {
            return Ok(());
        }
        let supported = success.supported_extensions.into_inner();
        if supported.iter().any(|id| !asked.contains(id)) {
            return Err(Fault::Misbehaved(
                "the server granted an extension that was not asked for",
            ));
        }
        let lacking = asked.iter().filter(|id| !supported.contains(id));
        let lacking: Vec<u16> = lacking.copied().collect();
        if !lacking.is_empty() {
            out.push(Output::Event(Event::Unsupported(lacking)));
        }
        self.accept(sorted(&supported), out)
    }

    fn refused(
        &mut self,
        now: Time,
        error: RequestExtensionsError,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let State::ExpectAnswer {
            request_id,
            asked,
            again,
            ..
        } = &self.state
        else {
            return Ok(());
        };
        if *request_id != error.request_id {
            return Ok(());
        }
        let again = *again;
        let required = error.required_extensions.into_inner();
        let unsupported = error.unsupported_extensions.into_inner();
        if !unsupported.is_empty() {
            out.push(Output::Event(Event::Unsupported(sorted(&unsupported))));
        }
        if required.is_empty() {
            // Nothing of what we asked for, and nothing asked of us (REQ-EXT-030).
            return self.accept(Vec::new(), out);
        }
        if again || required.iter().any(|id| !self.wishes.able.contains(id)) {
            return Err(Fault::Incompatible(
                "the server requires an extension that is not spoken here",
            ));
        }
        let kept = asked.iter().filter(|id| !unsupported.contains(id));
        let asked = sorted(kept.chain(&required));
        self.ask(now, asked, true, out);
        Ok(())
    }

    fn accept(&mut self, agreed: Vec<u16>, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.wishes.required.iter().any(|id| !agreed.contains(id)) {
            return Err(Fault::Incompatible(
                "the server lacks an extension that is required",
            ));
        }
        self.settle(agreed, out);
        Ok(())
    }

    fn settle(&mut self, agreed: Vec<u16>, out: &mut Vec<Output>) {
        self.agreed = agreed;
        self.state = State::Settled;
        if !std::mem::replace(&mut self.settled, true) {
            out.push(Output::Event(Event::Settled));
        }
    }

    /// 0x0001 negotiates for the whole connection, so the state of its other channels goes with it.
    fn start_over(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state != State::Settled || self.agreed.is_empty() {
            // Nothing is in use, or it is being negotiated: the answer under way comes from the new endpoint.
            return;
        }
        let asked = std::mem::take(&mut self.agreed);
        self.ask(now, asked, false, out);
    }
}

fn sorted<'a>(ids: impl IntoIterator<Item = &'a u16>) -> Vec<u16> {
    let mut ids: Vec<u16> = ids.into_iter().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
