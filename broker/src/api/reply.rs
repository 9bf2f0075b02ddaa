//! What a handler answers, and which part of it goes on the wire.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use carrick_protocol::frame::FrameError;

/// A boxed future that handlers return in [`Reply::Later`].
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One response on the wire, its length prefix included, in the pieces it is written from.
/// Record batches are pieces of their own, so that they are never copied.
pub type Frame = Vec<Bytes>;

/// A response on the wire, or why the codec refuses it: a handler set a field that the version
/// lacks.
pub type Encoded = Result<Frame, FrameError>;

/// What a handler answers.
pub enum Reply<T> {
    /// The answer is ready.
    Now(T),
    /// The answer arrives later (after a flush, a long poll, a join). Until then, only requests
    /// that overlap with this one ([`Order`](super::Order)) are handled. Answers leave in request
    /// order.
    Later(BoxFuture<T>),
    /// The answer is ready (`None`: none is sent), but it has not taken effect: requests that could
    /// observe the effect wait for it.
    Early {
        /// What is sent now.
        answer: Option<T>,
        /// Returns when the request has taken effect.
        effect: BoxFuture<()>,
    },
    /// Nothing is sent (Produce with acks=0).
    None,
    /// The connection is closed, with the reason for the log.
    Close(String),
}
