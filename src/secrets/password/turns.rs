//! Turns to hash: a bounded number at the same time, handed from one to the next as [`Queue`] says.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::PasswordError;
use super::queue::{Bounds, Full, Origin, Queue};

/// Hands out turns. Clones share them.
#[derive(Clone)]
pub struct Turns(Arc<Mutex<State>>);

struct State {
    /// None while somebody waits.
    free: usize,
    queue: Queue<oneshot::Sender<Turn>>,
}

/// The right to hash once. Dropped, it goes to whoever is next.
pub struct Turn(Turns);

/// Somebody who waits. A caller that goes away leaves the queue.
struct Waiting<'a> {
    turns: &'a Turns,
    id: u64,
}

impl Turns {
    /// So many at the same time.
    pub fn new(at_once: usize, bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_once, queue: Queue::new(bounds) })))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`PasswordError::TooMany`]; [`PasswordError::Busy`].
    pub async fn take(&self, origin: Origin) -> Result<Turn, PasswordError> {
        let (give, given) = oneshot::channel();
        let entered = {
            let state = &mut *self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(self.clone()));
            }
            state.queue.enter(origin, give)
        };
        let entered = entered.map_err(|full| match full {
            Full::Own => PasswordError::TooMany,
            Full::All => PasswordError::Busy,
        })?;
        // Who gave way hears of it because its sender is gone.
        drop(entered.gave_way);
        let _waiting = Waiting { turns: self, id: entered.id };
        given.await.map_err(|_| PasswordError::TooMany)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let state = &mut *self.0.0.lock();
            let next = state.queue.next();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // Who has just gone away gives it back, and so it goes on.
            let _ = next.send(Turn(self.0.clone()));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let _ = self.turns.0.lock().queue.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt;

    use super::*;

    const BOUNDS: Bounds = Bounds { in_all: 8, of_source: 4, of_account: 4 };

    type Asked<'a> = Pin<Box<dyn Future<Output = Result<Turn, PasswordError>> + 'a>>;

    /// Asks for a turn; what was asked for waits, or is answered, at once.
    fn ask<'a>(turns: &'a Turns, source: &str, account: &str) -> (Asked<'a>, Option<Result<Turn, PasswordError>>) {
        let origin = Origin { source: source.to_owned(), account: account.to_owned() };
        let mut asked: Asked = Box::pin(turns.take(origin));
        let answer = asked.as_mut().now_or_never();
        (asked, answer)
    }

    fn wait<'a>(turns: &'a Turns, source: &str, account: &str) -> Asked<'a> {
        let (asked, answer) = ask(turns, source, account);
        assert!(answer.is_none(), "it does not wait");
        asked
    }

    fn turn(asked: &mut Asked<'_>) -> Option<Turn> {
        asked.as_mut().now_or_never().map(|turn| turn.expect("a turn"))
    }

    #[test]
    fn as_many_as_may_hash_at_once_and_the_next_one_waits() {
        let turns = Turns::new(2, BOUNDS);
        let held: Vec<_> = (0..2).map(|_| ask(&turns, "a", "ann").1.expect("at once").expect("a turn")).collect();
        let mut third = wait(&turns, "a", "ann");
        drop(held);
        assert!(turn(&mut third).is_some());
        assert_eq!(turns.0.lock().free, 2);
    }

    #[test]
    fn whoever_comes_beside_a_flood_is_next_but_one() {
        let turns = Turns::new(1, BOUNDS);
        let first = ask(&turns, "flood", "0").1.expect("at once").expect("a turn");
        let mut flood: Vec<_> = (1..5).map(|account| wait(&turns, "flood", &account.to_string())).collect();
        assert_eq!(ask(&turns, "flood", "5").1.expect("at once").err(), Some(PasswordError::TooMany));
        let mut honest = wait(&turns, "honest", "ann");
        drop(first);
        let second = turn(&mut flood[0]).expect("the flood has waited for longer");
        assert!(turn(&mut honest).is_none());
        drop(second);
        assert!(turn(&mut honest).is_some(), "the flood had its turn");
    }

    #[test]
    fn who_gives_way_hears_of_it() {
        let turns = Turns::new(1, BOUNDS);
        let _held = ask(&turns, "a", "0").1;
        let mut flood: Vec<_> =
            (0..8).map(|number| wait(&turns, if number < 4 { "a" } else { "b" }, &number.to_string())).collect();
        let _honest = wait(&turns, "honest", "ann");
        assert_eq!(flood[7].as_mut().now_or_never().and_then(Result::err), Some(PasswordError::TooMany));
        assert!(flood[..7].iter_mut().all(|asked| turn(asked).is_none()));
    }

    #[test]
    fn who_goes_away_leaves_the_queue() {
        let turns = Turns::new(1, BOUNDS);
        let held = ask(&turns, "a", "ann").1.expect("at once").expect("a turn");
        let mut gone: Vec<_> = (0..4).map(|_| wait(&turns, "a", "ann")).collect();
        let (_, refused) = ask(&turns, "a", "ann");
        assert_eq!(refused.expect("at once").err(), Some(PasswordError::TooMany));
        gone.truncate(1);
        let mut next = wait(&turns, "a", "ann");
        // It was given the turn, and goes away without having looked.
        drop(held);
        drop(gone);
        drop(turn(&mut next).expect("the turn went on"));
        assert_eq!(turns.0.lock().free, 1);
    }
}
