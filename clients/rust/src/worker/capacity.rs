//! How many jobs the worker takes.

use std::collections::HashMap;

use super::builder::Settings;
use super::lease::Lease;
use crate::v1;

/// The worker's slots, less those that handlers of an earlier session still take up. The server counts the leases of its
/// session itself; of a session that is over it knows nothing, while a handler of it may run on for long.
#[derive(Default)]
pub(super) struct CapacityBook {
    /// By the turn of the session that they are of, and their number in it.
    orphans: HashMap<(u64, i64), Lease>,
    pub(super) paused: bool,
}

impl CapacityBook {
    pub(super) fn orphan(&mut self, turn: u64, lease: Lease) {
        self.orphans.insert((turn, lease.id), lease);
    }

    /// Takes a handler out. Whether it was an orphan, so that there is more capacity now.
    pub(super) fn ended(&mut self, turn: u64, id: i64) -> bool {
        self.orphans.remove(&(turn, id)).is_some()
    }

    pub(super) fn orphans(&self) -> impl Iterator<Item = &Lease> {
        self.orphans.values()
    }

    /// Absolute, so that nothing can leak.
    pub(super) fn message(&self, settings: &Settings) -> v1::Capacity {
        let left = |slots: u32, taken: usize| {
            i32::try_from(i64::from(slots).saturating_sub_unsigned(taken as u64).max(0)).unwrap_or(i32::MAX)
        };
        let of_kind = |kind: &str| self.orphans().filter(|lease| lease.job.kind() == kind).count();
        v1::Capacity {
            slots: if self.paused { 0 } else { left(settings.concurrency, self.orphans.len()) },
            slots_by_kind: settings
                .slots_by_kind
                .iter()
                .map(|(kind, slots)| (kind.clone(), left(*slots, of_kind(kind))))
                .collect(),
            bytes: 0,
        }
    }
}
