//! Sessions: mint, refresh, revoke, and the registry of those that live.
