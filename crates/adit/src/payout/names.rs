//! User names: whom they pay, and on what plan their channels mine.
//!
//! ```text
//!   [solo:|pool:] ADDRESS | DESCRIPTOR | ALIAS [.worker]        sri/solo/ADDRESS[/worker]
//! ```

use std::collections::HashMap;

use adit_ledger::payout::Payee;
use adit_proto::plan::{Payee as Script, Plan, Users};
use adit_proto::setup::Device;
use bitcoin::Network;

use super::{payee_of, shown};
use crate::config::{Payout, Scheme, Settings, SmallDevice, network_name};
use crate::observe::text::clean;

/// Who may mine, and how each is paid.
#[derive(Debug)]
pub struct Names {
    network: Network,
    scheme: Scheme,
    other: Option<Scheme>,
    aliases: HashMap<String, Payout>,
    small: Vec<SmallDevice>,
}

/// What a prefix asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Solo,
    Pool,
}

impl Names {
    /// Those of a configuration.
    pub fn of(settings: &Settings) -> Self {
        let keys = &settings.payouts;
        Self {
            network: settings.network,
            scheme: keys.scheme,
            other: keys.other,
            aliases: keys.aliases.iter().cloned().collect(),
            small: keys.small.clone(),
        }
    }

    /// Whom a user name pays, and by which name that is booked.
    ///
    /// # Errors
    /// What would be right, for people.
    pub fn payee(&self, user_identity: &str) -> Result<(Payee, String), String> {
        let (_, name) = wish(user_identity);
        self.payee_named(name)
    }

    /// The payee of a script that has an address here.
    pub fn payee_of(&self, script: &bitcoin::Script) -> Option<Payee> {
        payee_of(script, self.network)
    }

    fn payee_named(&self, name: &str) -> Result<(Payee, String), String> {
        let alias = self.aliases.get(name).cloned();
        let payout = alias.map_or_else(|| self.parse(name), Ok)?;
        let payee = payee_of(&payout.script, self.network)
            .ok_or_else(|| format!("{} has no address: give one as user name", quoted(name)))?;
        Ok((payee, shown(&payout.script, self.network, &payout.text)))
    }

    fn parse(&self, name: &str) -> Result<Payout, String> {
        let looks = |what: &str| name.to_ascii_lowercase().starts_with(what);
        let like_one =
            ["bc1", "tb1", "bcrt1"].into_iter().any(looks) || name.len() >= 26 || name.contains('(');
        Payout::parse(name, self.network).map_err(|why| {
            let network = network_name(self.network);
            if like_one {
                return format!("{} cannot be paid on network {network}: {why}", quoted(name));
            }
            let alias = if self.aliases.is_empty() { "" } else { " or a name that this pool knows" };
            format!(
                "{} is no address of network {network}: give your payout address{alias} as user name, ADDRESS.worker",
                quoted(name)
            )
        })
    }

    /// The scheme of a name with that prefix.
    fn scheme_of(&self, wish: Option<Wish>) -> Result<Scheme, String> {
        let Some(wish) = wish else {
            return Ok(self.scheme);
        };
        let is_solo = |scheme: &Scheme| *scheme == Scheme::Solo;
        let fits = |scheme: &Scheme| is_solo(scheme) == (wish == Wish::Solo);
        let offered = [Some(self.scheme), self.other].into_iter().flatten().find(fits);
        offered.ok_or_else(|| {
            let (asked, there) = match wish {
                Wish::Solo => ("solo", "pool"),
                Wish::Pool => ("pool", "solo"),
            };
            format!("this server mines {there} only: leave {asked}: out of the user name")
        })
    }
}

impl Users for Names {
    fn plan(&self, user_identity: &str, bytes_max: Option<u32>) -> Result<Plan, String> {
        let (wish, name) = wish(user_identity);
        let pooled = bytes_max.map_or(Plan::Pooled, Plan::PooledSmall);
        match self.scheme_of(wish)? {
            Scheme::Address => Ok(Plan::Pooled),
            Scheme::Pool => self.payee_named(name).map(|_| Plan::Pooled),
            Scheme::Pplns => self.payee_named(name).map(|_| pooled),
            Scheme::Solo => {
                let (payee, _) = self.payee_named(name)?;
                Ok(Plan::Solo(Script::new(bitcoin::Script::from_bytes(
                    &payee.script,
                ))))
            }
        }
    }

    fn bytes_max(&self, device: &Device) -> Option<u32> {
        let said = [&device.vendor, &device.hardware_version, &device.firmware]
            .map(|part| String::from_utf8_lossy(part.as_bytes()).to_ascii_lowercase());
        let known = self
            .small
            .iter()
            .find(|small| said.iter().any(|part| part.contains(&small.name)));
        known.map(|small| small.frame_bytes)
    }
}

/// What a name asks for, and what stands before its worker.
fn wish(user_identity: &str) -> (Option<Wish>, &str) {
    let name = user_identity.trim();
    if let Some(rest) = name.strip_prefix("sri/solo/") {
        return (Some(Wish::Solo), rest.split('/').next().unwrap_or_default());
    }
    let (wish, rest) = match name.split_once(':') {
        Some(("solo", rest)) => (Some(Wish::Solo), rest),
        Some(("pool", rest)) => (Some(Wish::Pool), rest),
        _ => (None, name),
    };
    (wish, rest.split('.').next().unwrap_or_default().trim())
}

fn quoted(name: &str) -> String {
    if name.contains("prv") {
        return "a secret key".into();
    }
    format!("\"{}\"", clean(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";
    const MAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    fn names(changes: &[(&str, &str)]) -> Names {
        Names::of(&Settings::with(changes).unwrap())
    }

    fn is_solo(plan: Result<Plan, String>) -> bool {
        plan.unwrap().is_solo()
    }

    #[test]
    fn an_address_alone_mines_as_configured_and_a_prefix_chooses_the_other() {
        let both = names(&[("payout.scheme", "pplns"), ("payout.other", "solo")]);
        for (user, solo) in [
            (ADDRESS.to_owned(), false),
            (format!("{ADDRESS}.rig.1"), false),
            (ADDRESS.to_uppercase(), false),
            (format!("pool:{ADDRESS}"), false),
            (format!("solo:{ADDRESS}.rig"), true),
            (format!("sri/solo/{ADDRESS}/rig"), true),
        ] {
            assert_eq!(is_solo(both.plan(&user, None)), solo, "{user}");
        }
        let other = names(&[("payout.scheme", "solo"), ("payout.other", "pplns")]);
        assert!(is_solo(other.plan(ADDRESS, None)));
        assert!(!is_solo(other.plan(&format!("pool:{ADDRESS}"), None)));
        let only = names(&[("payout.scheme", "solo")]);
        let why = only.plan(&format!("pool:{ADDRESS}"), None).unwrap_err();
        assert!(why.contains("leave pool: out"), "{why}");
        // Without a scheme any name is good, as ever.
        assert_eq!(names(&[]).plan("bob", None), Ok(Plan::Pooled));
    }

    #[test]
    fn one_payee_however_it_is_written() {
        let names = names(&[
            ("payout.scheme", "solo"),
            ("payout.aliases", &format!("bob={ADDRESS}")),
        ]);
        let id = |user: &str| names.payee(user).unwrap().0.id;
        for user in [
            "bob",
            "bob.rig",
            "solo:bob.rig",
            &ADDRESS.to_uppercase(),
            &format!("addr({ADDRESS})"),
        ] {
            assert_eq!(id(user), account(ADDRESS), "{user}");
        }
    }

    fn account(name: &str) -> [u8; 16] {
        adit_proto::mining::server::AccountId::of(name.as_bytes()).0
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        let names = names(&[("payout.scheme", "solo")]);
        for (user, says) in [
            ("bob.rig", "give your payout address as user name"),
            ("", "give your payout address as user name"),
            (MAIN, "not of network regtest"),
            (&format!("addr({MAIN})"), "not of network regtest"),
            (&format!("{ADDRESS}x"), "cannot be paid on network regtest"),
            ("raw(51)", "has no address"),
            ("wpkh(xprvabc)", "a secret key"),
        ] {
            let why = names.plan(user, None).unwrap_err();
            assert!(why.contains(says), "{user}: {why}");
        }
    }

    #[test]
    fn small_devices_are_known_by_what_they_say() {
        let names = names(&[
            ("payout.scheme", "pplns"),
            ("payout.small_devices", "bitaxe,nerd:2048"),
        ]);
        let device = |vendor: &str| Device {
            vendor: adit_wire::Str0_255::new(vendor.as_bytes()).unwrap(),
            ..Device::default()
        };
        assert_eq!(names.bytes_max(&device("Bitaxe/BM1370")), Some(8_192));
        assert_eq!(names.bytes_max(&device("NerdMinerV2")), Some(2_048));
        assert_eq!(names.bytes_max(&device("cgminer/4.12")), None);
        assert_eq!(names.plan(ADDRESS, Some(2_048)), Ok(Plan::PooledSmall(2_048)));
    }
}
