//! A report each night, and one more at once.

use futures_util::TryStreamExt;
use jobqueue::{Client, Error, Kind, NewJob, NewSchedule, Overlap, SchedulePolicy, ScheduleSpec};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let client = Client::new(server)?;
    client.put_kind(Kind::new("totals")).await?;
    let schedules = client.schedules();

    let spec = ScheduleSpec { time_zone: "Europe/Berlin".into(), ..ScheduleSpec::cron("30 2 * * *") };
    for tick in schedules.preview(spec.clone(), 2, None).await? {
        println!("{}", tick.local_time);
    }
    let job = NewJob::new("totals").queue("reports").payload(json!({"of": "all"}));
    let policy = Some(SchedulePolicy { overlap: Overlap::Skip, ..SchedulePolicy::default() });
    schedules.create(NewSchedule { policy, ..NewSchedule::new("nightly-totals", spec, job) }).await?;

    let first = schedules.run("nightly-totals").await?;
    let second = schedules.run("nightly-totals").await?;
    println!("{:?} {:?}", first.outcome, second.outcome);
    let runs: Vec<_> = schedules.runs("nightly-totals", None).try_collect().await?;
    println!("{} runs, the newest {:?}", runs.len(), runs[0].cause);
    Ok(())
}
