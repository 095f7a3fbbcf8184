//! One line from a peer: bounded in length and depth before it is read, then one JSON object with a few known names.

use super::Id;
use core::fmt;
use serde_json::{Map, Value};

/// Longest line in bytes, the newline not counted.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Deepest nesting of arrays and objects. `mining.configure` needs three.
pub const DEPTH_MAX: usize = 8;

/// A request, or an answer to one of ours.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A request or, without an id, a notification.
    Call {
        /// Echoed in the answer.
        id: Id,
        /// What is asked for.
        method: String,
        /// With what.
        params: Vec<Value>,
    },
    /// An answer.
    Answer {
        /// That of our request.
        id: Id,
        /// What was asked for; `null` where it is missing.
        result: Value,
        /// Why it is not given; `null` where it is missing.
        error: Value,
    },
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// Longer than it may be.
    TooLong,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// No JSON, or no UTF-8.
    NotJson,
    /// JSON, but no object, or one without a method and without a result.
    NotACall,
    /// The id is neither a number, nor a short text, nor `null`.
    BadId,
}

impl Line {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// [`LineError`]; what is too long or too deep is not even looked at.
    pub fn read(bytes: &[u8]) -> Result<Self, LineError> {
        Self::read_within(bytes, LINE_BYTES_MAX)
    }

    /// The same for who may say more.
    ///
    /// # Errors
    /// As [`Line::read`].
    pub fn read_within(bytes: &[u8], bytes_max: usize) -> Result<Self, LineError> {
        if bytes.len() > bytes_max {
            return Err(LineError::TooLong);
        }
        if depth(bytes) > DEPTH_MAX {
            return Err(LineError::TooDeep);
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Self::of(object),
            Ok(_) => Err(LineError::NotACall),
            Err(_) => Err(LineError::NotJson),
        }
    }

    fn of(mut object: Map<String, Value>) -> Result<Self, LineError> {
        let id = Id::of(object.get("id")).ok_or(LineError::BadId)?;
        if let Some(Value::String(method)) = object.remove("method") {
            let params = match object.remove("params") {
                Some(Value::Array(params)) => params,
                // Some send an object, some nothing.
                Some(Value::Null) | None => Vec::new(),
                Some(other) => vec![other],
            };
            return Ok(Self::Call { id, method, params });
        }
        let (result, error) = (object.remove("result"), object.remove("error"));
        if result.is_none() && error.is_none() {
            return Err(LineError::NotACall);
        }
        Ok(Self::Answer {
            id,
            result: result.unwrap_or_default(),
            error: error.unwrap_or_default(),
        })
    }
}

/// How deep the brackets outside of strings go. Nothing else is checked: the parser does that.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the line is too long"),
            Self::TooDeep => write!(f, "the line is nested deeper than {DEPTH_MAX}"),
            Self::NotJson => f.write_str("the line is no JSON"),
            Self::NotACall => f.write_str("the line is no object with a method"),
            Self::BadId => f.write_str("the id is neither a number, nor a short text, nor null"),
        }
    }
}

impl std::error::Error for LineError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_and_answers_are_told_apart() {
        let call = Line::read(br#"{"id": 1, "method": "mining.ping", "params": null}"#).unwrap();
        let Line::Call { id, method, params } = call else {
            panic!("{call:?}")
        };
        assert_eq!(
            (id, method.as_str(), params.len()),
            (Id::Number(1.into()), "mining.ping", 0)
        );
        let answer = Line::read(br#"{"id":"a","result":"cgminer/4.12","error":null}"#).unwrap();
        assert!(
            matches!(answer, Line::Answer { id: Id::Text(_), .. }),
            "{answer:?}"
        );
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let in_params = |params: &str| format!(r#"{{"id":1,"method":"x","params":{params}}}"#);
        let read = |text: &str| Line::read(text.as_bytes());
        assert!(read(&in_params(&deep(DEPTH_MAX - 1))).is_ok());
        assert_eq!(read(&in_params(&deep(DEPTH_MAX))), Err(LineError::TooDeep));
        assert_eq!(read(&in_params(&deep(4_000))), Err(LineError::TooDeep));
        assert!(
            read(&in_params("\"[[[[[[[[[[\\\"[[[\"")).is_ok(),
            "brackets in text are text"
        );
        let long = "1,".repeat(LINE_BYTES_MAX);
        assert_eq!(read(&in_params(&long)), Err(LineError::TooLong));
        for text in [
            "",
            "{",
            "nope",
            "{\"id\":1e999,\"method\":\"x\"}",
            "\u{0}",
            "{\"id\":1}}",
        ] {
            assert_eq!(read(text), Err(LineError::NotJson), "{text:?}");
        }
        assert_eq!(
            Line::read(b"{\"id\":1,\"method\":\"\xff\"}"),
            Err(LineError::NotJson)
        );
        for text in ["[]", "7", "{}", "{\"id\":1}", "{\"id\":1,\"method\":7}"] {
            assert_eq!(read(text), Err(LineError::NotACall), "{text}");
        }
        assert_eq!(read("{\"id\":[1],\"method\":\"x\"}"), Err(LineError::BadId));
        let id = "x".repeat(crate::sv1::id::ID_BYTES_MAX + 1);
        assert_eq!(
            read(&format!("{{\"id\":\"{id}\",\"method\":\"x\"}}")),
            Err(LineError::BadId)
        );
    }

    proptest! {
        /// Whatever a peer sends: a line or a refusal, never a panic.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = Line::read(&bytes);
        }

        /// The same for what looks like JSON.
        #[test]
        fn any_json_like_text_is_survived(text in "[\\[\\]{}\",:\\\\0-9a-e.+ -]{0,300}") {
            let _ = Line::read(text.as_bytes());
        }
    }
}
