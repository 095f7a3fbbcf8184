//! The users' one key: the forms of output it owns, and how each is spent.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    CompressedPublicKey, EcdsaSighashType, OutPoint, PubkeyHash, ScriptBuf, TapSighashType, Transaction,
    TxOut, WPubkeyHash, Witness, ecdsa, script, taproot,
};

use super::bootstrap::open_script;
use super::coins::Coin;

/// The forms of output that the users own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Anyone may spend it: P2WSH of `OP_TRUE`.
    Open,
    /// P2WPKH.
    WitnessKeyHash,
    /// P2TR, spent by key.
    Taproot,
    /// P2PKH, the only one without a witness.
    KeyHash,
}

/// Key and scripts of the users.
#[derive(Debug)]
pub(super) struct Wallet {
    secp: Secp256k1<All>,
    key: SecretKey,
    public: CompressedPublicKey,
    tweaked: Keypair,
    scripts: [(Form, ScriptBuf); 4],
}

impl Wallet {
    /// The wallet of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let secp = Secp256k1::new();
        let key = secret(seed);
        let pair = Keypair::from_secret_key(&secp, &key);
        let public = CompressedPublicKey(pair.public_key());
        let bytes = public.to_bytes();
        let taproot = ScriptBuf::new_p2tr(&secp, pair.x_only_public_key().0, None);
        let scripts = [
            (Form::Open, open_script()),
            (
                Form::WitnessKeyHash,
                ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(&bytes)),
            ),
            (Form::Taproot, taproot),
            (Form::KeyHash, ScriptBuf::new_p2pkh(&PubkeyHash::hash(&bytes))),
        ];
        let tweaked = pair.tap_tweak(&secp, None).to_keypair();
        Self {
            secp,
            key,
            public,
            tweaked,
            scripts,
        }
    }

    /// Signs every input, given what it spends.
    pub(super) fn sign(&self, mut tx: Transaction, spent: &[(OutPoint, Coin)]) -> Transaction {
        let outputs: Vec<TxOut> = spent.iter().map(|(_, coin)| coin.output.clone()).collect();
        let unsigned = tx.clone();
        let mut cache = SighashCache::new(&unsigned);
        for (index, input) in tx.input.iter_mut().enumerate() {
            let Some(output) = outputs.get(index) else {
                continue;
            };
            match self.form_of(output) {
                Some(Form::Open) => input.witness = Witness::from_slice(&[[0x51u8]]),
                Some(Form::WitnessKeyHash) => {
                    let kind = EcdsaSighashType::All;
                    let script = &output.script_pubkey;
                    let hash = cache.p2wpkh_signature_hash(index, script, output.value, kind);
                    if let Ok(hash) = hash {
                        let signature = self.ecdsa(hash.to_byte_array());
                        input.witness = Witness::p2wpkh(&signature, &self.public.0);
                    }
                }
                Some(Form::Taproot) => {
                    let kind = TapSighashType::Default;
                    let all = Prevouts::All(&outputs);
                    if let Ok(hash) = cache.taproot_key_spend_signature_hash(index, &all, kind) {
                        input.witness = Witness::p2tr_key_spend(&self.schnorr(hash.to_byte_array()));
                    }
                }
                Some(Form::KeyHash) => {
                    let kind = EcdsaSighashType::All.to_u32();
                    let hash = cache.legacy_signature_hash(index, &output.script_pubkey, kind);
                    if let Ok(hash) = hash {
                        let signature = self.ecdsa(hash.to_byte_array()).serialize();
                        let builder = script::Builder::new().push_slice(signature);
                        input.script_sig = builder.push_slice(self.public.to_bytes()).into_script();
                    }
                }
                None => {}
            }
        }
        tx
    }

    fn ecdsa(&self, hash: [u8; 32]) -> ecdsa::Signature {
        let message = Message::from_digest(hash);
        ecdsa::Signature::sighash_all(self.secp.sign_ecdsa(&message, &self.key))
    }

    fn schnorr(&self, hash: [u8; 32]) -> taproot::Signature {
        let message = Message::from_digest(hash);
        let signature = self.secp.sign_schnorr_no_aux_rand(&message, &self.tweaked);
        taproot::Signature {
            signature,
            sighash_type: TapSighashType::Default,
        }
    }

    /// The form of a coin of the users; `None` for others' coins.
    pub(super) fn form(&self, coin: &Coin) -> Option<Form> {
        self.form_of(&coin.output)
    }

    /// The form of an output.
    pub(super) fn form_of(&self, output: &TxOut) -> Option<Form> {
        let mut all = self.scripts.iter();
        all.find(|(_, script)| *script == output.script_pubkey)
            .map(|(form, _)| *form)
    }

    /// The output script of a form.
    pub(super) fn script(&self, form: Form) -> ScriptBuf {
        let mut all = self.scripts.iter();
        all.find(|(other, _)| *other == form)
            .map(|(_, script)| script.clone())
            .unwrap_or_default()
    }
}

fn secret(seed: u64) -> SecretKey {
    // A hash is a valid key but for a chance of 2^-128; hashing on finds the next.
    let mut hash = sha256::Hash::hash(&seed.to_le_bytes());
    loop {
        match SecretKey::from_slice(hash.as_byte_array()) {
            Ok(key) => return key,
            Err(_) => hash = sha256::Hash::hash(hash.as_byte_array()),
        }
    }
}

/// Weight of an input when signed.
pub(super) fn input_weight(form: Option<Form>) -> u64 {
    match form {
        Some(Form::WitnessKeyHash) => 272,
        Some(Form::Taproot) => 230,
        Some(Form::KeyHash) => 593,
        Some(Form::Open) | None => 167,
    }
}

/// Weight of an output.
pub(super) fn output_weight(form: Form) -> u64 {
    match form {
        Form::Open | Form::Taproot => 172,
        Form::WitnessKeyHash => 124,
        Form::KeyHash => 136,
    }
}
