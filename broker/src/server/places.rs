//! Places for connections: in all, per listener and per address, and for clients that are not known
//! yet because they have not shaken hands or logged in.
//!
//! Invariants:
//! - Whoever is not known yet gives way when a newcomer needs the place: the one that came first,
//!   unless it came only a moment ago. A known client never gives way.
//! - One network has at most half of the places for unknown clients: an IPv4 address, or 64 bits of an
//!   IPv6 address, because one client may have them all.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::audit::network;
use crate::config::def::list;
use crate::config::{ConfigError, Values};

/// How long a client that is not known yet keeps its place in any case: honest ones need no longer.
const GRACE: Duration = Duration::from_secs(3);

/// Most addresses in `max.connections.per.ip.overrides`.
const OVERRIDES_MAX: usize = 10_000;

const OVERRIDES: &str = "max.connections.per.ip.overrides";

/// All places, and who has them.
pub(super) struct Places {
    open_files: usize,
    grace: Duration,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    by_listener: HashMap<usize, usize>,
    by_ip: HashMap<IpAddr, usize>,
    unknown_by_network: HashMap<IpAddr, usize>,
    /// Clients that are not known yet, by the order in which they came.
    unknown: BTreeMap<u64, Unknown>,
    next: u64,
    overrides: Overrides,
}

struct Unknown {
    ip: IpAddr,
    listener: usize,
    since: Instant,
    cut: Arc<Notify>,
}

/// Who asks for a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer<'a> {
    pub(super) ip: IpAddr,
    /// The listener's index and name.
    pub(super) listener: (usize, &'a str),
    /// Whether it has to shake hands or log in first.
    pub(super) is_unknown: bool,
}

/// Which places have run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("max.connections is reached")]
    All,
    #[error("the listener's max.connections is reached")]
    Listener,
    #[error("max.connections.per.ip is reached")]
    Address,
    #[error("max.connections.unauthenticated is reached")]
    Unknown,
}

/// One connection's place; released on drop.
pub(super) struct Slot {
    places: Arc<Places>,
    id: u64,
    pub(super) ip: IpAddr,
    listener: usize,
    is_known: AtomicBool,
    cut: Arc<Notify>,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let open_files =
            open_files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Self::with(open_files, GRACE)
    }

    fn with(open_files: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            open_files,
            grace,
            taken: Mutex::default(),
        })
    }

    /// A place for a newcomer; somebody else may have to go.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn admit(
        self: &Arc<Self>,
        who: Newcomer<'_>,
        values: &Values,
    ) -> Result<Slot, Full> {
        let (listener, name) = who.listener;
        // Logs need files, too, and a roll that finds none would fail.
        let max = values.size("max.connections").min(self.open_files / 2);
        let max_here = values.listener(name).own("max.connections");
        let max_here = max_here.and_then(|max| max.parse().ok());
        let max_unknown = values.size("max.connections.unauthenticated");
        let mut taken = self.taken.lock();
        let max_per_ip = taken.overrides.max(who.ip, values);
        if who.is_unknown {
            let share = (max_unknown / 2).max(1);
            let own = network(who.ip);
            while count(&taken.unknown_by_network, own) >= share {
                let is_there = |it: &Unknown| network(it.ip) == own;
                taken.make_room(self.grace, Full::Unknown, is_there)?;
            }
            while taken.unknown.len() >= max_unknown.max(1) {
                taken.make_room(self.grace, Full::Unknown, |_| true)?;
            }
        }
        while count(&taken.by_ip, who.ip) >= max_per_ip {
            taken.make_room(self.grace, Full::Address, |it| it.ip == who.ip)?;
        }
        let here = |taken: &Taken| taken.by_listener.get(&listener).copied();
        while here(&taken).unwrap_or_default() >= max_here.unwrap_or(usize::MAX) {
            taken.make_room(self.grace, Full::Listener, |it| it.listener == listener)?;
        }
        while taken.count >= max {
            taken.make_room(self.grace, Full::All, |_| true)?;
        }
        let (id, cut) = taken.take(&who);
        drop(taken);
        Ok(Slot {
            places: Arc::clone(self),
            id,
            ip: who.ip,
            listener,
            is_known: AtomicBool::new(!who.is_unknown),
            cut,
        })
    }
}

fn count(counts: &HashMap<IpAddr, usize>, of: IpAddr) -> usize {
    counts.get(&of).copied().unwrap_or_default()
}

fn uncount(counts: &mut HashMap<IpAddr, usize>, of: IpAddr) {
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

impl Taken {
    fn take(&mut self, who: &Newcomer<'_>) -> (u64, Arc<Notify>) {
        let (id, cut) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        self.count += 1;
        let listener = who.listener.0;
        *self.by_listener.entry(listener).or_default() += 1;
        *self.by_ip.entry(who.ip).or_default() += 1;
        if who.is_unknown {
            *self.unknown_by_network.entry(network(who.ip)).or_default() += 1;
            let unknown = Unknown {
                ip: who.ip,
                listener,
                since: Instant::now(),
                cut: Arc::clone(&cut),
            };
            self.unknown.insert(id, unknown);
        }
        self.show();
        (id, cut)
    }

    /// Cuts off the client that came first of those that `may` go and are not known yet.
    fn make_room(
        &mut self,
        grace: Duration,
        full: Full,
        may: impl Fn(&Unknown) -> bool,
    ) -> Result<(), Full> {
        let first = self.unknown.iter().find(|(_, it)| may(it));
        let (id, it) = first
            .filter(|(_, it)| it.since.elapsed() >= grace)
            .ok_or(full)?;
        it.cut.notify_one();
        let (id, ip, listener) = (*id, it.ip, it.listener);
        metrics::counter!("carrick_unauthenticated_connections_cut_total").increment(1);
        self.known(id, ip);
        self.release(ip, listener);
        Ok(())
    }

    /// The client is not one of the unknown any more; whether it was.
    fn known(&mut self, id: u64, ip: IpAddr) -> bool {
        let was_unknown = self.unknown.remove(&id).is_some();
        if was_unknown {
            uncount(&mut self.unknown_by_network, network(ip));
        }
        was_unknown
    }

    fn release(&mut self, ip: IpAddr, listener: usize) {
        self.count -= 1;
        if let Some(here) = self.by_listener.get_mut(&listener) {
            *here -= 1;
        }
        uncount(&mut self.by_ip, ip);
        self.show();
    }

    fn show(&self) {
        metrics::gauge!("carrick_connections").set(self.count as f64);
        metrics::gauge!("carrick_unauthenticated_connections").set(self.unknown.len() as f64);
    }
}

impl Slot {
    /// The client has shaken hands and logged in. False: it has lost its place before.
    pub(super) fn known(&self) -> bool {
        let mut taken = self.places.taken.lock();
        if taken.known(self.id, self.ip) {
            self.is_known.store(true, Ordering::Relaxed);
            taken.show();
        }
        self.is_known.load(Ordering::Relaxed)
    }

    /// Returns when the client has to go.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

#[cfg(test)]
impl Slot {
    /// The place of a known client with that address.
    pub(super) fn of_address(ip: [u8; 4]) -> Self {
        let newcomer = Newcomer {
            ip: ip.into(),
            listener: (0, "X"),
            is_unknown: false,
        };
        let values = crate::testing::values(&[]);
        Places::new().admit(newcomer, &values).unwrap()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        let was_unknown = taken.known(self.id, self.ip);
        // Whoever has given way has no place any more.
        if was_unknown || self.is_known.load(Ordering::Relaxed) {
            taken.release(self.ip, self.listener);
        }
    }
}

/// `max.connections.per.ip.overrides`, as it was read last.
#[derive(Default)]
struct Overrides {
    text: String,
    by_ip: HashMap<IpAddr, usize>,
}

impl Overrides {
    fn max(&mut self, ip: IpAddr, values: &Values) -> usize {
        let text = values.text(OVERRIDES).unwrap_or_default();
        if text != self.text {
            self.by_ip = overrides(&text).unwrap_or_default();
            self.text = text;
        }
        let own = self.by_ip.get(&ip.to_canonical()).copied();
        own.unwrap_or_else(|| values.size("max.connections.per.ip"))
    }
}

/// Checks `max.connections.per.ip.overrides`.
///
/// # Errors
/// It is no list of addresses with their numbers.
pub(super) fn check(values: &Values) -> Result<(), ConfigError> {
    let text = values.text(OVERRIDES).unwrap_or_default();
    let read = overrides(&text).map(drop);
    read.map_err(|reason| ConfigError::value(OVERRIDES, &text, reason))
}

fn overrides(text: &str) -> Result<HashMap<IpAddr, usize>, String> {
    let mut by_ip = HashMap::new();
    for item in list(text) {
        let wrong = || format!("'{item}' is not address:number (names of hosts are not looked up)");
        let (ip, max) = item.rsplit_once(':').ok_or_else(wrong)?;
        let ip = ip.trim().trim_start_matches('[').trim_end_matches(']');
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        by_ip.insert(ip.to_canonical(), max.trim().parse().map_err(|_| wrong())?);
        if by_ip.len() > OVERRIDES_MAX {
            return Err(format!("has more than {OVERRIDES_MAX} addresses"));
        }
    }
    Ok(by_ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    struct Door {
        places: Arc<Places>,
        values: Values,
    }

    impl Door {
        fn new(grace: Duration, properties: &[&str]) -> Self {
            Self {
                places: Places::with(10_000, grace),
                values: values(properties),
            }
        }

        fn admit(&self, last: u8, listener: usize, is_unknown: bool) -> Result<Slot, Full> {
            self.admit_from(ip(last), listener, is_unknown)
        }

        fn admit_from(&self, ip: IpAddr, listener: usize, is_unknown: bool) -> Result<Slot, Full> {
            let name = ["INSIDE", "OUTSIDE"][listener];
            let newcomer = Newcomer {
                ip,
                listener: (listener, name),
                is_unknown,
            };
            self.places.admit(newcomer, &self.values)
        }

        fn known(&self, last: u8) -> Result<Slot, Full> {
            self.admit(last, 0, false)
        }

        fn unknown(&self, last: u8) -> Result<Slot, Full> {
            self.admit(last, 0, true)
        }
    }

    async fn is_cut(slot: &Slot) -> bool {
        tokio::time::timeout(Duration::ZERO, slot.cut())
            .await
            .is_ok()
    }

    #[test]
    fn connections_are_counted_in_all_by_listener_and_by_address() {
        let door = Door::new(
            GRACE,
            &[
                "max.connections=4",
                "max.connections.per.ip=2",
                "max.connections.per.ip.overrides=10.0.0.3:1, ::ffff:10.0.0.4:0",
                "listener.name.outside.max.connections=1",
            ],
        );
        let first = door.known(1).unwrap();
        let _second = door.known(1).unwrap();
        assert_eq!(door.known(1).err(), Some(Full::Address));
        let _third = door.known(3).unwrap();
        assert_eq!(door.known(3).err(), Some(Full::Address));
        assert_eq!(door.known(4).err(), Some(Full::Address));
        let _outside = door.admit(2, 1, false).unwrap();
        assert_eq!(door.known(2).err(), Some(Full::All));
        drop(first);
        assert_eq!(door.admit(2, 1, false).err(), Some(Full::Listener));
        assert!(door.known(1).is_ok());
    }

    #[tokio::test]
    async fn whoever_is_not_known_yet_gives_way_and_a_known_one_never() {
        let door = Door::new(Duration::ZERO, &["max.connections=2"]);
        let (known, unknown) = (door.unknown(1).unwrap(), door.unknown(2).unwrap());
        assert!(known.known());
        let next = door.known(3).unwrap();
        assert!(is_cut(&unknown).await && !is_cut(&known).await);
        assert_eq!(door.known(4).err(), Some(Full::All));
        // Its place was given away already.
        assert!(!unknown.known());
        drop(unknown);
        assert_eq!(door.known(4).err(), Some(Full::All));
        drop(next);
        assert!(door.known(4).is_ok());
    }

    #[tokio::test]
    async fn one_address_has_half_of_the_places_for_the_unknown() {
        let door = Door::new(Duration::ZERO, &["max.connections.unauthenticated=4"]);
        let first = door.unknown(1).unwrap();
        let second = door.unknown(1).unwrap();
        let other = door.unknown(2).unwrap();
        let third = door.unknown(1).unwrap();
        assert!(is_cut(&first).await && !is_cut(&second).await && !is_cut(&other).await);
        let _more = [door.unknown(3).unwrap(), door.unknown(4).unwrap()];
        assert!(is_cut(&second).await, "the first of all");
        assert!(!is_cut(&third).await && !is_cut(&other).await);
    }

    #[test]
    fn whoever_came_a_moment_ago_stays() {
        let door = Door::new(GRACE, &["max.connections.unauthenticated=4"]);
        let _mine = [door.unknown(1).unwrap(), door.unknown(1).unwrap()];
        assert_eq!(door.unknown(1).err(), Some(Full::Unknown));
        let _theirs = [door.unknown(2).unwrap(), door.unknown(2).unwrap()];
        assert_eq!(door.unknown(3).err(), Some(Full::Unknown));
        assert!(door.known(1).is_ok(), "on a listener without login");
    }

    #[test]
    fn overrides_that_are_no_addresses_are_refused() {
        for wrong in ["10.0.0.1", "localhost:5", "10.0.0.1:x", ":5"] {
            let error = check(&values(&[&format!("{OVERRIDES}={wrong}")])).unwrap_err();
            assert!(error.to_string().contains("address:number"), "{error}");
        }
        assert!(check(&values(&[&format!("{OVERRIDES}=[::1]:5,::2:7,1.2.3.4:0")])).is_ok());
    }

    #[test]
    fn a_client_with_many_addresses_of_a_network_has_no_more_than_one_address() {
        let overrides = [
            "max.connections.unauthenticated=4",
            "max.connections.per.ip=1",
        ];
        let door = Door::new(GRACE, &overrides);
        let come = |text: &str| door.admit_from(text.parse().unwrap(), 0, true);
        let _mine = [come("2001:db8::1").unwrap(), come("2001:db8::2").unwrap()];
        assert_eq!(come("2001:db8::ffff:3").err(), Some(Full::Unknown));
        assert!(come("2001:db8:0:1::1").is_ok() && come("10.0.0.1").is_ok());
        // Those who are known are counted by address alone.
        let third = door.admit_from("2001:db8::3".parse().unwrap(), 0, false);
        assert!(third.is_ok());
    }

    proptest::proptest! {
        /// Whatever comes, logs in and leaves: the counts are those of who is there.
        #[test]
        fn the_books_balance(steps in proptest::collection::vec(
            (0u8..4, 0usize..2, proptest::bool::ANY, 0usize..3, 0usize..12), 1..200,
        )) {
            let door = Door::new(Duration::ZERO, &[
                "max.connections=9", "max.connections.per.ip=4", "max.connections.unauthenticated=4",
            ]);
            let mut slots: Vec<Slot> = Vec::new();
            for (last, listener, is_unknown, what, which) in steps {
                match what {
                    0 => slots.extend(door.admit(last, listener, is_unknown).ok()),
                    1 if which < slots.len() => drop(slots[which].known()),
                    _ if which < slots.len() => drop(slots.swap_remove(which)),
                    _ => {}
                }
                let taken = door.places.taken.lock();
                let unknown = taken.unknown.len();
                let known = slots.iter().filter(|slot| slot.is_known.load(Ordering::Relaxed)).count();
                proptest::prop_assert_eq!(taken.count, known + unknown);
                proptest::prop_assert!(taken.count <= 9 && unknown <= 4);
                proptest::prop_assert_eq!(taken.by_listener.values().sum::<usize>(), taken.count);
                let (all, unknown_ones) = (&taken.by_ip, &taken.unknown_by_network);
                proptest::prop_assert_eq!(all.values().sum::<usize>(), taken.count);
                proptest::prop_assert_eq!(unknown_ones.values().sum::<usize>(), unknown);
                proptest::prop_assert!(all.values().all(|count| (1..=4).contains(count)));
                proptest::prop_assert!(unknown_ones.values().all(|count| (1..=2).contains(count)));
            }
        }
    }
}
