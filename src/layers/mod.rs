//! What happens to every request before and after its handler? One file a layer; `app.rs` puts them in order.

pub mod access;
pub mod cors;
pub mod headers;
pub mod observe;
pub mod panic;
pub mod shed;
