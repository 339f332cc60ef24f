//! What is coming in right now? Bytes of files on their way, for this process and for each user,
//! and which announced files they are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::chatkit::lock;
use crate::error::{Error, Kind};
use crate::protocol::Id;
use crate::user::UserId;

/// The bytes that may be on their way to this process, unless that is less than four of the largest
/// files.
const LEAST_ROOM: u64 = 1024 * 1024 * 1024;
/// One user may have so much of it.
const SHARE: u64 = 4;
/// When who found no room may come again, in seconds.
const LATER: u64 = 5;

/// The uploads that are under way in this process.
#[derive(Debug, Clone)]
pub struct UnderWay {
    room: u64,
    coming: Arc<Mutex<Coming>>,
}

#[derive(Debug, Default)]
struct Coming {
    bytes: u64,
    by_user: HashMap<UserId, Bytes>,
    announced: HashSet<Id>,
}

/// Bytes of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bytes {
    all: u64,
    /// Those of files that were not announced: the store knows nothing of them yet.
    unknown: u64,
}

/// An upload that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Passage {
    coming: Arc<Mutex<Coming>>,
    user: UserId,
    bytes: Bytes,
    announced: Option<Id>,
}

impl UnderWay {
    /// Nothing is coming in yet. The largest file has so many bytes.
    #[must_use]
    pub fn new(largest: u64) -> Self {
        Self { room: LEAST_ROOM.max(largest.saturating_mul(SHARE)), coming: Arc::default() }
    }

    /// How much of a user is on its way that the store knows nothing of yet.
    pub(super) fn unknown(&self, user: &UserId) -> u64 {
        lock(&self.coming).by_user.get(user).map_or(0, |bytes| bytes.unknown)
    }

    /// Lets so many bytes of a user come in: of an announced file, or of one that the store knows
    /// nothing of.
    ///
    /// # Errors
    /// 409 when the announced file is coming in already, 429 when too much of the user is, and 503
    /// when too much is in all.
    pub(super) fn begin(
        &self,
        user: &UserId,
        announced: Option<&Id>,
        bytes: u64,
    ) -> Result<Passage, Error> {
        let mut coming = lock(&self.coming);
        if announced.is_some_and(|id| coming.announced.contains(id)) {
            let message = "This attachment is being uploaded already. Wait for that upload, or \
                           create another attachment.";
            return Err(Error::new(Kind::Conflict, message));
        }
        let mut mine = coming.by_user.get(user).copied().unwrap_or_default();
        // One at a time is always all right.
        if mine.all > 0 && mine.all.saturating_add(bytes) > self.room / SHARE {
            let message = "Too many of your files are being uploaded at once. Try again when some \
                           have arrived.";
            return Err(Error::new(Kind::RateLimited, message).retry_after(LATER));
        }
        if coming.bytes > 0 && coming.bytes.saturating_add(bytes) > self.room {
            let message = "Too many files are being uploaded right now. Try again in a moment.";
            return Err(Error::new(Kind::Overloaded, message).retry_after(LATER));
        }
        let bytes = Bytes { all: bytes, unknown: if announced.is_some() { 0 } else { bytes } };
        coming.bytes += bytes.all;
        (mine.all, mine.unknown) = (mine.all + bytes.all, mine.unknown + bytes.unknown);
        coming.by_user.insert(user.clone(), mine);
        coming.announced.extend(announced.cloned());
        let (user, announced) = (user.clone(), announced.cloned());
        Ok(Passage { coming: Arc::clone(&self.coming), user, bytes, announced })
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut coming = lock(&self.coming);
        coming.bytes -= self.bytes.all;
        if let Some(mine) = coming.by_user.get_mut(&self.user) {
            (mine.all, mine.unknown) =
                (mine.all - self.bytes.all, mine.unknown - self.bytes.unknown);
            if mine.all == 0 {
                coming.by_user.remove(&self.user);
            }
        }
        if let Some(id) = &self.announced {
            coming.announced.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1024 * 1024;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a name")
    }

    #[test]
    fn a_user_has_a_quarter_of_the_room_and_all_have_all_of_it() {
        let under_way = UnderWay::new(20 * MEBIBYTE);
        let mut coming = Vec::new();
        for name in ["a", "b", "c", "d"] {
            for _ in 0..12 {
                coming.push(
                    under_way.begin(&user(name), None, 20 * MEBIBYTE).expect("there is room"),
                );
            }
            let more = under_way
                .begin(&user(name), None, 20 * MEBIBYTE)
                .expect_err("it is too much of one");
            assert_eq!(more.kind(), Kind::RateLimited);
            assert_eq!(under_way.unknown(&user(name)), 240 * MEBIBYTE);
        }
        coming.push(under_way.begin(&user("e"), None, 60 * MEBIBYTE).expect("there is room"));
        let more =
            under_way.begin(&user("f"), None, 20 * MEBIBYTE).expect_err("it is too much in all");
        assert_eq!(more.kind(), Kind::Overloaded);
        drop(coming);
        let rest = lock(&under_way.coming);
        assert_eq!((rest.bytes, rest.by_user.len(), rest.announced.len()), (0, 0, 0));
    }

    #[test]
    fn an_announced_file_comes_in_once_at_a_time_and_is_known() {
        let under_way = UnderWay::new(1024 * MEBIBYTE);
        let (ada, id): (UserId, Id) = (user("ada"), "atc_1".into());
        let first =
            under_way.begin(&ada, Some(&id), 1024 * MEBIBYTE).expect("the largest file fits");
        assert_eq!(
            under_way.begin(&ada, Some(&id), 1).expect_err("it comes in").kind(),
            Kind::Conflict
        );
        assert_eq!(under_way.unknown(&ada), 0);
        drop(first);
        under_way.begin(&ada, Some(&id), 1).expect("it may be tried again");
    }
}
