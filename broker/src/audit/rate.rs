//! How many refusals may be noted: per address, so that one does not hide the others', and in all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Of one address, in all at once and per second.
const ADDRESS_BURST: u32 = 100;
const ADDRESS_PER_SECOND: u32 = 10;

/// Of all addresses together.
const TOTAL_BURST: u32 = 1_000;
const TOTAL_PER_SECOND: u32 = 200;

/// Addresses that are remembered. Those that have not been refused for a while are forgotten first.
const ADDRESSES_MAX: usize = 4_096;

/// Tokens that fill up again with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    at: Instant,
}

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self {
            tokens: burst,
            at: now,
        }
    }

    fn take(&mut self, (burst, per_second): (u32, u32), now: Instant) -> bool {
        let millis = now.saturating_duration_since(self.at).as_millis();
        let new = millis.saturating_mul(u128::from(per_second)) / 1_000;
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if new > 0 {
            self.tokens = self.tokens.saturating_add(new).min(burst);
            self.at = now;
        }
        let has = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        has
    }
}

/// What is left for each address, and for all.
#[derive(Debug, Default)]
pub struct Rates {
    addresses: HashMap<IpAddr, Bucket>,
    total: Option<Bucket>,
}

impl Rates {
    /// Whether one more refusal of an address is noted.
    pub fn admit(&mut self, from: IpAddr, now: Instant) -> bool {
        let from = network(from);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&from) {
            self.forget(now);
        }
        let bucket = self
            .addresses
            .entry(from)
            .or_insert_with(|| Bucket::full(ADDRESS_BURST, now));
        if !bucket.take((ADDRESS_BURST, ADDRESS_PER_SECOND), now) {
            return false;
        }
        let total = self
            .total
            .get_or_insert_with(|| Bucket::full(TOTAL_BURST, now));
        total.take((TOTAL_BURST, TOTAL_PER_SECOND), now)
    }

    /// Forgets those whose bucket is full again, or all.
    fn forget(&mut self, now: Instant) {
        let full = Duration::from_secs(u64::from(ADDRESS_BURST / ADDRESS_PER_SECOND));
        self.addresses
            .retain(|_, bucket| now.saturating_duration_since(bucket.at) < full);
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
    }
}

/// The network that one client has: an IPv4 address, or 64 bits of an IPv6 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_does_not_hide_the_refusals_of_another() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let noted = |rates: &mut Rates, last, now| {
            let tries = 0..3 * ADDRESS_BURST;
            tries.filter(|_| rates.admit(address(last), now)).count()
        };
        assert_eq!(noted(&mut rates, 1, now), ADDRESS_BURST as usize);
        assert_eq!(noted(&mut rates, 2, now), ADDRESS_BURST as usize);
        let later = now + Duration::from_secs(1);
        assert_eq!(noted(&mut rates, 1, later), ADDRESS_PER_SECOND as usize);
        let all: usize = (3..=255).map(|last| noted(&mut rates, last, later)).sum();
        assert!(all <= (TOTAL_BURST + TOTAL_PER_SECOND) as usize, "{all}");
    }

    #[test]
    fn few_addresses_are_remembered() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        for at in 0..100_000u32 {
            rates.admit(IpAddr::from(at.to_be_bytes()), now);
            assert!(rates.addresses.len() <= ADDRESSES_MAX);
        }
        let six = |text: &str| network(text.parse().unwrap());
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
        assert_eq!(six("::ffff:10.0.0.7"), address(7));
    }
}
