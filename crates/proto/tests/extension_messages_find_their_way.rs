//! Messages of extensions that nobody here speaks: discarded, or forwarded with the channel id mapped (spec 3.4.1).
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use adit_proto::extension::{Discard, Route, forward, route};
use adit_wire::Header;
use proptest::prelude::*;

fn header(extension: u16, channel: bool, msg_type: u8, payload: &[u8]) -> Header {
    Header::new(
        extension,
        channel,
        msg_type,
        u32::try_from(payload.len()).unwrap(),
    )
}

proptest! {
    /// REQ-EXT-003: without the channel bit a message is for the receiver, whatever its first bytes are.
    #[test]
    fn a_connection_message_is_discarded(extension in 1u16..0x8000, msg_type: u8,
                                         payload in prop::collection::vec(any::<u8>(), 0..64), ends_here: bool) {
        let header = header(extension, false, msg_type, &payload);
        prop_assert_eq!(route(&header, &payload, |_| ends_here, Some), Route::Discard(Discard::Connection));
    }

    /// REQ-EXT-004: where the channel ends, so does the message.
    #[test]
    fn an_endpoint_discards(extension in 1u16..0x8000, msg_type: u8, payload in prop::collection::vec(any::<u8>(), 4..64)) {
        let header = header(extension, true, msg_type, &payload);
        prop_assert_eq!(route(&header, &payload, |_| true, Some), Route::Discard(Discard::Endpoint));
    }

    /// The rule that binds proxies: the four bytes of the id are mapped, and no other byte of the frame changes.
    #[test]
    fn a_channel_message_goes_on_with_another_id(extension in 1u16..0x8000, msg_type: u8, there: u32,
                                                 payload in prop::collection::vec(any::<u8>(), 4..300)) {
        let header = header(extension, true, msg_type, &payload);
        let here = u32::from_le_bytes(*payload.first_chunk().unwrap());
        let routed = route(&header, &payload, |id| { assert_eq!(id, here); false }, |id| (id == here).then_some(there));
        prop_assert_eq!(routed, Route::Forward { channel_id: there });
        let mut out = vec![0xaa];
        forward(&header, &payload, there, &mut out);
        let expected = [&[0xaa][..], &header.encode(), &there.to_le_bytes(), &payload[4..]].concat();
        prop_assert_eq!(out, expected);
    }

    /// Nobody has the channel, nobody gets the message; nor when it is too short to name one.
    #[test]
    fn a_message_for_nobody_is_discarded(extension in 1u16..0x8000, payload in prop::collection::vec(any::<u8>(), 0..8)) {
        let header = header(extension, true, 0, &payload);
        let expected = if payload.len() < 4 { Discard::Short } else { Discard::UnknownChannel };
        prop_assert_eq!(route(&header, &payload, |_| false, |_| None), Route::Discard(expected));
    }
}
