//! One upstream as it is configured: `URL[,weight=N][,user=NAME][,jds=HOST:PORT][,password=TEXT]`.

use std::fmt;
use std::str::FromStr;

use adit_net::{Url, url};

/// Largest weight of one upstream.
pub const WEIGHT_MAX: u32 = 10_000;
/// Longest user name and password, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// What a pool speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Stratum V2.
    StratumV2,
    /// Stratum V1: `stratum+tcp://`.
    StratumV1,
    /// Stratum V1 over TLS: `stratum+ssl://` or `stratum+tls://`.
    StratumV1Tls,
}

impl Speech {
    /// Schemes of URLs; the first of each kind is the one that is shown.
    const SCHEMES: [(&'static str, Self); 4] = [
        (url::SCHEME, Self::StratumV2),
        ("stratum+tcp://", Self::StratumV1),
        ("stratum+ssl://", Self::StratumV1Tls),
        ("stratum+tls://", Self::StratumV1Tls),
    ];

    /// What its URLs begin with.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        let known = Self::SCHEMES.iter().find(|(_, speech)| *speech == self);
        known.map_or(url::SCHEME, |(scheme, _)| scheme)
    }
}

/// One upstream as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The pool; without a key where Stratum V1 is spoken.
    pub url: Url,
    /// What is spoken there.
    pub speech: Speech,
    /// Its part of the work among all that have a weight. None: it is used when those before it fail.
    pub weight: Option<u32>,
    /// The name to mine under, where it is not that of all upstreams.
    pub user: Option<String>,
    /// What a pool of Stratum V1 is told besides; `x` otherwise.
    pub password: Option<String>,
    /// Where jobs are declared, when it is not the pool's own port. The key is the pool's.
    pub jds: Option<(String, u16)>,
}

impl Upstream {
    /// What may be given.
    pub const EXPECTED: &'static str = "stratum2+tcp://HOST:PORT/KEY or, for Stratum V1, stratum+tcp://HOST:PORT or \
         stratum+ssl://HOST:PORT, with ,weight=N for its part of the work, ,user=NAME, ,jds=HOST:PORT where jobs are declared \
         on another port, and last of all ,password=TEXT";

    /// A pool of Stratum V2 with nothing besides.
    #[must_use]
    pub const fn plain(url: Url) -> Self {
        Self {
            url,
            speech: Speech::StratumV2,
            weight: None,
            user: None,
            password: None,
            jds: None,
        }
    }

    /// Where jobs are declared.
    #[must_use]
    pub fn jds_url(&self) -> Url {
        match &self.jds {
            None => self.url.clone(),
            Some((host, port)) => Url {
                host: host.clone(),
                port: *port,
                key: self.url.key,
            },
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.url.host, self.url.port)
    }

    fn option(&mut self, part: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("{}; {part:?} {what}", Self::EXPECTED);
        match part.trim().split_once('=') {
            Some(("jds", place)) if self.jds.is_none() => self.jds = Some(host_port(place)?),
            Some(("weight", number)) if self.weight.is_none() => {
                let weight = number.parse().ok().filter(|it| (1..=WEIGHT_MAX).contains(it));
                let weight = weight.ok_or_else(|| wrong("is no number from 1 to 10000"))?;
                self.weight = Some(weight);
            }
            Some(("user", name)) if self.user.is_none() => self.user = Some(short(name, part)?),
            Some(("password", text)) => self.password = Some(short(text, part)?),
            _ => return Err(wrong("is none of them, or stands there twice")),
        }
        Ok(())
    }
}

fn short(text: &str, part: &str) -> Result<String, String> {
    match (1..=TEXT_BYTES_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{}; {part:?} has not from 1 to {TEXT_BYTES_MAX} bytes",
            Upstream::EXPECTED
        )),
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, options) = text.split_once(',').unwrap_or((text, ""));
        let address = address.trim();
        let known = Speech::SCHEMES
            .iter()
            .find_map(|(scheme, speech)| Some((address.strip_prefix(scheme)?, *speech)));
        let wrong = |why: &dyn fmt::Display| format!("{} ({why})", Self::EXPECTED);
        let mut upstream = match known {
            Some((rest, speech)) if speech != Speech::StratumV2 => {
                let url: Url = format!("{}{rest}", url::SCHEME)
                    .parse()
                    .map_err(|error| wrong(&error))?;
                if url.key.is_some() {
                    return Err(wrong(&"a pool of Stratum V1 has no key"));
                }
                Self {
                    speech,
                    ..Self::plain(url)
                }
            }
            _ => Self::plain(address.parse().map_err(|error| wrong(&error))?),
        };
        // A password may hold anything, commas too.
        let (options, password) = match options.find("password=") {
            Some(0) => ("", Some(options)),
            Some(at) if options.get(..at).is_some_and(|before| before.ends_with(',')) => {
                (options.get(..at - 1).unwrap_or_default(), options.get(at..))
            }
            _ => (options, None),
        };
        let parts = options.split(',').filter(|_| !options.is_empty());
        for part in parts.chain(password) {
            upstream.option(part)?;
        }
        if upstream.speech != Speech::StratumV2 && upstream.jds.is_some() {
            return Err(wrong(&"no jobs are declared at a pool of Stratum V1"));
        }
        Ok(upstream)
    }
}

fn host_port(place: &str) -> Result<(String, u16), String> {
    // The same rules as for a URL, which must name its port here.
    let wrong = || format!("{}; {place:?} is no HOST:PORT", Upstream::EXPECTED);
    if !place.contains(':') || place.contains('/') {
        return Err(wrong());
    }
    let url: Url = format!("{}{place}", url::SCHEME).parse().map_err(|_| wrong())?;
    Ok((url.host, url.port))
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.to_string();
        let place = url.strip_prefix(url::SCHEME).unwrap_or(&url);
        write!(f, "{}{place}", self.speech.scheme())?;
        if let Some(weight) = self.weight {
            write!(f, ",weight={weight}")?;
        }
        if let Some(user) = &self.user {
            write!(f, ",user={user}")?;
        }
        match &self.jds {
            Some((host, port)) if host.contains(':') => write!(f, ",jds=[{host}]:{port}")?,
            Some((host, port)) => write!(f, ",jds={host}:{port}")?,
            None => {}
        }
        match &self.password {
            Some(password) => write!(f, ",password={password}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn an_upstream_is_a_url_and_what_it_is_used_for() {
        for text in [
            format!("stratum2+tcp://pool.example:3333/{KEY}"),
            format!("stratum2+tcp://pool.example:3333/{KEY},jds=pool.example:3334"),
            format!("stratum2+tcp://[::1]:3333/{KEY},jds=[::1]:3334"),
            format!("stratum2+tcp://pool.example:3333/{KEY},weight=70,user=me.farm"),
            "stratum+tcp://old.example:3333,user=me".into(),
            "stratum+ssl://old.example:443,weight=1,password=x,d=1024,user=no".into(),
            "stratum+tcp://old.example:3333,password=password=,weight=3".into(),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(upstream.to_string(), text);
            assert_eq!(upstream.jds_url().key, upstream.url.key);
        }
        let own: Upstream = format!("stratum2+tcp://a:1/{KEY}").parse().unwrap();
        assert_eq!(own.jds_url(), own.url);
        let other: Upstream = "stratum+tls://a:1,password=x,d=1".parse().unwrap();
        assert_eq!(other.speech, Speech::StratumV1Tls);
        assert_eq!(other.password.as_deref(), Some("x,d=1"));
        assert_eq!(other.weight, None);
    }

    #[test]
    fn mistakes_are_named() {
        for text in [
            "pool.example:3333",
            "stratum2+tcp://a:1,jds=b",
            "stratum2+tcp://a:1,jds=b:0",
            "stratum2+tcp://a:1,jds=b:1,jds=c:1",
            "stratum2+tcp://a:1,weight=0",
            "stratum2+tcp://a:1,weight=many",
            "stratum2+tcp://a:1,weight=1,weight=2",
            "stratum2+tcp://a:1,user=",
            "stratum+tcp://a:1,jds=b:1",
            "stratum+tcp://a:0",
            "http://a:1",
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert!(error.contains("jds=HOST:PORT"), "{text}: {error}");
        }
        let error = format!("stratum+tcp://a:1/{KEY}")
            .parse::<Upstream>()
            .unwrap_err();
        assert!(error.contains("no key"), "{error}");
    }
}
