//! The crate's two processes, HTTP interface and worker, with an executor that does nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use rust_job_queue_api_worker_system::api::{build_router, AppState};
use rust_job_queue_api_worker_system::worker::{ExecutionContext, ExecutionOutcome, Executor, WorkerRuntime};
use rust_job_queue_api_worker_system::{connect, migrate, Job, PoolConfig};
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// Connections of the HTTP interface to the database.
const API_CONNECTIONS: u32 = 32;
const WORKERS: usize = 16;

struct Noop;

#[async_trait]
impl Executor for Noop {
    async fn execute(&self, _: &ExecutionContext, _: &Job) -> ExecutionOutcome {
        ExecutionOutcome::Succeeded
    }
}

/// A pool on a database with the crate's tables in it.
pub async fn pool(connections: u32) -> Outcome<PgPool> {
    let pool = connect(&PoolConfig::from_url(std::env::var("DATABASE_URL")?).with_max_connections(connections)).await?;
    migrate(&pool).await?;
    Ok(pool)
}

pub async fn api() -> Outcome<()> {
    let pool = pool(API_CONNECTIONS).await?;
    let metrics = Arc::new(PrometheusBuilder::new().build_recorder().handle());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, build_router(AppState { pool, metrics })).await?;
    Ok(())
}

pub async fn work() -> Outcome<()> {
    // The crate's own worker takes two connections more than it has workers.
    let pool = pool(WORKERS as u32 + 2).await?;
    println!("working");
    WorkerRuntime::new(pool, Arc::new(Noop))
        .with_concurrency(WORKERS)
        // By default it looks every 0.5 to 2 s once it has found nothing.
        .with_poll_interval(Duration::from_millis(5), Duration::from_millis(50))
        .run(CancellationToken::new())
        .await;
    Ok(())
}

/// Returns once all jobs are committed as succeeded.
pub async fn succeeded(pool: &PgPool, jobs: usize) -> Outcome<()> {
    loop {
        let count: i64 = query_scalar("select count(*) from jobs where status = 'succeeded'")
            .fetch_one(pool)
            .await?;
        if count >= jobs as i64 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
