//! What miners ask for, with everything in it checked once.

use super::hex;
use super::refusal::Refusal;
use crate::extranonce::FULL_SIZE_MAX;
use core::fmt;
use serde_json::Value;

/// Extensions of one `mining.configure` that are answered; any more are ignored.
pub const EXTENSIONS_MAX: usize = 16;

/// Longest session id that is looked at, in bytes.
pub const SESSION_BYTES_MAX: usize = 64;

/// A request.
#[derive(Clone, PartialEq)]
pub enum Request {
    /// `mining.configure` (BIP310).
    Configure(Vec<Extension>),
    /// `mining.subscribe`.
    Subscribe {
        /// The miner's software, in its own words.
        agent: String,
        /// A session that it had before, if it says so.
        session: Option<String>,
    },
    /// `mining.authorize`.
    Authorize {
        /// `account.worker`.
        user: String,
        /// No secret here: a place for wishes. Still never shown.
        password: String,
    },
    /// `mining.suggest_difficulty`.
    SuggestDifficulty(f64),
    /// `mining.suggest_target`: the target as a number, most significant byte first.
    SuggestTarget([u8; 32]),
    /// `mining.extranonce.subscribe`.
    ExtranonceSubscribe,
    /// `mining.ping`.
    Ping,
    /// `mining.submit`.
    Submit(Submit),
    /// `mining.multi_version`: how many versions the miner wants to roll in an old way.
    MultiVersion(u64),
    /// `mining.get_transactions`: never answered with any.
    Transactions,
    /// None that is known.
    Unknown,
}

/// An extension of `mining.configure`.
#[derive(Clone, Debug, PartialEq)]
pub enum Extension {
    /// `version-rolling`: the bits that the miner could roll.
    VersionRolling {
        /// As asked for; all where nothing was said.
        mask: u32,
    },
    /// `minimum-difficulty`; nothing if its value is no number above zero.
    MinimumDifficulty(Option<f64>),
    /// `subscribe-extranonce`.
    SubscribeExtranonce,
    /// `info`: what the miner is, for statistics.
    Info,
    /// Any other, which is not granted.
    Unknown(String),
}

/// A share.
#[derive(Clone, Debug, PartialEq)]
pub struct Submit {
    /// As in `mining.authorize`.
    pub user: String,
    /// The job, as it was named in `mining.notify`; nothing if it is no name that we give.
    pub job_id: Option<u32>,
    /// Digits of extranonce2 as they came; how many bytes they are is for the channel to say.
    pub extranonce2: String,
    /// Header time, seconds.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Version bits (BIP310), if there is a sixth parameter.
    pub version_bits: Option<u32>,
}

impl Request {
    /// Reads a method and its parameters.
    ///
    /// # Errors
    /// [`Refusal`] if a parameter that is needed is missing or is something else.
    pub fn read(method: &str, params: &[Value]) -> Result<Self, Refusal> {
        Ok(match method {
            "mining.submit" => Self::Submit(Submit::read(params)?),
            "mining.configure" => Self::Configure(extensions(params)?),
            "mining.subscribe" => Self::Subscribe {
                agent: text(params, 0).unwrap_or_default(),
                session: text(params, 1).filter(|it| !it.is_empty() && it.len() <= SESSION_BYTES_MAX),
            },
            "mining.authorize" => Self::Authorize {
                user: text(params, 0).ok_or(Refusal::unauthorized("A user name is needed"))?,
                password: text(params, 1).unwrap_or_default(),
            },
            "mining.suggest_difficulty" => {
                let number = params
                    .first()
                    .and_then(number)
                    .filter(|it| it.is_finite() && *it > 0.0);
                Self::SuggestDifficulty(number.ok_or(Refusal::other("A difficulty is a number above zero"))?)
            }
            "mining.suggest_target" => {
                let bytes = text(params, 0).and_then(|digits| hex::bytes(&digits, 32));
                let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
                Self::SuggestTarget(bytes.ok_or(Refusal::other("A target is up to 64 hex digits"))?)
            }
            "mining.extranonce.subscribe" => Self::ExtranonceSubscribe,
            "mining.ping" => Self::Ping,
            "mining.multi_version" => Self::MultiVersion(params.first().and_then(Value::as_u64).unwrap_or(0)),
            "mining.get_transactions" => Self::Transactions,
            _ => Self::Unknown,
        })
    }
}

impl Submit {
    fn read(params: &[Value]) -> Result<Self, Refusal> {
        const MALFORMED: Refusal =
            Refusal::other("A share has a user, a job, extranonce2, time and nonce in hex");
        let [user, job_id, extranonce2, ntime, nonce, rest @ ..] = params else {
            return Err(MALFORMED);
        };
        let digits = |value: &Value| value.as_str().and_then(hex::number).ok_or(MALFORMED);
        let extranonce2 = extranonce2
            .as_str()
            .filter(|it| it.len() <= 2 * FULL_SIZE_MAX + 2);
        let version_bits = match rest.first() {
            None | Some(Value::Null) => None,
            Some(bits) => Some(digits(bits)?),
        };
        Ok(Self {
            user: user.as_str().ok_or(MALFORMED)?.to_owned(),
            job_id: job_id.as_str().and_then(hex::number),
            extranonce2: extranonce2.ok_or(MALFORMED)?.to_owned(),
            ntime: digits(ntime)?,
            nonce: digits(nonce)?,
            version_bits,
        })
    }
}

fn extensions(params: &[Value]) -> Result<Vec<Extension>, Refusal> {
    let names = params.first().and_then(Value::as_array);
    let names = names.ok_or(Refusal::other("mining.configure lists extensions"))?;
    let options = params.get(1);
    let option = |name: &str| options.and_then(|options| options.get(name));
    let one = |name: &str| match name {
        "version-rolling" => Extension::VersionRolling {
            mask: option("version-rolling.mask")
                .and_then(Value::as_str)
                .and_then(hex::number)
                .unwrap_or(u32::MAX),
        },
        "minimum-difficulty" => {
            let value = option("minimum-difficulty.value").and_then(number);
            Extension::MinimumDifficulty(value.filter(|it| it.is_finite() && *it > 0.0))
        }
        "subscribe-extranonce" => Extension::SubscribeExtranonce,
        "info" => Extension::Info,
        other => Extension::Unknown(other.to_owned()),
    };
    Ok(names
        .iter()
        .filter_map(Value::as_str)
        .take(EXTENSIONS_MAX)
        .map(one)
        .collect())
}

/// Text; a number counts as its digits, as some firmware forgets the quotes.
fn text(params: &[Value], at: usize) -> Option<String> {
    match params.get(at)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number, or text that is one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Without the password: nobody should find one in a log.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure(extensions) => f.debug_tuple("Configure").field(extensions).finish(),
            Self::Subscribe { agent, session } => write!(f, "Subscribe({agent:?}, {session:?})"),
            Self::Authorize { user, .. } => write!(f, "Authorize({user:?})"),
            Self::SuggestDifficulty(number) => write!(f, "SuggestDifficulty({number})"),
            Self::SuggestTarget(target) => write!(f, "SuggestTarget({target:02x?})"),
            Self::ExtranonceSubscribe => f.write_str("ExtranonceSubscribe"),
            Self::Ping => f.write_str("Ping"),
            Self::Submit(submit) => submit.fmt(f),
            Self::MultiVersion(count) => write!(f, "MultiVersion({count})"),
            Self::Transactions => f.write_str("Transactions"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(method: &str, params: Value) -> Result<Request, Refusal> {
        Request::read(method, params.as_array().unwrap())
    }

    #[test]
    fn shares_are_read_in_every_spelling() {
        let share = |job: &str, ntime: &str, nonce: &str| {
            read("mining.submit", json!(["a.b", job, "00000001", ntime, nonce])).unwrap()
        };
        let plain = share("1f", "504e86ed", "b2957c02");
        assert_eq!(share("1F", "504E86ED", "B2957C02"), plain);
        assert_eq!(share("0x1f", "0x504e86ed", "0xb2957c02"), plain);
        let Request::Submit(short) = share("1", "86ed", "c02") else {
            panic!()
        };
        assert_eq!(
            (short.job_id, short.ntime, short.nonce, short.version_bits),
            (Some(1), 0x86ed, 0xc02, None)
        );
        let rolled = read("mining.submit", json!(["a", "1", "0", "1", "1", "00C00000"])).unwrap();
        assert!(matches!(
            rolled,
            Request::Submit(Submit {
                version_bits: Some(0xc0_0000),
                ..
            })
        ));
        let foreign = read("mining.submit", json!(["a", "not ours", "0", "1", "1"])).unwrap();
        assert!(matches!(foreign, Request::Submit(Submit { job_id: None, .. })));
        for bad in [
            json!([]),
            json!(["a", "1", "0", "1"]),
            json!(["a", "1", "0", "1", 7]),
            json!(["a", "1", "0", "", "1"]),
            json!(["a", "1", "0", "1", "1", "zz"]),
            json!(["a", "1", "0".repeat(67), "1", "1"]),
            json!([null, "1", "0", "1", "1"]),
        ] {
            assert_eq!(read("mining.submit", bad.clone()).unwrap_err().code, 20, "{bad}");
        }
    }

    #[test]
    fn extensions_are_read_one_by_one() {
        let options = json!({"version-rolling.mask": "1FFFE000", "minimum-difficulty.value": 2048});
        let names = json!([
            "version-rolling",
            "minimum-difficulty",
            "subscribe-extranonce",
            "info",
            "moon"
        ]);
        let Request::Configure(extensions) = read("mining.configure", json!([names, options])).unwrap()
        else {
            panic!()
        };
        let expected = [
            Extension::VersionRolling { mask: 0x1fff_e000 },
            Extension::MinimumDifficulty(Some(2048.0)),
            Extension::SubscribeExtranonce,
            Extension::Info,
            Extension::Unknown("moon".into()),
        ];
        assert_eq!(extensions, expected);
        assert!(read("mining.configure", json!([])).is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let request = read("mining.authorize", json!(["a.b", "canary"])).unwrap();
        assert!(!format!("{request:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn any_parameters_are_survived(method in 0usize..11, texts in proptest::collection::vec(".{0,40}", 0..7)) {
            let methods = ["submit", "configure", "subscribe", "authorize", "suggest_difficulty", "suggest_target",
                "extranonce.subscribe", "ping", "multi_version", "get_transactions", "x"];
            let params: Vec<Value> = texts.into_iter().map(Value::String).collect();
            let _ = Request::read(&format!("mining.{}", methods[method]), &params);
        }
    }
}
