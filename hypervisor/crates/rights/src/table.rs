//! One component's handles.

use alloc::vec::Vec;
use skerry_abi::{Handle, Refused, Rights};

/// A table of handles to targets of type `T`. Handles are small numbers, given out from the
/// lowest free one on.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<Option<(T, Rights)>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<T: Copy> Table<T> {
    /// Gives `target` the first free number.
    ///
    /// # Errors
    /// [`Refused::Exhausted`] if there are [`Handle::MOST`] already.
    pub fn grant(&mut self, target: T, rights: Rights) -> Result<Handle, Refused> {
        let index = match self.entries.iter().position(Option::is_none) {
            Some(index) => index,
            None if self.entries.len() >= Handle::MOST as usize => return Err(Refused::Exhausted),
            None => {
                self.entries.push(None);
                self.entries.len().wrapping_sub(1)
            }
        };
        let number = u32::try_from(index).map_err(|_| Refused::Exhausted)?;
        let entry = self.entries.get_mut(index).ok_or(Refused::Exhausted)?;
        *entry = Some((target, rights));
        Ok(Handle(number))
    }

    /// Whether there is room for one more handle.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() < Handle::MOST as usize || self.entries.iter().any(Option::is_none)
    }

    /// What a handle is to, and what it allows.
    ///
    /// # Errors
    /// [`Refused::BadHandle`].
    #[inline]
    pub fn look_up(&self, handle: Handle) -> Result<(T, Rights), Refused> {
        match self.entries.get(handle.0 as usize) {
            Some(Some(entry)) => Ok(*entry),
            _ => Err(Refused::BadHandle),
        }
    }

    /// What a handle is to, if it allows `wanted`.
    ///
    /// # Errors
    /// [`Refused::BadHandle`], [`Refused::NotPermitted`].
    #[inline]
    pub fn with(&self, handle: Handle, wanted: Rights) -> Result<T, Refused> {
        let (target, rights) = self.look_up(handle)?;
        if rights.contains(wanted) {
            Ok(target)
        } else {
            Err(Refused::NotPermitted)
        }
    }

    /// Takes a handle out.
    ///
    /// # Errors
    /// [`Refused::BadHandle`].
    pub fn close(&mut self, handle: Handle) -> Result<(), Refused> {
        let entry = self.entries.get_mut(handle.0 as usize);
        match entry.and_then(Option::take) {
            Some(_) => Ok(()),
            None => Err(Refused::BadHandle),
        }
    }

    /// Takes all handles out.
    pub fn clear(&mut self) {
        self.entries = Vec::new();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    #[test]
    fn a_right_that_is_missing_is_refused_and_others_do_not_stand_in() {
        let mut table = Table::default();
        let handle = table.grant('m', Rights::READ | Rights::GRANT).unwrap();
        assert_eq!(table.with(handle, Rights::READ), Ok('m'));
        let more = table.with(handle, Rights::READ | Rights::WRITE);
        assert_eq!(more, Err(Refused::NotPermitted));
        assert_eq!(table.with(Handle(1), Rights::READ), Err(Refused::BadHandle));
        assert_eq!(
            table.with(Handle(u32::MAX), Rights::empty()),
            Err(Refused::BadHandle)
        );
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut table = Table::default();
        for _ in 0..Handle::MOST {
            table.grant((), Rights::empty()).unwrap();
        }
        assert_eq!(table.grant((), Rights::empty()), Err(Refused::Exhausted));
        assert!(!table.has_room());
        table.close(Handle(7)).unwrap();
        assert!(table.has_room());
        assert_eq!(table.grant((), Rights::empty()), Ok(Handle(7)));
    }

    proptest! {
        #[test]
        fn the_table_is_a_map_from_lowest_free_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u32..12, any::<u8>()), 0..200),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (grant, number, target) in steps {
                if grant {
                    let free = (0..).find(|number| !model.contains_key(number)).unwrap();
                    model.insert(free, target);
                    prop_assert_eq!(table.grant(target, Rights::READ), Ok(Handle(free)));
                } else {
                    let had = model.remove(&number).is_some();
                    prop_assert_eq!(table.close(Handle(number)).is_ok(), had);
                }
                for number in 0..14 {
                    let found = table.with(Handle(number), Rights::READ).ok();
                    prop_assert_eq!(found, model.get(&number).copied());
                }
            }
        }
    }
}
