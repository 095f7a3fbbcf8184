//! What becomes of a message of an extension that nobody here speaks (spec 3.4.1).

use adit_wire::Header;

/// Bytes of the channel id at the start of a channel message.
const CHANNEL_ID_BYTES: usize = 4;

/// The verdict of [`route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Drop it without an answer; the connection goes on.
    Discard(Discard),
    /// Send it on with this channel id in its first four bytes and not another byte changed, see [`forward`].
    Forward {
        /// The id by which the receiver knows the channel.
        channel_id: u32,
    },
}

/// Why a message goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// It belongs to no channel, so it was meant for us (REQ-EXT-003).
    Connection,
    /// It belongs to a channel that ends here (REQ-EXT-004, REQ-EXT-008).
    Endpoint,
    /// Nobody has that channel (REQ-EXT-009).
    UnknownChannel,
    /// It says that it belongs to a channel and is too short to say which.
    Short,
}

/// The rule for a message of an unknown extension: `ends_here` says whether we are the endpoint of a channel, as device,
/// pool and an aggregating proxy are; `mapped` gives the id by which the next hop knows a channel.
pub fn route(
    header: &Header,
    payload: &[u8],
    ends_here: impl FnOnce(u32) -> bool,
    mapped: impl FnOnce(u32) -> Option<u32>,
) -> Route {
    if !header.channel_msg() {
        return Route::Discard(Discard::Connection);
    }
    let Some(id) = payload.first_chunk::<CHANNEL_ID_BYTES>() else {
        return Route::Discard(Discard::Short);
    };
    let id = u32::from_le_bytes(*id);
    if ends_here(id) {
        return Route::Discard(Discard::Endpoint);
    }
    match mapped(id) {
        Some(channel_id) => Route::Forward { channel_id },
        None => Route::Discard(Discard::UnknownChannel),
    }
}

/// Appends the frame of a message that [`route`] sends on: header and payload as they came, but for the channel id
/// (REQ-EXT-006, REQ-EXT-007).
pub fn forward(header: &Header, payload: &[u8], channel_id: u32, out: &mut Vec<u8>) {
    out.reserve(Header::LEN + payload.len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(&channel_id.to_le_bytes());
    out.extend_from_slice(payload.get(CHANNEL_ID_BYTES..).unwrap_or_default());
}
