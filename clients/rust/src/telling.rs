//! Tells an observer, off the paths that it observes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::worker::Observer;

/// So many events wait at most; more are dropped, and counted.
pub(crate) const MOST: usize = 10_000;

type Event = Box<dyn FnOnce(&dyn Observer) + Send>;

/// Tells an observer, one event at a time and in their order, in a thread of its own: it is the program's, may block, and
/// must hold up no heartbeat and no call. The default has none, and makes nothing for it. The thread ends with the last
/// clone.
#[derive(Clone, Default)]
pub(crate) struct Telling(Option<Arc<Line>>);

struct Line {
    events: SyncSender<Event>,
    dropped: AtomicU64,
}

impl Telling {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        let (events, waiting) = sync_channel(MOST);
        let named = thread::Builder::new().name("jobqueue-observer".to_owned());
        if let Err(error) = named.spawn(move || tell_all(&*observer, &waiting)) {
            tracing::error!(%error, "the observer gets no thread, and is told of nothing");
        }
        Self(Some(Arc::new(Line { events, dropped: AtomicU64::new(0) })))
    }

    /// Whether there is an observer. Without one no event need be made.
    pub(crate) fn on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells it of an event, later. Does not wait.
    pub(crate) fn tell(&self, event: impl FnOnce(&dyn Observer) + Send + 'static) {
        if let Some(line) = &self.0
            && line.events.try_send(Box::new(event)).is_err()
        {
            line.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |line| line.dropped.load(Ordering::Relaxed))
    }

    /// Waits a while until what came before was told.
    pub(crate) async fn flush(&self, within: Duration) {
        if let Some(line) = &self.0 {
            let (told, tells) = oneshot::channel::<()>();
            if line.events.try_send(Box::new(move |_| drop(told))).is_ok() {
                let _ = timeout(within, tells).await;
            }
        }
    }
}

fn tell_all(observer: &dyn Observer, events: &Receiver<Event>) {
    let mut failed = false;
    while let Ok(event) = events.recv() {
        if catch_unwind(AssertUnwindSafe(|| event(observer))).is_err() && !std::mem::replace(&mut failed, true) {
            tracing::error!("the observer has panicked; it is told on, and this is not said again");
        }
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Telling").field(&self.on()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    struct Deaf;

    impl Observer for Deaf {}

    #[tokio::test]
    async fn events_beyond_ten_thousand_are_dropped_and_counted_and_a_panic_ends_nothing() {
        let telling = Telling::new(Arc::new(Deaf));
        let (open, gate) = channel::<()>();
        let (begun, begins) = channel();
        telling.tell(move |_| {
            begun.send(()).unwrap();
            gate.recv().unwrap();
            panic!("an observer that fails does no harm");
        });
        begins.recv().unwrap();
        let (told, tells) = channel();
        for number in 0..MOST + 7 {
            let told = told.clone();
            telling.tell(move |_| told.send(number).unwrap());
        }
        drop(told);
        assert_eq!(telling.dropped(), 7);
        open.send(()).unwrap();
        assert!(tells.iter().eq(0..MOST));
        telling.flush(Duration::from_secs(10)).await;
    }
}
