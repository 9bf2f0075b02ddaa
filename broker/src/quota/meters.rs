//! What clients have used, against their quotas.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::bucket::Bucket;
use super::rate::{Rate, Window};
use super::table::{InForce, Kind, Payer, Table};
use crate::config::Values;
use crate::metadata::{Metadata, MetadataError, Version};

/// Number of meters of one kind below which idle ones are not removed.
const SWEEP_FROM: usize = 1_024;

/// Client quotas, and what is used of them.
pub struct Quotas {
    pub(super) metadata: Metadata,
    /// Up to where `in_force` follows what is stored. One change at a time holds it.
    pub(super) seen: Mutex<Version>,
    in_force: ArcSwap<Installed>,
    window: Window,
    mutation_window: Window,
    rates: Mutex<Meters<(Kind, Payer), Rate>>,
    buckets: Mutex<Meters<Payer, Bucket>>,
    connections: Mutex<Meters<IpAddr, Rate>>,
}

/// The table, with what every request asks of it first.
struct Installed {
    table: Arc<Table>,
    /// The kinds that any entity has a quota of.
    produce: bool,
    fetch: bool,
    request: bool,
    mutation: bool,
    connection: bool,
}

impl Installed {
    fn new(table: Table) -> Self {
        Self {
            produce: table.has(Kind::Produce),
            fetch: table.has(Kind::Fetch),
            request: table.has(Kind::Request),
            mutation: table.has(Kind::ControllerMutation),
            connection: table.has(Kind::Connection),
            table: Arc::new(table),
        }
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Produce => self.produce,
            Kind::Fetch => self.fetch,
            Kind::Request => self.request,
            Kind::ControllerMutation => self.mutation,
            Kind::Connection => self.connection,
        }
    }
}

/// Meters by the entity that they count for. Idle ones are removed when there are twice as many as
/// were left last time.
struct Meters<K, M> {
    by_key: HashMap<K, M>,
    sweep_at: usize,
}

impl<K, M> Default for Meters<K, M> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            sweep_at: SWEEP_FROM,
        }
    }
}

impl<K: Eq + Hash, M: Default> Meters<K, M> {
    fn get(&mut self, key: K, is_idle: impl Fn(&mut M) -> bool) -> &mut M {
        if self.by_key.len() >= self.sweep_at {
            self.by_key.retain(|_, meter| !is_idle(meter));
            self.sweep_at = (self.by_key.len() * 2).max(SWEEP_FROM);
        }
        self.by_key.entry(key).or_default()
    }
}

impl Quotas {
    /// Loads what is stored.
    ///
    /// # Errors
    /// RocksDB cannot be read.
    pub fn open(metadata: Metadata, config: &Values) -> Result<Self, MetadataError> {
        let window = |samples, seconds| Window::new(config.size(samples), config.long(seconds));
        let quotas = Self {
            metadata,
            seen: Mutex::default(),
            in_force: ArcSwap::from_pointee(Installed::new(Table::default())),
            window: window("quota.window.num", "quota.window.size.seconds"),
            mutation_window: window(
                "controller.quota.window.num",
                "controller.quota.window.size.seconds",
            ),
            rates: Mutex::default(),
            buckets: Mutex::default(),
            connections: Mutex::default(),
        };
        quotas.follow(&mut quotas.seen.lock())?;
        Ok(quotas)
    }

    /// The current quotas.
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.in_force.load().table)
    }

    pub(super) fn install(&self, table: Table) {
        self.in_force.store(Arc::new(Installed::new(table)));
    }

    /// Whether there is any quota of this kind: if not, nothing needs to be measured.
    pub fn is_limited(&self, kind: Kind) -> bool {
        self.in_force.load().has(kind)
    }

    fn limit(&self, kind: Kind, user: &str, client: &str) -> Option<InForce> {
        let installed = self.in_force.load();
        if !installed.has(kind) {
            return None;
        }
        installed.table.in_force(kind, user, client)
    }

    /// Records bytes; how long the client should wait, in ms.
    pub fn record(&self, kind: Kind, user: &str, client: &str, amount: f64, now_ms: i64) -> i64 {
        let Some(InForce { payer, limit }) = self.limit(kind, user, client) else {
            return 0;
        };
        let window = self.window;
        let mut rates = self.rates.lock();
        let rate = rates.get((kind, payer), |rate| rate.is_idle(window, now_ms));
        rate.record(window, amount, now_ms);
        rate.delay_ms(window, limit, now_ms)
    }

    /// Records bytes of an answer that is only given if that needs no wait; else how long the
    /// client should wait, in ms, and nothing is recorded.
    ///
    /// # Errors
    /// The wait.
    pub fn record_or_wait(
        &self,
        kind: Kind,
        user: &str,
        client: &str,
        amount: f64,
        now_ms: i64,
    ) -> Result<(), i64> {
        match self.record(kind, user, client, amount, now_ms) {
            ..=0 => Ok(()),
            wait_ms => {
                self.record(kind, user, client, -amount, now_ms);
                Err(wait_ms)
            }
        }
    }

    /// The most that is guaranteed to be available without a wait.
    pub fn most_at_once(&self, kind: Kind, user: &str, client: &str) -> Option<f64> {
        let in_force = self.limit(kind, user, client)?;
        Some(in_force.limit * self.window.burst_seconds())
    }

    /// Records the time that a request kept a thread busy; how long the client should wait, in ms,
    /// at most one sample.
    pub fn record_request(&self, user: &str, client: &str, busy: Duration, now_ms: i64) -> i64 {
        let percent = busy.as_secs_f64() * 100.0;
        let wait_ms = self.record(Kind::Request, user, client, percent, now_ms);
        wait_ms.min(self.window.sample_ms)
    }

    /// Takes this many partitions' worth of changes.
    ///
    /// # Errors
    /// With `strict`, how long the client should wait before it tries again, in ms.
    pub fn take_mutations(
        &self,
        user: &str,
        client: &str,
        partitions: usize,
        strict: bool,
        now_ms: i64,
    ) -> Result<i64, i64> {
        let Some(InForce { payer, limit }) = self.limit(Kind::ControllerMutation, user, client)
        else {
            return Ok(0);
        };
        let window = self.mutation_window;
        let mut buckets = self.buckets.lock();
        let bucket = buckets.get(payer, |bucket| bucket.is_full(window, limit, now_ms));
        match strict {
            true => bucket
                .take(window, limit, partitions as f64, now_ms)
                .map(|()| 0),
            false => Ok(bucket.take_anyway(window, limit, partitions as f64, now_ms)),
        }
    }

    /// Records a new connection from an address; how long it is kept waiting before it is closed, in
    /// ms, or 0 when it is welcome (KIP-612).
    pub fn record_connection(&self, ip: IpAddr, now_ms: i64) -> i64 {
        let installed = self.in_force.load();
        if !installed.has(Kind::Connection) {
            return 0;
        }
        let Some(limit) = installed.table.connection_rate(&ip.to_string()) else {
            return 0;
        };
        let window = self.window;
        let mut connections = self.connections.lock();
        let rate = connections.get(ip, |rate| rate.is_idle(window, now_ms));
        rate.record(window, 1.0, now_ms);
        let wait_ms = rate.delay_ms(window, limit, now_ms);
        if wait_ms > 0 {
            // A refused one does not count.
            rate.record(window, -1.0, now_ms);
        }
        wait_ms.min(window.sample_ms)
    }
}
