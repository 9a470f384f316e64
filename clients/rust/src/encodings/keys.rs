//! Keys by their names: those that are given, or those of a function that may be slow.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::timeout;

use super::Boxed;
use crate::encoded::{key_unknown, local};
use crate::errors::{Error, ErrorKind};

/// So long a key of a function is kept, and so long that it has none.
const KEPT: Duration = Duration::from_secs(300);
const MISSING: Duration = Duration::from_secs(15);
/// So long a function has.
const WITHIN: Duration = Duration::from_secs(30);
/// So often it is asked where the runtime ends in which it was.
const TRIES: usize = 3;
/// So many of them are kept: names come from who enqueues.
const MOST_KEPT: usize = 256;

type Answer = Result<Option<Bytes>, Error>;
/// `None`: the runtime has ended in which it was asked.
type Waiting = Shared<BoxFuture<'static, Option<Answer>>>;

/// No key is in a form of it for people, so it has none.
pub(super) enum Keys {
    Given(HashMap<String, Bytes>),
    Asked(Arc<Asked>),
}

impl Keys {
    pub(super) fn of<N: Into<String>>(keys: impl IntoIterator<Item = (N, [u8; 32])>) -> Self {
        let keys = keys.into_iter().map(|(name, key)| (name.into(), Bytes::copy_from_slice(&key)));
        Self::Given(keys.collect())
    }

    pub(super) fn asking<F, R, E>(ask: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<[u8; 32]>, E>> + Send + 'static,
        E: Into<Boxed>,
    {
        let ask = move |name| {
            let answer = ask(name);
            async move {
                match answer.await {
                    Ok(key) => Ok(key.map(|key| Bytes::copy_from_slice(&key))),
                    Err(error) => Err(failed(&error.into().to_string())),
                }
            }
            .boxed()
        };
        Self::Asked(Arc::new(Asked { ask: Box::new(ask), within: WITHIN, known: Mutex::default() }))
    }

    /// Whether a key is there without asking.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self, Self::Given(keys) if keys.contains_key(name))
    }

    /// A key. An error: there is none, or what the function failed with.
    pub(super) async fn get(&self, name: &str) -> Result<Bytes, Error> {
        let found = match self {
            Self::Given(keys) => keys.get(name).cloned(),
            Self::Asked(asked) => asked.get(name).await?,
        };
        found.ok_or_else(|| key_unknown(name))
    }
}

/// Keys of a function.
pub(super) struct Asked {
    ask: Box<dyn Fn(String) -> BoxFuture<'static, Answer> + Send + Sync>,
    /// So long each question has.
    within: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    kept: Kept,
    asking: HashMap<String, Waiting>,
}

impl Asked {
    async fn get(self: &Arc<Self>, name: &str) -> Answer {
        if !is_name(name) {
            return Ok(None);
        }
        for _ in 0..TRIES {
            let waiting = {
                let mut known = self.lock();
                if let Some(kept) = known.kept.get(name, Instant::now()) {
                    return kept;
                }
                known.asking.entry(name.to_owned()).or_insert_with(|| self.clone().begin(name)).clone()
            };
            if let Some(answer) = waiting.await {
                return answer;
            }
        }
        Err(failed("the runtime has ended in which it was asked"))
    }

    /// Asks in a task: one that waits no longer must not end it for the others.
    fn begin(self: Arc<Self>, name: &str) -> Waiting {
        let asking = Asking { asked: self, name: name.to_owned() };
        let task = async move {
            let within = asking.asked.within;
            let answer = timeout(within, (asking.asked.ask)(asking.name.clone())).await;
            let answer = answer.unwrap_or_else(|_| Err(failed(&format!("no answer within {within:?}"))))?;
            asking.asked.lock().kept.keep(&asking.name, answer.clone(), Instant::now());
            Ok(answer)
        };
        // Spawned by who waits first, and so without the lock, which the task's end takes.
        async {
            match tokio::spawn(task).await {
                Ok(answer) => Some(answer),
                Err(error) if error.is_cancelled() => None,
                Err(error) => Some(Err(failed(&error.to_string()))),
            }
        }
        .boxed()
        .shared()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to the function, until it is answered or given up.
struct Asking {
    asked: Arc<Asked>,
    name: String,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.asked.lock().asking.remove(&self.name);
    }
}

/// What a function has answered, each until a moment.
#[derive(Default)]
struct Kept(HashMap<String, (Instant, Option<Bytes>)>);

impl Kept {
    /// The key that is kept, or that there is none. `None`: neither.
    fn get(&self, name: &str, now: Instant) -> Option<Answer> {
        self.0.get(name).filter(|(until, _)| now < *until).map(|(_, key)| Ok(key.clone()))
    }

    fn keep(&mut self, name: &str, key: Option<Bytes>, now: Instant) {
        let until = now + if key.is_some() { KEPT } else { MISSING };
        self.0.insert(name.to_owned(), (until, key));
        if self.0.len() > MOST_KEPT {
            // Those that are missing go first.
            let first = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(name, _)| name.clone());
            first.and_then(|name| self.0.remove(&name));
        }
    }
}

/// Whether a function is asked for it.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |each: char| each.is_alphanumeric() || "_.:/-".contains(each);
    (1..=255).contains(&name.chars().count()) && name.chars().all(fits)
}

fn failed(words: &str) -> Error {
    local(ErrorKind::Other, format!("the function for keys has failed: {words}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn asked<R>(within: Duration, ask: impl Fn() -> R + Send + Sync + 'static) -> Arc<Asked>
    where
        R: Future<Output = Answer> + Send + 'static,
    {
        Arc::new(Asked { ask: Box::new(move |_| ask().boxed()), within, known: Mutex::default() })
    }

    #[tokio::test]
    async fn a_function_that_does_not_answer_has_failed_in_time_and_is_asked_again() {
        let count = Arc::new(AtomicUsize::new(0));
        let counts = count.clone();
        let asked = asked(Duration::from_millis(20), move || {
            counts.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        for _ in 0..2 {
            let found = timeout(Duration::from_secs(20), asked.get("a")).await.unwrap();
            assert!(found.unwrap_err().message().ends_with("no answer within 20ms"));
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(
            matches!(Keys::asking(|_| async { Ok::<_, Error>(None) }), Keys::Asked(asked) if asked.within == WITHIN)
        );
    }

    #[test]
    fn a_function_is_asked_again_where_the_runtime_has_ended_that_asked() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let count = Arc::new(AtomicUsize::new(0));
        let counts = count.clone();
        let asked = asked(WITHIN, move || {
            let answers = counts.fetch_add(1, Ordering::Relaxed) > 0;
            async move { if answers { Ok(Some(Bytes::from_static(b"k"))) } else { std::future::pending().await } }
        });
        let wait = |on: &tokio::runtime::Runtime| {
            let asked = asked.clone();
            on.spawn(async move { asked.get("a").await })
        };
        wait(&first);
        first.block_on(async {
            while count.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        });
        let waits = wait(&second);
        second.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        assert!(!waits.is_finished());
        drop(first);
        assert_eq!(second.block_on(waits).unwrap().unwrap().unwrap(), "k");
    }

    #[test]
    fn a_key_is_kept_for_five_minutes_and_that_there_is_none_for_15_seconds() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep("a", Some(Bytes::from_static(b"k")), now);
        kept.keep("b", None, now);
        let get = |name, seconds| kept.get(name, now + Duration::from_secs(seconds)).map(Result::unwrap);
        assert_eq!((get("a", 299), get("a", 301)), (Some(Some(Bytes::from_static(b"k"))), None));
        assert_eq!((get("b", 14), get("b", 16)), (Some(None), None));
    }

    #[test]
    fn so_many_answers_are_kept_and_those_that_are_missing_go_first() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep("a", Some(Bytes::from_static(b"k")), now);
        for number in 0..600 {
            kept.keep(&format!("n{number}"), None, now);
        }
        assert_eq!(kept.0.len(), 256);
        assert!(kept.get("a", now).is_some());
    }
}
