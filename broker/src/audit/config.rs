//! `audit.log.file`.

use std::path::PathBuf;

use crate::config::Values;

/// Where the audit log goes.
#[derive(Debug, Clone, Default)]
pub struct AuditConfig {
    /// A file of its own; else the main log.
    pub file: Option<PathBuf>,
}

impl AuditConfig {
    pub fn of(values: &Values) -> Self {
        let file = values.text("audit.log.file");
        Self {
            file: file.filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }
}
