//! `security.*` and `upstream.*`: what protects connections, as other rooms want to know it.

use adit_net::{Dialling, Keyless, Plaintext, Rules};
use adit_noise::draft2022::{Aeads, SignatureForm, Terms};
use adit_noise::{Aead, Suite};

use super::field::{Field, Range};
use super::settings::Settings;
use super::source::Raw;
use super::table::SecurityKeys;
use super::values::Receivers;

impl SecurityKeys {
    /// What a port speaks of Stratum V2.
    pub fn rules(&self) -> Rules {
        let terms = Terms {
            aeads: self.draft2022_aeads,
            signature: self.draft2022_signature,
        };
        Rules {
            draft2022: self.draft2022.then_some(terms),
            draft2022_fallback: self.draft2022_fallback,
            plaintext: self.plaintext,
            ..Rules::default()
        }
    }
}

impl Settings {
    /// How servers are dialled.
    pub fn dialling(&self) -> Dialling {
        Dialling {
            leeway_s: self.keys.clock_leeway_s,
            keyless: self.upstream.keyless,
            negotiate: self.upstream.draft2022_negotiation,
            ..Dialling::default()
        }
    }
}

/// For values that are one of a few words. A number among them may be given without quotes.
macro_rules! words {
    ($ty:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Field for $ty {
            fn expected(_: Range) -> String {
                $expected.into()
            }

            fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
                let number;
                let word = match raw {
                    Raw::Bare(text) | Raw::Text(text) => text.as_str(),
                    Raw::Integer(value) => {
                        number = value.to_string();
                        &number
                    }
                    _ => return Err(Self::expected(range)),
                };
                match word {
                    $($word => Ok($value),)+
                    _ => Err(Self::expected(range)),
                }
            }
        }
    };
}

words!(Plaintext, "off, loopback or private", {
    "off" => Self::Off,
    "loopback" => Self::Loopback,
    "private" => Self::Private,
});

words!(Receivers, "off, loopback, private or anybody", {
    "off" => Self::Off,
    "loopback" => Self::Loopback,
    "private" => Self::Private,
    "anybody" => Self::Anybody,
});

words!(Keyless, "refuse, plain, unverified or unverified-draft2022", {
    "refuse" => Self::Refuse,
    "plain" => Self::Plain,
    "unverified" => Self::AnyKey(Suite::Current),
    "unverified-draft2022" => Self::AnyKey(Suite::Draft2022(Aead::ChaChaPoly)),
});

words!(SignatureForm, "74 or 76", {
    "74" => Self::Raw,
    "76" => Self::Prefixed,
});

words!(Aeads, "chachapoly+aesgcm, aesgcm+chachapoly, chachapoly or aesgcm", {
    "chachapoly+aesgcm" => Self::preferring(Aead::ChaChaPoly),
    "aesgcm+chachapoly" => Self::preferring(Aead::AesGcm),
    "chachapoly" => Self::only(Aead::ChaChaPoly),
    "aesgcm" => Self::only(Aead::AesGcm),
});

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-SEC-001: nothing goes in the clear unless somebody says so.
    #[test]
    fn the_defaults_are_safe() {
        let settings = Settings::with(&[]).unwrap();
        let rules = settings.security.rules();
        assert_eq!(rules.plaintext, Plaintext::Off);
        assert!(rules.draft2022.is_some() && !rules.draft2022_fallback);
        let dialling = settings.dialling();
        assert_eq!(dialling.keyless, Keyless::Refuse);
        assert!(dialling.negotiate);
    }

    #[test]
    fn words_are_read_and_others_refused() {
        let settings = Settings::with(&[
            ("security.draft2022_signature", "76"),
            ("security.draft2022_aeads", "aesgcm+chachapoly"),
            ("security.plaintext", "private"),
            ("upstream.keyless", "unverified-draft2022"),
        ])
        .unwrap();
        let terms = settings.security.rules().draft2022.unwrap();
        assert_eq!(terms.signature, SignatureForm::Prefixed);
        assert_eq!(terms.aeads, Aeads::preferring(Aead::AesGcm));
        assert_eq!(settings.security.rules().plaintext, Plaintext::Private);
        let keyless = Keyless::AnyKey(Suite::Draft2022(Aead::ChaChaPoly));
        assert_eq!(settings.dialling().keyless, keyless);
        let off = Settings::with(&[("security.draft2022", "false")]).unwrap();
        assert!(off.security.rules().draft2022.is_none());
        let error = Settings::with(&[("security.plaintext", "on")]).unwrap_err();
        assert!(error.to_string().contains("off, loopback or private"), "{error}");
    }
}
