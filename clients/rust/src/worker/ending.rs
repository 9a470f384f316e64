//! What a handler's end means: the one table from results and errors to messages.

use std::any::Any;
use std::time::Duration;

use super::leased_job::LeasedJob;
use crate::convert::duration_message;
use crate::json::JsonText;
use crate::outcomes::{Ending, Failed, HandlerError, Stop};
use crate::v1;
use crate::v1::outcome::Outcome;

const TYPE_CHARACTERS: usize = 255;
/// A server refuses the outcome of a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
const ERROR_BYTES: usize = 8 * 1024;
/// Refused here with the handler's name on it; a server with a lower limit answers INVALID, which says so as well.
const OUTPUT_BYTES: usize = 1024 * 1024;
/// The type of the failure of an attempt whose output is refused.
pub(crate) const OUTPUT_ERROR: &str = "OutputError";

/// The outcome of a handler that has returned. `None`: a success without output, which travels as a bare number.
pub(super) fn outcome_of(job: &LeasedJob, ended: &Result<Option<JsonText>, HandlerError>) -> Option<v1::Outcome> {
    match ended {
        Ok(output) => success(job, output.clone()),
        Err(HandlerError(ending)) => Some(otherwise(ending, job.stop_reason())),
    }
}

/// The outcome of a handler that has panicked.
pub(super) fn outcome_of_panic(panic: &(dyn Any + Send)) -> v1::Outcome {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    failure("panic", words.unwrap_or("a value that has no text"))
}

/// What is wrong with an output. `None`: nothing.
pub(crate) fn wrong_with(output: Option<&JsonText>) -> Option<String> {
    let bytes = output.map_or(0, |text| text.as_bytes().len());
    (bytes > OUTPUT_BYTES).then(|| {
        format!(
            "the handler's output is {bytes} bytes of JSON, the limit is {OUTPUT_BYTES}: store it elsewhere and return \
             its address"
        )
    })
}

fn success(job: &LeasedJob, output: Option<JsonText>) -> Option<v1::Outcome> {
    if let Some(words) = wrong_with(output.as_ref()) {
        return Some(failure(OUTPUT_ERROR, &words));
    }
    let follow_ups: Vec<v1::NewJob> = job.close_follow_ups().into_iter().map(|each| each.message).collect();
    if output.is_none() && follow_ups.is_empty() {
        return None;
    }
    Some(made(Outcome::Success(v1::Success {
        result: output.map(|text| v1::success::Result::OutputJson(text.into_bytes())),
        follow_ups,
    })))
}

fn otherwise(ending: &Ending, told: Option<&Stop>) -> v1::Outcome {
    let failed = match ending {
        Ending::Cancelled if matches!(told, Some(Stop::Shutdown | Stop::Lost)) => return released(),
        Ending::Cancelled => return made(Outcome::Cancellation(v1::Cancellation {})),
        Ending::Snoozed(delay) => {
            let delay = Some(duration_message(*delay));
            return made(Outcome::Snooze(v1::Snooze { delay }));
        }
        Ending::Failed(failed) => failed,
    };
    match failed.error.downcast_ref::<Stop>() {
        Some(Stop::Shutdown | Stop::Lost) => released(),
        Some(Stop::CancelRequested(_)) => made(Outcome::Cancellation(v1::Cancellation {})),
        _ => failure_of(failed),
    }
}

fn failure_of(failed: &Failed) -> v1::Outcome {
    // An error's words are the handler's own code.
    let retry_after = failed.retry_after.filter(|_| !failed.permanent);
    let pause = retry_after.filter(|_| failed.pauses_key).map(|after| duration_message(after.min(LONGEST_PAUSE)));
    let failure = made(Outcome::Failure(v1::Failure {
        error_type: failed.error_type.chars().take(TYPE_CHARACTERS).collect(),
        error: cut(&failed.error.to_string(), ERROR_BYTES),
        permanent: failed.permanent,
        retry_after: retry_after.map(duration_message),
        ..v1::Failure::default()
    }));
    v1::Outcome { pause_key: pause, ..failure }
}

/// The job goes back, uncharged.
pub(super) fn released() -> v1::Outcome {
    made(Outcome::Release(v1::Release {}))
}

/// A failure that no error of the handler's stands for.
pub(super) fn failure(error_type: &str, words: &str) -> v1::Outcome {
    made(Outcome::Failure(v1::Failure {
        error_type: error_type.to_owned(),
        error: cut(words, ERROR_BYTES),
        ..v1::Failure::default()
    }))
}

fn made(outcome: Outcome) -> v1::Outcome {
    v1::Outcome { outcome: Some(outcome), ..v1::Outcome::default() }
}

/// Bounds a text to so many bytes, and says so where something is missing.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let note = format!(" [cut, {} bytes in all]", text.len());
    format!("{}{note}", start_of(text, limit - note.len()))
}

/// As many characters of a text as have so many bytes at most.
pub(super) fn start_of(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}
