//! What may be uploaded, and where is it kept? The settings of files.

use std::path::PathBuf;

use super::env::Vars;
use super::features::file_upload;

const MEBIBYTE: u64 = 1024 * 1024;

/// What becomes of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsConfig {
    /// Whether there are any: on, unless `CHATKIT_FILE_UPLOAD` is `off`.
    pub enabled: bool,
    /// `CHATKIT_UPLOADS_DIR`: `data/uploads` by default. It need not exist yet.
    pub dir: PathBuf,
    /// The largest file in bytes: `CHATKIT_UPLOAD_MAX_BYTES` (20 MiB by default), or
    /// `max_file_size_mb` of `CHATKIT_FILE_UPLOAD` if that is less.
    pub max_bytes: u64,
    /// What one user may keep, in bytes: `CHATKIT_UPLOAD_QUOTA_BYTES`, 1 GiB by default; `None` is
    /// no quota.
    pub quota: Option<u64>,
    /// Files in one message, 1 or more: `max_files` of `CHATKIT_FILE_UPLOAD`.
    pub max_files: Option<u32>,
}

/// What becomes of uploads.
pub(super) fn uploads(vars: &Vars<'_>) -> UploadsConfig {
    let max_bytes = vars.number("CHATKIT_UPLOAD_MAX_BYTES", 20 * MEBIBYTE, 1..=512 * MEBIBYTE);
    let quota = vars.number("CHATKIT_UPLOAD_QUOTA_BYTES", 1024 * MEBIBYTE, 0..=1 << 50);
    let asked = file_upload(vars);
    let megabytes = asked.and_then(|upload| upload.max_file_size_mb);
    UploadsConfig {
        enabled: asked.is_none_or(|upload| upload.enabled),
        dir: vars
            .text("CHATKIT_UPLOADS_DIR")
            .map_or_else(|| PathBuf::from("data/uploads"), PathBuf::from),
        max_bytes: megabytes
            .map_or(max_bytes, |megabytes| max_bytes.min(u64::from(megabytes) * MEBIBYTE)),
        quota: (quota > 0).then_some(quota),
        max_files: asked.and_then(|upload| upload.max_files),
    }
}
