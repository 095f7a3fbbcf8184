//! Spending conditions: the five script forms that this chain evaluates.
//!
//! `OP_TRUE` bare and as P2WSH, P2PKH, P2WPKH, P2TR by key. Any other form may be paid to but
//! not spent: a block that spends one is refused, never waved through.

use std::sync::OnceLock;

use bitcoin::hashes::{Hash, hash160, sha256};
use bitcoin::opcodes::all::OP_PUSHNUM_1;
use bitcoin::script::Instruction;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly, XOnlyPublicKey};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{Script, Transaction, TxIn, TxOut, ecdsa, taproot};

/// Where hashes of a transaction's parts are kept between its inputs.
type Cache<'t> = SighashCache<&'t Transaction>;
type Failure = &'static str;

/// Checks every input of `tx` against what it spends, in the same order.
///
/// # Errors
/// Index of the first input that fails, and why.
pub(super) fn verify(tx: &Transaction, spent: &[TxOut]) -> Result<(), (usize, Failure)> {
    let mut cache = SighashCache::new(tx);
    for (index, (input, output)) in tx.input.iter().zip(spent).enumerate() {
        let spend = Spend {
            index,
            input,
            output,
            spent,
        };
        spend.verify(&mut cache).map_err(|why| (index, why))?;
    }
    Ok(())
}

fn secp() -> &'static Secp256k1<VerifyOnly> {
    static CONTEXT: OnceLock<Secp256k1<VerifyOnly>> = OnceLock::new();
    CONTEXT.get_or_init(Secp256k1::verification_only)
}

/// One input beside the output it spends.
struct Spend<'a> {
    index: usize,
    input: &'a TxIn,
    output: &'a TxOut,
    spent: &'a [TxOut],
}

impl Spend<'_> {
    fn verify(&self, cache: &mut Cache<'_>) -> Result<(), Failure> {
        let script = self.output.script_pubkey.as_script();
        if script.witness_version().is_some() {
            self.without_script_sig()?;
            if script.is_p2wpkh() {
                return self.witness_key_hash(cache);
            }
            if script.is_p2wsh() {
                return self.witness_script_hash();
            }
            if script.is_p2tr() {
                return self.taproot_key(cache);
            }
            return Err("witness program of an unknown kind");
        }
        if !self.input.witness.is_empty() {
            return Err("witness on an input without a witness program");
        }
        if script.is_p2pkh() {
            return self.key_hash(cache);
        }
        if is_true(script) {
            return self.without_script_sig();
        }
        Err("script of a form this chain does not evaluate")
    }

    fn without_script_sig(&self) -> Result<(), Failure> {
        if self.input.script_sig.is_empty() {
            Ok(())
        } else {
            Err("scriptSig not empty")
        }
    }

    fn witness_script_hash(&self) -> Result<(), Failure> {
        let script = self
            .input
            .witness
            .last()
            .ok_or("witness program with an empty witness")?;
        let program = self.output.script_pubkey.as_bytes().get(2..);
        if program != Some(sha256::Hash::hash(script).as_byte_array().as_slice()) {
            return Err("witness script does not match its hash");
        }
        if !is_true(Script::from_bytes(script)) {
            return Err("witness script of a form this chain does not evaluate");
        }
        if self.input.witness.len() != 1 {
            return Err("witness leaves more than one stack item");
        }
        Ok(())
    }

    fn witness_key_hash(&self, cache: &mut Cache<'_>) -> Result<(), Failure> {
        let [signature, key] = self.two_items()?;
        if key.len() != 33 {
            return Err("witness key not compressed");
        }
        self.matches_key_hash(key, 2)?;
        let (signature, kind) = ecdsa_signature(signature)?;
        let hash = cache
            .p2wpkh_signature_hash(self.index, &self.output.script_pubkey, self.output.value, kind)
            .map_err(|_| "signature hash")?;
        ecdsa_verify(Message::from_digest(hash.to_byte_array()), signature, key)
    }

    fn key_hash(&self, cache: &mut Cache<'_>) -> Result<(), Failure> {
        let mut pushes = Vec::with_capacity(2);
        for instruction in self.input.script_sig.instructions() {
            match instruction {
                Ok(Instruction::PushBytes(bytes)) => pushes.push(bytes.as_bytes()),
                _ => return Err("scriptSig not only pushes"),
            }
        }
        let [signature, key] = pushes.as_slice() else {
            return Err("scriptSig not a signature and a key");
        };
        self.matches_key_hash(key, 3)?;
        let (signature, kind) = ecdsa_signature(signature)?;
        let hash = cache
            .legacy_signature_hash(self.index, &self.output.script_pubkey, kind.to_u32())
            .map_err(|_| "signature hash")?;
        ecdsa_verify(Message::from_digest(hash.to_byte_array()), signature, key)
    }

    fn taproot_key(&self, cache: &mut Cache<'_>) -> Result<(), Failure> {
        if self.input.witness.len() != 1 {
            return Err("taproot witness not one signature");
        }
        let signature = self.input.witness.last().unwrap_or_default();
        let signature = taproot::Signature::from_slice(signature).map_err(|_| "signature encoding")?;
        let program = self.output.script_pubkey.as_bytes().get(2..).unwrap_or_default();
        let key = XOnlyPublicKey::from_slice(program).map_err(|_| "taproot key not on curve")?;
        let prevouts = Prevouts::All(self.spent);
        let hash = cache
            .taproot_key_spend_signature_hash(self.index, &prevouts, signature.sighash_type)
            .map_err(|_| "signature hash")?;
        let message = Message::from_digest(hash.to_byte_array());
        secp()
            .verify_schnorr(&signature.signature, &message, &key)
            .map_err(|_| "signature does not verify")
    }

    fn two_items(&self) -> Result<[&[u8]; 2], Failure> {
        let mut items = self.input.witness.iter();
        match (items.next(), items.next(), items.next()) {
            (Some(first), Some(second), None) => Ok([first, second]),
            _ => Err("witness not a signature and a key"),
        }
    }

    /// The hash stands `offset` bytes into the output script.
    fn matches_key_hash(&self, key: &[u8], offset: usize) -> Result<(), Failure> {
        let want = self.output.script_pubkey.as_bytes().get(offset..offset + 20);
        if want == Some(hash160::Hash::hash(key).as_byte_array().as_slice()) {
            Ok(())
        } else {
            Err("key does not match its hash")
        }
    }
}

fn is_true(script: &Script) -> bool {
    script.as_bytes() == [OP_PUSHNUM_1.to_u8()]
}

fn ecdsa_signature(
    bytes: &[u8],
) -> Result<(bitcoin::secp256k1::ecdsa::Signature, bitcoin::EcdsaSighashType), Failure> {
    let parsed = ecdsa::Signature::from_slice(bytes).map_err(|_| "signature encoding")?;
    let mut signature = parsed.signature;
    // Consensus takes high S as well; the library verifies low S only.
    signature.normalize_s();
    Ok((signature, parsed.sighash_type))
}

fn ecdsa_verify(
    message: Message,
    signature: bitcoin::secp256k1::ecdsa::Signature,
    key: &[u8],
) -> Result<(), Failure> {
    let key = PublicKey::from_slice(key).map_err(|_| "key not on curve")?;
    secp()
        .verify_ecdsa(&message, &signature, &key)
        .map_err(|_| "signature does not verify")
}
