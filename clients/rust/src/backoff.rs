//! Waits that spread callers apart.

use std::time::Duration;

/// Decorrelated jitter: each wait is between the base and three times the one before, up to a cap.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    previous: Duration,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, previous: base }
    }

    /// Between calls of a client.
    pub(crate) fn of_calls() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// Between a worker's tries, to connect and to settle.
    pub(crate) fn of_worker() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// Between tries to change a schedule that other programs change as well.
    pub(crate) fn of_changes() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_millis(500))
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let span = (self.previous * 3).saturating_sub(self.base);
        self.previous = self.cap.min(self.base + span.mul_f64(random_fraction()));
        self.previous
    }

    /// Starts anew from the base, after a success.
    pub(crate) fn reset(&mut self) {
        self.previous = self.base;
    }
}

/// 0..1. A system without random numbers has no spread, and works.
pub(crate) fn random_fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_between_the_base_and_three_times_the_one_before() {
        let mut waits = Backoff::of_worker();
        let mut before = Duration::from_millis(100);
        for _ in 0..1000 {
            let wait = waits.next();
            assert!(wait >= Duration::from_millis(100));
            assert!(wait <= (before * 3).min(Duration::from_secs(5)));
            before = wait;
        }
        waits.reset();
        assert!(waits.next() <= Duration::from_millis(300));
    }
}
