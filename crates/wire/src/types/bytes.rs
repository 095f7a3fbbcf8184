//! STR0_255, B0_32, B0_255, B0_64K and B0_16M: bytes after their length (spec 3.1).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use super::{TooLong, write_hex};
use crate::codec::{Field, Reader, Reason};

/// Reads a length prefix of `N` bytes.
#[inline]
fn length<const N: usize>(reader: &mut Reader<'_>) -> Result<u32, Reason> {
    let mut wide = [0; 4];
    for (to, from) in wide.iter_mut().zip(reader.array::<N>()?) {
        *to = from;
    }
    Ok(u32::from_le_bytes(wide))
}

/// Writes a length prefix of `N` bytes and the bytes, which the type has already bounded.
#[inline]
fn write<const N: usize>(bytes: &[u8], out: &mut Vec<u8>) {
    let wide = (bytes.len() as u32).to_le_bytes();
    out.reserve(N + bytes.len());
    out.extend(wide.iter().take(N));
    out.extend_from_slice(bytes);
}

macro_rules! owned_bytes {
    ($($(#[$doc:meta])* $T:ident: prefix $prefix:literal, max $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $T(Box<[u8]>);

        impl $T {
            /// Most bytes it holds.
            pub const MAX: usize = $max;

            /// Copies the bytes. Error: more than [`Self::MAX`].
            pub fn new(bytes: &[u8]) -> Result<Self, TooLong> {
                TooLong::check(bytes.len(), Self::MAX)?;
                Ok(Self(bytes.into()))
            }

            /// The bytes, without their length.
            #[inline]
            pub const fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $T {
            type Error = TooLong;

            fn try_from(bytes: &[u8]) -> Result<Self, TooLong> {
                Self::new(bytes)
            }
        }

        impl TryFrom<Vec<u8>> for $T {
            type Error = TooLong;

            fn try_from(bytes: Vec<u8>) -> Result<Self, TooLong> {
                TooLong::check(bytes.len(), Self::MAX)?;
                Ok(Self(bytes.into()))
            }
        }

        impl From<$T> for Vec<u8> {
            fn from(bytes: $T) -> Self {
                bytes.0.into()
            }
        }

        impl Deref for $T {
            type Target = [u8];

            #[inline]
            fn deref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Field for $T {
            const MIN_LEN: u32 = $prefix;
            const MAX_LEN: u32 = $prefix + $max;

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
                let len = length::<$prefix>(reader)?;
                Ok(Self(reader.take(len as usize)?.into()))
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                write::<$prefix>(&self.0, out);
            }
        }
    )*};
}

owned_bytes! {
    /// STR0_255: up to 255 bytes of text, no terminator (REQ-FRM-004). Peers may send any bytes, so [`as_str`](Self::as_str)
    /// can say no, and `Display` escapes all but printable ASCII: safe for logs.
    Str0_255: prefix 1, max 255;
    /// B0_255: up to 255 bytes (REQ-FRM-004).
    B0_255: prefix 1, max 255;
    /// B0_64K: up to 65,535 bytes (REQ-FRM-006).
    B0_64K: prefix 2, max 65_535;
    /// B0_16M: up to 16,777,215 bytes, with a length of three bytes (REQ-FRM-007, C-15).
    B0_16M: prefix 3, max 16_777_215;
}

macro_rules! hex_debug {
    ($($T:ident)*) => {$(
        impl fmt::Debug for $T {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($T))?;
                write_hex(f, self.iter())?;
                write!(f, ")")
            }
        }
    )*};
}

hex_debug! { B0_32 B0_255 B0_64K B0_16M }

impl Str0_255 {
    /// The text, or `None` if it is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(&self.0).ok()
    }
}

impl TryFrom<&str> for Str0_255 {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Str0_255 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Str0_255 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// B0_32: up to 32 bytes, kept inline (REQ-FRM-005). Extranonces and their prefixes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
// Moved word by word: unaligned, its copies in a message that is returned straddle what was just written, and stall the CPU.
#[repr(align(8))]
pub struct B0_32 {
    /// Bytes past `len` are zero, so that derived equality compares the contents.
    bytes: [u8; Self::MAX],
    len: u8,
}

impl B0_32 {
    /// Most bytes it holds.
    pub const MAX: usize = 32;

    /// Copies the bytes. Error: more than [`Self::MAX`].
    #[inline(always)]
    pub fn new(bytes: &[u8]) -> Result<Self, TooLong> {
        TooLong::check(bytes.len(), Self::MAX)?;
        // Word by word through registers: a short copy into zeroed memory that is moved right after stalls the CPU.
        // An extranonce has eight bytes or fewer, nearly always.
        let mut inline = [0; Self::MAX];
        if let ([first, more @ ..], _) = inline.as_chunks_mut::<8>() {
            *first = word(bytes).to_le_bytes();
            if bytes.len() > 8 {
                for (n, to) in more.iter_mut().enumerate() {
                    *to = word(bytes.get(8 * (n + 1)..).unwrap_or_default()).to_le_bytes();
                }
            }
        }
        Ok(Self {
            bytes: inline,
            len: bytes.len() as u8,
        })
    }

    /// The bytes, without their length.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// The first eight bytes, or as many as there are, as a little-endian number.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let shift = 8 * (bytes.len() - 4);
        return u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << shift;
    }
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl TryFrom<&[u8]> for B0_32 {
    type Error = TooLong;

    fn try_from(bytes: &[u8]) -> Result<Self, TooLong> {
        Self::new(bytes)
    }
}

impl Deref for B0_32 {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Field for B0_32 {
    const MIN_LEN: u32 = 1;
    const MAX_LEN: u32 = 33;

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let len = u8::decode(reader)?;
        if usize::from(len) > Self::MAX {
            return Err(Reason::TooLong {
                len: len.into(),
                max: Self::MAX as u32,
            });
        }
        Self::new(reader.take(len.into())?).map_err(|_| Reason::Truncated)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.len);
        out.extend_from_slice(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    /// A value of `len` bytes has `prefix` bytes of length before it and reads back; one more than `max` is refused.
    fn check<T>(prefix: usize, max: usize)
    where
        T: Field + TryFrom<Vec<u8>, Error = TooLong> + PartialEq + fmt::Debug,
    {
        for len in [0, 1, max] {
            let value = T::try_from(vec![7; len]).expect("within bounds");
            let mut out = Vec::new();
            value.encode(&mut out);
            assert_eq!(out.len(), prefix + len);
            assert_eq!(out[..prefix], (len as u32).to_le_bytes()[..prefix]);
            assert_eq!(T::decode(&mut Reader::new(&out)), Ok(value));
            assert_eq!(
                T::decode(&mut Reader::new(&out[..out.len() - 1])),
                Err(Reason::Truncated)
            );
        }
        assert_eq!(T::try_from(vec![7; max + 1]), Err(TooLong { len: max + 1, max }));
    }

    /// REQ-FRM-004, REQ-FRM-006, REQ-FRM-007.
    #[test]
    fn length_prefixes_are_those_of_the_spec() {
        check::<Str0_255>(1, 255);
        check::<B0_255>(1, 255);
        check::<B0_64K>(2, 65_535);
        check::<B0_16M>(3, 16_777_215);
    }

    /// REQ-FRM-005.
    #[test]
    fn b0_32_refuses_33() {
        let mut bytes = vec![33];
        bytes.extend([9; 33]);
        assert_eq!(
            B0_32::decode(&mut Reader::new(&bytes)),
            Err(Reason::TooLong { len: 33, max: 32 })
        );
        bytes[0] = 32;
        assert_eq!(
            B0_32::decode(&mut Reader::new(&bytes)).map(|b| b.to_vec()),
            Ok(vec![9; 32])
        );
        assert_eq!(B0_32::new(&[0; 33]), Err(TooLong { len: 33, max: 32 }));
    }

    #[test]
    fn text_is_printed_without_control_characters() {
        let text = Str0_255::new(b"bob\n\x1b[2J\xff").expect("short");
        assert_eq!(text.to_string(), "bob\\n\\x1b[2J\\xff");
        assert_eq!(text.as_str(), None);
        assert_eq!(
            Str0_255::try_from("pr\u{e9}").expect("short").as_str(),
            Some("pr\u{e9}")
        );
    }
}
