//! The audit log's lines: of each API, with everything allowed and with each need refused.

use serde_json::{Value, json};

use super::*;
use crate::testing::audit_lines;

fn every_row() -> Vec<Row> {
    let mut rows = data::rows();
    rows.extend(groups::rows());
    rows.extend(transactions::rows());
    rows.extend(admin::topics_and_configs());
    rows.extend(admin::cluster());
    // Those that the client can write: the table's handlers note, not the APIs'.
    rows.retain(|row| row.request.is_sent());
    rows
}

/// What is new in the log of a stage.
async fn new_lines(stage: &Stage, seen: &mut usize) -> Vec<Value> {
    let mut lines = audit_lines(stage.it.broker(), stage.it.dir.path()).await;
    let new = lines.split_off(*seen);
    *seen += new.len();
    new
}

fn entry_of(row: &Row) -> &'static crate::api::table::Entry {
    crate::api::table::entry(row.key as i16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrative_request_leaves_a_line_and_no_other_does() {
    let mut wrong = Vec::new();
    for row in every_row() {
        let entry = entry_of(&row);
        let mut stage = Stage::start().await;
        let mut seen = audit_lines(stage.it.broker(), stage.it.dir.path())
            .await
            .len();
        stage.run(&row, &[]).await;
        let lines = new_lines(&stage, &mut seen).await;
        let outcome = match row.allowed {
            Outcome::Code(ErrorCode::NONE) => "done",
            _ => "failed",
        };
        let fits = |line: &Value| {
            line["action"] == entry.name
                && line["outcome"] == outcome
                && line["who"] == "User:ANONYMOUS"
                && line["from"] == "127.0.0.1"
                && line["via"] == "kafka"
                && line["resource"].is_string()
        };
        let is_right = match entry.is_audited {
            true => !lines.is_empty() && lines.iter().all(fits),
            false => lines.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{} ({}): {lines:?}", entry.name, row.what));
        }
        stage.it.running.shutdown().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_and_not_needed_leaves_no_line() {
    let mut wrong = Vec::new();
    for row in every_row().iter().filter(|row| !row.changes) {
        let optional = row.also.iter().filter(|ask| {
            let mut needs = row.needs.iter();
            !needs.any(|need| need.one_of.contains(ask))
        });
        let optional: Vec<_> = optional.copied().collect();
        let first = row.needs.iter().filter(|need| need.one_of.len() > 1);
        let first = first.map(|need| vec![need.one_of[0]]);
        let refused = std::iter::once(optional).chain(first);
        for refused in refused.filter(|asks| !asks.is_empty()) {
            let (mut stage, mut seen) = (Stage::start().await, 0);
            stage.run(row, &refused).await;
            let lines = new_lines(&stage, &mut seen).await;
            if lines.iter().any(|line| line["outcome"] == "denied") {
                wrong.push(format!("{:?} ({}): {lines:?}", row.key, row.what));
            }
            stage.it.running.shutdown().await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_a_line_that_names_the_operation_and_the_resource() {
    let mut wrong = Vec::new();
    let (mut stage, mut seen) = (Stage::start().await, 0);
    for row in every_row() {
        let entry = entry_of(&row);
        for need in row
            .needs
            .iter()
            .filter(|need| need.refused != Outcome::LeftOut)
        {
            new_lines(&stage, &mut seen).await;
            stage.run(&row, &need.one_of).await;
            let lines = new_lines(&stage, &mut seen).await;
            let fits = |line: &&Value| {
                let asked = need.one_of.iter().any(|(operation, resource)| {
                    line["operation"] == operation.name()
                        && (*resource == CLUSTER || line["resource"] == resource.name())
                });
                asked && line["action"] == entry.name && line["outcome"] == "denied"
            };
            let is_denied = |line: &&Value| line["outcome"] == json!("denied");
            let is_right =
                lines.iter().any(|line| fits(&line)) && lines.iter().all(|line| is_denied(&line));
            if !is_right {
                let (what, refused) = (row.what, names(&need.one_of));
                wrong.push(format!("{} ({what}, {refused:?}): {lines:?}", entry.name));
            }
        }
    }
    stage.it.running.shutdown().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
