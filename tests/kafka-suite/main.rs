//! Apache Kafka's own tests, as published on Maven Central, against a broker outside of their JVM: the integration tests of its clients,
//! and (`--security`, `tests/kafka-authz`) those of authentication, encryption and authorization.
//!
//! `expected.txt` names the cases that pass on a real Apache Kafka in this harness; each must pass
//! here, or be in `known.txt` with the reason. Cases that real Kafka fails here (they want several
//! brokers, or look into objects of the broker) are not run. A case is an invocation of a test
//! method: `Class.method#n`, n counting the method's cluster configs. In mode `fresh` it has a
//! separate broker with the server config that it asks for; in mode `shared` one broker serves all,
//! one after the other. The security tests share a broker as long as they want the same config.
//!
//! A case that failed is run again when the rest is through, twice at most, and said to have needed that: real Kafka
//! needs it, too (docs/LIMITS.md has the cases and how often).

mod cases;
mod jvm;
mod report;
mod suite;

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use harness::Result;
use parking_lot::Mutex;

use cases::{Expected, Job};
use jvm::{Jvm, Outcome, Setup};
use suite::{CLIENTS, SECURITY, Suite};

const USAGE: &str = "usage: kafka-suite [--security] [--all] [--kafka] [--record] [CLASS | CLASS.method]…
  --security the tests of authentication and authorization (tests/kafka-authz), not those of clients
  --all      every case in every mode in which real Kafka passes it; otherwise each case once
  --kafka    against a real Apache Kafka
  --record   prints what expected.txt should contain for the broker: all classes in all modes
SUITE_JOBS: how many JVMs in parallel (2). CARRICK_BIN: the binary, if it is not the one next to this one.";

/// If more cases fail, it is not the machine that was slow for a moment, and nothing is run again.
const MOST_RUN_AGAIN: usize = 8;
/// So often a case that has failed is run again.
const MORE_TRIES: usize = 2;

#[derive(Default)]
struct Arguments {
    security: bool,
    all: bool,
    kafka: bool,
    record: bool,
    names: Vec<String>,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--security" => found.security = true,
            "--all" => found.all = true,
            "--kafka" => found.kafka = true,
            "--record" => found.record = true,
            name if !name.starts_with('-') => found.names.push(name.to_owned()),
            _ => bail!("{USAGE}"),
        }
    }
    Ok(found)
}

fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    let suite: &'static Suite = match arguments.security {
        true => &SECURITY,
        false => &CLIENTS,
    };
    let setup = Setup::new(suite, arguments.kafka)?;
    if arguments.record {
        return record(&setup, &arguments.names);
    }
    let expected = cases::expected(suite)?;
    let known = cases::known(suite, &expected)?;
    let wanted: Vec<Expected> = cases::plan(expected, arguments.all)
        .filter(|e| arguments.names.is_empty() || arguments.names.iter().any(|n| e.is_called(n)))
        .collect();
    if wanted.is_empty() {
        bail!("no such case in expected.txt");
    }
    let started = Instant::now();
    let mut outcomes = run(&setup, cases::jobs(&wanted))?;
    let run_again = run_failed_again(&setup, &wanted, &known, &mut outcomes)?;
    let complete = report::print(&report::Run {
        suite: suite.name,
        wanted: &wanted,
        known: &known,
        outcomes: &outcomes,
        run_again: &run_again,
        took: started.elapsed(),
    });
    if !complete {
        println!(
            "{}: the output of the tests and brokers is in {}",
            suite.name,
            setup.logs.display()
        );
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs what has failed again, if it is not much; which cases passed by that.
fn run_failed_again(
    setup: &Setup,
    wanted: &[Expected],
    known: &BTreeMap<String, String>,
    outcomes: &mut Vec<Outcome>,
) -> Result<Vec<String>> {
    let mut run_again = Vec::new();
    for _ in 0..MORE_TRIES {
        let failed: Vec<Expected> = wanted
            .iter()
            .filter(|e| !known.contains_key(&e.name) && !passed(outcomes, e))
            .cloned()
            .collect();
        if failed.is_empty() || failed.len() > MOST_RUN_AGAIN {
            break;
        }
        let more = run(setup, cases::jobs(&failed))?;
        let now_passed = more.iter().filter(|outcome| outcome.passed);
        run_again.extend(now_passed.map(|outcome| outcome.name.clone()));
        outcomes.extend(more);
    }
    Ok(run_again)
}

fn passed(outcomes: &[Outcome], expected: &Expected) -> bool {
    outcomes.iter().any(|o| o.passed && o.is_of(expected))
}

/// Runs the jobs on as many JVMs as are wanted, the first ones first.
fn run(setup: &Setup, jobs: Vec<Job>) -> Result<Vec<Outcome>> {
    let jvms: usize = match std::env::var("SUITE_JOBS") {
        Ok(number) => number.parse().context("SUITE_JOBS")?,
        Err(_) => 2,
    };
    let jvms = jvms.min(jobs.len());
    let queue = Mutex::new(VecDeque::from(jobs));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jvms)
            .map(|number| {
                let (queue, outcomes) = (&queue, &outcomes);
                scope.spawn(move || work(setup, number, queue, outcomes))
            })
            .collect();
        workers.into_iter().try_for_each(|w| match w.join() {
            Ok(result) => result,
            Err(_) => bail!("a worker panicked"),
        })
    })?;
    Ok(outcomes.into_inner())
}

fn work(
    setup: &Setup,
    number: usize,
    queue: &Mutex<VecDeque<Job>>,
    outcomes: &Mutex<Vec<Outcome>>,
) -> Result<()> {
    let mut jvm = None;
    loop {
        let Some(job) = queue.lock().pop_front() else {
            return Ok(());
        };
        let runner = match &mut jvm {
            Some(runner) => runner,
            none => none.insert(Jvm::start(setup, number)?),
        };
        let (found, alive) = runner.run(&job)?;
        report::progress(setup.suite.name, &job, &found);
        outcomes.lock().extend(found);
        if !alive {
            jvm = None;
        }
    }
}

/// Runs everything in all modes and prints the lines of expected.txt.
fn record(setup: &Setup, names: &[String]) -> Result<ExitCode> {
    let suite = setup.suite;
    let classes = Jvm::start(setup, 0)?.classes()?;
    let jobs: Vec<Job> = classes
        .iter()
        .filter(|c| {
            suite
                .not_recorded
                .is_none_or(|prefix| !c.starts_with(prefix))
        })
        .filter(|c| names.is_empty() || names.contains(c))
        .flat_map(|c| suite.modes.iter().map(|mode| Job::whole(*mode, c)))
        .collect();
    for line in cases::lines(&run(setup, jobs)?) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}
