//! A coinbase as others made it: in stripped halves around the extranonce.
//!
//! What comes from an upstream (NewExtendedMiningJob, `mining.notify`) and what a job negotiator makes for itself
//! (SetCustomMiningJob) has no parts that we know, only bytes. The bytes before the extranonce hold all that is
//! constant for everybody here, an upstream's extranonce prefix included.

use super::{CoinbaseError, HALF_MAX, SCRIPT_SIG_MAX};
use crate::extranonce::Extranonce;

/// Where the scriptSig's length stands in a stripped coinbase: behind version, input count and outpoint.
const SCRIPT_LENGTH_AT: usize = 4 + 1 + 36;

/// Bytes of the lock time.
const LOCKTIME_BYTES: usize = 4;

/// A coinbase transaction around an extranonce of [`Halves::size`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halves {
    /// The stripped transaction up to the extranonce (spec 5.3.16), with what is constant in front of it.
    pub prefix: Vec<u8>,
    /// The stripped transaction after the extranonce.
    pub suffix: Vec<u8>,
    /// Bytes between them: the full extranonce of this side.
    pub size: usize,
    /// Satoshis of all outputs, where somebody knows.
    pub value: u64,
    /// The input's witness item (BIP141 reserved value), where the block has a commitment and it is known.
    pub witness: Option<[u8; 32]>,
}

impl Halves {
    /// Checks the shape: one input that spends nothing, a scriptSig of a legal length that ends in the second half,
    /// outputs that can be read, and nothing behind the lock time.
    ///
    /// # Errors
    /// [`CoinbaseError::NotACoinbase`] with what is wrong, or [`CoinbaseError::TooLarge`].
    pub fn check(&self) -> Result<(), CoinbaseError> {
        for half in [&self.prefix, &self.suffix] {
            if half.len() > HALF_MAX {
                return Err(CoinbaseError::TooLarge { bytes: half.len() });
            }
        }
        if self.prefix.len() <= SCRIPT_LENGTH_AT {
            return Err(CoinbaseError::NotACoinbase(
                "the first half ends before the scriptSig",
            ));
        }
        let whole = [&self.prefix[..], &vec![0; self.size], &self.suffix].concat();
        let Ok(transaction) = bitcoin::consensus::deserialize::<bitcoin::Transaction>(&whole) else {
            return Err(CoinbaseError::NotACoinbase("it is no transaction"));
        };
        let [input] = &transaction.input[..] else {
            return Err(CoinbaseError::NotACoinbase("it must have one input"));
        };
        if !input.previous_output.is_null() {
            return Err(CoinbaseError::NotACoinbase("its input spends something"));
        }
        let script = input.script_sig.len();
        if !(2..=SCRIPT_SIG_MAX).contains(&script) {
            return Err(CoinbaseError::NotACoinbase(
                "its scriptSig has not 2 to 100 bytes",
            ));
        }
        if self.script().len() + self.size > script {
            return Err(CoinbaseError::NotACoinbase(
                "the extranonce is not in its scriptSig",
            ));
        }
        Ok(())
    }

    /// The scriptSig up to the extranonce; it starts with the height (BIP34).
    pub fn script(&self) -> &[u8] {
        self.prefix.get(SCRIPT_LENGTH_AT + 1..).unwrap_or_default()
    }

    /// The whole transaction, consensus encoded: with its BIP141 fields if `witness` is known.
    pub fn transaction(&self, extranonce: &Extranonce) -> Vec<u8> {
        let extranonce = extranonce.as_bytes();
        let (Some(witness), Some((version, input))) = (&self.witness, self.prefix.split_first_chunk::<4>())
        else {
            return [&self.prefix, extranonce, &self.suffix].concat();
        };
        let outputs = self.suffix.len().saturating_sub(LOCKTIME_BYTES);
        let (outputs, locktime) = self.suffix.split_at(outputs);
        let marker_and_flag: &[u8] = &[0x00, 0x01];
        let one_item_of_32: &[u8] = &[1, 32];
        [
            version,
            marker_and_flag,
            input,
            extranonce,
            outputs,
            one_item_of_32,
            witness,
            locktime,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coinbase::{Body, Coinbase};
    use crate::extranonce::FullSize;
    use bitcoin::{Amount, ScriptBuf, TxOut};

    fn coinbase() -> Coinbase {
        let output = |value, script: &[u8]| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
        };
        Coinbase {
            version: 2,
            script_prefix: vec![3, 0x40, 0x0d, 0x03],
            tag: b"/tag/".to_vec(),
            start_epoch: 7,
            sequence: 0xffff_fffe,
            value: 5_000_000_000,
            outputs: vec![output(5_000_000_000, &[0x51])],
            required_outputs: vec![output(0, &[0x6a; 38])],
            locktime: 839_999,
            witness: Some([9; 32]),
        }
    }

    fn halves() -> Halves {
        let own = coinbase();
        Halves {
            prefix: own.prefix(FullSize::DEFAULT),
            suffix: own.suffix(),
            size: FullSize::DEFAULT.bytes(),
            value: own.value,
            witness: own.witness,
        }
    }

    #[test]
    fn halves_of_a_coinbase_are_that_coinbase() {
        let (own, given) = (Body::from(coinbase()), Body::from(halves()));
        assert_eq!(given.check(), Ok(()));
        let extranonce = Extranonce::rolled([1; 7], &[2; 8], FullSize::DEFAULT).unwrap();
        assert_eq!(given.transaction(&extranonce), own.transaction(&extranonce));
        assert_eq!(given.prefix(FullSize::DEFAULT), own.prefix(FullSize::DEFAULT));
        assert_eq!(given.suffix(), own.suffix());
        assert_eq!(given.height(), Some(200_000));
        assert_eq!(own.height(), Some(200_000));
        assert_eq!((own.value(), given.value()), (5_000_000_000, 5_000_000_000));
        let stripped = Halves {
            witness: None,
            ..halves()
        };
        let bytes = stripped.transaction(&extranonce);
        assert!(bitcoin::consensus::deserialize::<bitcoin::Transaction>(&bytes).is_ok());
    }

    #[test]
    fn what_is_no_coinbase_is_refused() {
        let not = |halves: Halves| matches!(halves.check(), Err(CoinbaseError::NotACoinbase(_)));
        let good = halves();
        assert_eq!(good.check(), Ok(()));
        let prefix = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = halves();
            change(&mut changed.prefix);
            changed
        };
        assert!(not(prefix(&|bytes| bytes.truncate(SCRIPT_LENGTH_AT))));
        assert!(not(prefix(&|bytes| bytes[4] = 2)), "two inputs");
        assert!(not(prefix(&|bytes| bytes[5] = 1)), "spends something");
        assert!(
            not(prefix(&|bytes| bytes[SCRIPT_LENGTH_AT] -= 1)),
            "script too short"
        );
        assert!(
            not(prefix(&|bytes| bytes[SCRIPT_LENGTH_AT] = 101)),
            "script too long"
        );
        let mut longer = halves();
        longer.suffix.push(0);
        assert!(not(longer), "bytes behind the lock time");
        let size = Halves {
            size: good.size + 1,
            ..halves()
        };
        assert!(not(size));
        let large = Halves {
            suffix: vec![0; HALF_MAX + 1],
            ..halves()
        };
        assert_eq!(
            large.check(),
            Err(CoinbaseError::TooLarge { bytes: HALF_MAX + 1 })
        );
    }
}
