//! Who is paid: an address or a descriptor, checked against the network.

use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, NetworkKind, ScriptBuf};
use miniscript::descriptor::checksum::desc_checksum;
use miniscript::{Descriptor, DescriptorPublicKey};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey};

/// What a payout looks like, for messages.
const FORMS: &str =
    "an address such as bc1q..., or a descriptor such as wpkh(xpub.../0/7), addr(...) or raw(HEX)";
/// Longest script, in bytes: the longest standard output script but bare multisig.
const SCRIPT_BYTES_MAX: usize = 128;

/// Where the value of our blocks goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// As it was given, or the throw-away address.
    pub text: String,
    /// The script of the output.
    pub script: ScriptBuf,
    /// Whether nobody gave it: coins of the embedded chain are worth nothing.
    pub throw_away: bool,
}

impl Payout {
    /// Reads an address or descriptor for `network`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str, network: Network) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("prv") {
            return Err("this is a secret key: give a public one (xpub...) or an address".into());
        }
        let script = match text.split_once('(') {
            Some(_) => descriptor(text, network)?,
            None => address(text, network)?,
        };
        if script.is_empty() || script.is_op_return() || script.len() > SCRIPT_BYTES_MAX {
            return Err("give a script that can be spent and is at most 128 bytes long".into());
        }
        Ok(Self {
            text: text.to_owned(),
            script,
            throw_away: false,
        })
    }

    /// The throw-away payout of the embedded chain: the same seed gives the same address.
    pub fn throw_away(seed: u64) -> Self {
        let secp = Secp256k1::new();
        let mut digest = sha256::Hash::hash(format!("adit throw-away payout {seed}").as_bytes());
        let key = loop {
            match SecretKey::from_slice(digest.as_byte_array()) {
                Ok(key) => break Keypair::from_secret_key(&secp, &key),
                // One in 2^128; the next digest will do.
                Err(_) => digest = sha256::Hash::hash(digest.as_byte_array()),
            }
        };
        let address = Address::p2tr(&secp, key.x_only_public_key().0, None, Network::Regtest);
        Self {
            text: address.to_string(),
            script: address.script_pubkey(),
            throw_away: true,
        }
    }

    /// The network that an address names without doubt: main by `bc1` or base58, regtest by `bcrt1`.
    /// Other test networks share their forms; descriptors of public keys name none.
    pub fn network(text: &str) -> Option<Network> {
        let inner = text
            .trim()
            .strip_prefix("addr(")
            .and_then(|rest| rest.split(')').next());
        let address = Address::<NetworkUnchecked>::from_str(inner.unwrap_or(text.trim())).ok()?;
        if address.is_valid_for_network(Network::Bitcoin) {
            return Some(Network::Bitcoin);
        }
        (address.is_valid_for_network(Network::Regtest) && !address.is_valid_for_network(Network::Signet))
            .then_some(Network::Regtest)
    }
}

fn address(text: &str, network: Network) -> Result<ScriptBuf, String> {
    let address =
        Address::<NetworkUnchecked>::from_str(text).map_err(|error| format!("give {FORMS} ({error})"))?;
    if !address.is_valid_for_network(network) {
        return Err(format!(
            "this address is not of network {}: give {}",
            name(network),
            example(network)
        ));
    }
    Ok(address.assume_checked().script_pubkey())
}

fn descriptor(text: &str, network: Network) -> Result<ScriptBuf, String> {
    let body = match text.split_once('#') {
        Some((body, checksum)) => {
            let right = desc_checksum(body).map_err(|error| error.to_string())?;
            if right != checksum {
                return Err(format!(
                    "the checksum of this descriptor would be #{right}: look for a typing mistake"
                ));
            }
            body
        }
        None => text,
    };
    let inside = |name: &str| body.strip_prefix(name)?.strip_suffix(')');
    if let Some(inner) = inside("addr(") {
        return address(inner, network);
    }
    if let Some(hex) = inside("raw(") {
        return ScriptBuf::from_hex(hex)
            .map_err(|error| format!("give raw(HEX) with a script in hex ({error})"));
    }
    keys(body, network)
}

/// A descriptor of public keys.
fn keys(text: &str, network: Network) -> Result<ScriptBuf, String> {
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(text)
        .map_err(|error| format!("give {FORMS} ({error})"))?;
    if descriptor.has_wildcard() || descriptor.is_multipath() {
        return Err("this descriptor names many addresses: write the index in place of * or <0;1>".into());
    }
    let mut kinds = Vec::new();
    miniscript::ForEachKey::for_each_key(&descriptor, |key| {
        kinds.extend(kind(key));
        true
    });
    if kinds.iter().any(|kind| *kind != NetworkKind::from(network)) {
        let right = if network == Network::Bitcoin {
            "xpub"
        } else {
            "tpub"
        };
        return Err(format!(
            "this key is not of network {}: give one that starts with {right}",
            name(network)
        ));
    }
    let definite = descriptor
        .at_derivation_index(0)
        .map_err(|error| error.to_string())?;
    definite
        .derived_descriptor(&Secp256k1::verification_only())
        .map(|derived| derived.script_pubkey())
        .map_err(|error| error.to_string())
}

fn kind(key: &DescriptorPublicKey) -> Option<NetworkKind> {
    match key {
        DescriptorPublicKey::Single(_) => None,
        DescriptorPublicKey::XPub(key) => Some(key.xkey.network),
        DescriptorPublicKey::MultiXPub(key) => Some(key.xkey.network),
    }
}

/// The name by which a network is configured.
pub(crate) fn name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "main",
        Network::Testnet => "testnet3",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        _ => "regtest",
    }
}

fn example(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "one that starts with bc1, 1 or 3",
        Network::Regtest => "one that starts with bcrt1, m, n or 2",
        _ => "one that starts with tb1, m, n or 2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const XPUB: &str = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";

    fn script(text: &str, network: Network) -> String {
        Payout::parse(text, network).unwrap().script.to_hex_string()
    }

    #[test]
    fn the_same_script_in_every_form() {
        for text in [
            MAIN.to_owned(),
            format!("addr({MAIN})"),
            format!("wpkh({KEY})"),
            format!("raw({SCRIPT})"),
        ] {
            assert_eq!(script(&text, Network::Bitcoin), SCRIPT, "{text}");
            let checksum = desc_checksum(&text).unwrap();
            if text.contains('(') {
                assert_eq!(script(&format!("{text}#{checksum}"), Network::Bitcoin), SCRIPT);
                assert!(Payout::parse(&format!("{text}#qqqqqqqq"), Network::Bitcoin).is_err());
            }
        }
        assert_eq!(script(&format!("wpkh({XPUB}/0/7)"), Network::Bitcoin).len(), 44);
    }

    #[test]
    fn the_network_is_checked() {
        for wrong in [
            MAIN.to_owned(),
            format!("addr({MAIN})"),
            format!("wpkh({XPUB}/0/7)"),
        ] {
            let help = Payout::parse(&wrong, Network::Regtest).unwrap_err();
            assert!(help.contains("network regtest"), "{help}");
        }
        assert_eq!(Payout::network(MAIN), Some(Network::Bitcoin));
        assert_eq!(
            Payout::network(&Payout::throw_away(1).text),
            Some(Network::Regtest)
        );
        assert_eq!(
            Payout::network("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
            None
        );
    }

    #[test]
    fn what_cannot_be_paid_is_refused() {
        for wrong in [
            "",
            "bc1qxyz",
            "wpkh(",
            "raw(zz)",
            "raw()",
            "raw(6a00)",
            "tr(nothing)",
        ] {
            assert!(Payout::parse(wrong, Network::Bitcoin).is_err(), "{wrong}");
        }
        let ranged = Payout::parse(&format!("wpkh({XPUB}/0/*)"), Network::Bitcoin).unwrap_err();
        assert!(ranged.contains("index"), "{ranged}");
        let secret = Payout::parse("wpkh(xprv9s21ZrQH143K)", Network::Bitcoin).unwrap_err();
        assert!(secret.contains("secret"), "{secret}");
    }

    #[test]
    fn throw_away_addresses_follow_their_seed() {
        assert_eq!(Payout::throw_away(1), Payout::throw_away(1));
        assert_ne!(Payout::throw_away(1), Payout::throw_away(2));
    }
}
