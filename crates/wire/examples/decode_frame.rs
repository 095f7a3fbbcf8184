//! Decodes a plaintext Stratum V2 frame from hexadecimal and prints what it says.
//!
//! ```text
//! cargo run -p adit-wire --example decode_frame -- 00801a18000001000000020000000300000004000000050000000600000020
//! ```

use adit_wire::{DecodeError, Header};
use adit_wire::{common, declare, mining, negotiation, template};

/// A share on channel 1, for when no frame is given.
pub(crate) const A_SHARE: &str = "0080 1a 180000 01000000 07000000 03000000 efbeadde 00f15365 00000020";

fn main() {
    let given: String = std::env::args().skip(1).collect();
    let text = if given.is_empty() { A_SHARE } else { &given };
    match describe(text) {
        Ok(description) => println!("{description}"),
        Err(cause) => {
            eprintln!("{cause}");
            std::process::exit(1);
        }
    }
}

/// The frame in words: header, direction, name, fields, and bytes that follow them.
pub(crate) fn describe(text: &str) -> Result<String, String> {
    let frame = bytes(text).ok_or("a frame is an even number of hexadecimal digits")?;
    let (head, payload) = frame
        .split_first_chunk::<{ Header::LEN }>()
        .ok_or("a header is six bytes")?;
    let header = Header::parse(*head);
    if payload.len() != header.msg_length as usize {
        return Err(format!(
            "the header says {header}, but {} bytes follow",
            payload.len()
        ));
    }
    let message = decode(&header, payload).map_err(|error| error.to_string())?;
    Ok(format!("{header}\n{message}"))
}

/// Tries the protocols one after the other: on a real connection SetupConnection tells which it is.
fn decode(header: &Header, payload: &[u8]) -> Result<String, DecodeError> {
    macro_rules! try_all {
        ($($protocol:ident)*) => {$(
            match $protocol::ToServer::decode_with_rest(header, payload) {
                Err(DecodeError::Unknown { .. }) => {}
                decoded => return decoded.map(|(m, rest)| print("client", m.name(), &m, rest)),
            }
            match $protocol::ToClient::decode_with_rest(header, payload) {
                Err(DecodeError::Unknown { .. }) => {}
                decoded => return decoded.map(|(m, rest)| print("server", m.name(), &m, rest)),
            }
        )*};
    }
    try_all! { common mining declare template negotiation }
    Err(DecodeError::Unknown {
        extension: header.extension(),
        msg_type: header.msg_type,
    })
}

fn print(sender: &str, name: &str, message: &impl std::fmt::Debug, rest: &[u8]) -> String {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!("\n{} bytes follow: {rest:02x?}", rest.len())
    };
    format!("{name}, as from the {sender}\n{message:#?}{rest}")
}

/// The bytes of hexadecimal text; spaces and bars may stand anywhere.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '|')
        .map(|c| c.to_digit(16));
    let digits: Vec<_> = digits.collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty()
        .then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}
