//! Which cases are expected to pass, in which mode, and which are known not to.
//!
//! `expected.txt`: a mode (`fresh`, `shared` or `fresh+shared`) and a case a line. `known.txt`: a case and the reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use harness::Result;

use crate::jvm::Outcome;
use crate::suite::Suite;

const BOTH: &str = "fresh+shared";

/// A job is at most this many cases, so that the JVMs end at about the same time.
const CASES_PER_JOB: usize = 20;

/// Where a case gets its broker from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// A separate broker, with the server config that the test asks for.
    Fresh,
    /// The one that all cases of a JVM use.
    Shared,
}

impl Mode {
    /// As in the files, and as passed to the JVM.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Shared => "shared",
        }
    }
}

/// A case that has to pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    pub mode: Mode,
    /// `Class.method#n`.
    pub name: String,
}

impl Expected {
    /// The name of its class.
    pub fn class(&self) -> &str {
        class_of(&self.name)
    }

    /// Whether it is of the class, of the method, or the very case of that name.
    pub fn is_called(&self, name: &str) -> bool {
        match self.name.strip_prefix(name) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '#']),
            None => false,
        }
    }
}

fn class_of(case: &str) -> &str {
    case.split('.').next().unwrap_or(case)
}

/// What one JVM does in one go.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    pub mode: Mode,
    pub class: String,
    /// None: all that the class has.
    pub cases: Vec<String>,
}

impl Job {
    /// All cases of a class.
    pub fn whole(mode: Mode, class: &str) -> Self {
        Self {
            mode,
            class: class.to_owned(),
            cases: Vec::new(),
        }
    }
}

/// The cases of expected.txt, once per mode.
pub fn expected(suite: &Suite) -> Result<Vec<Expected>> {
    parse_expected(suite.expected)
}

fn parse_expected(text: &str) -> Result<Vec<Expected>> {
    let mut all = BTreeSet::new();
    for line in text.lines() {
        let (modes, name) = line
            .split_once(' ')
            .context("expected.txt: mode and case")?;
        let modes: &[Mode] = match modes {
            "fresh" => &[Mode::Fresh],
            "shared" => &[Mode::Shared],
            BOTH => &[Mode::Fresh, Mode::Shared],
            other => bail!("expected.txt: unknown mode {other}"),
        };
        for &mode in modes {
            let name = name.to_owned();
            if !all.insert(Expected { mode, name }) {
                bail!("expected.txt: twice: {line}");
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// The cases of known.txt with their reasons.
///
/// # Errors
/// A line without a reason, or about a case that isn't expected: it would hide nothing and mislead a reader.
pub fn known(suite: &Suite, expected: &[Expected]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for line in suite.known.lines() {
        let (name, reason) = line.split_once(' ').context("known.txt: case and reason")?;
        if !expected.iter().any(|e| e.name == name) {
            bail!("known.txt: {name} is not expected to pass");
        }
        all.insert(name.to_owned(), reason.to_owned());
    }
    Ok(all)
}

/// Each case once, in mode `shared` if it passes there: one long life of a broker shows more than
/// many short ones. Or each in all its modes.
pub fn plan(expected: Vec<Expected>, all_modes: bool) -> impl Iterator<Item = Expected> {
    let shared: BTreeSet<String> = expected
        .iter()
        .filter(|e| e.mode == Mode::Shared)
        .map(|e| e.name.clone())
        .collect();
    expected
        .into_iter()
        .filter(move |e| all_modes || e.mode == Mode::Shared || !shared.contains(&e.name))
}

/// The work, larger jobs first.
pub fn jobs(cases: &[Expected]) -> Vec<Job> {
    let mut by_class: BTreeMap<(Mode, &str), Vec<String>> = BTreeMap::new();
    for case in cases {
        let names = by_class.entry((case.mode, case.class())).or_default();
        names.push(case.name.clone());
    }
    let mut jobs: Vec<Job> = Vec::new();
    for ((mode, class), names) in by_class {
        jobs.extend(names.chunks(CASES_PER_JOB).map(|cases| Job {
            mode,
            class: class.to_owned(),
            cases: cases.to_vec(),
        }));
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.cases.len()));
    jobs
}

/// The lines of expected.txt for what passed.
pub fn lines(outcomes: &[Outcome]) -> Vec<String> {
    let mut modes: BTreeMap<&str, BTreeSet<Mode>> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|o| o.passed) {
        modes.entry(&outcome.name).or_default().insert(outcome.mode);
    }
    let line = |(name, modes): (&str, BTreeSet<Mode>)| {
        let names: Vec<&str> = modes.into_iter().map(Mode::name).collect();
        format!("{} {name}", names.join("+"))
    };
    modes.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{CLIENTS, SECURITY};

    fn two_modes() -> Vec<Expected> {
        parse_expected("fresh A.a#1\nfresh+shared A.b#1\nshared B.c#2\n").unwrap()
    }

    #[test]
    fn a_case_of_both_modes_is_planned_in_the_shared_one_unless_all_are_wanted() {
        let once: Vec<Expected> = plan(two_modes(), false).collect();
        assert_eq!(
            once.iter()
                .map(|e| (e.mode, e.name.as_str()))
                .collect::<Vec<_>>(),
            [
                (Mode::Fresh, "A.a#1"),
                (Mode::Shared, "A.b#1"),
                (Mode::Shared, "B.c#2")
            ]
        );
        assert_eq!(plan(two_modes(), true).count(), 4);
    }

    #[test]
    fn what_is_recorded_is_what_is_read() {
        let outcomes: Vec<Outcome> = two_modes()
            .into_iter()
            .map(|e| Outcome::lost(e.mode, &e.name, "").but_passed())
            .collect();
        let lines = lines(&outcomes).join("\n");
        assert_eq!(parse_expected(&lines).unwrap(), two_modes());
    }

    #[test]
    fn names_select_classes_methods_and_cases() {
        let case = &two_modes()[0];
        assert!(["A", "A.a", "A.a#1"].iter().all(|n| case.is_called(n)));
        assert!(["B", "A.b", "A.a#2"].iter().all(|n| !case.is_called(n)));
    }

    #[test]
    fn the_files_can_be_read_and_no_known_difference_is_of_a_case_that_is_not_expected() {
        for suite in [CLIENTS, SECURITY] {
            let expected = expected(&suite).unwrap();
            assert!(known(&suite, &expected).is_ok(), "{}", suite.name);
        }
    }
}
