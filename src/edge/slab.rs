//! Slots with stable keys. A key of a removed entry never finds its successor: each slot counts generations.

/// Names an entry of a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Which table a token of epoll points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's connection.
    Client,
    /// A connection to an upstream.
    Upstream,
}

impl Key {
    /// The token registered with epoll.
    pub fn token(self, side: Side) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index) << 1 | u64::from(side == Side::Upstream)
    }

    /// The reverse of [`Key::token`].
    pub fn from_token(token: u64) -> (Key, Side) {
        let side = if token & 1 == 1 { Side::Upstream } else { Side::Client };
        let index = u32::try_from((token & u64::from(u32::MAX)) >> 1).unwrap_or(u32::MAX);
        (Key { index, generation: u32::try_from(token >> 32).unwrap_or(0) }, side)
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A table of values.
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores what `make` returns for its key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            // 2^31 connections do not fit into a process.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        let key = Key { index, generation };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.value = Some(make(key));
        }
        key
    }

    /// The entry of `key`, unless it was removed or is taken out.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// Takes the entry out for a while; its key stays reserved.
    pub fn take(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.take() } else { None }
    }

    /// Puts back what [`Slab::take`] took.
    pub fn restore(&mut self, key: Key, value: T) {
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.value = Some(value);
        }
    }

    /// Frees the key, and drops the entry unless it was taken out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        slot.value.take()
    }

    /// The keys of all entries that are not taken out.
    pub fn keys(&self) -> Vec<Key> {
        let filled = self.slots.iter().enumerate().filter(|(_, slot)| slot.value.is_some());
        let key = |(index, slot): (usize, &Slot<T>)| {
            u32::try_from(index).ok().map(|index| Key { index, generation: slot.generation })
        };
        filled.filter_map(key).collect()
    }

    /// Frees the keys of entries that are not wanted. Looks at all of them.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.value.as_ref().is_some_and(|value| !wanted(value)) {
                slot.value = None;
                slot.generation = slot.generation.wrapping_add(1);
                self.free.extend(u32::try_from(index));
            }
        }
    }

    /// Removes all entries.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_does_not_find_the_successor() {
        let mut slab = Slab::default();
        let old = slab.insert_with(|_| "old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert_with(|_| "new");
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.take(new), Some("new"));
        slab.restore(new, "back");
        assert_eq!(slab.get_mut(new), Some(&mut "back"));
    }

    #[test]
    fn what_is_not_retained_frees_its_key() {
        let mut slab = Slab::default();
        let (gone, kept) = (slab.insert_with(|_| "gone"), slab.insert_with(|_| "kept"));
        slab.retain(|value| *value == "kept");
        assert_eq!(slab.get_mut(gone), None);
        assert_eq!(slab.get_mut(kept), Some(&mut "kept"));
        let new = slab.insert_with(|_| "new");
        assert_eq!(slab.get_mut(gone), None);
        assert_eq!(slab.get_mut(new), Some(&mut "new"));
    }

    #[test]
    fn tokens_come_back_as_keys() {
        let key = Key { index: 7, generation: u32::MAX };
        for side in [Side::Client, Side::Upstream] {
            assert_eq!(Key::from_token(key.token(side)), (key, side));
        }
    }
}
