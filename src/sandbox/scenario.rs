//! Which workflows fail on purpose, and how? The table is in the documentation of the module above.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};

use super::error::ApiError;
use super::gate::NotFromOpenAi;

/// How a request for a session goes on once it has been found valid.
#[derive(Debug)]
pub(super) enum Scenario {
    /// A session.
    Mint,
    /// A session, after this long.
    MintAfter(Duration),
    /// A session whose secret is left out.
    MintWithoutSecret,
    /// An error on the user's first try, a session after that.
    FailOnce,
    /// This answer, whoever asks.
    Answer(Box<Response>),
}

impl Scenario {
    /// What this workflow stands for. `uri` is the one that was asked for.
    pub(super) fn of(workflow: &str, uri: &Uri) -> Self {
        match workflow {
            "wf_missing" => Self::answer(ApiError::workflow_not_found(workflow)),
            "wf_slow" => Self::MintAfter(Duration::from_secs(15)),
            "wf_429" => Self::answer(ApiError::rate_limited()),
            "wf_quota" => Self::answer(ApiError::quota_exhausted()),
            "wf_500" => Self::answer(ApiError::server_error()),
            "wf_503" => Self::answer(ApiError::overloaded()),
            "wf_html" => Self::answer((
                StatusCode::BAD_GATEWAY,
                axum::Extension(NotFromOpenAi),
                Html(BAD_GATEWAY),
            )),
            "wf_flaky" => Self::FailOnce,
            "wf_garbage" => {
                Self::answer(([(header::CONTENT_TYPE, "application/json")], r#"{"id":"cksess_"#))
            }
            "wf_no_secret" => Self::MintWithoutSecret,
            "wf_redirect" => Self::answer(redirect(uri)),
            _ => Self::Mint,
        }
    }

    fn answer(answer: impl IntoResponse) -> Self {
        Self::Answer(Box::new(answer.into_response()))
    }
}

const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad \
    Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n";

/// To the same path at a name that resolves nowhere (RFC 2606), so that a client that follows gets
/// no further.
fn redirect(uri: &Uri) -> Response {
    let location = format!("https://redirected.example{}", uri.path());
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    // A path that arrived is one that a header may hold.
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The users who had their first try, within a bound: of many, the earliest are forgotten.
#[derive(Default)]
pub(super) struct Tried {
    users: HashSet<Box<str>>,
    by_age: VecDeque<Box<str>>,
}

impl Tried {
    const CAPACITY: usize = 10_000;

    /// Notes a try, and tells whether it is the user's first.
    pub(super) fn is_first(&mut self, user: &str) -> bool {
        if self.users.contains(user) {
            return false;
        }
        if self.by_age.len() >= Self::CAPACITY
            && let Some(earliest) = self.by_age.pop_front()
        {
            self.users.remove(&earliest);
        }
        self.users.insert(user.into());
        self.by_age.push_back(user.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_try_of_a_user_is_a_first_try() {
        let mut tried = Tried::default();
        assert!(tried.is_first("ada"));
        assert!(!tried.is_first("ada"));
        assert!(tried.is_first("bob"));
        assert!(!tried.is_first("ada"));
    }

    #[test]
    fn the_memory_of_tries_is_bounded() {
        let mut tried = Tried::default();
        for user in 0..3 * Tried::CAPACITY {
            tried.is_first(&user.to_string());
        }
        assert_eq!((tried.users.len(), tried.by_age.len()), (Tried::CAPACITY, Tried::CAPACITY));
    }
}
