use super::*;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Amount, ScriptBuf, Transaction};
use proptest::prelude::*;

fn coinbase() -> Coinbase {
    let output = |value, script: Vec<u8>| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    };
    Coinbase {
        version: 2,
        script_prefix: vec![3, 0x40, 0x0d, 0x03, 8],
        extranonce_size: 8,
        sequence: 0xffff_fffe,
        outputs: vec![output(5_000_000_000, vec![0x51; 22]), output(0, vec![0x6a; 38])],
        witness: Some([0; 32]),
        locktime: 199_999,
    }
}

fn halves(coinbase: &Coinbase) -> (Vec<u8>, Vec<u8>) {
    let whole = coinbase.transaction(&[0xee; 8]);
    let at = whole.windows(8).position(|it| it == [0xee; 8]).unwrap();
    (whole[..at].to_vec(), whole[at + 8..].to_vec())
}

/// REQ-JD-032: the halves keep their BIP141 fields; with and without a witness they read back.
#[test]
fn halves_read_back_with_their_witness() {
    for witness in [Some([0; 32]), None] {
        let coinbase = Coinbase {
            witness,
            ..coinbase()
        };
        let (prefix, suffix) = halves(&coinbase);
        assert_eq!(Coinbase::read(&prefix, &suffix), Ok(coinbase.clone()));
        let whole: Transaction = bitcoin::consensus::deserialize(&coinbase.transaction(&[1; 8])).unwrap();
        assert!(whole.is_coinbase());
        let stripped = [coinbase.prefix(), vec![1; 8], coinbase.suffix()].concat();
        assert_eq!(
            sha256d::Hash::hash(&stripped).to_byte_array(),
            whole.compute_txid().to_byte_array()
        );
        assert_eq!(coinbase.height(), Some(200_000));
        assert_eq!(coinbase.value(), Some(5_000_000_000));
    }
}

#[test]
fn stripped_cut_or_overfull_halves_are_refused() {
    let (prefix, suffix) = halves(&coinbase());
    let stripped = [&prefix[..4], &prefix[6..]].concat();
    assert!(matches!(
        Coinbase::read(&stripped, &suffix),
        Err(CoinbaseProblem::Suffix(_))
    ));
    assert!(matches!(
        Coinbase::read(&prefix[..30], &suffix),
        Err(CoinbaseProblem::Prefix(_))
    ));
    let full = [prefix.clone(), vec![0; 8]].concat();
    assert!(matches!(
        Coinbase::read(&full, &suffix),
        Err(CoinbaseProblem::Input(_))
    ));
    let longer = [suffix.clone(), vec![0]].concat();
    assert!(matches!(
        Coinbase::read(&prefix, &longer),
        Err(CoinbaseProblem::Suffix(_))
    ));
    let mut spends = prefix.clone();
    spends[10] = 1;
    assert!(matches!(
        Coinbase::read(&spends, &suffix),
        Err(CoinbaseProblem::Prefix(_))
    ));
}

/// One of our own, with the push of an extranonce of so many bytes.
fn pushed(size: usize) -> Coinbase {
    Coinbase {
        script_prefix: Coinbase::pushing(&[3, 0x40, 0x0d, 0x03], size),
        extranonce_size: size,
        ..coinbase()
    }
}

/// REQ-JD-032, REQ-MIN-090: the declared halves hold marker, flag and witness, and are the same transaction.
#[test]
fn declared_and_stripped_halves_are_one_transaction() {
    let parts = pushed(20);
    assert_eq!(parts.check(), Ok(()));
    assert_eq!(parts.script_prefix, [3, 0x40, 0x0d, 0x03, 20]);
    let extranonce = [7; 20];
    let declared = [
        &parts.declared_prefix()[..],
        &extranonce,
        &parts.declared_suffix(),
    ]
    .concat();
    let stripped = [&parts.prefix()[..], &extranonce, &parts.suffix()].concat();
    assert_eq!(declared[4..6], MARKER_AND_FLAG);
    let whole: Transaction = bitcoin::consensus::deserialize(&declared).unwrap();
    assert!(whole.is_coinbase());
    assert_eq!(whole.input[0].witness.iter().next(), Some(&[0u8; 32][..]));
    assert_eq!(whole.input[0].script_sig.count_sigops_legacy(), 0);
    assert_eq!(
        whole.compute_txid().to_byte_array(),
        crate::sha::double(&stripped)
    );
    assert_eq!(
        Coinbase::read_outputs(&parts.serialized_outputs()),
        Some(whole.output)
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let mut long = pushed(20);
    long.script_prefix = vec![0; 9];
    assert_eq!(long.check(), Err(Unfit::Prefix));
    assert_eq!(pushed(33).check(), Err(Unfit::ScriptSig));
    // No room for an opcode: left out.
    assert_eq!(Coinbase::pushing(&[1; 8], 20).len(), 8);
    assert_eq!(Coinbase::read_outputs(&[2, 0]), None);
    let mut trailing = pushed(20).serialized_outputs();
    trailing.push(0);
    assert_eq!(Coinbase::read_outputs(&trailing), None);
}

proptest! {
    #[test]
    fn no_halves_panic(prefix: Vec<u8>, suffix: Vec<u8>, place in 0usize..120, byte: u8) {
        let _ = Coinbase::read(&prefix, &suffix);
        let (mut good, mut end) = halves(&coinbase());
        if let Some(at) = good.get_mut(place) { *at = byte; }
        if let Some(at) = end.get_mut(place) { *at = byte; }
        if let Ok(read) = Coinbase::read(&good, &end) {
            let _ = (read.height(), read.value(), read.sigops());
        }
    }
}
