//! The examples do what they say.

#[path = "../examples/decode_frame.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod decode_frame;

#[test]
fn decode_frame_prints_a_share() {
    let text = decode_frame::describe(decode_frame::A_SHARE).expect("a frame");
    assert!(text.starts_with(
        "extension 0x0000 channel, message 0x1a, 24 bytes\nSubmitSharesStandard, as from the client"
    ));
    assert!(
        text.contains("sequence_number: 7") && text.contains("nonce: 3735928559"),
        "{text}"
    );
}

#[test]
fn decode_frame_says_what_is_wrong() {
    let cause = |text| decode_frame::describe(text).expect_err("no frame");
    assert_eq!(cause("xyz"), "a frame is an even number of hexadecimal digits");
    assert_eq!(cause("0080"), "a header is six bytes");
    assert_eq!(
        cause("0080 21 050000 0100000002"),
        "SetTarget.maximum_target: the payload ends inside it"
    );
    assert!(cause("0000 7f 000000").starts_with("no message 0x7f"));
    assert!(cause("0000 73 080000 01").contains("but 1 bytes follow"));
}
