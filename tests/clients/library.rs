//! The client libraries: how each is started, and what each lacks.

use harness::toolchain::{Prepared, Toolchain};
use harness::{Peer, Result};

use crate::matrix::{Ready, Row, Section};
use crate::scenarios::security::failover::{self, Shared};
use crate::scenarios::{CAPABILITIES, Capability, SECURITY};
use crate::versions::Pinned;

/// A client library whose peer speaks the lines of `harness::peer`.
#[derive(Clone, Copy)]
pub struct Library {
    pub name: &'static str,
    pub version: Pinned,
    /// Prepares what [`Library::start`] needs, or says which line installs it.
    pub needs: fn() -> Result<Ready>,
    /// One more process of it, pointed at a bootstrap address.
    pub start: fn(&str) -> Result<Peer>,
    /// Capabilities, operations of one, or codecs that the library itself does not have, each with the reason.
    pub lacks: &'static [(&'static str, &'static str)],
}

impl Library {
    /// Why the library lacks a capability or an operation; `None` where it has it.
    pub fn lacks(&self, what: &str) -> Option<&'static str> {
        let found = self.lacks.iter().find(|(name, _)| *name == what);
        found.map(|(_, why)| *why)
    }
}

/// The row of a library: every capability, or why it lacks it.
pub fn row(library: Library) -> Row {
    row_of(library, Section::Libraries, CAPABILITIES)
}

/// Its row in the table of security.
pub fn security_row(library: Library) -> Row {
    if let Some(why) = library.lacks("TLS") {
        let row = row_of(library, Section::Security, &[]);
        return row.lacks("TLS", why);
    }
    row_of(library, Section::Security, SECURITY)
}

fn with_failover(row: Row, library: Library, failover: Shared) -> Row {
    if library.lacks("TLS").is_some() {
        return row;
    }
    row.cell(failover::NAME, move |_| failover.goes_on(&library))
}

fn row_of(library: Library, section: Section, capabilities: &'static [Capability]) -> Row {
    let row = Row::new(section, library.name)
        .version(library.version.read())
        .needs(library.needs);
    capabilities
        .iter()
        .fold(row, |row, capability| with(row, library, capability))
}

fn with(row: Row, library: Library, capability: &'static Capability) -> Row {
    if let Some(why) = library.lacks(capability.name) {
        return row.lacks(capability.name, why);
    }
    let run = capability.run;
    let row = row.cell(capability.name, move |stage| run(&library, stage));
    let missing = capability.ops.iter().filter_map(|op| {
        let why = library.lacks(op)?;
        Some(format!("{op}: {why}"))
    });
    missing.fold(row, Row::partly)
}

fn nothing() -> Result<Ready> {
    Ok(Ready::Yes)
}

fn prepared(toolchain: Toolchain) -> Result<Ready> {
    Ok(match toolchain.prepare()? {
        Prepared::At(_) => Ready::Yes,
        Prepared::Missing(line) => Ready::Missing(line),
    })
}

const NO_OPENSSL: &str =
    "compiled without OpenSSL here: confluent-kafka-python is the same library with it";
const NO_REFUSAL: &str = "it takes the broker's refusal for a login";
const NO_KIP_848: &str = "speaks the classic group protocol only";

/// Every library.
pub fn rows() -> Vec<Row> {
    let failover = Shared::of(LIBRARIES);
    let all = LIBRARIES.iter().copied();
    let security = all
        .clone()
        .map(|l| with_failover(security_row(l), l, failover.clone()));
    all.map(row).chain(security).collect()
}

const PYTHON: &str = "tests/harness/python/requirements.txt";
const GO: &str = "tests/harness/go/go.mod";

const LIBRARIES: &[Library] = &[
    Library {
        name: "java",
        version: Pinned::In("tests/harness/java/pom.xml", "<kafka.version>"),
        needs: nothing,
        start: Peer::java,
        lacks: &[],
    },
    Library {
        name: "librdkafka",
        version: Pinned::In("Cargo.lock", "name = \"rdkafka-sys\"\nversion = \""),
        needs: nothing,
        start: Peer::librdkafka,
        lacks: &[
            (
                "refusal of a value",
                "its Rust binding drops a resource's error",
            ),
            ("TLS", NO_OPENSSL),
        ],
    },
    Library {
        name: "confluent-kafka-python",
        version: Pinned::In(PYTHON, "confluent-kafka=="),
        needs: || prepared(Toolchain::Python),
        start: |at| Peer::python("confluent-kafka-python", "confluent.py", at),
        lacks: &[],
    },
    Library {
        name: "aiokafka",
        version: Pinned::In(PYTHON, "aiokafka=="),
        needs: || prepared(Toolchain::Python),
        start: |at| Peer::python("aiokafka", "aio.py", at),
        lacks: &[
            ("group KIP-848", NO_KIP_848),
            ("alter_offsets", "its admin client only reads them"),
            ("delete_group", "its admin client cannot"),
            (
                "refusal of its certificate",
                "it only says that the connection ended",
            ),
            ("refusal of a token", NO_REFUSAL),
        ],
    },
    Library {
        name: "kafka-python",
        version: Pinned::In(PYTHON, "kafka-python=="),
        needs: || prepared(Toolchain::Python),
        start: |at| Peer::python("kafka-python", "kafka_python.py", at),
        lacks: &[("group KIP-848", NO_KIP_848)],
    },
    Library {
        name: "franz-go",
        version: Pinned::In(GO, "twmb/franz-go v"),
        needs: || prepared(Toolchain::Go),
        start: |at| Peer::go("franz-go", "franz", at),
        lacks: &[],
    },
    Library {
        name: "sarama",
        version: Pinned::In(GO, "IBM/sarama v"),
        needs: || prepared(Toolchain::Go),
        start: |at| Peer::go("sarama", "sarama", at),
        lacks: &[("group KIP-848", NO_KIP_848)],
    },
    Library {
        name: "kafka-go",
        version: Pinned::In(GO, "segmentio/kafka-go v"),
        needs: || prepared(Toolchain::Go),
        start: |at| Peer::go("kafka-go", "segmentio", at),
        lacks: &[
            ("idempotence", "no idempotent producer"),
            ("group KIP-848", NO_KIP_848),
            ("transactions", "no transactional producer"),
            (
                "OAUTHBEARER",
                "has PLAIN, SCRAM and AWS's own mechanism only",
            ),
        ],
    },
    Library {
        name: "kafkajs",
        version: Pinned::In("tests/harness/node/package.json", "\"kafkajs\": \""),
        needs: || prepared(Toolchain::Node),
        start: |at| Peer::node("kafkajs", "kafkajs.js", at),
        lacks: &[
            ("group KIP-848", NO_KIP_848),
            ("refusal of a token", NO_REFUSAL),
        ],
    },
];
