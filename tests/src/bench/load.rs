//! Load. Closed loops: so many workers, each with one operation under way. Open loops: so many operations a second,
//! however long they take.

use std::future::Future;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;

use super::host;

/// What a loop saw.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Median time of an operation in microseconds.
    pub p50_micros: f64,
    /// 99th percentile in microseconds.
    pub p99_micros: f64,
    /// Operations a second, of all workers together.
    pub per_second: f64,
}

/// Runs `operation` in `workers` loops for about `time`.
///
/// # Errors
/// The first error of an operation ends the measurement: what fails fast must not look fast.
pub async fn closed_loop<F, R>(workers: usize, time: Duration, operation: F) -> anyhow::Result<Load>
where
    F: Fn() -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let (started, operation) = (host::now(), &operation);
    let worker = |_| async move {
        let mut times = Histogram::<u64>::new(3)?;
        loop {
            let began = host::now();
            operation().await?;
            let ended = host::now();
            times.record(u64::try_from((ended - began).as_nanos())?)?;
            if ended - started >= time {
                return anyhow::Ok(times);
            }
        }
    };
    let each = try_join_all((0..workers).map(worker)).await?;
    let took = started.elapsed();
    let mut all = Histogram::<u64>::new(3)?;
    for times in each {
        all.add(times)?;
    }
    Ok(Load::of(&all, took))
}

/// Begins `operation` so many times a second for about `time`, and waits for all of them to end. Times count from when an
/// operation was due, so that a loop that falls behind shows (Gil Tene's "coordinated omission").
///
/// # Errors
/// The first error of an operation ends the measurement.
pub async fn open_loop<F, R>(per_second: u32, time: Duration, mut operation: F) -> anyhow::Result<Load>
where
    F: FnMut() -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let mut under_way = FuturesUnordered::new();
    let mut times = Histogram::<u64>::new(3)?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let started = host::now();
    while started.elapsed() < time {
        tokio::select! {
            due = ticks.tick() => {
                let operation = operation();
                under_way.push(async move { operation.await.map(|()| host::now() - due.into_std()) });
            }
            Some(ended) = under_way.next() => times.record(u64::try_from(ended?.as_nanos())?)?,
        }
    }
    let took = started.elapsed();
    while let Some(ended) = under_way.try_next().await? {
        times.record(u64::try_from(ended.as_nanos())?)?;
    }
    Ok(Load::of(&times, took))
}

impl Load {
    /// Sums up times in nanoseconds, recorded within `took`.
    #[must_use]
    pub fn of(times: &Histogram<u64>, took: Duration) -> Self {
        let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50_micros: micros(0.5),
            p99_micros: micros(0.99),
            per_second: times.len() as f64 / took.as_secs_f64(),
        }
    }
}
