//! By which names a browser may ask: the guard against DNS rebinding.
//!
//! A web site can make its own name resolve to our address, and then its scripts may read what we
//! answer. The browser still sends the site's name as `Host`. So we answer to IP addresses (which no
//! site can rebind), to `localhost`, to `.local` (multicast DNS, no site's to give), and to the names
//! that the operator allowed with `http.hosts`.

use std::net::{IpAddr, Ipv6Addr};

/// Whether the value of a `Host` header names us; `hosts` are in lower case.
pub(super) fn allowed(host: &str, hosts: &[String]) -> bool {
    let Some(name) = name(host) else { return false };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".local") || hosts.contains(&name)
}

/// The name without its port and brackets.
fn name(host: &str) -> Option<&str> {
    if let Some(rest) = host.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return (port_ok && name.parse::<Ipv6Addr>().is_ok()).then_some(name);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_site_can_rebind() {
        let hosts = ["pool.example.org".to_owned()];
        for ours in [
            "127.0.0.1",
            "127.0.0.1:3380",
            "192.168.1.7:80",
            "[::1]",
            "[::1]:3380",
            "localhost:3380",
            "LOCALHOST",
            "umbrel.local",
            "Pool.Example.org:8080",
        ] {
            assert!(allowed(ours, &hosts), "{ours}");
        }
        for foreign in [
            "",
            "evil",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "[::1",
            "[evil]",
            "127.0.0.1:port",
            "a:b:c",
        ] {
            assert!(!allowed(foreign, &hosts), "{foreign}");
        }
    }
}
