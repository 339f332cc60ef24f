//! How do replicas share state? One connection to Redis that knows when it is away.
