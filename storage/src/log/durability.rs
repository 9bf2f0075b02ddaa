//! Bringing a log to the disk, apart from its writer.

use carrick_protocol::ids::Offset;

use super::LogError;

/// Flushes one log. Takes no lock of the writer's: appends go on meanwhile.
#[derive(Clone, Debug)]
pub struct FlushHandle {}

impl FlushHandle {
    /// Brings everything appended so far to the disk and advances the recovery point. Returns the
    /// durable end.
    ///
    /// Errors: `Faulted`, from the first failure on and for good.
    pub fn flush(&self) -> Result<Offset, LogError> {
        unimplemented!()
    }
    /// Everything below is on the disk.
    pub fn durable_end(&self) -> Offset {
        unimplemented!()
    }
    /// Whether both are handles of the same log.
    pub fn same_log(&self, _other: &FlushHandle) -> bool {
        unimplemented!()
    }
    /// A number that is the same for all handles of one log and no other (while it is open).
    pub fn log_id(&self) -> u64 {
        unimplemented!()
    }
}
