//! Kafka Streams 4.3 with `exactly_once_v2`: windowed counts and sums in state stores, over a
//! repartition topic. The application is killed in the middle, continues elsewhere with nothing but
//! its changelogs, then its broker is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use harness::process::Process;
use harness::{Carrick, Result, kafka, wait_until};

use super::application;
use super::records::{self, Record};
use crate::matrix::Row;

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;
/// Payments of each of the three parts of the story.
const PART: usize = 3000;
const CUSTOMERS: usize = 17;
const MINUTE_MS: i64 = 60_000;

/// The row of Kafka Streams.
pub fn row() -> Row {
    application("Kafka Streams 4.3, exactly_once_v2")
        .cell("killed, resumed from its changelogs, exact", |_| run())
}

/// Payments by customer and minute, as they are fed, to know what must come out.
struct Ledger {
    bootstrap: String,
    started_ms: i64,
    fed: usize,
    counts: BTreeMap<String, u64>,
    sums: BTreeMap<String, Vec<u64>>,
}

impl Ledger {
    fn new(bootstrap: String) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now_ms = i64::try_from(now.as_millis())?;
        Ok(Self {
            bootstrap,
            started_ms: now_ms - now_ms % MINUTE_MS - 10 * MINUTE_MS,
            fed: 0,
            counts: BTreeMap::new(),
            sums: BTreeMap::new(),
        })
    }

    /// Feeds [`PART`] more payments, all in the next minute.
    fn feed(&mut self) -> Result<()> {
        let window_ms = self.started_ms + i64::try_from(self.fed / PART)? * MINUTE_MS;
        let mut payments = Vec::new();
        for number in self.fed..self.fed + PART {
            let customer = format!("customer-{}", number * number % CUSTOMERS);
            let cents = 1 + u64::try_from(number % 97)?;
            *self
                .counts
                .entry(format!("{customer}@{window_ms}"))
                .or_default() += 1;
            self.sums.entry(customer.clone()).or_default().push(cents);
            payments.push(Record {
                partition: i32::try_from(number)? % PARTITIONS,
                offset: -1,
                key: format!("payment-{number}"),
                value: format!("{customer},{cents}"),
            });
        }
        self.fed += PART;
        records::produce(&self.bootstrap, "payments", &payments, window_ms + 1)
    }

    fn output(&self, topic: &str) -> Result<usize> {
        Ok(records::read_all(&self.bootstrap, topic)?.len())
    }

    fn wait_output(&self, at_least: usize, app: &App) -> Result<()> {
        wait_until(&format!("{at_least} records come out"), LIMIT, || {
            let seen = [self.output("counts")?, self.output("sums")?];
            ensure!(!app.has_failed(), "{}", app.process.log_tail());
            let enough = seen.iter().all(|n| *n >= at_least);
            Ok(if enough {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            })
        })
        .with_context(|| app.process.log_tail())
    }

    /// Each payment has counted once: counts of a customer's minute go up one by one, sums by one payment each.
    fn check(&self) -> Result<()> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for record in records::read_all(&self.bootstrap, "counts")? {
            let count = counts.entry(record.key.clone()).or_default();
            *count += 1;
            let said: u64 = record.value.parse()?;
            ensure!(said == *count, "{record:?} comes as number {count}");
        }
        ensure!(counts == self.counts, "{counts:?} is not {:?}", self.counts);
        let mut sums: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in records::read_all(&self.bootstrap, "sums")? {
            sums.entry(record.key)
                .or_default()
                .push(record.value.parse()?);
        }
        for (customer, payments) in &self.sums {
            let said = sums.remove(customer).unwrap_or_default();
            let mut steps: Vec<u64> = said
                .iter()
                .zip([&0].into_iter().chain(&said))
                .map(|(sum, before)| sum.saturating_sub(*before))
                .collect();
            let mut expected = payments.clone();
            steps.sort_unstable();
            expected.sort_unstable();
            ensure!(
                steps == expected,
                "{customer}: {said:?} are not the sums of its payments"
            );
        }
        ensure!(sums.is_empty(), "nobody paid for {sums:?}");
        Ok(())
    }
}

/// One instance of the application, with its own state folder.
struct App {
    process: Process,
}

impl App {
    fn start(bootstrap: &str, folder: &Path, name: &str) -> Result<Self> {
        let state = folder.join(name);
        let mut command = kafka::java_apps("-Xmx256m")?;
        command.args(["Payments", bootstrap, "ledger"]).arg(&state);
        let log = folder.join(format!("{name}.log"));
        let process = Process::spawn("Payments", command, &log)?;
        Ok(Self { process })
    }

    fn log(&self) -> String {
        self.process.log()
    }

    fn has_failed(&self) -> bool {
        self.log().lines().any(|l| l.starts_with("failed "))
    }

    /// Records of its changelogs that a store was restored from.
    fn restored(&self, store: &str) -> u64 {
        let log = self.log();
        let lines = log.lines().filter_map(|l| l.strip_prefix("restored "));
        let words = lines.map(|l| l.split(' ').collect::<Vec<_>>());
        let of_store = words.filter(|w| w.first() == Some(&store));
        of_store.filter_map(|w| w.get(2)?.parse::<u64>().ok()).sum()
    }
}

fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut carrick = Carrick::start_with(&[
        // A killed instance's transaction ends by its timeout; how often that is looked for.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
        "log.cleaner.backoff.ms=200",
    ])?;
    let bootstrap = carrick.bootstrap();
    for topic in ["payments", "counts", "sums"] {
        records::create_topic(&bootstrap, topic, PARTITIONS, &[])?;
    }
    let mut ledger = Ledger::new(bootstrap.clone())?;
    ledger.feed()?;
    let mut first = App::start(&bootstrap, folder.path(), "first")?;
    ledger.wait_output(PART / 2, &first)?;
    ledger.feed()?;
    first.process.kill();
    let (counted, fed) = (ledger.output("counts")?, ledger.fed);
    ensure!(
        counted < fed,
        "it was killed too late: {counted} of {fed} were counted"
    );

    wait_compacted(&bootstrap, counted)?;

    let second = App::start(&bootstrap, folder.path(), "second")?;
    ledger.wait_output(ledger.fed, &second)?;
    for store in ["count-store", "sum-store"] {
        ensure!(
            second.restored(store) > 0,
            "{store} came from nowhere:\n{}",
            second.log()
        );
    }
    ledger.feed()?;
    carrick.kill();
    carrick.restart()?;
    ledger.wait_output(ledger.fed, &second)?;
    ledger.check()?;
    wait_purged(&bootstrap)?;
    internal_topics(&bootstrap)
}

/// The sums' changelog had a record for each payment that was counted; what a later one has replaced goes.
fn wait_compacted(bootstrap: &str, counted: usize) -> Result<()> {
    wait_until("the changelog of the sums is compacted", LIMIT, || {
        let left = records::read_all(bootstrap, "ledger-sum-store-changelog")?.len();
        let done = left < counted * 3 / 4;
        Ok(if done {
            Ok(())
        } else {
            Err(format!("{left} of {counted} are left"))
        })
    })
}

/// Streams deletes what it has repartitioned.
fn wait_purged(bootstrap: &str) -> Result<()> {
    wait_until("the repartition topic is purged", LIMIT, || {
        let (start, end) = records::ends(bootstrap, "ledger-by-customer-repartition", 0)?;
        Ok(if start > 0 {
            Ok(())
        } else {
            Err(format!("{start} to {end}"))
        })
    })
}

fn internal_topics(bootstrap: &str) -> Result<()> {
    for (topic, policy) in [
        ("ledger-by-customer-repartition", "delete"),
        ("ledger-sum-store-changelog", "compact"),
        ("ledger-count-store-changelog", "compact,delete"),
    ] {
        let found = records::topic_config(bootstrap, topic, "cleanup.policy")?;
        ensure!(found.as_deref() == Some(policy), "{topic}: {found:?}");
    }
    Ok(())
}
