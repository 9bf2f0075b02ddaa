//! What every request needs to be sent over a [`Connection`](super::connection::Connection), and small
//! translations that several requests share.

use std::ops::RangeInclusive;

use carrick_protocol::ids::TopicName;
use kafka_protocol::messages as wire;
use kafka_protocol::protocol::{Request, StrBytes};

/// A request that the link sends: its name and the versions that we speak of it.
pub(super) trait Api: Request {
    const NAME: &'static str;
    /// Versions that our code handles, within those of the codec.
    const SPOKEN: RangeInclusive<i16>;

    /// How long the source asks us to send nothing more over this connection (KIP-219), milliseconds.
    fn throttle_time_ms(_response: &Self::Response) -> i32 {
        0
    }
}

/// A topic's name as the codec wants it.
pub(super) fn wire_topic(topic: &TopicName) -> wire::TopicName {
    wire::TopicName(wire_text(topic.as_str()))
}

/// Text as the codec wants it.
pub(super) fn wire_text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name from an answer; `Err` says that no topic can have it.
pub(super) fn topic_name(name: &str) -> Result<TopicName, String> {
    TopicName::new(name).map_err(|error| {
        format!(
            "it returned the invalid topic name {name:?} \
         ({error})"
        )
    })
}
