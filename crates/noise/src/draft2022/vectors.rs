//! The worked examples of docs/spec/security-draft-2022.md section 10, byte for byte.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::certificate::CertificateError;

const AUTHORITY_SEED: &str = "3a21000a1c790daf7c5ce6535d20c97adcdffd0e98ac0e94eb7dbe219f80f1f5";
const AUTHORITY: &str = "9aff8a3fd64c467dd391c7b0bdb0c8035bb5f6ae82c2a25cdf7777dc90b31977";
const STATIC: &str = "b5680fce02defb9dc20949baae48ae1f63615c9601642d2c9b2db8daaa756a45";
const STATIC_PUBLIC: &str = "dcf0571c46c468762e5872509e41bb96911a622abad5b171f316ffcadc5b8e57";
const SIGNATURE: &str = "5d8eafe1239a74a2ecd9de3fd9b386faca4fe4a1969494b66195c2250d152cc0\
                         bcaf3647396a156cbb7db74799571a48c12122971afe995d676d374f23970405";
const HEAD: &str = "00009c5006639cc09f77";

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn authority() -> Authority {
    Authority::new(AuthorityKeypair::from_secret(array(AUTHORITY_SEED)).unwrap(), 0)
}

fn identity() -> ServerIdentity {
    let certificate = authority().issue_between(&array(STATIC_PUBLIC), 1_661_358_236, 2_006_958_236);
    ServerIdentity::with_certificate(array(STATIC), certificate).unwrap()
}

/// REQ-SEC-014, REQ-SEC-016: the certificate that the reference of 2022 printed, signed again with the same bytes.
#[test]
fn certificate() {
    let public = authority().public();
    assert_eq!(public.to_bytes(), array(AUTHORITY));
    let text = "2BGDpgySfGGF5tsDdXGqwC9qyUkbyPLkgqTWB55tA3vobbsXbq";
    assert_eq!(public.to_string(), text);
    let identity = identity();
    assert_eq!(identity.public_key(), &array(STATIC_PUBLIC));
    let certificate = *identity.certificate();
    let signed = [HEAD, "2000", STATIC_PUBLIC, "2000", AUTHORITY].concat();
    assert_eq!(
        certificate.message(identity.public_key(), &public).to_vec(),
        hex(&signed)
    );
    assert_eq!(certificate.to_bytes().to_vec(), hex(&[HEAD, SIGNATURE].concat()));
    let prefixed = hex(&[HEAD, "4000", SIGNATURE].concat());
    assert_eq!(certificate.to_bytes_prefixed().to_vec(), prefixed);
}

/// C-100: whatever stands before the signature in the older form.
#[test]
fn both_forms_are_read() {
    let certificate = *identity().certificate();
    assert_eq!(Certificate::from_bytes(&certificate.to_bytes()), certificate);
    for prefix in ["4000", "4a00", "ffff"] {
        let bytes = array(&[HEAD, prefix, SIGNATURE].concat());
        assert_eq!(Certificate::from_bytes_prefixed(&bytes), certificate);
    }
}

/// REQ-SEC-015: every signed or signing bit counts, and so do both keys.
#[test]
fn any_changed_bit_is_refused() {
    let trust = Trust::Authority(authority().public());
    let (key, certificate): ([u8; 32], _) = (array(STATIC_PUBLIC), *identity().certificate());
    let check =
        |certificate: &Certificate, key: &[u8; 32]| certificate.check(key, &trust, 1_700_000_000, u32::MAX);
    assert_eq!(check(&certificate, &key), Ok(()));
    for bit in 0..Certificate::BYTES * 8 {
        let mut bytes = certificate.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            check(&Certificate::from_bytes(&bytes), &key).is_err(),
            "bit {bit}"
        );
    }
    for bit in 0..256 {
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&certificate, &other), Err(CertificateError::Signature));
    }
}
