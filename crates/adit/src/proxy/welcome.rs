//! What to type into a miner, for whoever has just started a proxy.

use adit_net::Url;

/// What the forms of miners ask for besides an address, where we keep the accounts.
pub const ANY_USER: &str =
    "user: any name for the device, such as farm.rig1; password: anything, or d=1024 to fix a difficulty";
/// The same where the pool above does.
pub const ACCOUNT_ABOVE: &str =
    "user: your account at the pool, such as ACCOUNT.rig1: it is handed on as it is";

/// Lines to print: the address by which other machines reach us, others, and what else the forms of miners ask for.
#[must_use]
pub fn lines(url: &Url, more: &[String], user: &str) -> Vec<String> {
    let mut lines = vec![
        "Type into your miners:".to_owned(),
        format!("      {url}  Stratum V2"),
    ];
    lines.extend(more.iter().cloned());
    lines.push(format!("      {user}"));
    if url.is_loopback() {
        lines.push("      Miners on other machines cannot reach this address: start with --listen 0.0.0.0:PORT for them".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miner_is_told_every_address_that_it_can_use() {
        let more = ["      stratum+tcp://192.168.1.7:3333  Stratum V1, not encrypted".to_owned()];
        let url: Url = "stratum2+tcp://192.168.1.7:3333/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"
            .parse()
            .unwrap();
        let whole = lines(&url, &more, ANY_USER).join("\n");
        assert!(
            whole.contains(&url.to_string()) && whole.contains(&more[0]),
            "{whole}"
        );
        assert!(!whole.contains("cannot reach"), "{whole}");
        let near = Url {
            host: "127.0.0.1".into(),
            ..url
        };
        assert!(
            lines(&near, &more, ANY_USER).join("\n").contains("--listen"),
            "who listens here only is told so"
        );
    }
}
