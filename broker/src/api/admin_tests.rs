//! The administrative APIs over a socket, as clients see them.

mod configs;
mod describing;
mod placement;
mod properties;
mod records;
mod topics;
mod users;
