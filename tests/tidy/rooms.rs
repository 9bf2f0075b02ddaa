//! The rooms of the broker and of the link, and which of them each may import: one line a room. A room imports
//! only what stands above it; `imports.rs` says how this is checked. There is no exceptions list: move a type.

use crate::imports::Table;

/// Every table.
pub const TABLES: &[Table] = &[BROKER, LINK];

#[rustfmt::skip]
const BROKER: Table = Table {
    folder: "broker/src",
    lines: &[
        ("breaks", &[]),
        ("budget", &[]),
        ("clock", &[]),
        ("config", &[]),
        ("control", &[]),
        ("main", &[]),
        ("parallel", &[]),
        ("pattern", &[]),
        ("pool", &[]),
        ("principal", &[]),
        ("starting", &[]),
        ("audit", &["config", "principal"]),
        ("tls", &["clock", "config", "pattern", "principal"]),
        ("fetch_session", &["config"]),
        ("heavy", &["pool"]),
        ("records", &["config"]),
        ("journal", &["records"]),
        ("metadata", &["config", "records"]),
        ("secrets", &["clock", "config", "metadata", "records"]),
        ("access", &["config", "metadata", "principal", "records"]),
        ("coordination", &["budget", "journal"]),
        ("producer_ids", &["metadata", "records"]),
        ("auth", &["clock", "config", "heavy", "metadata", "principal", "records"]),
        ("quota", &["config", "metadata", "records"]),
        ("topic", &["breaks", "config", "metadata", "parallel", "records"]),
        ("group", &["budget", "clock", "config", "coordination", "heavy", "journal", "pattern", "records", "topic"]),
        ("partition", &["breaks", "clock", "config", "parallel", "starting", "topic"]),
        ("cleaner", &["clock", "config", "partition"]),
        ("cluster", &["partition", "topic"]),
        ("housekeeping", &["clock", "metadata", "partition"]),
        ("mirror", &["access", "breaks", "group", "heavy", "metadata", "parallel", "partition", "pattern", "producer_ids", "records", "secrets", "topic"]),
        ("problems", &["clock", "journal", "metadata", "partition", "tls"]),
        ("transaction", &["budget", "clock", "config", "coordination", "group", "heavy", "journal", "partition", "pattern", "producer_ids", "records"]),
        ("broker", &["access", "audit", "auth", "cluster", "config", "fetch_session", "group", "heavy", "journal", "metadata", "partition", "pool", "problems", "producer_ids", "quota", "secrets", "topic", "transaction"]),
        ("api", &["access", "audit", "auth", "broker", "clock", "cluster", "config", "fetch_session", "group", "heavy", "mirror", "partition", "pattern", "pool", "principal", "quota", "records", "secrets", "topic", "transaction"]),
        ("http", &["access", "api", "audit", "auth", "broker", "config", "partition", "principal", "problems", "secrets", "starting", "tls", "topic", "transaction"]),
        ("server", &["api", "audit", "auth", "broker", "clock", "config", "pool", "principal", "quota", "tls"]),
        ("run", &["access", "audit", "auth", "broker", "cleaner", "cluster", "config", "control", "fetch_session", "group", "heavy", "housekeeping", "http", "journal", "metadata", "mirror", "partition", "pool", "principal", "problems", "producer_ids", "quota", "records", "secrets", "server", "starting", "tls", "topic", "transaction"]),
        ("cli", &["auth", "config", "http", "run", "secrets"]),
    ],
};

#[rustfmt::skip]
const LINK: Table = Table {
    folder: "link/src",
    lines: &[
        ("acls", &[]),
        ("authorities", &[]),
        ("backoff", &[]),
        ("web", &["authorities"]),
        ("config", &["acls", "web"]),
        ("naming", &[]),
        ("throttle", &[]),
        ("verb", &[]),
        ("verify", &[]),
        ("source", &["acls", "authorities", "backoff", "config", "web"]),
        ("state", &["verb"]),
        ("groups", &["state"]),
        ("record", &["state", "verb"]),
        ("report", &["record", "verb"]),
        ("cut", &["record", "report", "verb"]),
        ("ports", &["acls", "config", "cut", "groups", "record", "report", "source"]),
        ("error", &["config", "ports", "record", "source", "state"]),
        ("fetcher", &["backoff", "ports", "record", "source", "throttle"]),
        ("description", &["error", "groups", "report", "state"]),
        ("replicator", &["backoff", "description", "fetcher", "ports", "source", "state"]),
        ("topic_configs", &["config", "description", "ports", "source"]),
        ("shared", &["config", "description", "error", "groups", "ports", "record", "replicator", "report", "source", "state", "throttle", "verb"]),
        ("lookup", &["config", "error", "record", "report", "shared", "source", "state"]),
        ("creation", &["config", "error", "lookup", "ports", "record", "shared", "source", "state", "topic_configs"]),
        ("tasks", &["acls", "backoff", "config", "creation", "error", "groups", "lookup", "ports", "record", "report", "shared", "source", "state", "topic_configs"]),
        ("supervisor", &["backoff", "config", "error", "fetcher", "lookup", "ports", "record", "replicator", "report", "shared", "source", "state", "tasks"]),
        ("manager", &["config", "creation", "cut", "description", "error", "groups", "lookup", "naming", "ports", "record", "replicator", "report", "shared", "source", "state", "supervisor", "tasks", "topic_configs", "verb", "verify"]),
    ],
};
