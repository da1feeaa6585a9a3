//! Objects that can end while others still have names for them.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// The name of one object in an [`Arena`] of `T`.
pub struct Id<T> {
    index: u32,
    life: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Its place in the arena, which another object may have had before.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.index, self.life)
    }
}

impl<T> Clone for Id<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.life) == (other.index, other.life)
    }
}

impl<T> Eq for Id<T> {}

#[derive(Debug)]
struct Place<T> {
    /// How many objects have ended here.
    life: u32,
    object: Option<T>,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Arena<T> {
    places: Vec<Place<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Takes an object in; `None` if there are 2^32 already.
    pub fn insert(&mut self, object: T) -> Option<Id<T>> {
        let free = |place: &Place<T>| place.object.is_none() && place.life < u32::MAX;
        let index = match self.places.iter().position(free) {
            Some(index) => index,
            None => {
                self.places.push(Place {
                    life: 0,
                    object: None,
                });
                self.places.len().checked_sub(1)?
            }
        };
        let place = self.places.get_mut(index)?;
        place.object = Some(object);
        Some(Id {
            index: u32::try_from(index).ok()?,
            life: place.life,
            kind: PhantomData,
        })
    }

    /// The object, if it has not ended.
    #[inline]
    #[must_use]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let place = self.places.get(id.index as usize)?;
        if place.life == id.life {
            place.object.as_ref()
        } else {
            None
        }
    }

    /// The object, if it has not ended.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.life == id.life {
            place.object.as_mut()
        } else {
            None
        }
    }

    /// Ends an object: no name of it works any more. `None` if it had ended.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        self.get(id)?;
        let place = self.places.get_mut(id.index as usize)?;
        place.life = place.life.saturating_add(1);
        place.object.take()
    }

    /// All that have not ended, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0..).zip(&self.places).filter_map(|(index, place)| {
            let id = Id {
                index,
                life: place.life,
                kind: PhantomData,
            };
            Some((id, place.object.as_ref()?))
        })
    }

    /// All that have not ended, with their names.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id<T>, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(index, place)| {
            let id = Id {
                index,
                life: place.life,
                kind: PhantomData,
            };
            Some((id, place.object.as_mut()?))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_dies_with_its_object_though_the_place_is_taken_again() {
        let mut arena = Arena::default();
        let first = arena.insert('a').unwrap();
        assert_eq!(arena.remove(first), Some('a'));
        let second = arena.insert('b').unwrap();
        assert_eq!(second.index(), first.index());
        assert_eq!((arena.get(first), arena.get(second)), (None, Some(&'b')));
        assert_eq!(arena.get_mut(first), None);
        assert_eq!(arena.remove(first), None);
    }

    #[test]
    fn iteration_gives_the_living_and_names_that_work() {
        let mut arena = Arena::default();
        let ids = ['a', 'b', 'c'].map(|object| arena.insert(object).unwrap());
        arena.remove(ids[1]);
        let living: alloc::vec::Vec<_> = arena.iter().map(|(id, object)| (id, *object)).collect();
        assert!(living == [(ids[0], 'a'), (ids[2], 'c')]);
    }
}
