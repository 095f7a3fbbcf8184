//! The one table of extensions (spec 3.4): who they are, which fields they append to messages of others, and whether
//! adit implements them. A row here is all that the wire needs to know of an extension.

use core::fmt;

use crate::message::Message;
use crate::mining::SubmitSharesExtended;
use crate::tlv::Tlv;

/// Extension 0x0001: which other extensions a connection uses.
pub const NEGOTIATION: u16 = 0x0001;
/// Extension 0x0002: worker-specific hash rate tracking.
pub const WORKER_HASH_RATE: u16 = 0x0002;
/// Field of [`WORKER_HASH_RATE`] that names the worker.
pub const USER_IDENTITY: u8 = 0x01;
/// Most bytes of a `user_identity` (REQ-EXT-035).
pub const USER_IDENTITY_MAX: usize = 32;

/// Ids below are given out by the specification's authors.
const EXPERIMENTAL_FROM: u16 = 0x4000;
/// The highest id: bit 15 is the channel bit.
const ID_MAX: u16 = 0x7fff;

/// An extension that somebody has described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its id, without the channel bit.
    pub id: u16,
    /// Its name in the specification.
    pub name: &'static str,
    /// Whether adit speaks it. What it does not speak is never agreed on.
    pub implemented: bool,
    /// What it appends to messages of others.
    pub fields: &'static [TlvField],
}

/// A field that an extension appends to messages of others (spec 3.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvField {
    /// Its number inside the extension.
    pub field_type: u8,
    /// Its name in the specification.
    pub name: &'static str,
    /// Most bytes of its value.
    pub value_max: usize,
    /// Extension and number of each message that it may stand behind.
    pub messages: &'static [(u16, u8)],
}

/// Every extension known here, in the order of ids. **Adding one starts with a row in this table.**
pub const TABLE: &[Extension] = &[
    Extension {
        id: NEGOTIATION,
        name: "Extensions Negotiation",
        implemented: true,
        fields: &[],
    },
    Extension {
        id: WORKER_HASH_RATE,
        name: "Worker-Specific Hashrate Tracking",
        implemented: true,
        fields: &[TlvField {
            field_type: USER_IDENTITY,
            name: "user_identity",
            value_max: USER_IDENTITY_MAX,
            messages: &[(SubmitSharesExtended::EXTENSION, SubmitSharesExtended::TYPE)],
        }],
    },
];

/// Whom an id belongs to (REQ-EXT-001).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 0: the protocol itself, no extension.
    Core,
    /// 0x0001 to 0x3fff: given out by the specification's authors.
    Allocated,
    /// 0x4000 to 0x7fff: for trials, not for production.
    Experimental,
    /// Above 0x7fff: no id, since bit 15 says that a message belongs to a channel.
    None,
}

impl Range {
    /// The range of an id.
    #[must_use]
    pub const fn of(id: u16) -> Self {
        match id {
            0 => Self::Core,
            1..EXPERIMENTAL_FROM => Self::Allocated,
            EXPERIMENTAL_FROM..=ID_MAX => Self::Experimental,
            _ => Self::None,
        }
    }
}

/// The row of an id.
#[must_use]
pub fn find(id: u16) -> Option<&'static Extension> {
    TABLE.iter().find(|extension| extension.id == id)
}

impl Extension {
    /// The field with this number.
    #[must_use]
    pub fn field(&self, field_type: u8) -> Option<&'static TlvField> {
        self.fields.iter().find(|field| field.field_type == field_type)
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x} ({})", self.id, self.name)
    }
}

/// The row of the field that a TLV is, if the table has it.
#[must_use]
pub fn field_of(tlv: &Tlv<'_>) -> Option<&'static TlvField> {
    find(tlv.extension)?.field(tlv.field_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_holds_allocated_ids_only() {
        assert!(TABLE.is_sorted_by(|a, b| a.id < b.id));
        for extension in TABLE {
            assert_eq!(Range::of(extension.id), Range::Allocated, "{extension}");
            for field in extension.fields {
                assert!(!field.messages.is_empty(), "{extension}: {}", field.name);
            }
        }
    }

    /// REQ-EXT-001: the ranges of ids.
    #[test]
    fn every_id_has_one_range() {
        let ranges = [0, 1, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xffff].map(Range::of);
        use Range::{Allocated, Core, Experimental, None};
        assert_eq!(
            ranges,
            [Core, Allocated, Allocated, Experimental, Experimental, None, None]
        );
    }
}
