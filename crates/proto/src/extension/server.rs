//! The server's side of extension 0x0001: grants what it supports, insists on what it requires.

use std::collections::BTreeSet;
use std::sync::Arc;

use adit_wire::Seq0_64K;
use adit_wire::negotiation::{
    RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess, ToClient, ToServer,
};

use crate::Fault;

/// What every connection of a listener is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Ids that are granted when a client asks for them. The required ones are among them whether named or not.
    pub supported: Vec<u16>,
    /// Ids without which no client is served.
    pub required: Vec<u16>,
}

impl Settings {
    fn supports(&self, id: u16) -> bool {
        self.supported.contains(&id) || self.required.contains(&id)
    }
}

/// What can happen to the machine, once the connection is set up.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message of extension 0x0001.
    Message(ToServer),
    /// Any other message: the client goes on.
    Other,
    /// ChannelEndpointChanged from below (C-39): what was agreed on holds no longer.
    EndpointChanged,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToClient),
}

/// Answers RequestExtensions (extension 0x0001, 4).
#[derive(Clone, Debug)]
pub struct Server {
    settings: Arc<Settings>,
    /// Sorted. Empty until something was granted.
    agreed: Vec<u16>,
    /// Whether the client may go on: it asked for all that is required, or nothing is.
    admitted: bool,
}

impl Server {
    /// A machine for a connection that was just set up.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            agreed: Vec::new(),
            admitted: settings.required.is_empty(),
            settings,
        }
    }

    /// The extensions in use, sorted by id.
    #[must_use]
    #[inline]
    pub fn agreed(&self) -> &[u16] {
        &self.agreed
    }

    /// Whether [`Input::Other`] can be left out, because it changes nothing any more: for the hot path.
    #[must_use]
    #[inline]
    pub const fn admitted(&self) -> bool {
        self.admitted
    }

    /// The one door.
    ///
    /// # Errors
    /// `Incompatible` when the client goes on without the extensions that are required of it (REQ-EXT-029).
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Message(ToServer::RequestExtensions(request)) => {
                out.push(Output::Send(self.answer(request)));
                Ok(())
            }
            Input::Other if !self.admitted => Err(Fault::Incompatible(
                "the client goes on without an extension that is required here",
            )),
            Input::Other => Ok(()),
            Input::EndpointChanged => {
                self.agreed.clear();
                Ok(())
            }
        }
    }

    /// The last answer is what holds: a refused request leaves nothing in use.
    fn answer(&mut self, request: RequestExtensions) -> ToClient {
        let request_id = request.request_id;
        let mut seen = BTreeSet::new();
        let asked = request.requested_extensions.into_inner().into_iter();
        let (granted, unsupported): (Vec<u16>, Vec<u16>) = asked
            .filter(|id| seen.insert(*id))
            .partition(|id| self.settings.supports(*id));
        let missing = self.settings.required.iter().filter(|id| !seen.contains(id));
        let missing: Vec<u16> = missing.copied().collect();
        // Asking for nothing is granted; asking only for what is not there is not (REQ-EXT-026).
        let refused = !missing.is_empty() || (granted.is_empty() && !unsupported.is_empty());
        if refused {
            self.agreed.clear();
            self.admitted = self.settings.required.is_empty();
            return ToClient::RequestExtensionsError(RequestExtensionsError {
                request_id,
                unsupported_extensions: list(unsupported),
                required_extensions: list(missing),
            });
        }
        self.admitted = true;
        self.agreed.clone_from(&granted);
        self.agreed.sort_unstable();
        ToClient::RequestExtensionsSuccess(RequestExtensionsSuccess {
            request_id,
            supported_extensions: list(granted),
        })
    }
}

/// Ids differ, so there are never more than a list can hold.
fn list(ids: Vec<u16>) -> Seq0_64K<u16> {
    Seq0_64K::new(ids).unwrap_or_else(|_| Seq0_64K::empty())
}
