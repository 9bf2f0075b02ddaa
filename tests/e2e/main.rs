//! Carrick against a real Apache Kafka as its source, read by real clients, and what needs no source.

mod bad_input;
mod brokers;
mod chained;
mod compaction;
mod configs;
mod consumer_groups;
mod cutover;
mod failover;
mod faults;
mod group_sync;
mod identity;
mod lag;
mod many;
mod moved;
mod operating;
mod promote;
mod quotas;
mod reads;
mod security;
mod several;
mod source_contract;
mod sources;
mod transactions;
mod wide;
mod wire;
mod world;
