//! The id of a request: echoed as it came.

use serde_json::{Number, Value};

/// Longest id of text that is echoed, in bytes.
pub(crate) const ID_BYTES_MAX: usize = 64;

/// What a request is known by in its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Id {
    /// None, or `null`.
    #[default]
    Null,
    /// A number.
    Number(Number),
    /// Text, at most 64 bytes.
    Text(Box<str>),
}

impl Id {
    /// The id in `value`; nothing if it is neither a number, nor a short text, nor `null`.
    pub fn of(value: Option<&Value>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(Self::Null),
            Some(Value::Number(number)) => Some(Self::Number(number.clone())),
            Some(Value::String(text)) if text.len() <= ID_BYTES_MAX => Some(Self::Text(text.as_str().into())),
            Some(_) => None,
        }
    }

    /// Appends it as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => super::say::quoted(text, out),
        }
    }
}
