//! Where do names that nobody can guess come from?

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

use super::error::Error;

/// `N` random bytes in lower-case hex.
pub(super) fn random_hex<const N: usize>() -> Result<String, Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::Crypto)?;
    Ok(HEXLOWER.encode(&bytes))
}
