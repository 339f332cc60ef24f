//! Who is asking? Header or cookie becomes a caller, or an error.
