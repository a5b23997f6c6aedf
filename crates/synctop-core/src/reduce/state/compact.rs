//! Optional numbers in the room of a number: a log may have a million streams.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Number with a value that stands for none.
pub trait Sentinel: Copy + Ord {
    const NONE: Self;
    /// The value next to [`Self::NONE`], which a number of that value becomes.
    const NEXT: Self;
}

impl Sentinel for u64 {
    const NONE: Self = Self::MAX;
    const NEXT: Self = Self::MAX - 1;
}

impl Sentinel for i64 {
    const NONE: Self = Self::MIN;
    const NEXT: Self = Self::MIN + 1;
}

/// Optional number as large as the number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CompactOption<T>(T);

impl<T: Sentinel> CompactOption<T> {
    /// Returns the number, if any.
    #[must_use]
    #[inline]
    pub fn get(self) -> Option<T> {
        (self.0 != T::NONE).then_some(self.0)
    }

    /// Stores a number, or none.
    #[inline]
    pub fn set(&mut self, number: impl Into<Self>) {
        *self = number.into();
    }
}

impl<T: Sentinel> Default for CompactOption<T> {
    fn default() -> Self {
        Self(T::NONE)
    }
}

impl<T: Sentinel> From<Option<T>> for CompactOption<T> {
    #[inline]
    fn from(number: Option<T>) -> Self {
        number.map_or_else(Self::default, Self::from)
    }
}

impl<T: Sentinel> From<T> for CompactOption<T> {
    #[inline]
    fn from(number: T) -> Self {
        Self(if number == T::NONE { T::NEXT } else { number })
    }
}

impl<T: Sentinel + fmt::Debug> fmt::Debug for CompactOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: Sentinel + Serialize> Serialize for CompactOption<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(to)
    }
}

impl<'de, T: Sentinel + Deserialize<'de>> Deserialize<'de> for CompactOption<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::deserialize(from).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_number() {
        for number in [0, 1, u64::MAX - 1] {
            assert_eq!(CompactOption::from(Some(number)).get(), Some(number));
        }
        assert_eq!(CompactOption::from(u64::MAX).get(), Some(u64::MAX - 1));
        assert_eq!(CompactOption::from(i64::MIN).get(), Some(i64::MIN + 1));
        assert_eq!(CompactOption::<i64>::from(None).get(), None);
        assert_eq!(size_of::<CompactOption<u64>>(), 8);
    }
}
