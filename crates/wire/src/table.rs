//! The macros behind the message tables: a row yields struct, codec, bounds, numbers and enum variants.

/// A protocol's table. A row is `Name = number, "Name.InSpec", channel|connection { field: Type, ... }`;
/// its block says who sends it, so a message in the wrong direction fails at decode.
macro_rules! messages {
    (
        extension $ext:literal;
        to_server { $($(#[$sd:meta])* $S:ident = $st:literal, $sn:literal, $sb:ident $sf:tt)* }
        to_client { $($(#[$cd:meta])* $C:ident = $ct:literal, $cn:literal, $cb:ident $cf:tt)* }
        both { $($(#[$bd:meta])* $B:ident = $bt:literal, $bn:literal, $bb:ident $bf:tt)* }
    ) => {
        $(message! { $(#[$sd])* $ext $S = $st, $sn, $sb $sf })*
        $(message! { $(#[$cd])* $ext $C = $ct, $cn, $cb $cf })*
        $(message! { $(#[$bd])* $ext $B = $bt, $bn, $bb $bf })*
        direction! {
            /// Everything a client sends in this protocol; what a server decodes.
            ToServer $ext [$($S)* $($B)*]
        }
        direction! {
            /// Everything a server sends in this protocol; what a client decodes.
            ToClient $ext [$($C)* $($B)*]
        }

        /// The table as data: every message of this protocol, in the order of its blocks.
        pub const ROWS: &[$crate::message::Row] = &[
            $($crate::message::Row::of::<$S>($crate::message::Direction::ToServer),)*
            $($crate::message::Row::of::<$C>($crate::message::Direction::ToClient),)*
            $($crate::message::Row::of::<$B>($crate::message::Direction::Both),)*
        ];
    };
}

/// One row: the struct and its codec.
macro_rules! message {
    (
        $(#[$doc:meta])* $ext:literal $M:ident = $number:literal, $name:literal, $bit:ident
        { $($(#[$fd:meta])* $f:ident: $T:ty),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $M { $($(#[$fd])* pub $f: $T,)+ }

        impl $crate::message::Message for $M {
            const NAME: &'static str = $name;
            const EXTENSION: u16 = $ext;
            const TYPE: u8 = $number;
            const CHANNEL_MSG: bool = channel_bit!($bit);
            const MIN_LEN: u32 = 0 $(+ <$T as $crate::codec::Field>::MIN_LEN)+;
            const MAX_LEN: u32 = 0 $(+ <$T as $crate::codec::Field>::MAX_LEN)+;
            const FIELDS: &'static [(&'static str, &'static str)] = &[$((stringify!($f), stringify!($T))),+];

            #[inline(always)]
            fn decode_with_rest(payload: &[u8]) -> Result<(Self, &[u8]), $crate::codec::DecodeError> {
                let mut reader = $crate::codec::Reader::new(payload);
                $(let $f = <$T as $crate::codec::Field>::decode(&mut reader).map_err(|reason| {
                    $crate::codec::DecodeError::Malformed { message: $name, field: stringify!($f), reason }
                })?;)+
                Ok((Self { $($f),+ }, reader.rest()))
            }

            #[inline]
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::codec::Field::encode(&self.$f, out);)+
            }
        }
    };
}

/// The column `ch` of the spec's table.
macro_rules! channel_bit {
    (channel) => {
        true
    };
    (connection) => {
        false
    };
}

/// The enum of one direction.
macro_rules! direction {
    ($(#[$doc:meta])* $D:ident $ext:literal [$($M:ident)*]) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $D { $(
            #[doc = concat!("[`", stringify!($M), "`].")]
            $M($M),
        )* }

        impl $D {
            /// Reads a payload, ignoring bytes after the last known field. The channel bit of the header
            /// decides nothing (REQ-FRM-026). Errors: `Unknown` if this protocol has no such message in
            /// this direction, `Malformed` with the first bad field.
            #[inline]
            pub fn decode(header: &$crate::frame::Header, payload: &[u8]) -> Result<Self, $crate::codec::DecodeError> {
                Self::decode_with_rest(header, payload).map(|(message, _)| message)
            }

            /// Like [`decode`](Self::decode), and returns what follows the last known field: TLVs.
            #[inline]
            pub fn decode_with_rest<'a>(
                header: &$crate::frame::Header,
                payload: &'a [u8],
            ) -> Result<(Self, &'a [u8]), $crate::codec::DecodeError> {
                match (header.extension(), header.msg_type) {
                    $(($ext, <$M as $crate::message::Message>::TYPE) => {
                        <$M as $crate::message::Message>::decode_with_rest(payload).map(|(m, rest)| (Self::$M(m), rest))
                    })*
                    (extension, msg_type) => Err($crate::codec::DecodeError::Unknown { extension, msg_type }),
                }
            }

            /// The longest payload, in bytes, that a receiver should accept for this header: the longest the
            /// fields allow and room for TLVs. `None`: no such message in this direction. Ask before allocating.
            pub fn length_max(header: &$crate::frame::Header) -> Option<u32> {
                match (header.extension(), header.msg_type) {
                    $(($ext, <$M as $crate::message::Message>::TYPE) => {
                        Some(<$M as $crate::message::Message>::MAX_LEN + $crate::message::TLV_ROOM)
                    })*
                    _ => None,
                }
            }

            /// Appends header and payload.
            #[inline]
            pub fn encode_frame(&self, out: &mut alloc::vec::Vec<u8>) {
                match self { $(Self::$M(m) => $crate::message::Message::encode_frame(m, out),)* }
            }

            /// Name in the spec, such as `SubmitShares.Success`.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$M(_) => <$M as $crate::message::Message>::NAME,)* }
            }

            /// Number of the message inside its extension.
            pub const fn msg_type(&self) -> u8 {
                match self { $(Self::$M(_) => <$M as $crate::message::Message>::TYPE,)* }
            }
        }

        $(impl From<$M> for $D {
            #[inline]
            fn from(message: $M) -> Self {
                Self::$M(message)
            }
        })*
    };
}
