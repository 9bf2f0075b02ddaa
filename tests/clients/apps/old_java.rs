//! Older releases of the Java client that Kafka 4 still supports, asked for all that other client libraries are.

use harness::Peer;
use harness::kafka::JavaClient;

use crate::library::{self, Library};
use crate::matrix::{Ready, Row};
use crate::versions::Pinned;

const OLDEST: JavaClient = JavaClient {
    version: "2.1.1",
    api: "2.1",
};
const LAST_3: JavaClient = JavaClient {
    version: "3.9.1",
    api: "4",
};

/// The oldest line, and the last before 4.
pub fn rows() -> Vec<Row> {
    let both = |library| [library::row(library), library::security_row(library)];
    LIBRARIES.iter().copied().flat_map(both).collect()
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "java 2.1",
        version: Pinned::As(OLDEST.version),
        needs: || OLDEST.prepare().map(|()| Ready::Yes),
        start: |at| Peer::spawn("java 2.1", OLDEST.peer(), at),
        lacks: &[
            ("group KIP-848", "came with 3.7"),
            ("alter_offsets", "came with 2.5"),
        ],
    },
    Library {
        name: "java 3.9",
        version: Pinned::As(LAST_3.version),
        needs: || LAST_3.prepare().map(|()| Ready::Yes),
        start: |at| Peer::spawn("java 3.9", LAST_3.peer(), at),
        lacks: &[],
    },
];
