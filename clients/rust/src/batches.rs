//! How many jobs a batch takes, and where its errors point.

use prost::Message;

use crate::errors::Error;
use crate::v1;

const BATCH_JOBS: usize = 1000;
/// A message may have 4 MiB.
const BATCH_BYTES: usize = 3 * 1024 * 1024;

/// How many of the jobs the next batch takes, at least one.
pub(crate) fn cut_batch(jobs: &[v1::NewJob]) -> usize {
    let mut size = 0;
    let fitting = jobs.iter().take(BATCH_JOBS).take_while(|job| {
        size += job.encoded_len();
        size <= BATCH_BYTES
    });
    fitting.count().max(1)
}

/// The error of a batch with its paths counted from the first job of all.
pub(crate) fn rebased(mut error: Error, before: usize) -> Error {
    if before == 0 {
        return error;
    }
    for each in error.violations_mut() {
        if let Some(path) = moved(&each.field, before) {
            each.field = path;
        }
    }
    error.noted(format!("the {before} jobs of the batches before are enqueued"))
}

/// `jobs[3].payload` by 1000: `jobs[1003].payload`.
fn moved(path: &str, by: usize) -> Option<String> {
    let (number, rest) = path.strip_prefix("jobs[")?.split_once(']')?;
    Some(format!("jobs[{}]{rest}", number.parse::<usize>().ok()? + by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_by_number_and_by_size_and_takes_one_at_least() {
        let small = vec![v1::NewJob::default(); 1500];
        assert_eq!(cut_batch(&small), 1000);
        let large = v1::NewJob { kind: "k".repeat(2 * 1024 * 1024), ..v1::NewJob::default() };
        assert_eq!(cut_batch(&[large.clone(), large]), 1);
        let huge = v1::NewJob { kind: "k".repeat(4 * 1024 * 1024), ..v1::NewJob::default() };
        assert_eq!(cut_batch(&[huge]), 1);
    }

    #[test]
    fn the_paths_of_a_later_batch_count_from_the_first_job_of_all() {
        let error = rebased(Error::invalid("jobs[3].payload", "is wrong"), 1000);
        assert_eq!(error.violations()[0].field, "jobs[1003].payload");
        assert!(error.to_string().ends_with("the 1000 jobs of the batches before are enqueued"));
        assert_eq!(moved("queue", 7), None);
    }
}
