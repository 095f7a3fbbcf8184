//! The height of a block from its coinbase.

/// Largest start of the scriptSig that a template may give (spec 7.2).
pub(crate) const PREFIX_BYTES_MAX: usize = 8;

/// The block height that a coinbase scriptSig starts with (BIP34).
pub(crate) fn of_prefix(prefix: &[u8]) -> Option<u32> {
    if prefix.len() > PREFIX_BYTES_MAX {
        return None;
    }
    match *prefix.first()? {
        small @ 0x51..=0x60 => Some(u32::from(small) - 0x50),
        length @ 1..=4 => {
            let number = prefix.get(1..=usize::from(length))?;
            let mut bytes = [0; 4];
            bytes.get_mut(..number.len())?.copy_from_slice(number);
            let height = u32::from_le_bytes(bytes);
            let negative = number.last()? & 0x80 != 0;
            (!negative).then_some(height)
        }
        _ => None,
    }
}

/// The push of the height alone, of a scriptSig that starts with it.
pub(crate) fn push(script: &[u8]) -> Option<&[u8]> {
    let length = match *script.first()? {
        length @ 1..=4 => usize::from(length) + 1,
        _ => 1,
    };
    let push = script.get(..length)?;
    of_prefix(push).map(|_| push)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heights_are_read_as_bip34_writes_them() {
        assert_eq!(of_prefix(&[0x51]), Some(1));
        assert_eq!(of_prefix(&[0x60]), Some(16));
        assert_eq!(of_prefix(&[1, 17]), Some(17));
        assert_eq!(of_prefix(&[2, 0x80, 0]), Some(128));
        assert_eq!(of_prefix(&[3, 0xa0, 0xbb, 0x0d]), Some(900_000));
        for wrong in [
            &[][..],
            &[0],
            &[1],
            &[3, 1, 2],
            &[1, 0x80],
            &[0x61],
            &[5, 1, 1, 1, 1, 1],
            &[1; 9],
        ] {
            assert_eq!(of_prefix(wrong), None, "{wrong:02x?}");
        }
    }

    proptest! {
        /// REQ-TDP-017: what Bitcoin writes as a height is read as that height.
        #[test]
        fn every_height_comes_back(number in 1_u32..0x7fff_ffff) {
            let script = bitcoin::script::Builder::new().push_int(i64::from(number)).into_script();
            prop_assert_eq!(of_prefix(script.as_bytes()), Some(number));
        }

        #[test]
        fn no_prefix_panics(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = of_prefix(&bytes);
        }
    }
}
