//! The administrative APIs over a socket, as clients see them.

mod broker_configs;
mod configs;
mod describing;
mod placement;
mod records;
mod topics;
