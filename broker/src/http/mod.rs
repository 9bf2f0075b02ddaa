//! The HTTP listener: REST v3 for links and mirrors, health, metrics.
