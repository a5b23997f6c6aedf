//! Lenient field types: a value of the wrong kind counts as absent instead of failing the message.

use super::message::Range;
use super::time::{self, Millis};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// String or number as text, or the `message` of an object. Borrowed if the line has it without
/// escapes.
#[derive(Debug, Clone, Default)]
pub(super) struct Text<'a>(pub Option<Cow<'a, str>>);

/// Count: a non-negative number, rounded down, or its decimal text; and true for a negative number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Num(pub Option<u64>, pub bool);

impl Num {
    pub(super) fn of(count: Option<u64>) -> Self {
        Self(count, false)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flag(pub Option<bool>);

/// Instant: ISO 8601 text, or a number of seconds or milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LenientInstant(pub Option<Millis>);

/// Object; `None` for any other value.
#[derive(Debug, Clone)]
pub(super) struct Maybe<T>(pub Option<T>);

/// Elements of an array; `None` for any other value.
#[derive(Debug, Clone)]
pub(super) struct Seq<T>(pub Option<Vec<T>>);

/// Logged error: text, or the `message` of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Logged<'a>(pub Option<Cow<'a, str>>);

/// Entries of an object in order; `None` for any other value.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a, T>(pub Option<Vec<(Cow<'a, str>, T)>>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}
impl<T> Default for Seq<T> {
    fn default() -> Self {
        Self(None)
    }
}
impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Defines visitor methods that return the default value for values of the wrong kind.
macro_rules! absent_for {
    ($($name:ident($kind:ty)),*) => { $(
        fn $name<E>(self, _: $kind) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    )* };
}
/// Defines `visit_seq`, which skips an array and returns the default value.
macro_rules! skip_seq {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}
/// Defines `visit_map`, which skips an object and returns the default value.
macro_rules! skip_map {
    () => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}
/// Defines `expecting`, and `visit_unit`, which returns the default value for null.
macro_rules! expecting {
    ($what:literal) => {
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str($what)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            expecting!("text");
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            absent_for!(visit_bool(bool));
            skip_seq!();
            /// Reads an error object: its `message` is the text.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
                let mut found = Text(None);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if key.0.as_deref() == Some("message") {
                        found = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Num;
            expecting!("a count");
            fn visit_u64<E>(self, number: u64) -> Result<Num, E> {
                Ok(Num::of(Some(number)))
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
            fn visit_f64<E>(self, number: f64) -> Result<Num, E> {
                Ok(Num((0.0..9e18).contains(&number).then_some(number as u64), number < 0.0))
            }
            fn visit_str<E>(self, text: &str) -> Result<Num, E> {
                Ok(Num(text.parse().ok(), text.starts_with('-')))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Num, E> {
                Ok(Num(u64::try_from(number).ok(), number < 0))
            }
            absent_for!(visit_bool(bool));
            skip_seq!();
            skip_map!();
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flag;
            expecting!("true or false");
            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(Some(flag)))
            }
            absent_for!(visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
            skip_seq!();
            skip_map!();
        }
        deserializer.deserialize_any(V)
    }
}

/// Bound between seconds (below; until the year 5138) and milliseconds (from here on).
const SECONDS_BELOW: f64 = 1e11;

impl<'de> Deserialize<'de> for LenientInstant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = LenientInstant;
            expecting!("an instant");
            fn visit_str<E>(self, text: &str) -> Result<LenientInstant, E> {
                Ok(LenientInstant(time::parse(text)))
            }
            #[expect(clippy::cast_precision_loss, reason = "instants fit into 53 bits")]
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<LenientInstant, E> {
                self.visit_f64(number as f64)
            }
            #[expect(clippy::cast_precision_loss, reason = "instants fit into 53 bits")]
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<LenientInstant, E> {
                self.visit_f64(number as f64)
            }
            #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
            fn visit_f64<E>(self, number: f64) -> Result<LenientInstant, E> {
                let millis = if number.abs() < SECONDS_BELOW { number * 1000.0 } else { number };
                Ok(LenientInstant((millis.abs() < 2.5e14).then_some(millis as Millis)))
            }
            absent_for!(visit_bool(bool));
            skip_seq!();
            skip_map!();
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Maybe<T>;
            expecting!("an object");
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Maybe<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Maybe(Some(value)))
            }
            absent_for!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
            skip_seq!();
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Seq<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Seq<T>;
            expecting!("an array");
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seq<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Seq(Some(all)))
            }
            absent_for!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
            skip_map!();
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Logged<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Logged<'de>;
            expecting!("an error");
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Logged<'de>, E> {
                Ok(Logged(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Logged<'de>, E> {
                Ok(Logged(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Logged<'de>, A::Error> {
                let mut message = None;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if key.0.as_deref() == Some("message") {
                        message = map.next_value::<Text<'de>>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Logged(message))
            }
            absent_for!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
            skip_seq!();
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Entries<'de, T>;
            expecting!("an object");
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de, T>, A::Error> {
                let mut all = Vec::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    all.push((key.0.unwrap_or_default(), map.next_value()?));
                }
                Ok(Entries(Some(all)))
            }
            absent_for!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
            skip_seq!();
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

/// Time range object.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct LenientRange {
    gte: LenientInstant,
    lt: LenientInstant,
}

impl LenientRange {
    pub(super) fn new(gte: LenientInstant, lt: LenientInstant) -> Self {
        Self { gte, lt }
    }

    pub(super) fn range(self) -> Option<Range> {
        (self.gte.0.is_some() || self.lt.0.is_some()).then_some(Range { gte: self.gte.0, lt: self.lt.0 })
    }
}

impl Maybe<LenientRange> {
    pub(super) fn range(&self) -> Option<Range> {
        self.0.and_then(LenientRange::range)
    }
}

/// Time ranges of an array; `None` for any other value.
#[derive(Debug, Clone, Default)]
pub(super) struct LenientRanges(pub Option<Vec<Range>>);

impl<'de> Deserialize<'de> for LenientRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Seq::<Maybe<LenientRange>>::deserialize(deserializer)?;
        Ok(Self(all.0.map(|all| all.iter().filter_map(Maybe::range).collect())))
    }
}
