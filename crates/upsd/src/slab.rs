//! Numbered places: things are found by their place, and whoever takes a place next is told apart from who left it.

/// The number of a place and how often it has been given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    place: u32,
    tenant: u32,
}

impl Key {
    /// The key as one number, for what can only keep a number.
    #[must_use]
    pub fn to_number(self) -> u64 {
        u64::from(self.tenant) << 32 | u64::from(self.place)
    }

    /// The key that [`Key::to_number`] made this number of.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { place: low(number), tenant: low(number >> 32) }
    }

    fn index(self) -> usize {
        usize::try_from(self.place).unwrap_or(usize::MAX)
    }
}

/// Things in places that it gives away itself.
#[derive(Debug, Clone)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Place<T> {
    tenant: u32,
    thing: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Takes a thing and says where it is from now on.
    pub fn insert(&mut self, thing: T) -> Key {
        while let Some(place) = self.free.pop() {
            let found = usize::try_from(place).ok().and_then(|at| self.places.get_mut(at));
            if let Some(found) = found {
                found.tenant = found.tenant.wrapping_add(1);
                found.thing = Some(thing);
                return Key { place, tenant: found.tenant };
            }
        }
        // Every thing here costs a descriptor or a configured UPS: there are never four billion of them.
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { tenant: 0, thing: Some(thing) });
        Key { place, tenant: 0 }
    }

    /// The thing of this key, if it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index()).filter(|place| place.tenant == key.tenant)?;
        place.thing.as_ref()
    }

    /// The thing of this key, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index()).filter(|place| place.tenant == key.tenant)?;
        place.thing.as_mut()
    }

    /// Gives the thing back; its key means nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index()).filter(|place| place.tenant == key.tenant)?;
        let thing = place.thing.take()?;
        self.free.push(key.place);
        Some(thing)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them with their keys, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places
            .iter()
            .zip(0u32..)
            .filter_map(|(found, place)| Some((Key { place, tenant: found.tenant }, found.thing.as_ref()?)))
    }
}

/// Things in places that somebody else gives away.
#[derive(Debug, Clone)]
pub struct Table<T> {
    places: Vec<Option<(u32, T)>>,
    taken: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Vec::new(), taken: 0 }
    }
}

impl<T> Table<T> {
    /// Puts a thing in its place; gives back what was there.
    pub fn insert(&mut self, key: Key, thing: T) -> Option<T> {
        if self.places.len() <= key.index() {
            self.places.resize_with(key.index().saturating_add(1), || None);
        }
        let before = self.places.get_mut(key.index())?.replace((key.tenant, thing));
        if before.is_none() {
            self.taken += 1;
        }
        before.map(|(_, thing)| thing)
    }

    /// The thing of this key, if it is there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let (tenant, thing) = self.places.get(key.index())?.as_ref()?;
        (*tenant == key.tenant).then_some(thing)
    }

    /// The thing of this key, if it is there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (tenant, thing) = self.places.get_mut(key.index())?.as_mut()?;
        (*tenant == key.tenant).then_some(thing)
    }

    /// Gives the thing back.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        let (_, thing) = place.take_if(|(tenant, _)| *tenant == key.tenant)?;
        self.taken -= 1;
        Some(thing)
    }

    /// All of them with their keys, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().zip(0u32..).filter_map(|(found, place)| {
            let (tenant, thing) = found.as_ref()?;
            Some((Key { place, tenant: *tenant }, thing))
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_a_place_next_is_told_apart() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_ne!(first, second);
        assert_eq!(first.index(), second.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.get(second), slab.len()), (Some(&"second"), 1));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(second, &"second")]);
    }

    #[test]
    fn a_key_survives_being_a_number() {
        let mut slab = Slab::default();
        for _ in 0..5 {
            let key = slab.insert(());
            assert_eq!(Key::from_number(key.to_number()), key);
            slab.remove(key);
        }
        let odd = Key { place: u32::MAX, tenant: 7 };
        assert_eq!(Key::from_number(odd.to_number()), odd);
    }

    #[test]
    fn a_table_follows_the_keys_it_is_given() {
        let mut slab = Slab::default();
        let mut table = Table::default();
        let (zero, one) = (slab.insert(()), slab.insert(()));
        assert_eq!(table.insert(one, 1), None);
        assert_eq!((table.get(zero), table.get(one), table.len()), (None, Some(&1), 1));
        slab.remove(one);
        let next = slab.insert(());
        assert_eq!(table.get(next), None);
        assert_eq!(table.remove(next), None);
        assert_eq!(table.insert(next, 2), Some(1));
        assert_eq!((table.get(one), table.get(next), table.len()), (None, Some(&2), 1));
        assert_eq!(table.remove(next), Some(2));
        assert!(table.is_empty());
    }
}
