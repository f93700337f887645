//! How orders arrive: when the one before was answered (closed), or when it is time (open).

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{caller::Caller, stage::Sample};

/// The timer's own precision: what falls due within it is sent together.
const TICK: Duration = Duration::from_millis(1);

/// So many callers, each with one order at a time.
pub(super) async fn closed(caller: &Arc<Caller>, callers: usize, time: Duration) -> Vec<Sample> {
    let until = Instant::now() + time;
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let caller = Arc::clone(caller);
        running.spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < until {
                samples.push(one(&caller, Instant::now()).await);
            }
            samples
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// An order each time one is due, whatever became of those before, `orders_max` at the most. Ends when all are answered, or given up.
pub(super) async fn open(caller: &Arc<Caller>, rate: f64, time: Duration, orders_max: usize) -> Vec<Sample> {
    let start = Instant::now();
    let mut running = JoinSet::new();
    let mut due = arrivals(rate, time, orders_max).peekable();
    while let Some(next) = due.peek() {
        // Rounded up to the timer's precision: one wake-up for all that fall due within it.
        tokio::time::sleep_until((start + *next).max(Instant::now()) + TICK).await;
        while let Some(offset) = due.next_if(|offset| start + *offset <= Instant::now()) {
            let caller = Arc::clone(caller);
            running.spawn(async move { one(&caller, start + offset).await });
        }
    }
    running.join_all().await
}

/// When orders are due, from the start.
fn arrivals(rate: f64, time: Duration, orders_max: usize) -> impl Iterator<Item = Duration> {
    let between = Duration::from_secs_f64(1.0 / rate.max(0.001));
    let due = (0..orders_max).map(move |number| between.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)));
    due.take_while(move |offset| *offset < time)
}

async fn one(caller: &Caller, intended: Instant) -> Sample {
    let outcome = caller.order(intended).await;
    Sample { took: intended.elapsed(), outcome }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::curve::stage::Outcome;

    fn was_sent(outcome: &Outcome) -> bool {
        !matches!(outcome, Outcome::Other(why) if why.starts_with("not sent"))
    }

    #[test]
    fn arrivals_are_evenly_spaced_and_bounded() {
        let ms = |rate, time, max| {
            arrivals(rate, Duration::from_millis(time), max).map(|at| at.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(ms(100.0, 50, 100), [0, 10, 20, 30, 40]);
        assert_eq!(ms(100.0, 50, 2), [0, 10]);
    }

    /// Answers each request after `delay`, one connection a task.
    async fn slow_shop(delay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(delay).await;
                        let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        host
    }

    #[tokio::test]
    async fn orders_arrive_on_time_however_slow_the_answers() {
        let host = slow_shop(Duration::from_millis(300)).await;
        let caller = Arc::new(Caller::new(&host, Duration::from_secs(5), 1000).unwrap());
        let samples = open(&caller, 100.0, Duration::from_millis(300), 1000).await;
        // A closed loop of one caller would have sent one.
        assert_eq!(samples.len(), 30);
        assert!(samples.iter().all(|sample| sample.outcome == Outcome::Confirmed), "{samples:?}");
    }

    #[tokio::test]
    async fn what_needs_one_connection_too_many_is_not_sent() {
        let host = slow_shop(Duration::from_millis(500)).await;
        let caller = Arc::new(Caller::new(&host, Duration::from_secs(5), 3).unwrap());
        let samples = open(&caller, 100.0, Duration::from_millis(100), 1000).await;
        assert_eq!(samples.iter().filter(|sample| was_sent(&sample.outcome)).count(), 3, "{samples:?}");
        assert_eq!(samples.len(), 10);
    }

    #[tokio::test]
    async fn latency_counts_from_the_intended_start() {
        let host = slow_shop(Duration::ZERO).await;
        let caller = Caller::new(&host, Duration::from_secs(5), 3).unwrap();
        let late = Instant::now().checked_sub(Duration::from_millis(200)).unwrap();
        let sample = one(&caller, late).await;
        assert!(sample.took >= Duration::from_millis(200), "{sample:?}");
    }
}
