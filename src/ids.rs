//! Where do ids come from? 128 random bits behind a prefix, so that nobody can guess one and no two are ever the same.

use std::sync::Arc;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

/// A prefix and 32 hex digits: `thr_…`, `msg_…`.
#[must_use]
#[expect(clippy::expect_used, reason = "aws-lc ends the process before it gives bytes that are not random")]
pub fn new_id(prefix: &str) -> Arc<str> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has randomness");
    format!("{prefix}{}", HEXLOWER.encode(&bytes)).into()
}
