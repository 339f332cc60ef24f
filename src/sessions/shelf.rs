//! How are half a million sessions kept in little memory? One slab of slots, threaded by two lists
//! (all sessions by age, and each user's own), and two tables that hold slot numbers alone.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::packed_id::PackedId;
use crate::user::Fingerprint;

/// No slot.
const NONE: u32 = u32::MAX;

/// Sessions in the order in which they came. Adding, finding and removing one takes constant time.
#[derive(Debug)]
pub(super) struct Shelf {
    slots: Vec<Slot>,
    /// The first free slot; the others follow by `newer`.
    free: u32,
    oldest: u32,
    newest: u32,
    taken: usize,
    by_secret: HashTable<u32>,
    newest_of_user: HashTable<u32>,
    hasher: RandomState,
}

/// One session: 88 bytes with an id like OpenAI's.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) secret: Fingerprint,
    pub(super) user: Fingerprint,
    pub(super) id: PackedId,
    /// Unix seconds; 32 bits last until 2106.
    pub(super) ends_at: u32,
    older: u32,
    newer: u32,
    older_of_user: u32,
    newer_of_user: u32,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            taken: 0,
            by_secret: HashTable::new(),
            newest_of_user: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Shelf {
    /// How many sessions are here, ended ones included.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// The session of this secret.
    pub(super) fn find(&self, secret: Fingerprint) -> Option<&Slot> {
        let hash = self.hasher.hash_one(secret);
        let at = self.by_secret.find(hash, |at| self.slots[*at as usize].secret == secret)?;
        Some(&self.slots[*at as usize])
    }

    /// The oldest session.
    pub(super) fn oldest(&self) -> Option<&Slot> {
        self.slots.get(self.oldest as usize)
    }

    /// The sessions of a user, newest first.
    pub(super) fn of_user(&self, user: Fingerprint) -> impl Iterator<Item = &Slot> {
        let hash = self.hasher.hash_one(user);
        let newest = self.newest_of_user.find(hash, |at| self.slots[*at as usize].user == user);
        let first = newest.and_then(|at| self.slots.get(*at as usize));
        std::iter::successors(first, |slot| self.slots.get(slot.older_of_user as usize))
    }

    /// Adds the newest session, in place of one with the same secret.
    pub(super) fn add(&mut self, secret: Fingerprint, user: Fingerprint, id: &str, ends_at: u32) {
        self.remove(secret);
        let slot = Slot {
            secret,
            user,
            id: PackedId::pack(id),
            ends_at,
            older: self.newest,
            newer: NONE,
            older_of_user: NONE,
            newer_of_user: NONE,
        };
        let Some(at) = self.take_slot(slot) else { return };
        match self.slots.get_mut(self.newest as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        let Self { slots, hasher, .. } = self;
        self.by_secret.insert_unique(hasher.hash_one(secret), at, |at| {
            hasher.hash_one(slots[*at as usize].secret)
        });
        let hash = hasher.hash_one(user);
        match self.newest_of_user.find_mut(hash, |at| slots[*at as usize].user == user) {
            Some(newest) => {
                slots[at as usize].older_of_user = *newest;
                slots[*newest as usize].newer_of_user = at;
                *newest = at;
            }
            None => {
                self.newest_of_user
                    .insert_unique(hash, at, |at| hasher.hash_one(slots[*at as usize].user));
            }
        }
    }

    /// Removes the session of this secret, if it is here.
    pub(super) fn remove(&mut self, secret: Fingerprint) {
        let hash = self.hasher.hash_one(secret);
        let Self { slots, by_secret, .. } = self;
        if let Ok(found) = by_secret.find_entry(hash, |at| slots[*at as usize].secret == secret) {
            let (at, _) = found.remove();
            self.unlink(at);
        }
    }

    /// Removes the oldest session, if there is one.
    pub(super) fn remove_oldest(&mut self) {
        if let Some(secret) = self.oldest().map(|slot| slot.secret) {
            self.remove(secret);
        }
    }

    /// A slot number for the session; `None` past four billion.
    fn take_slot(&mut self, slot: Slot) -> Option<u32> {
        let at = if let Some(free) = self.slots.get_mut(self.free as usize) {
            let at = self.free;
            self.free = free.newer;
            *free = slot;
            at
        } else {
            let at = u32::try_from(self.slots.len()).ok().filter(|at| *at != NONE)?;
            self.slots.push(slot);
            at
        };
        self.taken += 1;
        Some(at)
    }

    /// Takes a slot out of both lists and the user's entry, and frees it.
    fn unlink(&mut self, at: u32) {
        let free = std::mem::replace(&mut self.free, at);
        let slot = &mut self.slots[at as usize];
        slot.id = PackedId::default();
        let (older, newer) = (slot.older, std::mem::replace(&mut slot.newer, free));
        let (user, older_of_user, newer_of_user) =
            (slot.user, slot.older_of_user, slot.newer_of_user);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        if let Some(slot) = self.slots.get_mut(older_of_user as usize) {
            slot.newer_of_user = newer_of_user;
        }
        match self.slots.get_mut(newer_of_user as usize) {
            Some(slot) => slot.older_of_user = older_of_user,
            None => self.set_newest_of_user(user, at, older_of_user),
        }
        self.taken -= 1;
        if self.taken == 0 {
            *self = Self::default();
        }
    }

    fn set_newest_of_user(&mut self, user: Fingerprint, from: u32, to: u32) {
        if let Ok(mut entry) =
            self.newest_of_user.find_entry(self.hasher.hash_one(user), |at| *at == from)
        {
            if to == NONE {
                entry.remove();
            } else {
                *entry.get_mut() = to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn print(number: u8) -> Fingerprint {
        Fingerprint([number; 16])
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u8),
        Remove(u8),
        RemoveOldest,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..24_u8, 0..5_u8).prop_map(|(secret, user)| Step::Add(secret, user)),
            2 => (0..24_u8).prop_map(Step::Remove),
            1 => Just(Step::RemoveOldest),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_list_would_hold(steps in prop::collection::vec(step(), 0..200)) {
            let mut shelf = Shelf::default();
            let mut list: VecDeque<(u8, u8)> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Add(secret, user) => {
                        list.retain(|(known, _)| *known != secret);
                        list.push_back((secret, user));
                        shelf.add(print(secret), print(user), &secret.to_string(), u32::from(secret));
                    }
                    Step::Remove(secret) => {
                        list.retain(|(known, _)| *known != secret);
                        shelf.remove(print(secret));
                    }
                    Step::RemoveOldest => {
                        list.pop_front();
                        shelf.remove_oldest();
                    }
                }
                prop_assert_eq!(shelf.len(), list.len());
                prop_assert_eq!(shelf.oldest().map(|slot| slot.secret), list.front().map(|(secret, _)| print(*secret)));
                for secret in 0..24 {
                    let owner = list.iter().find(|(known, _)| *known == secret).map(|(_, user)| print(*user));
                    prop_assert_eq!(shelf.find(print(secret)).map(|slot| slot.user), owner);
                }
                for user in 0..5 {
                    let ids: Vec<_> = shelf.of_user(print(user)).map(|slot| slot.id.unpack().into_string()).collect();
                    let newest_first = list.iter().rev().filter(|(_, owner)| *owner == user);
                    prop_assert_eq!(ids, newest_first.map(|(secret, _)| secret.to_string()).collect::<Vec<_>>());
                }
            }
        }
    }
}
