//! Work that is to be done once.

use std::time::Duration;

use crate::convert::duration_message;
use crate::v1;

/// The name of work that is to be done once: while a job holds it, others of the name are not stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unique {
    /// The name, 1..255 characters. Empty: the payload makes it.
    pub key: String,
    /// JSON pointers to the parts of the payload that make it, such as `/user/id`; at most 16. None: all of it, which
    /// may then have at most 64 KiB.
    pub payload_fields: Vec<String>,
    /// Among which jobs of the namespace it stands once.
    pub scope: UniqueScope,
    /// Until when the job holds it.
    pub until: Until,
    /// At least so long, 1 s to 400 days. [`Until::Period`] wants one.
    pub period: Option<Duration>,
    /// What becomes of the job if another one holds the name.
    pub on_conflict: OnConflict,
    /// What of that one is changed then, with [`OnConflict::Replace`] and [`OnConflict::Debounce`]. None: payload, labels
    /// and headers with `Replace`, its start alone with `Debounce`.
    pub replace: Vec<UniqueField>,
    /// With [`OnConflict::Debounce`], that one starts at most so long after its own enqueue.
    pub max_delay: Option<Duration>,
}

impl Unique {
    /// Work of this name.
    pub fn key(name: impl Into<String>) -> Self {
        Self { key: name.into(), ..Self::default() }
    }

    /// Work that is named by its payload.
    pub fn payload() -> Self {
        Self::default()
    }

    /// Work that is named by parts of its payload, which JSON pointers find.
    pub fn payload_fields<P: Into<String>>(pointers: impl IntoIterator<Item = P>) -> Self {
        Self { payload_fields: pointers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// At most one waits: while it does, another one of the name is not stored. Once it starts the next may wait. Of an empty
    /// key the payload makes the name.
    pub fn while_waiting(key: impl Into<String>) -> Self {
        Self::key(key)
    }

    /// At most one waits or runs: until it has ended, another one of the name is not stored. Of an empty key the payload
    /// makes the name.
    pub fn while_live(key: impl Into<String>) -> Self {
        Self::key(key).until(Until::Ends)
    }

    /// At most one in each period, 1 s to 400 days from its enqueue: what comes meanwhile is not stored. Of an empty key the
    /// payload makes the name.
    pub fn throttle(period: Duration, key: impl Into<String>) -> Self {
        Self::key(key).until(Until::Period).period(period)
    }

    /// Each enqueue puts off the one that waits to its own `delay`, and gives it its payload. It starts at most `max_delay`
    /// after the first enqueue; `None`: it can be put off for ever. Of an empty key the payload makes the name, and then
    /// there is one for each payload.
    pub fn debounce(max_delay: impl Into<Option<Duration>>, key: impl Into<String>) -> Self {
        Self::key(key).or_debounce(max_delay, [UniqueField::Payload])
    }

    /// Sets among which jobs the name stands once.
    #[must_use]
    pub fn scope(mut self, scope: UniqueScope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets until when the job holds the name.
    #[must_use]
    pub fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Sets how long the job holds the name at least.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = Some(period);
        self
    }

    /// The call fails if another job holds the name.
    #[must_use]
    pub fn reject(mut self) -> Self {
        self.on_conflict = OnConflict::Reject;
        self
    }

    /// A job that holds the name and waits gets these fields of this one. None: payload, labels and headers.
    #[must_use]
    pub fn replace(mut self, fields: impl IntoIterator<Item = UniqueField>) -> Self {
        self.on_conflict = OnConflict::Replace;
        self.replace = fields.into_iter().collect();
        self
    }

    /// A job that holds the name and waits starts after the delay of this one, and gets these fields of it. It starts at
    /// most `max_delay` after its own enqueue.
    #[must_use]
    pub fn or_debounce(
        mut self,
        max_delay: impl Into<Option<Duration>>,
        fields: impl IntoIterator<Item = UniqueField>,
    ) -> Self {
        self.on_conflict = OnConflict::Debounce;
        self.max_delay = max_delay.into();
        self.replace = fields.into_iter().collect();
        self
    }
}

/// What becomes of a unique job whose name another one holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnConflict {
    /// It is not stored, and the other one is the answer.
    #[default]
    Keep,
    /// The call fails with `Duplicate`.
    Reject,
    /// The other one, if it waits, gets what this one brings, and is the answer.
    Replace,
    /// As `Replace`, and it starts after the delay of this one, from now.
    Debounce,
}

/// What of a job can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UniqueField {
    /// The payload.
    Payload,
    /// When it may start; now if this one says nothing.
    RunAt,
    /// The priority.
    Priority,
    /// The labels.
    Labels,
    /// The headers.
    Headers,
    /// How many failures end it.
    MaxAttempts,
    /// How long one attempt may run.
    Timeout,
}

impl From<UniqueField> for v1::unique::Field {
    fn from(field: UniqueField) -> Self {
        match field {
            UniqueField::Payload => Self::Payload,
            UniqueField::RunAt => Self::RunAt,
            UniqueField::Priority => Self::Priority,
            UniqueField::Labels => Self::Labels,
            UniqueField::Headers => Self::Headers,
            UniqueField::MaxAttempts => Self::MaxAttempts,
            UniqueField::Timeout => Self::Timeout,
        }
    }
}

/// What was done with the job that holds the name of one that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UniqueAction {
    /// It is as it was.
    Kept,
    /// It got what the other one brought.
    Replaced,
    /// It starts later now.
    Debounced,
}

/// What this version does not know is shown as `Kept`; none: that one was stored.
pub(crate) fn unique_action(action: Option<i32>) -> Option<UniqueAction> {
    action.filter(|number| *number != 0).map(|number| match v1::unique::Action::try_from(number) {
        Ok(v1::unique::Action::Replaced) => UniqueAction::Replaced,
        Ok(v1::unique::Action::Debounced) => UniqueAction::Debounced,
        _ => UniqueAction::Kept,
    })
}

/// Among which jobs of the namespace a name stands once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UniqueScope {
    /// Those of the same kind, in all queues.
    #[default]
    Kind,
    /// Those of the same kind in the same queue.
    QueueAndKind,
    /// Those of the same queue, of all kinds.
    Queue,
    /// All.
    Namespace,
}

/// Until when a unique job holds its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Until {
    /// Until a worker gets it: one may wait beside one that runs.
    #[default]
    Starts,
    /// Until it has ended.
    Ends,
    /// For [`Unique::period`], whatever becomes of it.
    Period,
}

/// As a message.
pub(crate) fn unique_message(unique: Unique) -> v1::Unique {
    let scope = match unique.scope {
        UniqueScope::Kind => v1::unique::Scope::Kind,
        UniqueScope::QueueAndKind => v1::unique::Scope::QueueAndKind,
        UniqueScope::Queue => v1::unique::Scope::Queue,
        UniqueScope::Namespace => v1::unique::Scope::Namespace,
    };
    let until = match unique.until {
        Until::Starts => v1::unique::Until::Starts,
        Until::Ends => v1::unique::Until::Ends,
        Until::Period => v1::unique::Until::Period,
    };
    let on_conflict = match unique.on_conflict {
        OnConflict::Keep => v1::unique::OnConflict::Keep,
        OnConflict::Reject => v1::unique::OnConflict::Reject,
        OnConflict::Replace => v1::unique::OnConflict::Replace,
        OnConflict::Debounce => v1::unique::OnConflict::Debounce,
    };
    v1::Unique {
        key: unique.key,
        payload_fields: unique.payload_fields,
        scope: scope.into(),
        until: until.into(),
        period: unique.period.map(duration_message),
        on_conflict: on_conflict.into(),
        replace: unique.replace.into_iter().map(|field| v1::unique::Field::from(field).into()).collect(),
        max_delay: unique.max_delay.map(duration_message),
        cancel_running: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_of_work_are_what_their_fields_say() {
        let period = Duration::from_secs(600);
        assert_eq!(Unique::while_waiting(""), Unique::payload());
        assert_eq!(Unique::while_waiting("w"), Unique::key("w"));
        let live = Unique { key: "l".to_owned(), until: Until::Ends, ..Unique::default() };
        assert_eq!(Unique::while_live("l"), live);
        let throttled = Unique { key: "t".to_owned(), until: Until::Period, period: Some(period), ..Unique::default() };
        assert_eq!(Unique::throttle(period, "t"), throttled);
        let debounced = Unique {
            key: "d".to_owned(),
            on_conflict: OnConflict::Debounce,
            replace: vec![UniqueField::Payload],
            max_delay: Some(period),
            ..Unique::default()
        };
        assert_eq!(Unique::debounce(period, "d"), debounced);
        assert_eq!(Unique::debounce(None, "d"), Unique { max_delay: None, ..debounced });
    }
}
