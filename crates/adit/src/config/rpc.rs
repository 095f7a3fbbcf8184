//! `rpc:[USER:PASSWORD@]HOST:PORT[?cookie=PATH&zmq=tcp://HOST:PORT&notify=ADDR:PORT]`: a node's JSON-RPC server.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use adit_node::rpc::Login;
use bitcoin::Network;

/// Where a node answers JSON-RPC, and how it knows us. Its text never holds the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcNode {
    /// `host:port`.
    pub address: String,
    /// What was given; `None`: the cookie in Bitcoin Core's usual folder.
    login: Option<Login>,
    /// The node's publisher of new blocks.
    pub zmq: Option<String>,
    /// Where its `-blocknotify` command sends notices: a UDP address of this machine.
    pub notify: Option<SocketAddr>,
}

impl RpcNode {
    /// Reads what stands behind `rpc:`; the error is what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches("//");
        let text = text.strip_prefix("http://").unwrap_or(text);
        let (place, options) = text.split_once('?').unwrap_or((text, ""));
        // A password may hold an @, a host may not.
        let (login, address) = match place.trim_end_matches('/').rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, place.trim_end_matches('/')),
        };
        let mut node = Self {
            address: host_and_port(address)?,
            login: login.map(password).transpose()?,
            zmq: None,
            notify: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("cookie", path)) if !path.is_empty() && node.login.is_none() => {
                    node.login = Some(Login::Cookie(path.into()));
                }
                Some(("cookie", _)) => return Err("either USER:PASSWORD or cookie=PATH".into()),
                Some(("zmq", at))
                    if at
                        .strip_prefix("tcp://")
                        .is_some_and(|at| host_and_port(at).is_ok()) =>
                {
                    node.zmq = Some(at.to_owned());
                }
                Some(("zmq", _)) => {
                    return Err("zmq=tcp://HOST:PORT, as in the node's zmqpubhashblock".into());
                }
                Some(("notify", at)) => match at.parse::<SocketAddr>() {
                    Ok(at) if at.ip().is_loopback() && at.port() > 0 => node.notify = Some(at),
                    _ => return Err("notify=127.0.0.1:PORT, to which `adit notify` sends".into()),
                },
                _ => {
                    return Err(format!(
                        "no option {:?}: there are cookie=PATH, zmq=tcp://HOST:PORT and notify=127.0.0.1:PORT",
                        name(option)
                    ));
                }
            }
        }
        Ok(node)
    }

    /// How the node knows us. Without any, it is the cookie of a Bitcoin Core of this user.
    pub fn login(&self, network: Network, home: Option<&Path>) -> Login {
        self.login.clone().unwrap_or_else(|| {
            let folder = match network {
                Network::Testnet => "testnet3",
                Network::Testnet4 => "testnet4",
                Network::Signet => "signet",
                Network::Regtest => "regtest",
                Network::Bitcoin => "",
            };
            let home = home.map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
            Login::Cookie(home.join(".bitcoin").join(folder).join(".cookie"))
        })
    }

    /// The network whose port it usually is.
    pub(super) fn network(&self) -> Option<Network> {
        match self.address.rsplit_once(':')?.1 {
            "8332" => Some(Network::Bitcoin),
            "18332" => Some(Network::Testnet),
            "48332" => Some(Network::Testnet4),
            "38332" => Some(Network::Signet),
            "18443" => Some(Network::Regtest),
            _ => None,
        }
    }
}

impl fmt::Display for RpcNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Login::Password { user, .. }) = &self.login {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.address)
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let right = || "HOST:PORT behind rpc:, such as rpc:user:password@127.0.0.1:8332".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(right)?;
    let is_host = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"[]:.-_".contains(&b))
        && host.contains(':') == host.starts_with('[');
    match port.parse::<u16>() {
        Ok(port) if port > 0 && is_host => Ok(text.to_owned()),
        _ => Err(right()),
    }
}

fn password(text: &str) -> Result<Login, String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() => Ok(Login::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        _ => Err("USER:PASSWORD before the @".into()),
    }
}

/// The name of an option; what stands behind it may be a secret in the wrong place.
fn name(option: &str) -> &str {
    option.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_none_shows_the_password() {
        let plain = RpcNode::parse("127.0.0.1:18443").unwrap();
        assert_eq!(
            (plain.to_string(), plain.network()),
            ("127.0.0.1:18443".into(), Some(Network::Regtest))
        );
        let home = Path::new("/home/u");
        let cookie = Login::Cookie("/home/u/.bitcoin/signet/.cookie".into());
        assert_eq!(plain.login(Network::Signet, Some(home)), cookie);
        let main = Login::Cookie("/home/u/.bitcoin/.cookie".into());
        assert_eq!(plain.login(Network::Bitcoin, Some(home)), main);
        let named = RpcNode::parse("http://u:p@s@h.example:8332/?zmq=tcp://h.example:28332").unwrap();
        assert_eq!(named.to_string(), "u@h.example:8332");
        assert!(!format!("{named:?}").contains("p@s"), "{named:?}");
        assert_eq!(named.zmq.as_deref(), Some("tcp://h.example:28332"));
        let user = Login::Password {
            user: "u".into(),
            password: "p@s".into(),
        };
        assert_eq!(named.login(Network::Bitcoin, None), user);
        let told = RpcNode::parse("h:8332?cookie=/c&notify=127.0.0.1:8331").unwrap();
        assert_eq!(told.notify, Some(([127, 0, 0, 1], 8331).into()));
        let file = RpcNode::parse("[::1]:8332?cookie=/x/.cookie").unwrap();
        assert_eq!(
            file.login(Network::Bitcoin, None),
            Login::Cookie("/x/.cookie".into())
        );
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, says) in [
            ("", "HOST:PORT"),
            ("localhost", "HOST:PORT"),
            ("h:0", "HOST:PORT"),
            ("::1:8332", "HOST:PORT"),
            ("user@h:1", "USER:PASSWORD"),
            ("u:p@h:1?cookie=/c", "either"),
            ("h:1?zmq=h:2", "zmqpubhashblock"),
            ("h:1?notify=10.0.0.1:5", "127.0.0.1"),
            ("h:1?notify=5", "adit notify"),
            ("h:1?secret=hunter2", "\"secret\""),
        ] {
            let error = RpcNode::parse(text).unwrap_err();
            assert!(
                error.contains(says) && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }
}
