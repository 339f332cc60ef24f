//! Sessions: mint, refresh, revoke, and the registry of those that live.

mod packed_id;
pub mod registry;
pub mod registry_redis;
mod shelf;
