//! What is printed: a line a job while it runs, and the table at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cases::{Expected, Job};
use crate::jvm::Outcome;

/// A run that is through.
pub struct Run<'a> {
    /// The suite's name.
    pub suite: &'a str,
    pub wanted: &'a [Expected],
    /// Cases and reasons.
    pub known: &'a BTreeMap<String, String>,
    pub outcomes: &'a [Outcome],
    /// Cases that passed when they were run again.
    pub run_again: &'a [String],
    pub took: Duration,
}

#[derive(Default)]
struct Row {
    passed: usize,
    kafka: usize,
    known: usize,
}

/// One line on what came of a job.
pub fn progress(suite: &str, job: &Job, found: &[Outcome]) {
    let passed = found.iter().filter(|o| o.passed).count();
    let took: Duration = found.iter().map(|o| o.took).sum();
    eprintln!(
        "{suite}: {} {}: {passed} of {} in {:.0} s",
        job.mode.name(),
        job.class,
        found.len(),
        took.as_secs_f64()
    );
    for failed in found.iter().filter(|o| !o.passed) {
        eprintln!("{suite}:   {}: {}", failed.name, failed.error);
    }
}

/// Prints the table and what is missing; true if every case passed or is a known difference.
pub fn print(run: &Run) -> bool {
    let passed = |e: &Expected| run.outcomes.iter().any(|o| o.passed && o.is_of(e));
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut missing = Vec::new();
    let mut known = BTreeSet::new();
    for case in run.wanted {
        let row = rows.entry(case.class()).or_default();
        row.kafka += 1;
        if passed(case) {
            row.passed += 1;
        } else if run.known.contains_key(&case.name) {
            row.known += 1;
            known.insert(case.name.as_str());
        } else {
            missing.push(case);
        }
    }
    println!(
        "{:<66} {:>6} {:>6} {:>6}",
        "class", "passed", "Kafka", "known"
    );
    for (class, row) in &rows {
        println!(
            "{class:<66} {:>6} {:>6} {:>6}",
            row.passed, row.kafka, row.known
        );
    }
    let total = |field: fn(&Row) -> usize| rows.values().map(field).sum::<usize>();
    let (ok, all, differ) = (total(|r| r.passed), total(|r| r.kafka), total(|r| r.known));
    println!("{:<66} {ok:>6} {all:>6} {differ:>6}", "all");
    for name in known {
        println!("known difference: {name}: {}", run.known[name]);
    }
    for name in run.run_again {
        println!("passed when run again only: {name}");
    }
    for case in &missing {
        let error = run
            .outcomes
            .iter()
            .rfind(|o| o.is_of(case))
            .map(|o| o.error.as_str());
        println!(
            "FAILED {} {}: {}",
            case.mode.name(),
            case.name,
            error.unwrap_or("was not run")
        );
    }
    println!(
        "{}: {ok} passed, {} failed, {differ} known differences, {} had to be run again, {:.0} s",
        run.suite,
        missing.len(),
        run.run_again.len(),
        run.took.as_secs_f64()
    );
    missing.is_empty()
}
