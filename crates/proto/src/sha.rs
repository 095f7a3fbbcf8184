//! SHA-256 in blocks: what headers, coinbases and Merkle trees have in common.
//!
//! The compression function is the library's; here stand the paddings, laid out once so that hashing
//! a share copies and pads nothing it need not.

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;
use sha2::digest::typenum::U64;

/// One input block of the compression function.
pub(crate) type Block = GenericArray<u8, U64>;

/// Chaining value between blocks.
pub(crate) type State = [u32; 8];

/// The chaining value before the first block (FIPS 180-4, 5.3.3).
pub(crate) const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Bytes of one block.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Runs `state` over whole blocks.
#[inline]
pub(crate) fn compress(state: &mut State, blocks: &[Block]) {
    compress256(state, blocks);
}

/// Wraps 64 bytes as a block.
#[inline]
pub(crate) fn block(bytes: [u8; BLOCK_BYTES]) -> Block {
    bytes.into()
}

/// Splits `message` into padded blocks (FIPS 180-4, 5.1.1).
pub(crate) fn padded(message: &[u8]) -> Vec<Block> {
    let mut bytes = message.to_vec();
    bytes.push(0x80);
    let full = (bytes.len() + 8).next_multiple_of(BLOCK_BYTES);
    bytes.resize(full - 8, 0);
    bytes.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    bytes
        .as_chunks::<BLOCK_BYTES>()
        .0
        .iter()
        .map(|chunk| block(*chunk))
        .collect()
}

/// Writes a chaining value as the digest it is at the end of a message.
#[inline]
pub(crate) fn write_digest(state: &State, out: &mut [u8; 32]) {
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
}

/// Hashes a finished chaining value again: the second half of Bitcoin's double SHA-256.
#[inline]
pub(crate) fn second(first: &State) -> [u8; 32] {
    let mut bytes = [0u8; BLOCK_BYTES];
    if let Some((head, _)) = bytes.split_first_chunk_mut::<32>() {
        write_digest(first, head);
    }
    bytes[32] = 0x80;
    bytes[62] = 0x01; // 256 bits, big endian
    let mut state = START;
    compress(&mut state, &[block(bytes)]);
    let mut digest = [0u8; 32];
    write_digest(&state, &mut digest);
    digest
}

/// Double SHA-256 of an 80-byte block header whose first 64 bytes gave `state`; `end` are the last
/// four words as numbers: end of the Merkle root, time, bits, nonce. Two compressions.
#[inline]
pub(crate) fn header_end(mut state: State, end: [u32; 4]) -> [u8; 32] {
    let mut bytes = [0u8; BLOCK_BYTES];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(end) {
        *place = word.to_le_bytes();
    }
    bytes[16] = 0x80;
    bytes[62] = 0x02; // 640 bits, big endian
    bytes[63] = 0x80;
    compress(&mut state, &[block(bytes)]);
    second(&state)
}

/// Double SHA-256 of any message; for what is hashed rarely.
pub(crate) fn double(message: &[u8]) -> [u8; 32] {
    let mut state = START;
    compress(&mut state, &padded(message));
    second(&state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::{Hash, sha256d};

    #[test]
    fn agrees_with_the_bitcoin_crate_at_every_length() {
        let message: Vec<u8> = (0..=255u8).collect();
        for length in 0..=message.len() {
            let expected = sha256d::Hash::hash(&message[..length]).to_byte_array();
            assert_eq!(double(&message[..length]), expected, "{length} bytes");
        }
    }
}
