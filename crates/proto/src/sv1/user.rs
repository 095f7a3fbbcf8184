//! Who mines: `account.worker`, and what a password may ask for.

use super::difficulty::Difficulty;
use adit_wire::extension::USER_IDENTITY_MAX;
use adit_wire::tlv::WorkerName;
use sha2::{Digest, Sha256};

/// Longest account name in bytes: that of `user_identity` (spec 5.3.2).
pub const ACCOUNT_BYTES_MAX: usize = 255;

/// Bytes of a long worker's name that are kept: with `~` and eight digits of its hash it is as long as a name may be.
const KEPT: usize = USER_IDENTITY_MAX - 9;

/// Splits a user name at its first dot. Addresses have none: a plain address is an account.
pub fn split(user: &str) -> (&str, Option<WorkerName>) {
    let (account, worker) = user.split_once('.').unwrap_or((user, ""));
    let worker = (!worker.is_empty()).then(|| short(worker)).flatten();
    (account, worker)
}

/// A worker's name as extension 0x0002 has it. What is longer is cut, and kept apart by its hash.
pub fn short(worker: &str) -> Option<WorkerName> {
    if let Ok(name) = WorkerName::new(worker) {
        return Some(name);
    }
    let mut end = KEPT;
    while !worker.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = worker.get(..end)?.as_bytes().to_vec();
    short.push(b'~');
    let digest = Sha256::digest(worker.as_bytes());
    super::hex::write(digest.get(..4)?, &mut short);
    WorkerName::new(core::str::from_utf8(&short).ok()?).ok()
}

/// The difficulty that a password asks for: `d=` or `diff=`, alone or among other things.
pub fn wished(password: &str) -> Option<Difficulty> {
    password.split([',', ';', ' ', '&']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let name = name.trim();
        let known = ["d", "diff", "difficulty"];
        let is_known = known.iter().any(|known| name.eq_ignore_ascii_case(known));
        is_known.then(|| Difficulty::nearest(value.trim().parse().ok()?))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_first_dot() {
        let split = |user| {
            let (account, worker) = super::split(user);
            (
                account,
                worker.map_or(String::new(), |name| name.as_str().to_owned()),
            )
        };
        assert_eq!(split("alice.rig1"), ("alice", "rig1".to_owned()));
        assert_eq!(split("alice.shed.rig1"), ("alice", "shed.rig1".to_owned()));
        let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        assert_eq!(
            split(address),
            (address, String::new()),
            "a plain address stays whole"
        );
        assert_eq!(split("alice."), ("alice", String::new()));
        assert_eq!(split(".rig1"), ("", "rig1".to_owned()));
        assert_eq!(split(""), ("", String::new()));
    }

    #[test]
    fn long_names_of_workers_are_cut_and_stay_apart() {
        let name = |worker: &str| {
            super::split(&format!("a.{worker}"))
                .1
                .unwrap()
                .as_str()
                .to_owned()
        };
        let (one, other) = ("x".repeat(40) + "1", "x".repeat(40) + "2");
        assert_ne!(name(&one), name(&other));
        assert_eq!(name(&one).len(), USER_IDENTITY_MAX);
        assert!(name(&"ü".repeat(100)).len() <= USER_IDENTITY_MAX);
        assert_eq!(
            name(&"y".repeat(USER_IDENTITY_MAX)),
            "y".repeat(USER_IDENTITY_MAX)
        );
    }

    #[test]
    fn passwords_may_ask_for_a_difficulty() {
        let text = |password| wished(password).map(|it| it.to_string());
        assert_eq!(text("d=1024"), Some("1024".into()));
        assert_eq!(text("x,diff=500"), Some("512".into()));
        assert_eq!(text("x;D=0.001"), Some("0.0009765625".into()));
        for password in ["", "x", "d=", "d=abc", "d=-1", "d=nan", "d=inf", "md=5", "d"] {
            assert_eq!(text(password), None, "{password}");
        }
    }
}
