//! Frames as a server sent them, and what they mean.

use std::fmt::Write;

use adit_wire::common;
use adit_wire::{DecodeError, Header, Str0_255, declare, mining, negotiation, template};

use crate::observe::text::clean;

/// Bytes that a report shows of one frame.
const SHOWN_BYTES: usize = 64;

/// Reads a frame as a message of one sub-protocol.
type Decode = fn(&Header, &[u8]) -> Result<Message, DecodeError>;

/// Bytes in hex, the first few of them.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN_BYTES) {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > SHOWN_BYTES {
        let _ = write!(text, ".. ({} bytes)", bytes.len());
    }
    text
}

/// A server's text, made harmless and short.
pub(super) fn told(text: &Str0_255) -> String {
    clean(&text.to_string())
}

/// One frame that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Number of the connection, counted from 1.
    pub(super) connection: u32,
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// What a frame means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Common(common::ToClient),
    Mining(mining::ToClient),
    Declare(declare::ToClient),
    Template(template::ToClient),
    Negotiation(negotiation::ToClient),
}

impl Frame {
    /// Its message. The numbers of all sub-protocols are distinct, so the frame alone tells.
    pub(super) fn message(&self) -> Result<Message, DecodeError> {
        let (header, payload) = (&self.header, &self.payload[..]);
        let unknown = |error: &DecodeError| matches!(error, DecodeError::Unknown { .. });
        let first = mining::ToClient::decode(header, payload).map(Message::Mining);
        if first.as_ref().is_err_and(unknown) {
            let tries: [Decode; 4] = [
                |header, payload| common::ToClient::decode(header, payload).map(Message::Common),
                |header, payload| template::ToClient::decode(header, payload).map(Message::Template),
                |header, payload| declare::ToClient::decode(header, payload).map(Message::Declare),
                |header, payload| negotiation::ToClient::decode(header, payload).map(Message::Negotiation),
            ];
            for decode in tries {
                let tried = decode(header, payload);
                if !tried.as_ref().is_err_and(unknown) {
                    return tried;
                }
            }
        }
        first
    }

    /// The mining message it is, if it is one.
    pub(super) fn mining(&self) -> Option<mining::ToClient> {
        match self.message() {
            Ok(Message::Mining(message)) => Some(message),
            _ => None,
        }
    }

    /// Header and payload as they were before encryption.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.header.encode()[..], &self.payload].concat()
    }

    /// Its name in the spec, or its numbers.
    pub(super) fn name(&self) -> String {
        match self.message() {
            Ok(Message::Common(it)) => it.name().to_owned(),
            Ok(Message::Mining(it)) => it.name().to_owned(),
            Ok(Message::Declare(it)) => it.name().to_owned(),
            Ok(Message::Template(it)) => it.name().to_owned(),
            Ok(Message::Negotiation(it)) => it.name().to_owned(),
            Err(error) => format!("{} ({})", self.header, clean(&error.to_string())),
        }
    }

    /// The text that it carries, if it is an error or a farewell.
    pub(super) fn code(&self) -> Option<Str0_255> {
        Some(match self.message().ok()? {
            Message::Common(common::ToClient::SetupConnectionError(it)) => it.error_code,
            Message::Mining(mining::ToClient::OpenMiningChannelError(it)) => it.error_code,
            Message::Mining(mining::ToClient::UpdateChannelError(it)) => it.error_code,
            Message::Mining(mining::ToClient::SubmitSharesError(it)) => it.error_code,
            Message::Mining(mining::ToClient::SetCustomMiningJobError(it)) => it.error_code,
            Message::Declare(declare::ToClient::DeclareMiningJobError(it)) => it.error_code,
            Message::Template(template::ToClient::RequestTransactionDataError(it)) => it.error_code,
            _ => return None,
        })
    }
}

/// The names of frames in their order, the first few of them.
pub(super) fn names<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = frames.into_iter().map(Frame::name).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        few if few <= SHOWN => names.join(", "),
        many => format!(
            "{}, and {} more",
            names.get(..SHOWN).unwrap_or_default().join(", "),
            many - SHOWN
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_wire::Message as _;
    use adit_wire::mining::SubmitSharesError;

    fn frame(bytes: &[u8]) -> Frame {
        let (head, payload) = bytes.split_first_chunk().unwrap();
        Frame {
            connection: 1,
            header: Header::parse(*head),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn what_a_server_says_is_shown_harmless_and_short() {
        let mut bytes = Vec::new();
        let error_code = Str0_255::new(&[b'\x1b'; 255]).unwrap();
        SubmitSharesError {
            channel_id: 1,
            sequence_number: 2,
            error_code,
        }
        .encode_frame(&mut bytes);
        let frame = frame(&bytes);
        assert_eq!(frame.name(), "SubmitShares.Error");
        let shown = told(&frame.code().unwrap());
        assert!(shown.len() < 100 && shown.starts_with("\\x1b"), "{shown}");
        let shown = hex(&frame.bytes());
        assert!(
            shown.starts_with("00801d") && shown.ends_with(".. (270 bytes)"),
            "{shown}"
        );
    }

    #[test]
    fn an_unknown_frame_is_named_by_its_numbers() {
        let name = frame(&[0x01, 0x40, 0x7f, 0, 0, 0]).name();
        assert!(name.contains("0x4001") && name.contains("0x7f"), "{name}");
    }
}
