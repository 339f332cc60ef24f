//! How does OpenAI's id of a session fit into little memory? As `cksess_` and hex digits it is kept
//! as bytes, in place: half a million small allocations between short-lived ones would cost more
//! than they hold.

use data_encoding::HEXLOWER;

/// What the ids begin with.
const PREFIX: &str = "cksess_";
/// Bytes that fit in place: 60 digits. OpenAI's ids have about 50.
const ROOM: usize = 30;

/// An id in 32 bytes when it looks as OpenAI's do. Any other text is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PackedId {
    /// The prefix, and the digits of the first `length` bytes.
    Digits { length: u8, bytes: [u8; ROOM] },
    /// Any text.
    Text(Box<str>),
}

impl PackedId {
    /// Packs an id.
    pub(super) fn pack(id: &str) -> Self {
        Self::pack_digits(id).unwrap_or_else(|| Self::Text(id.into()))
    }

    fn pack_digits(id: &str) -> Option<Self> {
        let digits = id.strip_prefix(PREFIX)?.as_bytes();
        let length = HEXLOWER.decode_len(digits.len()).ok()?;
        let mut bytes = [0; ROOM];
        HEXLOWER.decode_mut(digits, bytes.get_mut(..length)?).ok()?;
        Some(Self::Digits { length: u8::try_from(length).ok()?, bytes })
    }

    /// The id as it was.
    pub(super) fn unpack(&self) -> Box<str> {
        match self {
            Self::Digits { length, bytes } => {
                format!("{PREFIX}{}", HEXLOWER.encode(&bytes[..usize::from(*length)])).into()
            }
            Self::Text(text) => text.clone(),
        }
    }
}

impl Default for PackedId {
    /// The empty text, which allocates nothing.
    fn default() -> Self {
        Self::Text(Box::default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_comes_back_as_it_was(
            id in prop_oneof!["cksess_[0-9a-f]{0,70}", "cksess_[0-9A-Fa-f]{0,60}", "(cksess_)?\\PC{0,40}"]
        ) {
            let unpacked = PackedId::pack(&id).unpack();
            prop_assert_eq!(&*unpacked, id.as_str());
        }
    }

    #[test]
    fn an_id_like_openais_needs_no_allocation_of_its_own() {
        let id = format!("cksess_{}", "68f0a".repeat(10));
        assert!(matches!(PackedId::pack(&id), PackedId::Digits { length: 25, .. }));
        assert_eq!(size_of::<PackedId>(), 32);
    }
}
