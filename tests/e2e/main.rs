//! Carrick against a real Apache Kafka as its source, read by real clients.

mod bad_input;
mod consumer_groups;
mod failover;
mod faults;
mod identity;
mod promote;
mod reads;
mod transactions;
mod world;
