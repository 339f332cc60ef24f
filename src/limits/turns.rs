//! How many answers may be under way for one user? [`TurnLimit`] counts them in this process, for
//! visitors by their address too.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_ip::AddressKey;
use crate::error::{Error, Kind};
use crate::telemetry::metrics::Metrics;
use crate::user::{Fingerprint, UserId};

/// When it makes sense to ask again, in seconds: most answers are whole by then.
const RETRY_AFTER: u64 = 5;

/// The answers under way, by whom they are for.
#[derive(Debug)]
pub struct TurnLimit {
    /// `None` is no limit.
    most: Option<NonZeroUsize>,
    taken: Taken,
    metrics: Metrics,
}

type Taken = Arc<Mutex<HashMap<Key, usize>>>;

/// Whom an answer is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    User(Fingerprint),
    VisitorsAt(AddressKey),
}

/// A place for one answer, until it is dropped.
#[derive(Debug)]
pub struct TurnPlace {
    taken: Taken,
    keys: Vec<Key>,
}

impl TurnLimit {
    /// A limit of so many answers at once; `None` is no limit.
    #[must_use]
    pub fn new(most: Option<NonZeroUsize>, metrics: &Metrics) -> Self {
        Self { most, taken: Arc::default(), metrics: metrics.clone() }
    }

    /// Takes a place for an answer to this user, who asks from this address.
    ///
    /// # Errors
    /// 429 `rate_limited` when all are taken.
    pub fn take(&self, user: &UserId, address: AddressKey) -> Result<TurnPlace, Error> {
        let mut place = TurnPlace { taken: Arc::clone(&self.taken), keys: Vec::new() };
        let Some(most) = self.most else { return Ok(place) };
        let of_user = Key::User(user.fingerprint());
        // Who brings no cookie is another visitor each time.
        let of_address = is_visitor(user).then_some(Key::VisitorsAt(address));
        let keys: Vec<Key> = [of_user].into_iter().chain(of_address).collect();
        let mut taken = lock(&self.taken);
        if keys.iter().any(|key| taken.get(key).is_some_and(|count| *count >= most.get())) {
            drop(taken);
            self.metrics.rate_limited("turns");
            return Err(refusal(most));
        }
        for key in &keys {
            *taken.entry(*key).or_default() += 1;
        }
        place.keys = keys;
        Ok(place)
    }

    /// How many users and addresses have an answer under way.
    #[must_use]
    pub fn keys(&self) -> usize {
        lock(&self.taken).len()
    }
}

impl Drop for TurnPlace {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        for key in &self.keys {
            if let Some(count) = taken.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(key);
                }
            }
        }
    }
}

/// Whether an id is one that this service invented for a browser without a token.
fn is_visitor(user: &UserId) -> bool {
    let number = user.as_str().strip_prefix("visitor_");
    number.is_some_and(|number| {
        number.len() == 32 && number.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

fn refusal(most: NonZeroUsize) -> Error {
    let message = format!(
        "Too many answers are under way: {most} at once are the most. Wait for one to end, or stop \
         one."
    );
    Error::new(Kind::RateLimited, message).retry_after(RETRY_AFTER)
}

fn lock(taken: &Mutex<HashMap<Key, usize>>) -> MutexGuard<'_, HashMap<Key, usize>> {
    // Nothing in it is left half changed.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn at(last: u8) -> AddressKey {
        AddressKey::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn limit(most: usize) -> TurnLimit {
        TurnLimit::new(NonZeroUsize::new(most), &Metrics::new(false).0)
    }

    #[test]
    fn a_user_has_so_many_places_from_every_address_and_gets_them_back() {
        let limit = limit(2);
        let held =
            [limit.take(&user("ada"), at(1)).unwrap(), limit.take(&user("ada"), at(2)).unwrap()];
        assert_eq!(limit.take(&user("ada"), at(3)).unwrap_err().kind(), Kind::RateLimited);
        let bob = limit.take(&user("bob"), at(1)).unwrap();
        drop(held);
        limit.take(&user("ada"), at(1)).unwrap();
        drop(bob);
        assert_eq!(limit.keys(), 0, "nobody is remembered");
    }

    #[test]
    fn visitors_of_one_address_share_its_places() {
        let limit = limit(2);
        let visitor = |number: u8| user(&format!("visitor_{number:032x}"));
        let held =
            [limit.take(&visitor(1), at(1)).unwrap(), limit.take(&visitor(2), at(1)).unwrap()];
        assert!(limit.take(&visitor(3), at(1)).is_err(), "another visitor each time");
        assert!(limit.take(&visitor(3), at(2)).is_ok(), "another address");
        assert!(limit.take(&user("visitor_1"), at(1)).is_ok(), "no visitor");
        drop(held);
        assert_eq!(limit.keys(), 0);
    }

    #[test]
    fn without_a_limit_everybody_passes() {
        let limit = limit(0);
        let held: Vec<TurnPlace> =
            (0..100).map(|_| limit.take(&user("ada"), at(1)).unwrap()).collect();
        assert_eq!((held.len(), limit.keys()), (100, 0));
    }
}
