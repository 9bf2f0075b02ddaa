//! A topic with many partitions is deleted, and Carrick is killed while their folders are moved away: the next start
//! finishes the deletion and leaves all other topics as they are.

use std::fs::read_dir;
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use harness::{Carrick, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::LIMIT;

const PARTITIONS: usize = 1_500;

/// How many folders a topic has in the data folder: (in place, on their way out).
fn folders(carrick: &Carrick, topic: &str) -> Result<(usize, usize)> {
    let prefix = format!("{topic}-");
    let mut found = (0, 0);
    for entry in read_dir(carrick.data_dir())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        match name.starts_with(&prefix) {
            true if name.ends_with("-delete") => found.1 += 1,
            true => found.0 += 1,
            false => {}
        }
    }
    Ok(found)
}

#[test]
fn a_deletion_that_a_kill_breaks_off_is_finished_at_the_next_start() -> Result<()> {
    let mut carrick = Carrick::start()?;
    let count = PARTITIONS.to_string();
    carrick.cli(&["topic", "create", "big", "--partitions", &count])?;
    carrick.cli(&["topic", "create", "kept", "--partitions", "3"])?;
    ensure!(folders(&carrick, "big")? == (PARTITIONS, 0));
    let id = carrick.id().context("it runs")?;
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process id")?;
    thread::scope(|scope| {
        // It ends with an error, or before the kill.
        let deletion = scope.spawn(|| carrick.cli_output(&["topic", "delete", "big"]));
        let begun = Instant::now();
        while folders(&carrick, "big")?.0 == PARTITIONS {
            ensure!(begun.elapsed() < LIMIT, "nothing is put away");
        }
        kill_process(pid, Signal::KILL)?;
        drop(deletion.join());
        anyhow::Ok(())
    })?;
    carrick.kill();
    println!(
        "killed with folders of big: {:?}",
        folders(&carrick, "big")?
    );
    carrick.restart()?;
    let begun = Instant::now();
    while folders(&carrick, "big")? != (0, 0) {
        ensure!(
            begun.elapsed() < LIMIT,
            "{:?} are left",
            folders(&carrick, "big")?
        );
        thread::yield_now();
    }
    assert_eq!(folders(&carrick, "kept")?, (3, 0));
    // The name is free, and the next start takes nothing of its new topic for the old one's.
    carrick.cli(&["topic", "create", "big", "--partitions", "2"])?;
    carrick.stop()?;
    carrick.restart()?;
    assert_eq!(folders(&carrick, "big")?, (2, 0));
    Ok(())
}
