//! The one HTTP client: deadlines, retries, size caps.
