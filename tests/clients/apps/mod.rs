//! Applications and tools that stand on a client: rows with capabilities of their own.

mod connect;
mod mirror_maker;
mod old_java;
mod records;
mod streams;
mod tools;

use harness::{Result, kafka};

use crate::matrix::{Ready, Row, Section};

/// Every application.
pub fn rows() -> Vec<Row> {
    let mut rows = old_java::rows();
    rows.extend([
        tools::row(),
        streams::row(),
        connect::row(),
        mirror_maker::row(),
    ]);
    rows
}

/// A row of programs that run on Kafka's jars, those of Streams and of the file connectors.
fn application(name: &'static str) -> Row {
    Row::new(Section::Applications, name).needs(prepare)
}

fn prepare() -> Result<Ready> {
    kafka::java_apps("-Xmx64m").map(|_| Ready::Yes)
}
