//! The deadline for the head of a request, with one timer for each connection.
//!
//! hyper asks for a new timer with every request, and to start or end one of tokio's takes a lock that all connections
//! share. The deadlines of a connection only move on, so here one timer runs through them: when it rings too early,
//! it is set to the deadline that holds by then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

/// The timer of one connection.
#[derive(Clone, Default)]
pub struct HeadTimer(Arc<Alarm>);

/// Not set before the first deadline is waited for.
#[derive(Default)]
struct Alarm(Mutex<Option<Pin<Box<tokio::time::Sleep>>>>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline: deadline.into(), alarm: Arc::clone(&self.0) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

struct Until {
    deadline: tokio::time::Instant,
    alarm: Arc<Alarm>,
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.0.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        if alarm.deadline() > self.deadline {
            alarm.as_mut().reset(self.deadline);
        }
        while alarm.as_mut().poll(context).is_ready() {
            if alarm.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    const LATER: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn an_earlier_deadline_that_was_left_does_not_end_a_later_one() {
        let timer = HeadTimer::default();
        let started = timer.now();
        let mut left = timer.sleep_until(started + SOON);
        assert!(futures::poll!(&mut left).is_pending());
        drop(left);
        timer.sleep_until(started + LATER).await;
        assert!(timer.now() >= started + LATER);
    }

    #[tokio::test]
    async fn a_deadline_before_that_of_the_last_one_is_kept_too() {
        let timer = HeadTimer::default();
        let hour = Duration::from_secs(3600);
        assert!(futures::poll!(timer.sleep(hour)).is_pending());
        timer.sleep(SOON).await;
        assert!(timer.0.0.lock().as_ref().is_some_and(|alarm| alarm.deadline() < tokio::time::Instant::now() + hour));
    }
}
