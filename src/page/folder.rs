//! How is the operator's folder served? By tower-http, but without dot-files, links out of the
//! folder and listings.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::error::{Error, Kind};
use crate::extract::refused_file;

/// A folder whose files are public.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    files: ServeDir,
}

impl Folder {
    /// Serves the files below `root`, a canonical path.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), files: ServeDir::new(root) }
    }

    /// Answers GET and HEAD for a file; a folder answers with its `index.html`. Anything else is
    /// not found.
    pub async fn answer(&self, request: Request) -> Response {
        if !self.is_public(request.uri().path()).await {
            return not_found().into_response();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refusal = Error::new(Kind::MethodNotAllowed, "Files are for GET and HEAD.");
            return ([(ALLOW, "GET,HEAD")], refusal).into_response();
        }
        match self.files.clone().oneshot(request).await {
            Ok(response)
                if response.status().is_client_error() || response.status().is_server_error() =>
            {
                refused_file(response.status(), response.headers(), not_found())
            }
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// Whether every part of the path is plain and what it names, links followed, lies in the
    /// folder.
    async fn is_public(&self, path: &str) -> bool {
        let Some(parts) = plain_parts(path) else { return false };
        let target = parts.iter().fold(self.root.clone(), |path, part| path.join(part));
        matches!(tokio::fs::canonicalize(target).await, Ok(real) if real.starts_with(&self.root))
    }
}

/// The decoded parts of a path, or nothing if one begins with a dot or can't be the name of a file.
/// Two slashes in a row are refused: where a folder's missing slash is added, `//name/` would lead
/// a browser to another host.
fn plain_parts(path: &str) -> Option<Vec<String>> {
    if path.contains("//") {
        return None;
    }
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let decoded = percent_decode(part)?;
            let plain = !decoded.starts_with('.') && !decoded.contains(['/', '\\', '\0']);
            plain.then_some(decoded)
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The answer where there is nothing.
#[must_use]
pub fn not_found() -> Error {
    Error::new(Kind::NotFound, "There is nothing here. GET /openapi.json lists what there is.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_public_path_begins_with_a_dot_or_hides_a_slash() {
        assert_eq!(plain_parts("/a/b%20c.txt"), Some(vec!["a".to_owned(), "b c.txt".to_owned()]));
        for path in [
            "/.env",
            "/a/.git/config",
            "/a/../b",
            "/%2e%2e/etc",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%",
            "/%f",
            "/%ff",
            "//a",
            "/a//b",
        ] {
            assert_eq!(plain_parts(path), None, "{path}");
        }
    }
}
