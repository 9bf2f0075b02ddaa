//! The rows as the table of `docs/AUTHORIZATION.md`.

use super::{ANY, APIS, Ask, Need, Outcome, Row, all_rows};
use crate::access::Resource;
use crate::documented::{assert_has, document};

/// What is asked for, by the resource's kind: the names are those of the tests.
fn ask((operation, resource): &Ask) -> String {
    let on = match *resource {
        ANY => "any topic",
        Resource::Cluster => "the cluster",
        Resource::Topic(_) => "the topic",
        Resource::Group(_) => "the group",
        Resource::TransactionalId(_) => "the transactional id",
    };
    format!("{} on {on}", operation.name())
}

fn need(need: &Need) -> String {
    need.one_of.iter().map(ask).collect::<Vec<_>>().join(" or ")
}

fn refused(need: &Need) -> String {
    match need.refused {
        Outcome::Code(code) => code.to_string(),
        Outcome::LeftOut => "left out".to_owned(),
    }
}

fn line(name: &str, row: &Row) -> String {
    let joined = |what: fn(&Need) -> String| {
        let mut all: Vec<String> = row.needs.iter().map(what).collect();
        // The same for each topic of a list.
        all.dedup();
        match all.is_empty() {
            true => "–".to_owned(),
            false => all.join("; "),
        }
    };
    let what = row.what;
    format!(
        "| {name} | {what} | {} | {} |",
        joined(need),
        joined(refused)
    )
}

#[test]
fn the_document_has_every_right_and_what_its_absence_means() {
    let rows = all_rows();
    let lines = APIS.iter().flat_map(|api| {
        let of_api = rows.iter().filter(|row| row.key == api.key);
        of_api.map(|row| line(api.name, row))
    });
    let lines: Vec<_> = lines.collect();
    // If the rows have changed, this is the table to put into the document.
    println!("{}", lines.join("\n"));
    assert_has(&document("AUTHORIZATION.md"), lines);
}
