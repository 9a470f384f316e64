use jobqueue::{HandlerResult, JobKind, LeasedJob, failed};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Double {
    pub number: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Doubled {
    pub doubled: i64,
}

impl JobKind for Double {
    const NAME: &'static str = "double";
    type Output = Doubled;
}

pub async fn double(asked: Double, _: LeasedJob) -> HandlerResult<Doubled> {
    let doubled = asked.number.checked_mul(2).ok_or_else(|| failed("the number is too large"))?;
    Ok(Doubled { doubled })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobqueue::testing::{TestJob, perform};

    #[tokio::test]
    async fn a_number_is_doubled() -> HandlerResult {
        let done = perform(double, TestJob::of(&Double { number: 21 })?).await?;
        assert_eq!(done.output_as::<Doubled>()?, Doubled { doubled: 42 });
        Ok(())
    }
}
