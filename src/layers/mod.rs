//! What happens to every request before and after its handler? One file a layer; `app.rs` puts them
//! in order.
//!
//! They are plain functions and values, called one inside the other: a stack of boxed services
//! would clone itself and allocate for each request at each layer.

pub mod cors;
pub mod headers;
pub mod observe;
pub mod panic;
pub mod shed;
pub mod unread;
