//! Where do ids and keys come from? Random bits, so that nobody can guess one and no two are ever
//! the same.

use std::sync::Arc;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

/// A prefix and 128 random bits as 32 hex digits: `thr_…`, `msg_…`.
#[must_use]
pub fn new_id(prefix: &str) -> Arc<str> {
    format!("{prefix}{}", random_hex::<16>()).into()
}

/// `N` random bytes in lower-case hex.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "aws-lc ends the process before it gives bytes that are not random"
)]
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has randomness");
    HEXLOWER.encode(&bytes)
}
