//! Rows (a client or an application), their cells (a capability each), and running them two at a time.
//!
//! A cell owns its broker and its client processes, so that cells neither see nor disturb each other. What is missing
//! on the machine is a row's business ([`Row::needs`]): its cells are skipped then, and never count as passed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Peer, Result, toolchain};
use parking_lot::Mutex;

/// The table that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Client libraries, all measured by the same capabilities.
    Libraries,
    /// The same ones, by how they get in.
    Security,
    /// Programs, each with its own capabilities.
    Applications,
}

/// Whether a row can run on this machine.
#[derive(Debug, Clone)]
pub enum Ready {
    /// All it needs is here.
    Yes,
    /// What is missing, as the line that installs it.
    Missing(String),
}

/// What a worker keeps between its cells, because it is dear to start: a Java client to look at what others did.
#[derive(Debug, Default)]
pub struct Stage {
    java: Option<Peer>,
}

impl Stage {
    /// The Java client of Kafka's own release, pointed at `bootstrap`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn java(&mut self, bootstrap: &str) -> Result<&mut Peer> {
        let mut java = match self.java.take() {
            Some(java) => java,
            None => Peer::java(bootstrap)?,
        };
        java.point_at(bootstrap);
        Ok(self.java.insert(java))
    }
}

type Run = Box<dyn Fn(&mut Stage) -> Result<()> + Send + Sync>;

enum Work {
    Run(Run),
    Lacks(&'static str),
}

/// One capability of one row.
pub struct Cell {
    pub capability: &'static str,
    /// Parts of the capability that the library lacks.
    pub without: Vec<String>,
    work: Work,
}

/// A client or an application with its cells.
pub struct Row {
    pub section: Section,
    pub name: &'static str,
    /// Of the library; empty where the name says it.
    pub version: String,
    pub cells: Vec<Cell>,
    needs: Box<dyn Fn() -> Result<Ready> + Send + Sync>,
    ready: OnceLock<std::result::Result<Ready, String>>,
}

impl Row {
    /// A row without cells that needs nothing outside this repository.
    pub fn new(section: Section, name: &'static str) -> Self {
        Self {
            section,
            name,
            version: String::new(),
            cells: Vec::new(),
            needs: Box::new(|| Ok(Ready::Yes)),
            ready: OnceLock::new(),
        }
    }

    /// Sets the version to show, or why there is none.
    #[must_use]
    pub fn version(mut self, version: Result<String>) -> Self {
        self.version = version.unwrap_or_else(|e| format!("{e:#}"));
        self
    }

    /// Sets what prepares the row, once, before its first cell: an error fails all of its cells.
    #[must_use]
    pub fn needs(mut self, needs: impl Fn() -> Result<Ready> + Send + Sync + 'static) -> Self {
        self.needs = Box::new(needs);
        self
    }

    /// Adds a capability and the scenario that shows it; the scenario fails by its error or by a panic.
    #[must_use]
    pub fn cell(
        mut self,
        capability: &'static str,
        run: impl Fn(&mut Stage) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let work = Work::Run(Box::new(run));
        self.add(capability, work);
        self
    }

    /// Adds a capability that the library itself does not have.
    #[must_use]
    pub fn lacks(mut self, capability: &'static str, why: &'static str) -> Self {
        let work = Work::Lacks(why);
        self.add(capability, work);
        self
    }

    fn add(&mut self, capability: &'static str, work: Work) {
        self.cells.push(Cell {
            capability,
            without: Vec::new(),
            work,
        });
    }

    /// Says what the cell added last does not show, because the library itself does not have it.
    #[must_use]
    pub fn partly(mut self, without: String) -> Self {
        if let Some(cell) = self.cells.last_mut() {
            cell.without.push(without);
        }
        self
    }

    /// Every cell looks at what was done through the Java client, so every row needs that.
    fn ready(&self) -> std::result::Result<Ready, String> {
        let needed = || match toolchain::missing_java() {
            Some(line) => Ok(Ready::Missing(line)),
            None => (self.needs)(),
        };
        self.ready
            .get_or_init(|| needed().map_err(|e| format!("{e:#}")))
            .clone()
    }
}

/// How a cell ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Passed(Duration),
    Failed(String),
    Skipped(String),
    /// The library has no such feature.
    Lacks(&'static str),
    /// The filter left it out.
    NotAsked,
}

/// The cells that `wanted` chooses, `workers` at a time, each reported on standard output when it ends. Gives one
/// outcome for each cell of each row, in their order.
pub fn run(
    rows: &[Row],
    workers: usize,
    wanted: impl Fn(&Row, &Cell) -> bool,
) -> Vec<Vec<Outcome>> {
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    let mut queue = VecDeque::new();
    for (r, row) in rows.iter().enumerate() {
        outcomes.push(vec![Outcome::NotAsked; row.cells.len()]);
        for (c, cell) in row.cells.iter().enumerate() {
            match &cell.work {
                _ if !wanted(row, cell) => {}
                Work::Lacks(why) => outcomes[r][c] = Outcome::Lacks(why),
                Work::Run(scenario) => queue.push_back((r, c, scenario)),
            }
        }
    }
    let (queue, outcomes) = (Mutex::new(queue), Mutex::new(outcomes));
    let work = || {
        let mut stage = Stage::default();
        loop {
            let Some((r, c, scenario)) = queue.lock().pop_front() else {
                return;
            };
            let capability = rows[r].cells[c].capability;
            let outcome = play(&rows[r], scenario, &mut stage);
            report(&rows[r], capability, &outcome);
            outcomes.lock()[r][c] = outcome;
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    outcomes.into_inner()
}

fn play(row: &Row, scenario: &Run, stage: &mut Stage) -> Outcome {
    match row.ready() {
        Ok(Ready::Yes) => {}
        Ok(Ready::Missing(line)) => return Outcome::Skipped(line),
        Err(e) => return Outcome::Failed(e),
    }
    let started = Instant::now();
    let failure = match catch_unwind(AssertUnwindSafe(|| scenario(stage))) {
        Ok(Ok(())) => return Outcome::Passed(started.elapsed()),
        Ok(Err(e)) => format!("{e:#}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("without a text"))
        }
    };
    // A Java client that a failed cell used may be in any state.
    *stage = Stage::default();
    Outcome::Failed(failure)
}

fn report(row: &Row, capability: &str, outcome: &Outcome) {
    let (word, rest) = match outcome {
        Outcome::Passed(took) => ("ok", format!("{:.1} s", took.as_secs_f64())),
        Outcome::Failed(why) => ("FAILED", why.clone()),
        Outcome::Skipped(line) => ("SKIPPED", line.clone()),
        Outcome::Lacks(_) | Outcome::NotAsked => return,
    };
    println!("{word:7} {} / {capability}: {rest}", row.name);
}
