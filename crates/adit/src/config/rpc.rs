//! `rpc:[USER:PASSWORD@]HOST:PORT[?cookie=PATH&zmq=tcp://HOST:PORT&notify=ADDR:PORT]`: a node's JSON-RPC server, or the same
//! as other programs take it, `http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use adit_node::rpc::{HttpPath, Login, Tls};
use bitcoin::Network;

/// Where a node answers JSON-RPC, and how it knows us. Its text never holds the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcNode {
    /// `host:port`.
    pub address: String,
    /// Where on that server; may be a secret.
    pub path: HttpPath,
    /// It is spoken to through TLS.
    secure: bool,
    /// Whose certificates are believed.
    authorities: Option<PathBuf>,
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
        match text.split_once("://") {
            Some(("http", rest)) => Self::read(rest, Some(false)),
            Some(("https", rest)) => Self::read(rest, Some(true)),
            _ => Self::read(text.trim_start_matches("//"), None),
        }
    }

    /// `url`: it is one, over TLS or not.
    fn read(text: &str, url: Option<bool>) -> Result<Self, String> {
        let secure = url == Some(true);
        let (place, options) = text.split_once('?').unwrap_or((text, ""));
        // A password may hold an @ or a slash, a host may not.
        let (login, server) = match place.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, place),
        };
        let (host, path) = server.split_once('/').unwrap_or((server, ""));
        let login = match (login, url) {
            (Some(login), Some(_)) => Some(password(login, &unescaped)?),
            (Some(login), None) => Some(password(login, &|text| Some(text.to_owned()))?),
            (None, _) => secure.then_some(Login::Nobody),
        };
        let mut node = Self {
            address: match host.trim_start_matches('[').contains(':') || !secure {
                true => host_and_port(host)?,
                false => host_and_port(&format!("{host}:443"))?,
            },
            path: http_path(path)?,
            secure,
            authorities: None,
            login,
            zmq: None,
            notify: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("ca", path)) if !path.is_empty() && secure => node.authorities = Some(path.into()),
                Some(("ca", _)) => return Err("ca=FILE with https:// only".into()),
                Some(("cookie", path))
                    if !path.is_empty() && matches!(node.login, None | Some(Login::Nobody)) =>
                {
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
                        "no option {:?}: there are cookie=PATH, zmq=tcp://HOST:PORT, notify=127.0.0.1:PORT and, with https, ca=FILE",
                        name(option)
                    ));
                }
            }
        }
        Ok(node)
    }

    /// What is needed for TLS, where it stands behind that.
    ///
    /// # Errors
    /// For people: the file of certificates cannot be used.
    pub fn tls(&self) -> Result<Option<Tls>, String> {
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let tls = || Tls::new(host, self.authorities.as_deref());
        self.secure.then(tls).transpose()
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
        if self.secure {
            f.write_str("https://")?;
        }
        if let Some(Login::Password { user, .. }) = &self.login {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.address)?;
        match self.path == HttpPath::default() {
            true => Ok(()),
            false => f.write_str("/.."),
        }
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

fn password(text: &str, plain: &dyn Fn(&str) -> Option<String>) -> Result<Login, String> {
    let parts = text.split_once(':').filter(|(user, _)| !user.is_empty());
    let (user, password) = parts.ok_or("USER:PASSWORD before the @")?;
    let escaped = "in a URL a % stands for %25: write the password so, or behind rpc: as it is";
    Ok(Login::Password {
        user: plain(user).ok_or(escaped)?,
        password: plain(password).ok_or(escaped)?,
    })
}

/// A part of a URL without its escapes; none where one is broken.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        (rest, _) = match (first, others) {
            (b'%', [high, low, others @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let byte = digit(high)? * 16 + digit(low)?;
                (others, bytes.push(u8::try_from(byte).ok()?))
            }
            (b'%', _) => return None,
            (byte, others) => (others, bytes.push(*byte)),
        };
    }
    String::from_utf8(bytes).ok()
}

/// What stands behind the host, as it is asked for.
fn http_path(text: &str) -> Result<HttpPath, String> {
    let text = text.trim_end_matches('/');
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    match fits {
        true => Ok(HttpPath(format!("/{text}"))),
        false => Err("a path of printable ASCII behind the host".into()),
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
        let bought = RpcNode::parse("https://us%40er:p%25%3A@h.example/v1/hunter2/").unwrap();
        let user = Login::Password {
            user: "us@er".into(),
            password: "p%:".into(),
        };
        assert_eq!(bought.login(Network::Bitcoin, None), user);
        assert_eq!(bought.to_string(), "https://us@er@h.example:443/..");
        assert_eq!(bought.path.0, "/v1/hunter2");
        assert!(!format!("{bought:?}").contains("hunter2"), "{bought:?}");
        let open = RpcNode::parse("https://h:8332").unwrap();
        assert_eq!(open.login(Network::Bitcoin, None), Login::Nobody);
        assert!(open.tls().unwrap().is_some() && plain.tls().unwrap().is_none());
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
            ("http://u:hunter2%@h:1", "%25"),
            ("http://u:p@h", "HOST:PORT"),
            ("http://u:p@h:1?ca=/c", "https"),
            ("https://u:p@h/hunter2#x", "path"),
        ] {
            let error = RpcNode::parse(text).unwrap_err();
            assert!(
                error.contains(says) && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }
}
