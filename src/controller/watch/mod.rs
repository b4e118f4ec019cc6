//! What happens in the cluster: the watches, and which event enqueues which objects.
//!
//! It may import credential, ownership, cluster and context. It must not decide anything about an account.

pub mod enqueue;
pub mod streams;
