//! The releases of Apache Kafka that a source may be, and what starts each.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::Result;
use crate::kafka::{logging_java, plain_java, prepared};

/// A release of Apache Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Release {
    /// The one whose client and tools the tests use: 4.3.
    #[default]
    Newest,
    /// The last of 3.x, with KRaft.
    V3_9,
    /// The last of 2.x, with ZooKeeper.
    V2_8,
}

impl Release {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V2_8, Self::V3_9, Self::Newest];

    /// Whether its brokers find each other through ZooKeeper.
    #[must_use]
    pub fn has_zookeeper(self) -> bool {
        self == Self::V2_8
    }

    /// A `java` command with its jars on the class path, logging as `log4j2` says where it uses that.
    ///
    /// # Errors
    /// When its jars cannot be fetched.
    pub fn java(self, heap: &str, log4j2: &Path) -> Result<Command> {
        static V3_9: OnceLock<std::result::Result<std::path::PathBuf, String>> = OnceLock::new();
        static V2_8: OnceLock<std::result::Result<std::path::PathBuf, String>> = OnceLock::new();
        let (once, version) = match self {
            Self::Newest => return logging_java(heap, log4j2),
            Self::V3_9 => (&V3_9, "3.9.1"),
            Self::V2_8 => (&V2_8, "2.8.2"),
        };
        let home = prepared(once, "scripts/kafka-source.sh", &[version])?;
        let mut command = plain_java(heap, &format!("{}/libs/*", home.display()));
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        Ok(command)
    }
}
