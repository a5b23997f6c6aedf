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

/// Ring buffer of numbers, most of which are 0 or small in most rings.
#[derive(Debug, Clone)]
pub(crate) enum Ring<const N: usize> {
    /// Slots with other numbers than 0, in no order.
    Few(Vec<(u8, u32)>),
    Small(Box<[u16; N]>),
    All(Box<[u32; N]>),
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<const N: usize> Ring<N> {
    /// Number of slots from which on all are stored: they take as much memory as these.
    const MANY: usize = N / 4;

    /// Returns the number of a slot; 0 beyond the last one.
    pub(crate) fn get(&self, slot: usize) -> u32 {
        match self {
            Self::Few(few) => few.iter().find(|(at, _)| usize::from(*at) == slot).map_or(0, |(_, value)| *value),
            Self::Small(all) => all.get(slot).copied().unwrap_or(0).into(),
            Self::All(all) => all.get(slot).copied().unwrap_or(0),
        }
    }

    /// Sets the number of a slot.
    pub(crate) fn set(&mut self, slot: usize, value: u32) {
        match self {
            Self::All(all) => {
                if let Some(place) = all.get_mut(slot) {
                    *place = value;
                }
                return;
            }
            Self::Small(all) => {
                if let Ok(value) = u16::try_from(value) {
                    if let Some(place) = all.get_mut(slot) {
                        *place = value;
                    }
                    return;
                }
            }
            Self::Few(few) => match few.iter().position(|(at, _)| usize::from(*at) == slot) {
                Some(place) if value == 0 => {
                    few.swap_remove(place);
                    return;
                }
                Some(place) => return few.get_mut(place).into_iter().for_each(|(_, number)| *number = value),
                None if value == 0 || slot >= N => return,
                None if few.len() + 1 < Self::MANY => {
                    return few.push((u8::try_from(slot).unwrap_or(u8::MAX), value));
                }
                None => {}
            },
        }
        let mut all = self.to_array();
        if let Some(place) = all.get_mut(slot) {
            *place = value;
        }
        *self = if all.iter().all(|value| u16::try_from(*value).is_ok()) {
            Self::Small(Box::new(all.map(|value| u16::try_from(value).unwrap_or(u16::MAX))))
        } else {
            Self::All(Box::new(all))
        };
    }

    /// Sets all numbers to 0.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns all slots.
    pub(crate) fn to_array(&self) -> [u32; N] {
        match self {
            Self::All(all) => **all,
            Self::Small(all) => all.map(u32::from),
            Self::Few(few) => {
                let mut all = [0; N];
                for (at, value) in few {
                    if let Some(place) = all.get_mut(usize::from(*at)) {
                        *place = *value;
                    }
                }
                all
            }
        }
    }
}

impl<const N: usize> PartialEq for Ring<N> {
    fn eq(&self, other: &Self) -> bool {
        self.to_array() == other.to_array()
    }
}

impl<const N: usize> Eq for Ring<N> {}

/// Stored without its trailing zeros. (Serde supports arrays of at most 32 elements.)
impl<const N: usize> Serialize for Ring<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let all = self.to_array();
        let filled = all.iter().rposition(|value| *value != 0).map_or(0, |last| last + 1);
        all.get(..filled).unwrap_or_default().serialize(to)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ring_has_the_numbers_that_were_set(sets in prop::collection::vec((0_usize..66, prop_oneof![Just(0), 0_u32..300, any::<u32>()]), 0..90)) {
            let (mut ring, mut plain) = (Ring::<64>::default(), [0; 64]);
            for (slot, value) in sets {
                ring.set(slot, value);
                plain.get_mut(slot).into_iter().for_each(|place| *place = value);
                prop_assert_eq!(ring.to_array(), plain);
                prop_assert_eq!(ring.get(slot), plain.get(slot).copied().unwrap_or(0));
            }
        }
    }
}
