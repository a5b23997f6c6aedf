//! Values that most streams never change, stored only once they differ from their default.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};

/// Type with a shared default value.
pub trait SharedDefault: Default + 'static {
    /// Returns the default value.
    fn shared() -> &'static Self;
}

/// Value that takes the room of a pointer until it is changed. Writing through [`DerefMut`]
/// allocates it; [`Rare::stored`] changes it only if it is allocated.
#[derive(Debug, Clone)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Rare<T> {
    /// Returns the value if it is allocated: a reset to the default needs no memory.
    pub(crate) fn stored(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: SharedDefault> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::shared())
    }
}

impl<T: SharedDefault> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: SharedDefault + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::deserialize(from).map(Self)
    }
}

/// Ring buffer of numbers, allocated at the first number but 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring<const N: usize>(Option<Box<[u32; N]>>);

impl<const N: usize> Ring<N> {
    /// Returns the number of a slot; 0 beyond the last one.
    pub(crate) fn get(&self, slot: usize) -> u32 {
        self.as_slice().get(slot).copied().unwrap_or(0)
    }

    /// Sets the number of a slot.
    pub(crate) fn set(&mut self, slot: usize, value: u32) {
        if value == 0 && self.0.is_none() {
            return;
        }
        if let Some(place) = self.0.get_or_insert_with(|| Box::new([0; N])).get_mut(slot) {
            *place = value;
        }
    }

    /// Sets all numbers to 0.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Returns the slots; none before the first number.
    pub(crate) fn as_slice(&self) -> &[u32] {
        self.0.as_deref().map_or(&[], |ring| ring)
    }

    fn without_trailing_zeros(&self) -> &[u32] {
        let ring = self.as_slice();
        let filled = ring.iter().rposition(|value| *value != 0).map_or(0, |last| last + 1);
        ring.get(..filled).unwrap_or_default()
    }
}

impl<const N: usize> PartialEq for Ring<N> {
    fn eq(&self, other: &Self) -> bool {
        self.without_trailing_zeros() == other.without_trailing_zeros()
    }
}

impl<const N: usize> Eq for Ring<N> {}

/// Stored without its trailing zeros. (Serde supports arrays of at most 32 elements.)
impl<const N: usize> Serialize for Ring<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.without_trailing_zeros().serialize(to)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Ring<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut ring = Self::default();
        for (slot, value) in Vec::<u32>::deserialize(from)?.into_iter().enumerate() {
            ring.set(slot, value);
        }
        Ok(ring)
    }
}
