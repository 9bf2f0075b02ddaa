//! Applications and tools that stand on a client: rows with capabilities of their own.

use crate::matrix::Row;

/// Every application.
pub fn rows() -> Vec<Row> {
    Vec::new()
}
