//! Adapters for the ports of `carrick_link`, the cut that ends a mirror, and its report.
