//! What a server says: answers and notifications, each appended as one line.

use super::difficulty::Difficulty;
use super::refusal::Refusal;
use super::{Id, hex};
use core::fmt::{self, Write};

/// Appends text to bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    // Memory does not refuse.
    let _ = Text(out).write_fmt(arguments);
}

/// A string of JSON.
pub fn quoted(text: &str, out: &mut Vec<u8>) {
    // A string always has a form, and memory does not refuse.
    let _ = serde_json::to_writer(out, text);
}

/// An answer whose result `write` appends.
pub fn result(id: &Id, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    out.extend_from_slice(b",\"result\":");
    write(out);
    out.extend_from_slice(b",\"error\":null}\n");
}

/// `true` or `false`.
pub fn yes_or_no(id: &Id, yes: bool, out: &mut Vec<u8>) {
    result(id, out, |out| text(out, format_args!("{yes}")));
}

/// Plain text as the result.
pub fn words(id: &Id, words: &str, out: &mut Vec<u8>) {
    result(id, out, |out| quoted(words, out));
}

/// An empty list as the result.
pub fn nothing(id: &Id, out: &mut Vec<u8>) {
    result(id, out, |out| out.extend_from_slice(b"[]"));
}

/// An answer that refuses.
pub fn refused(id: &Id, refusal: Refusal, out: &mut Vec<u8>) {
    refused_because(id, refusal.code, refusal.text, out);
}

/// The same with words of the moment.
pub fn refused_because(id: &Id, code: u8, why: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    text(out, format_args!(",\"result\":null,\"error\":[{code},"));
    quoted(why, out);
    out.extend_from_slice(b",null]}\n");
}

/// The answer to `mining.subscribe`.
pub fn subscribed(id: &Id, session: &str, extranonce1: &[u8], extranonce2_bytes: usize, out: &mut Vec<u8>) {
    result(id, out, |out| {
        out.extend_from_slice(b"[[[\"mining.set_difficulty\",");
        quoted(session, out);
        out.extend_from_slice(b"],[\"mining.notify\",");
        quoted(session, out);
        out.extend_from_slice(b"]],\"");
        hex::write(extranonce1, out);
        text(out, format_args!("\",{extranonce2_bytes}]"));
    });
}

/// One member of the answer to `mining.configure`.
pub enum Granted<'a> {
    /// Version bits that may be rolled; none is a refusal.
    VersionRolling(u32),
    /// Another extension, granted or not.
    Other(&'a str, bool),
}

/// The answer to `mining.configure`.
pub fn configured(id: &Id, granted: &[Granted<'_>], out: &mut Vec<u8>) {
    result(id, out, |out| {
        for (at, granted) in granted.iter().enumerate() {
            out.push(if at == 0 { b'{' } else { b',' });
            match granted {
                Granted::VersionRolling(0) => out.extend_from_slice(b"\"version-rolling\":false"),
                Granted::VersionRolling(mask) => text(
                    out,
                    format_args!("\"version-rolling\":true,\"version-rolling.mask\":\"{mask:08x}\""),
                ),
                Granted::Other(name, yes) => {
                    quoted(name, out);
                    text(out, format_args!(":{yes}"));
                }
            }
        }
        out.extend_from_slice(if granted.is_empty() { b"{}" } else { b"}" });
    });
}

/// `mining.set_difficulty`: for jobs from now on.
pub fn set_difficulty(difficulty: Difficulty, out: &mut Vec<u8>) {
    text(
        out,
        format_args!("{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}\n"),
    );
}

/// `mining.set_version_mask` (BIP310): for jobs from now on.
pub fn set_version_mask(mask: u32, out: &mut Vec<u8>) {
    text(
        out,
        format_args!("{{\"id\":null,\"method\":\"mining.set_version_mask\",\"params\":[\"{mask:08x}\"]}}\n"),
    );
}

/// `mining.set_extranonce`: for jobs from now on.
pub fn set_extranonce(extranonce1: &[u8], extranonce2_bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":null,\"method\":\"mining.set_extranonce\",\"params\":[\"");
    hex::write(extranonce1, out);
    text(out, format_args!("\",{extranonce2_bytes}]}}\n"));
}

/// `client.show_message`: words for the person at the miner.
pub fn show_message(words: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":null,\"method\":\"client.show_message\",\"params\":[");
    quoted(words, out);
    out.extend_from_slice(b"]}\n");
}

/// `client.get_version`: its answer has `id`.
pub fn get_version(id: u32, out: &mut Vec<u8>) {
    text(
        out,
        format_args!("{{\"id\":{id},\"method\":\"client.get_version\",\"params\":[]}}\n"),
    );
}

/// `client.reconnect`: where to go. An empty host is the one where the miner is, port 0 its port.
pub fn reconnect(host: &str, port: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":null,\"method\":\"client.reconnect\",\"params\":[");
    if !host.is_empty() || port != 0 {
        match host {
            "" => out.extend_from_slice(b"null"),
            host => quoted(host, out),
        }
        text(out, format_args!(",{port},0"));
    }
    out.extend_from_slice(b"]}\n");
}

/// What of `mining.notify` is the same for every miner of a job: previous hash, halves of the coinbase, branches,
/// version and compact target. Made once a job, copied for every miner.
pub struct Work<'a> {
    /// Raw hash order.
    pub prev_hash: &'a [u8; 32],
    /// The stripped coinbase up to extranonce1, and after extranonce2.
    pub halves: (&'a [u8], &'a [u8]),
    /// Hashes beside the coinbase's branch, deepest first, raw hash order.
    pub merkle_path: &'a [[u8; 32]],
    /// Full nVersion.
    pub version: u32,
    /// Compact target of the network.
    pub nbits: u32,
}

impl Work<'_> {
    /// The parameters between the job's id and its time.
    pub fn encode(&self) -> Box<[u8]> {
        let (first, second) = self.halves;
        let mut out =
            Vec::with_capacity(160 + 2 * (first.len() + second.len()) + 67 * self.merkle_path.len());
        out.push(b'"');
        // Each word of the previous hash has its bytes the other way round.
        for word in self.prev_hash.as_chunks::<4>().0 {
            let [a, b, c, d] = *word;
            hex::write(&[d, c, b, a], &mut out);
        }
        out.extend_from_slice(b"\",\"");
        hex::write(first, &mut out);
        out.extend_from_slice(b"\",\"");
        hex::write(second, &mut out);
        out.extend_from_slice(b"\",[");
        for (at, branch) in self.merkle_path.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            hex::write(branch, &mut out);
            out.push(b'"');
        }
        text(
            &mut out,
            format_args!("],\"{:08x}\",\"{:08x}\"", self.version, self.nbits),
        );
        out.into_boxed_slice()
    }
}

/// `mining.notify`. `clean`: nothing older is worth anything any more.
pub fn notify(job_id: u32, work: &[u8], ntime: u32, clean: bool, out: &mut Vec<u8>) {
    out.reserve(work.len() + 96);
    text(
        out,
        format_args!("{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{job_id:x}\","),
    );
    out.extend_from_slice(work);
    text(out, format_args!(",\"{ntime:08x}\",{clean}]}}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'), "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn answers_are_lines_of_json() {
        let id = Id::Text("a\"b".into());
        assert_eq!(
            said(|out| yes_or_no(&id, true, out)),
            json!({"id": "a\"b", "result": true, "error": null})
        );
        assert_eq!(
            said(|out| refused(&Id::Null, Refusal::NOT_SUBSCRIBED, out)),
            json!({"id": null, "result": null, "error": [25, "Not subscribed", null]})
        );
        let id = Id::Number(7.into());
        assert_eq!(
            said(|out| subscribed(&id, "5e55", &[0, 1, 0xfe], 8, out))["result"],
            json!([
                [["mining.set_difficulty", "5e55"], ["mining.notify", "5e55"]],
                "0001fe",
                8
            ])
        );
        let granted = [
            Granted::VersionRolling(0x1fff_e000),
            Granted::Other("mo\"on", false),
        ];
        assert_eq!(
            said(|out| configured(&id, &granted, out))["result"],
            json!({"version-rolling": true, "version-rolling.mask": "1fffe000", "mo\"on": false})
        );
        assert_eq!(said(|out| configured(&id, &[], out))["result"], json!({}));
        let none = [Granted::VersionRolling(0)];
        assert_eq!(
            said(|out| configured(&id, &none, out))["result"],
            json!({"version-rolling": false})
        );
    }

    #[test]
    fn notifications_are_lines_of_json() {
        let params = |write: fn(&mut Vec<u8>)| said(write)["params"].clone();
        assert_eq!(params(|out| set_difficulty(Difficulty::ONE, out)), json!([1]));
        assert_eq!(params(|out| set_version_mask(0xe0, out)), json!(["000000e0"]));
        assert_eq!(params(|out| set_extranonce(&[1, 2], 4, out)), json!(["0102", 4]));
        assert_eq!(
            params(|out| show_message("a \"word\"", out)),
            json!(["a \"word\""])
        );
        assert_eq!(params(|out| reconnect("", 0, out)), json!([]));
        assert_eq!(params(|out| reconnect("", 1, out)), json!([null, 1, 0]));
        assert_eq!(params(|out| reconnect("h", 1, out)), json!(["h", 1, 0]));
        assert_eq!(said(|out| get_version(3, out))["method"], "client.get_version");
    }

    /// The order of the bytes of the previous hash: words as they stand, the bytes of each reversed.
    #[test]
    fn work_is_written_in_the_order_that_miners_read() {
        let mut prev_hash = [0; 32];
        (0u8..)
            .zip(&mut prev_hash)
            .for_each(|(value, place)| *place = value);
        let work = Work {
            prev_hash: &prev_hash,
            halves: (&[1], &[2, 3]),
            merkle_path: &[[0xaa; 32], [0xbb; 32]],
            version: 0x2000_0000,
            nbits: 0x1d00_ffff,
        };
        let line = said(|out| notify(0x1f, &work.encode(), 0x504e_86ed, true, out));
        let expected = json!([
            "1f",
            "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c",
            "01",
            "0203",
            ["aa".repeat(32), "bb".repeat(32)],
            "20000000",
            "1d00ffff",
            "504e86ed",
            true
        ]);
        assert_eq!(line["params"], expected);
    }
}
