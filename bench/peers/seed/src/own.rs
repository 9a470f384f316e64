//! The measurement that the crate publishes: claim and settle of a stored backlog, by workers in one process that wait for
//! one another at the start, a fresh database each time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use rust_job_queue_api_worker_system::queue::{enqueue, fetch_next, mark_succeeded};
use rust_job_queue_api_worker_system::{connect, migrate, JobKind, NewJob, PoolConfig};
use serde_json::json;
use sqlx_core::query::query;
use sqlx_postgres::PgPool;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{say, Outcome};

/// As many as the crate's own measurement has.
const CONNECTIONS: u32 = 32;

pub async fn run(jobs: usize, workers: usize, samples: usize) -> Outcome<()> {
    let mut seconds = Vec::new();
    for sample in 0..samples {
        let pool = fresh(&format!("own_{workers}_{sample}")).await?;
        store(&pool, jobs).await?;
        seconds.push(drain(&pool, jobs, workers).await?);
        pool.close().await;
    }
    say(json!({"stage": "ended", "seconds": seconds.iter().sum::<f64>(), "samples": seconds}));
    Ok(())
}

async fn fresh(name: &str) -> Outcome<PgPool> {
    let url = std::env::var("DATABASE_URL")?;
    let admin = connect(&PoolConfig::from_url(url.clone())).await?;
    query(&format!("create database {name}")).execute(&admin).await?;
    admin.close().await;
    // A later parameter wins.
    let pool = connect(&PoolConfig::from_url(format!("{url}&dbname={name}")).with_max_connections(CONNECTIONS)).await?;
    migrate(&pool).await?;
    Ok(pool)
}

async fn store(pool: &PgPool, jobs: usize) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..16 {
        let (pool, taken) = (pool.clone(), taken.clone());
        tasks.spawn(async move {
            while taken.fetch_add(1, Ordering::Relaxed) < jobs {
                let new = NewJob {
                    kind: JobKind::SummarizeText,
                    payload: json!({"text": "lorem"}),
                    max_attempts: Some(1),
                    idempotency_key: None,
                };
                enqueue(&pool, new).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Seconds from the moment when all workers are there to the end of the last job.
async fn drain(pool: &PgPool, jobs: usize, workers: usize) -> Outcome<f64> {
    let ended = Arc::new(AtomicUsize::new(0));
    let line = Arc::new(Barrier::new(workers + 1));
    let mut tasks = JoinSet::new();
    for number in 0..workers {
        let (pool, ended, line) = (pool.clone(), ended.clone(), line.clone());
        tasks.spawn(async move {
            let name = format!("worker-{number}");
            line.wait().await;
            while ended.load(Ordering::Relaxed) < jobs {
                match fetch_next(&pool, &name).await? {
                    Some(job) => {
                        mark_succeeded(&pool, job.id).await?;
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                    None => tokio::task::yield_now().await,
                }
            }
            Outcome::Ok(())
        });
    }
    line.wait().await;
    let started = Instant::now();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed().as_secs_f64())
}
