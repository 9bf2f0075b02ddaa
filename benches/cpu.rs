//! CPU seconds that a process has used so far.

use anyhow::{Context, Result};

/// User and system time of process `id` and its threads, in seconds, as `/proc/<id>/stat` has it.
///
/// # Errors
/// When the process has ended or the file is not as proc(5) says.
pub fn seconds(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the program's name in parentheses and may hold blanks.
    let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime and stime are fields 14 and 15, counted from 1 with the name as field 2.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    #[expect(clippy::cast_precision_loss, reason = "a bench's figure")]
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(seconds)
}
