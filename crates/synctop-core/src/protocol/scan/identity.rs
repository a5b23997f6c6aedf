//! Canonical hash of a JSON value, which ignores key order and number format. It recognizes a state
//! that a destination in another language has written again.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Canonical hash of a JSON value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Identity(pub u64);

impl Identity {
    /// Hash of `null`.
    pub(in crate::protocol) const NULL: Self = Self(mix(1));

    /// Hashes JSON text; text that is not JSON is hashed as bytes.
    pub(in crate::protocol) fn of(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self(hash_bytes(9, json.as_bytes())))
    }

    pub(in crate::protocol) fn of_text(text: &str) -> Self {
        Self(hash_bytes(3, text.as_bytes()))
    }

    /// Combines the hash with another one. The order counts.
    #[must_use]
    pub(in crate::protocol) fn and(self, other: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ other))
    }
}

/// Mixes the bits of a word (finalizer of splitmix64).
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Hashes bytes. `salt` distinguishes the kinds of values.
fn hash_bytes(salt: u64, text: &[u8]) -> u64 {
    let mut sum = mix(salt ^ (text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        sum = mix(sum ^ u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
        sum = mix(sum ^ u64::from_le_bytes(word));
    }
    sum
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Identity;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Identity, E> {
                Ok(Identity::NULL)
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Identity, E> {
                Ok(Identity(mix(10 + u64::from(flag))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Identity, E> {
                Ok(Identity::of_text(text))
            }
            #[expect(clippy::cast_precision_loss, reason = "100 and 100.0 are the same count")]
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Identity, E> {
                // Beyond 53 bits, different integers would become equal floats.
                if number < 1 << 53 { self.visit_f64(number as f64) } else { Ok(Identity(mix(number ^ 5))) }
            }
            #[expect(clippy::cast_precision_loss, reason = "100 and 100.0 are the same count")]
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Identity, E> {
                if number.unsigned_abs() < 1 << 53 {
                    self.visit_f64(number as f64)
                } else {
                    Ok(Identity(mix(number.cast_unsigned() ^ 6)))
                }
            }
            fn visit_f64<E>(self, number: f64) -> Result<Identity, E> {
                // Adding 0.0 turns -0.0 into 0.0.
                Ok(Identity(mix((number + 0.0).to_bits() ^ 7)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Identity, A::Error> {
                let mut sum = Identity(mix(4));
                while let Some(one) = seq.next_element::<Identity>()? {
                    sum = sum.and(one.0);
                }
                Ok(sum)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Identity, A::Error> {
                let mut sum = mix(8);
                while let Some((key, value)) = map.next_entry::<Cow<str>, Identity>()? {
                    sum = sum.wrapping_add(Identity::of_text(&key).and(value.0).0);
                }
                Ok(Identity(mix(sum)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn equal_values_have_equal_hashes_in_any_notation() {
        let one = Identity::of(r#"{"a":{"b":[1,2.0,"x"]},"c":null}"#);
        assert_eq!(one, Identity::of(r#"{ "c": null, "a": {"b": [1.0, 2, "\u0078"]} }"#));
        for other in [
            r#"{"a":{"b":[2,1,"x"]},"c":null}"#,
            r#"{"a":{"b":[1,2,"x"]},"c":false}"#,
            r#"{"a":{"b":[1,2,"x"],"c":null}}"#,
            r#"{"a":null,"c":{"b":[1,2,"x"]}}"#,
            r#"{"a":{"b":["1",2,"x"]},"c":null}"#,
            "{}",
            "[]",
            "null",
            "\"\"",
        ] {
            assert_ne!(one, Identity::of(other), "{other}");
        }
        assert_ne!(Identity::of("9007199254740993"), Identity::of("9007199254740992"));
        assert_ne!(Identity::of("{}"), Identity::of("[]"));
    }
}
