//! Checks the reference tables of the documents against the code.

use std::collections::BTreeMap;
use std::path::Path;

use carrick_link::config::{ConfigSource, LinkConfig};

use crate::api::table::APIS;
use crate::config::used::USED;
use crate::topic::defs::TOPIC_CONFIGS;

/// Longer defaults stand below their table.
const DEFAULT_MAX_CHARS: usize = 100;

pub(crate) fn document(name: &str) -> String {
    // Asked when it runs, not when it is compiled: clones may share a target folder.
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let path = Path::new(&package).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The beginning of a config's row.
fn row(name: &str, default: Option<&str>) -> String {
    let default = match default {
        None => "–",
        Some("") => "\"\"",
        Some(long) if long.len() > DEFAULT_MAX_CHARS => "see below",
        Some(default) => default,
    };
    format!("| `{name}` | {default} |")
}

pub(crate) fn assert_has(text: &str, rows: impl IntoIterator<Item = String>) {
    let missing: Vec<String> = rows.into_iter().filter(|row| !text.contains(row)).collect();
    assert!(missing.is_empty(), "rows that are missing: {missing:#?}");
}

#[test]
fn the_manual_has_every_property_and_topic_config_with_its_default() {
    let broker = USED.iter().map(|def| row(def.name, def.default));
    let topic = TOPIC_CONFIGS
        .iter()
        .map(|known| row(known.def.name, known.def.default));
    assert_has(&document("MANUAL.md"), broker.chain(topic));
}

#[test]
fn the_manual_has_every_link_config_with_its_default() {
    let servers = BTreeMap::from([("bootstrap.servers".to_owned(), "a:1".to_owned())]);
    let entries = LinkConfig::parse(&servers).unwrap().entries();
    let is_settable_at_creation = |name: &str| {
        let mut values = servers.clone();
        values.insert(name.to_owned(), "x".to_owned());
        LinkConfig::parse(&values).is_ok()
    };
    let rows = entries.iter().map(|entry| {
        let default = entry.value.as_deref();
        let start = row(
            entry.name.as_str(),
            default.filter(|_| entry.source == ConfigSource::Default),
        );
        let settable = match entry.is_read_only {
            false => "yes",
            true if is_settable_at_creation(&entry.name) => "at creation",
            true => "no",
        };
        format!("{start} {settable} |")
    });
    assert_has(&document("MANUAL.md"), rows);
}

#[test]
fn the_limits_have_every_api_with_its_versions() {
    let rows = APIS.iter().map(|api| {
        let (name, key) = (api.name, api.key as i16);
        format!("| {name} | {key} | {}–{} |", api.min, api.max)
    });
    assert_has(&document("LIMITS.md"), rows);
}

#[test]
fn the_manual_has_every_metric() {
    let sources = [
        include_str!("http/connections.rs"),
        include_str!("http/metrics.rs"),
        include_str!("server/limits.rs"),
        include_str!("server/writer.rs"),
        include_str!("server/frame.rs"),
        include_str!("api/produce.rs"),
        include_str!("api/fetch.rs"),
        include_str!("cleaner.rs"),
        include_str!("transaction/completion.rs"),
    ];
    let is_name = |text: &&str| {
        text.starts_with("carrick_") && text.chars().all(|c| c == '_' || c.is_ascii_lowercase())
    };
    let names: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split('"').filter(is_name))
        .collect();
    assert!(names.len() > 15, "only {} metrics were found", names.len());
    let quoted = names.iter().map(|name| format!("`{name}`"));
    assert_has(&document("MANUAL.md"), quoted);
}
