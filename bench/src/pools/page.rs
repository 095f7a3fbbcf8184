//! What a program of ours says of itself: on its terminal, and on its page.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// How long the page may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the status is: HOST:PORT.
pub(crate) struct Page(String);

impl Page {
    /// The page that a log names, once it is named whole.
    pub(crate) fn announced(log: &str) -> Option<Self> {
        let place = word_after(log, "http://")?;
        Some(Self(place.trim_end_matches('/').to_owned()))
    }

    /// A number of the status, by JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> Result<f64, Failure> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let request = format!(
            "GET /api/v1/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.0
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .ok_or("the page answers without a body")?;
        let status: Value = serde_json::from_str(body)?;
        let number = status.pointer(pointer).and_then(Value::as_f64);
        number.ok_or_else(|| format!("the status has no {pointer}").into())
    }
}

/// What stands behind a mark, up to the next blank.
pub(crate) fn word_after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    // A word that is not ended may not be written whole.
    rest.split_once(char::is_whitespace).map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_taken_when_it_is_whole() {
        let said = "proxy  stratum2+tcp://127.0.0.1:34/KEY\npage   http://127.0.0.1:35/\n";
        assert_eq!(word_after(said, "stratum2+tcp://"), Some("127.0.0.1:34/KEY"));
        assert!(Page::announced(said).is_some_and(|page| page.0 == "127.0.0.1:35"));
        assert_eq!(word_after("http://127.0.", "http://"), None);
    }
}
