//! `token` and `service-token`: credentials for curl and for other servers.

use std::time::Duration;

use anyhow::anyhow;

use super::{Failure, read, say};
use crate::auth::{new_service_token, user_token as sign};
use crate::clock::SystemClock;
use crate::config::auth::{AuthConfig, is_service_name};
use crate::config::env::{Environment, Problem};
use crate::user::UserId;

/// Prints a JWT for the user, signed with `JWT_SECRET`.
pub(super) fn user_token(vars: &Environment, user: &str, ttl: Duration) -> Result<(), Failure> {
    let config = read(vars, AuthConfig::from_vars)?;
    if config.jwt_secret.is_none() {
        return Err(problem("JWT_SECRET", "must be set: it signs the token").into());
    }
    let named = UserId::parse(user).filter(|user| !user.is_visitor());
    let user = named.ok_or_else(|| {
        problem(
            "--user",
            "must have 1 to 255 characters, none a control, and not the form of a visitor's id",
        )
    })?;
    let token = sign(&config, &user, ttl, &SystemClock).map_err(|error| anyhow!(error))?;
    say(token)
}

/// Prints a new service token and its entry for `SERVICE_TOKENS`.
pub(super) fn service_token(id: &str) -> Result<(), Failure> {
    if !is_service_name(id) {
        return Err(problem("--id", "must be a name of letters, digits, `.`, `_` and `-`").into());
    }
    let (token, entry) = new_service_token(id).map_err(|error| anyhow!(error))?;
    say(format_args!("token (shown only now): {token}\nadd to SERVICE_TOKENS:  {entry}"))
}

fn problem(variable: &str, expected: &str) -> Problem {
    Problem { variable: variable.to_owned(), expected: expected.to_owned() }
}

/// Reads `90s`, `15m`, `8h` or `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "must be a number with s, m, h or d, like 15m".to_owned();
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    let seconds =
        number.checked_mul(seconds).filter(|seconds| (1..=10 * 366 * 86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "must be more than nothing and at most ten years".to_owned())
}
