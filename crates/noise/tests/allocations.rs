//! The share path allocates nothing.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::{Feed, Session, Suite};
use common::{any, frame, sessions_of};

/// Seals and opens share frames with warm buffers, both directions, over every suite.
#[test]
fn seal_and_feed_allocate_nothing() {
    for suite in Suite::ALL {
        seal_and_feed(suite);
    }
}

fn seal_and_feed(suite: Suite) {
    let (mut client, mut server) = sessions_of(suite);
    let (share, answer) = (frame(0x1b, 33), frame(0x1c, 20));
    let mut bytes = Vec::with_capacity(4_096);
    let mut opened = 0;
    let mut exchange = |from: &mut Session, to: &mut Session, plain: &[u8]| {
        bytes.clear();
        from.seal(plain, &mut bytes).unwrap();
        from.seal(plain, &mut bytes).unwrap();
        let mut start = 0;
        while let Ok(Feed::Frame { used, .. }) = to.feed(&mut bytes[start..], any) {
            start += used;
            opened += 1;
        }
    };
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            exchange(&mut client, &mut server, &share);
            exchange(&mut server, &mut client, &answer);
        }
    });
    assert_eq!(opened, 4_000);
    assert_eq!(counted.count_total, 0);
}
