//! `max.connection.creation.rate`: new connections per second, of the broker and of each listener
//! (KIP-612). A listener that is over its rate, or the broker's, accepts nothing for a while.

use parking_lot::Mutex;

use crate::config::Values;
use crate::quota::rate::{Rate, Window};

const NAME: &str = "max.connection.creation.rate";

/// How many connections have been accepted lately.
pub(super) struct Rates {
    window: Window,
    all: Mutex<Rate>,
    /// In the order of `Broker::endpoints`.
    by_listener: Vec<Mutex<Rate>>,
}

impl Rates {
    pub(super) fn new(values: &Values, listeners: usize) -> Self {
        let samples = values.size("quota.window.num");
        Self {
            window: Window::new(samples, values.long("quota.window.size.seconds")),
            all: Mutex::default(),
            by_listener: std::iter::repeat_with(Mutex::default)
                .take(listeners)
                .collect(),
        }
    }

    /// Records a new connection; how long its listener should accept no other, in ms.
    pub(super) fn record(&self, listener: (usize, &str), values: &Values, now_ms: i64) -> u64 {
        let (index, name) = listener;
        let own = values.listener(name).own(NAME);
        let own = own.and_then(|max| max.parse().ok());
        let own = self.by_listener.get(index).zip(own);
        let all = Some((&self.all, values.long(NAME)));
        let waits_ms = [own, all].into_iter().flatten().map(|(rate, max)| {
            if max >= i64::from(i32::MAX) {
                return 0;
            }
            let mut rate = rate.lock();
            rate.record(self.window, 1.0, now_ms);
            rate.delay_ms(self.window, max as f64, now_ms)
        });
        let wait_ms = waits_ms.max().unwrap_or_default();
        u64::try_from(wait_ms).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    #[test]
    fn a_listener_over_its_rate_or_the_brokers_waits_and_others_only_for_the_broker() {
        let values = values(&[
            "max.connection.creation.rate=20",
            "listener.name.a.max.connection.creation.rate=2",
        ]);
        let rates = Rates::new(&values, 2);
        let record = |index: usize| rates.record((index, ["A", "B"][index]), &values, 1_000);
        // A burst of ten seconds' worth is not held up.
        assert!((0..20).all(|_| record(0) == 0));
        assert!(record(0) > 0);
        assert!((0..170).all(|_| record(1) == 0));
        assert!((0..40).any(|_| record(1) > 0));
    }

    #[test]
    fn without_a_rate_nothing_is_held_up() {
        let values = values(&[]);
        let rates = Rates::new(&values, 1);
        assert!((0..10_000).all(|_| rates.record((0, "A"), &values, 0) == 0));
    }
}
