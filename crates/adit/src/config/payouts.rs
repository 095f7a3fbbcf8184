//! How blocks are paid, checked: scheme, fee, aliases.

use bitcoin::Network;

use super::origin::Problem;
use super::payout::{Payout, name};
use super::source::Config;
use super::table::PayoutKeys;
use super::values::{Alias, NegotiationMode, Other, Scheme, SmallDevice};

/// Longest file of aliases, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Everything of `payout.*` but the pool's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payouts {
    /// How a plain user name mines.
    pub scheme: Scheme,
    /// How one with the other prefix mines, if that is allowed.
    pub other: Option<Scheme>,
    /// The pool's part in basis points.
    pub fee_bp: u16,
    /// Whom donations go to, and their part in basis points.
    pub donation: Option<(Payout, u16)>,
    /// Length of the window in blocks' worth of work.
    pub window_blocks: u32,
    /// Smallest output of a pooled coinbase, satoshis.
    pub minimum_sat: u64,
    /// Most outputs of a pooled coinbase.
    pub outputs_max: u32,
    /// Devices that take short job messages only.
    pub small: Vec<SmallDevice>,
    /// Short names for addresses.
    pub aliases: Vec<(String, Payout)>,
    /// Between two looks at the book, milliseconds.
    pub refresh_ms: u64,
}

impl Payouts {
    /// The scheme of those who mine together.
    pub fn pooled(&self) -> Scheme {
        let mut both = [Some(self.scheme), self.other].into_iter().flatten();
        both.find(|scheme| *scheme != Scheme::Solo)
            .unwrap_or(Scheme::Address)
    }

    /// Whether anybody may mine for an address alone.
    pub fn offers_solo(&self) -> bool {
        [Some(self.scheme), self.other].contains(&Some(Scheme::Solo))
    }

    /// Whether user names pay: only then do they have to be addresses.
    pub fn pays_users(&self) -> bool {
        self.offers_solo() || self.pooled() != Scheme::Address
    }

    /// Whether miners of other people's blocks are owed anything.
    pub fn shares_out(&self) -> bool {
        matches!(self.pooled(), Scheme::Pplns | Scheme::Pool)
    }

    /// Checks the keys for a network; nothing when the network is not known.
    pub(super) fn check(
        config: &Config,
        keys: &PayoutKeys,
        network: Option<Network>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut wrong = |key: &str, what: String, right: String| {
            problems.push(Problem {
                origin: config.origin(key),
                what,
                right,
            });
        };
        let other = match keys.other {
            Other::None => None,
            Other::Is(other) if (other == Scheme::Solo) == (keys.scheme == Scheme::Solo) => {
                let (what, right) = (
                    format!(
                        "payout.other is {:?} beside payout.scheme = {:?}",
                        other.word(),
                        keys.scheme.word()
                    ),
                    "one of the two is to be solo, the other one not; or leave payout.other out",
                );
                wrong("payout.other", what, right.into());
                None
            }
            Other::Is(other) => Some(other),
        };
        if keys.fee_bp + keys.donation_bp > 9_000 {
            let sum = keys.fee_bp + keys.donation_bp;
            let what = format!("payout.fee_bp and payout.donation_bp are {sum} of 10000 together");
            wrong(
                "payout.fee_bp",
                what,
                "leave at least 1000 to those who mine".into(),
            );
        }
        let network = network?;
        let donation = match (keys.donation_address.as_str(), keys.donation_bp) {
            (_, 0) => None,
            ("", _) => {
                let what = "payout.donation_bp is set, and payout.donation_address is not".to_owned();
                wrong(
                    "payout.donation_bp",
                    what,
                    "name whom the donation goes to".into(),
                );
                None
            }
            (text, bp) => match Payout::parse(text, network) {
                Ok(payout) => Some((payout, u16::try_from(bp).unwrap_or(u16::MAX))),
                Err(right) => {
                    wrong(
                        "payout.donation_address",
                        format!("payout.donation_address is {text:?}"),
                        right,
                    );
                    None
                }
            },
        };
        let mut listed: Vec<(&str, Alias)> = keys
            .aliases
            .0
            .iter()
            .map(|it| ("payout.aliases", it.clone()))
            .collect();
        if !keys.aliases_file.is_empty() {
            match read(&keys.aliases_file) {
                Ok(aliases) => listed.extend(aliases.into_iter().map(|it| ("payout.aliases_file", it))),
                Err((what, right)) => wrong("payout.aliases_file", what, right),
            }
        }
        let mut aliases: Vec<(String, Payout)> = Vec::new();
        for (key, Alias { name: alias, address }) in listed {
            let known = aliases.iter().any(|(known, _)| *known == alias);
            match Payout::parse(&address, network) {
                _ if known => wrong(
                    key,
                    format!("{key} has {alias} twice"),
                    "give each name once".into(),
                ),
                Err(right) => wrong(key, format!("{key} has {alias} stand for {address:?}"), right),
                Ok(payout) if crate::payout::address(&payout.script, network).is_none() => {
                    let right = format!("give an address of network {}", name(network));
                    wrong(
                        key,
                        format!("{key} has {alias} stand for {address:?}, which has no address"),
                        right,
                    );
                }
                Ok(payout) => aliases.push((alias, payout)),
            }
        }
        Some(Self {
            scheme: keys.scheme,
            other,
            fee_bp: u16::try_from(keys.fee_bp).unwrap_or(u16::MAX),
            donation,
            window_blocks: keys.window_blocks,
            minimum_sat: keys.minimum_sat,
            outputs_max: keys.outputs_max,
            small: keys.small_devices.0.clone(),
            aliases,
            refresh_ms: keys.refresh_ms,
        })
    }

    /// What of job negotiation goes with these payouts: a job of a miner's own making pays one output of the pool's, and
    /// neither a window nor another miner.
    pub(super) fn negotiation(
        &self,
        config: &Config,
        mode: NegotiationMode,
        problems: &mut Vec<Problem>,
    ) -> NegotiationMode {
        let clashes = self.offers_solo() || self.pooled() == Scheme::Pplns;
        if !clashes || mode == NegotiationMode::Off {
            return mode;
        }
        if config.origin("negotiation.mode") != super::origin::Origin::Default {
            let (scheme, word) = match self.pooled() {
                Scheme::Pplns => ("pplns", "many outputs, which change with every share"),
                _ => ("solo", "each miner's own address"),
            };
            problems.push(Problem {
                origin: config.origin("negotiation.mode"),
                what: format!("negotiation.mode is on, and payout.scheme or payout.other is {scheme}"),
                right: format!(
                    "set negotiation.mode = \"off\": coinbases pay {word}, and a negotiated job pays one output of the \
                     pool's; or choose payout.scheme = \"pool\" or \"address\""
                ),
            });
        }
        NegotiationMode::Off
    }
}

/// Reads a file of aliases: `NAME ADDRESS` a line; empty lines and those that begin with # do not count.
fn read(path: &str) -> Result<Vec<Alias>, (String, String)> {
    use std::io::Read;
    let unread = |error: std::io::Error| {
        let right = "name a file that is there and yours to read, or leave it out";
        (
            format!("payout.aliases_file is {path:?}: {error}"),
            right.to_owned(),
        )
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unread)?;
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, number)| {
            let parts = line.split_once(char::is_whitespace);
            let alias = parts.and_then(|(name, address)| Alias::new(name, address.trim()));
            alias.ok_or_else(|| {
                let what = format!("line {number} of {path:?} is {line:?}");
                (
                    what,
                    format!("write {}, with a space between the two", Alias::EXPECTED),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    const ADDRESS: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";
    const MAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    fn mistake(changes: &[(&str, &str)]) -> String {
        let exit = Settings::with(changes).unwrap_err();
        format!("{} {}", exit.message, exit.hint)
    }

    /// Each mistake says what would be right.
    #[test]
    fn mistakes_are_told() {
        let wrong_network = format!("bob={MAIN}");
        let twice = format!("bob={ADDRESS},bob={ADDRESS}");
        for (changes, says) in [
            (&[("payout.scheme", "prop")][..], "address, solo, pplns or pool"),
            (
                &[("payout.scheme", "pplns"), ("payout.other", "pool")],
                "one of the two is to be solo",
            ),
            (
                &[("payout.scheme", "solo"), ("payout.other", "solo")],
                "one of the two is to be solo",
            ),
            (
                &[("payout.fee_bp", "9000"), ("payout.donation_bp", "1")],
                "leave at least 1000",
            ),
            (&[("payout.donation_bp", "1")], "name whom the donation goes to"),
            (
                &[("payout.donation_bp", "1"), ("payout.donation_address", MAIN)],
                "not of network regtest",
            ),
            (&[("payout.aliases", &wrong_network)], "not of network regtest"),
            (&[("payout.aliases", &twice)], "twice"),
            (&[("payout.aliases", "bob")], "NAME=ADDRESS"),
            (
                &[("payout.aliases_file", "/nonexistent/aliases")],
                "yours to read",
            ),
            (&[("payout.minimum_sat", "545")], "546"),
            (
                &[("payout.scheme", "pplns"), ("negotiation.mode", "both")],
                "negotiation.mode = \"off\"",
            ),
            (
                &[("payout.scheme", "solo"), ("negotiation.mode", "full-template")],
                "each miner's own address",
            ),
        ] {
            let told = mistake(changes);
            assert!(told.contains(says), "{changes:?}: {told}");
        }
    }

    #[test]
    fn a_file_of_aliases_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aliases");
        std::fs::write(
            &path,
            format!("# names\n\nbob {ADDRESS}\n  eve   addr({ADDRESS})\n"),
        )
        .unwrap();
        let path = path.display().to_string();
        let settings = Settings::with(&[("payout.aliases_file", &path)]).unwrap();
        let names: Vec<_> = settings
            .payouts
            .aliases
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["bob", "eve"]);
        std::fs::write(&path, "bob\n").unwrap();
        assert!(mistake(&[("payout.aliases_file", &path)]).contains("line 1"));
    }

    #[test]
    fn negotiation_is_off_where_it_cannot_be() {
        use super::super::NegotiationMode;
        let mode = |changes: &[(&str, &str)]| Settings::with(changes).unwrap().negotiation.mode;
        assert_eq!(mode(&[]), NegotiationMode::FullTemplate);
        assert_eq!(mode(&[("payout.scheme", "pool")]), NegotiationMode::FullTemplate);
        assert_eq!(mode(&[("payout.scheme", "pplns")]), NegotiationMode::Off);
        assert_eq!(
            mode(&[("payout.scheme", "pool"), ("payout.other", "solo")]),
            NegotiationMode::Off
        );
    }
}
