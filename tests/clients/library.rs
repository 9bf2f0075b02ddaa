//! The client libraries: how each is started, and which capabilities it has.

use harness::{Peer, Result};

use crate::matrix::{Ready, Row, Section};
use crate::scenarios;

/// A client library that speaks the lines of `harness::peer`.
#[derive(Clone, Copy)]
pub struct Library {
    pub name: &'static str,
    /// Prepares what [`Library::start`] needs, or says which line installs it.
    pub needs: fn() -> Result<Ready>,
    /// One more process of it, pointed at a bootstrap address.
    pub start: fn(&str) -> Result<Peer>,
}

/// The row of a library: every capability that the scenarios have.
pub fn row(library: Library) -> Row {
    Row::new(Section::Libraries, library.name)
        .needs(library.needs)
        .cell("group, resume", move |stage| {
            scenarios::group::share_leave_crash_and_resume(&library, stage)
        })
}

/// Every library.
pub fn rows() -> Vec<Row> {
    vec![
        row(Library {
            name: "java",
            needs: || Ok(Ready::Yes),
            start: Peer::java,
        }),
        row(Library {
            name: "librdkafka",
            needs: || Ok(Ready::Yes),
            start: Peer::librdkafka,
        }),
        row(Library {
            name: "franz-go",
            needs: || {
                Ok(match Peer::franz_go("")? {
                    Some(_) => Ready::Yes,
                    None => Ready::Missing("apt-get install golang-go".to_owned()),
                })
            },
            start: |bootstrap| {
                Peer::franz_go(bootstrap)?.ok_or_else(|| anyhow::anyhow!("no Go toolchain"))
            },
        }),
    ]
}
