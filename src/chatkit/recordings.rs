//! Who dictates, and how many bytes of recordings are in memory at once? One recording of a user at
//! a time; long ones share a room.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::lock;
use crate::error::{Error, Kind};
use crate::limits::client_ip::AddressKey;
use crate::user::{Fingerprint, UserId};

/// The bytes that there is room for: three of the longest recordings, and some.
const BYTES: usize = 128 * 1024 * 1024;
/// How long a recording waits for room.
const PATIENCE: Duration = Duration::from_secs(5);
/// When who found no room may come again, in seconds.
const LATER: u64 = 5;

/// The recordings that are under way in this process.
#[derive(Debug)]
pub struct Recordings {
    left: Arc<Semaphore>,
    speakers: Arc<Mutex<HashSet<Speaker>>>,
}

/// Who dictates, and from where.
#[derive(Debug, Clone)]
pub struct Place {
    /// The user.
    pub user: UserId,
    /// The client's address.
    pub address: AddressKey,
}

/// One that has a recording at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Speaker {
    User(Fingerprint),
    /// Where visitors dictate at length. One who brings no cookie is another visitor each time.
    Address(AddressKey),
}

/// The right to have a recording under way, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    speakers: Arc<Mutex<HashSet<Speaker>>>,
    taken: Vec<Speaker>,
    bytes: Option<OwnedSemaphorePermit>,
}

impl Default for Recordings {
    fn default() -> Self {
        Self { left: Arc::new(Semaphore::new(BYTES)), speakers: Arc::default() }
    }
}

impl Recordings {
    /// The seat of a short recording.
    ///
    /// # Errors
    /// 429 while another recording of this user is under way.
    pub fn seat(&self, place: &Place) -> Result<Seat, Error> {
        let mut seat =
            Seat { speakers: Arc::clone(&self.speakers), taken: Vec::new(), bytes: None };
        seat.take(Speaker::User(place.user.fingerprint()))?;
        Ok(seat)
    }

    /// The seat of one that takes so many bytes at the most. It waits for room a little.
    ///
    /// # Errors
    /// 429 while another recording of this user is under way, for a visitor also a long one from
    /// the same address; 503 when there is no room.
    pub async fn long_seat(&self, place: &Place, bytes: usize) -> Result<Seat, Error> {
        let mut seat = self.seat(place)?;
        if place.user.is_visitor() {
            seat.take(Speaker::Address(place.address))?;
        }
        let bytes = u32::try_from(bytes.min(BYTES)).unwrap_or(u32::MAX);
        let room = timeout(PATIENCE, Arc::clone(&self.left).acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            let message =
                "Too many recordings are being written down right now. Try again in a moment.";
            let error = Error::new(Kind::Overloaded, message).retry_after(LATER);
            return Err(error.because("there is no room in memory for another recording"));
        };
        seat.bytes = Some(room);
        Ok(seat)
    }
}

impl Seat {
    fn take(&mut self, speaker: Speaker) -> Result<(), Error> {
        if !lock(&self.speakers).insert(speaker) {
            let message = "Another recording is being written down. Send one at a time.";
            return Err(Error::new(Kind::RateLimited, message).retry_after(1));
        }
        self.taken.push(speaker);
        Ok(())
    }

    /// Gives back the room but for so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(room) = &mut self.bytes {
            drop(room.split(room.num_permits().saturating_sub(bytes)));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut speakers = lock(&self.speakers);
        for speaker in &self.taken {
            speakers.remove(speaker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(user: &str) -> Place {
        let user = UserId::parse(user).expect("a name");
        Place { user, address: AddressKey::of(std::net::Ipv4Addr::LOCALHOST.into()) }
    }

    #[tokio::test]
    async fn what_is_given_back_is_there_for_others() {
        let recordings = Recordings::default();
        let mut first = recordings.long_seat(&place("ada"), BYTES).await.expect("it is empty");
        first.shrink(BYTES / 4);
        let second = recordings.long_seat(&place("bob"), BYTES / 2).await.expect("there is room");
        assert_eq!(recordings.left.available_permits(), BYTES / 4);
        drop((first, second));
        assert_eq!(recordings.left.available_permits(), BYTES);
        assert!(lock(&recordings.speakers).is_empty());
        recordings
            .long_seat(&place("ada"), usize::MAX)
            .await
            .expect("nobody waits for more than there is");
    }

    #[tokio::test]
    async fn who_is_refused_leaves_nothing_behind() {
        let recordings = Recordings::default();
        let visitor = "visitor_0123456789abcdef0123456789abcde";
        let first =
            recordings.long_seat(&place(&format!("{visitor}0")), 1).await.expect("it is empty");
        let second = recordings.long_seat(&place(&format!("{visitor}1")), 1).await;
        assert_eq!(second.expect_err("the address has one").kind(), Kind::RateLimited);
        recordings.seat(&place(&format!("{visitor}1"))).expect("a short one may be");
        drop(first);
        recordings.long_seat(&place(&format!("{visitor}1")), 1).await.expect("its turn has come");
    }
}
