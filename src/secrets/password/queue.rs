//! Who is hashed for next: sources take turns, and within one source its accounts do. What waits of one source, of one
//! account and in all is bounded. No threads and no time here: `turns` has them.
//!
//! So whoever comes beside a flood waits for one hash of every other source at most, however many that flood sent.

use std::collections::{BTreeMap, HashMap};

/// For whom a password is hashed. Both are names that a caller cannot make long: blind indexes, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Where it comes from.
    pub source: String,
    /// Whose account it is said to be.
    pub account: String,
}

/// The most that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub in_all: usize,
    pub of_source: usize,
    pub of_account: usize,
}

/// Why something may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As much of its source or account waits as may.
    Own,
    /// As much waits as may, and no other source has more of it.
    All,
}

/// What may wait from now on.
#[derive(Debug)]
pub struct Entered<T> {
    pub id: u64,
    /// What gave way to it: the newest of the source that had the most.
    pub gave_way: Option<T>,
}

/// The queue.
pub struct Queue<T> {
    bounds: Bounds,
    /// By arrival.
    waiting: BTreeMap<u64, Waiting<T>>,
    sources: Lanes,
    accounts: Lanes,
    /// Counts arrivals and turns.
    tick: u64,
}

struct Waiting<T> {
    origin: Origin,
    item: T,
}

/// What waits of each source, or of each account; nothing of those of which nothing waits.
#[derive(Default)]
struct Lanes(HashMap<String, Lane>);

struct Lane {
    waiting: usize,
    /// When it had its last turn, or began to wait.
    turn: u64,
}

impl Lanes {
    fn waiting(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, |lane| lane.waiting)
    }

    fn turn(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |lane| lane.turn)
    }

    /// A lane that is new stands behind the others: otherwise many new ones would keep an old one waiting for ever.
    fn enter(&mut self, name: &str, tick: u64) {
        let lane = self.0.entry(name.to_owned()).or_insert(Lane { waiting: 0, turn: tick });
        lane.waiting += 1;
    }

    fn leave(&mut self, name: &str) {
        if let Some(lane) = self.0.get_mut(name) {
            lane.waiting -= 1;
            if lane.waiting == 0 {
                self.0.remove(name);
            }
        }
    }

    fn had_turn(&mut self, name: &str, tick: u64) {
        if let Some(lane) = self.0.get_mut(name) {
            lane.turn = tick;
        }
    }
}

impl<T> Queue<T> {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: BTreeMap::new(), sources: Lanes::default(), accounts: Lanes::default(), tick: 0 }
    }

    /// Lets `item` wait.
    ///
    /// # Errors
    /// See [`Full`].
    pub fn enter(&mut self, origin: Origin, item: T) -> Result<Entered<T>, Full> {
        let of_source = self.sources.waiting(&origin.source);
        if of_source >= self.bounds.of_source || self.accounts.waiting(&origin.account) >= self.bounds.of_account {
            return Err(Full::Own);
        }
        let gave_way = match self.waiting.len() >= self.bounds.in_all {
            true => Some(self.make_room(of_source + 1).ok_or(Full::All)?),
            false => None,
        };
        self.tick += 1;
        let id = self.tick;
        self.sources.enter(&origin.source, id);
        self.accounts.enter(&origin.account, id);
        self.waiting.insert(id, Waiting { origin, item });
        Ok(Entered { id, gave_way })
    }

    /// The newest of the source that has the most, when that is more than `than`.
    fn make_room(&mut self, than: usize) -> Option<T> {
        let most = self.sources.0.values().map(|lane| lane.waiting).max().filter(|most| *most > than)?;
        let mut newest_first = self.waiting.iter().rev();
        let (id, _) = newest_first.find(|(_, one)| self.sources.waiting(&one.origin.source) == most)?;
        let id = *id;
        self.leave(id)
    }

    /// Whoever is next: of the source whose last turn is the longest ago, the account whose last turn is the longest ago.
    pub fn next(&mut self) -> Option<T> {
        let turns = |origin: &Origin| (self.sources.turn(&origin.source), self.accounts.turn(&origin.account));
        // Of equals the first to arrive. At most as many as may wait are looked at, which is nothing beside a hash.
        let (id, next) = self.waiting.iter().min_by_key(|(_, one)| turns(&one.origin))?;
        let id = *id;
        self.tick += 1;
        self.sources.had_turn(&next.origin.source, self.tick);
        self.accounts.had_turn(&next.origin.account, self.tick);
        self.leave(id)
    }

    /// No longer waits; nothing happens when it does not.
    pub fn leave(&mut self, id: u64) -> Option<T> {
        let Waiting { origin, item } = self.waiting.remove(&id)?;
        self.sources.leave(&origin.source);
        self.accounts.leave(&origin.account);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { in_all: 16, of_source: 8, of_account: 4 };

    fn origin(source: &str, account: &str) -> Origin {
        Origin { source: source.to_owned(), account: account.to_owned() }
    }

    /// The item is the origin in a word, so that what comes out says whose it was.
    fn enter(queue: &mut Queue<String>, source: &str, account: &str) -> Result<Entered<String>, Full> {
        queue.enter(origin(source, account), format!("{source}/{account}"))
    }

    #[test]
    fn whoever_comes_beside_a_flood_is_next_but_one() {
        let mut queue = Queue::new(BOUNDS);
        for account in 0..8 {
            enter(&mut queue, "flood", &account.to_string()).expect("there is room");
        }
        assert_eq!(queue.next().as_deref(), Some("flood/0"));
        enter(&mut queue, "honest", "ann").expect("there is room");
        // The flood's source has waited for longer, but only one of it comes first.
        let next: Vec<_> = std::iter::from_fn(|| queue.next()).take(2).collect();
        assert!(next.contains(&"honest/ann".to_owned()), "{next:?}");
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), 6);
    }

    #[test]
    fn within_a_source_accounts_take_turns() {
        let mut queue = Queue::new(BOUNDS);
        for _ in 0..4 {
            enter(&mut queue, "office", "attacked").expect("there is room");
        }
        enter(&mut queue, "office", "ann").expect("there is room");
        let next: Vec<_> = std::iter::from_fn(|| queue.next()).take(2).collect();
        assert_eq!(next, ["office/attacked", "office/ann"]);
    }

    #[test]
    fn no_source_and_no_account_has_more_than_its_share_waiting() {
        let mut queue = Queue::new(BOUNDS);
        for account in 0..8 {
            enter(&mut queue, "a", &account.to_string()).expect("there is room");
        }
        assert_eq!(enter(&mut queue, "a", "more").err(), Some(Full::Own));
        for source in 0..3 {
            enter(&mut queue, &source.to_string(), "0").expect("there is room");
        }
        assert_eq!(enter(&mut queue, "b", "0").err(), Some(Full::Own), "of an account, whatever its sources");
        enter(&mut queue, "b", "other").expect("others are unhurt");
    }

    #[test]
    fn what_comes_new_when_all_is_full_takes_the_place_of_who_has_the_most() {
        let mut queue = Queue::new(BOUNDS);
        for account in 0..16 {
            enter(&mut queue, if account < 8 { "a" } else { "b" }, &account.to_string()).expect("there is room");
        }
        let entered = enter(&mut queue, "honest", "ann").expect("somebody gives way");
        assert_eq!(entered.gave_way.as_deref(), Some("b/15"), "the newest of those that have the most");
        assert_eq!(enter(&mut queue, "honest", "bob").expect("once more").gave_way.as_deref(), Some("a/7"));
        let mut queue = Queue::new(BOUNDS);
        for source in 0..16 {
            enter(&mut queue, &source.to_string(), &source.to_string()).expect("there is room");
        }
        assert_eq!(enter(&mut queue, "honest", "ann").err(), Some(Full::All), "nobody has more than one");
    }

    #[test]
    fn who_left_is_not_next_and_leaves_room() {
        let mut queue = Queue::new(BOUNDS);
        let ids: Vec<u64> = (0..4).map(|_| enter(&mut queue, "a", "ann").expect("there is room").id).collect();
        assert_eq!(enter(&mut queue, "a", "ann").err(), Some(Full::Own));
        assert!(queue.leave(ids[0]).is_some());
        assert!(queue.leave(ids[0]).is_none());
        enter(&mut queue, "a", "ann").expect("there is room again");
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), 4);
        assert!(queue.sources.0.is_empty() && queue.accounts.0.is_empty(), "who does not wait takes no memory");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter { source: u8, account: u8 },
        Leave { which: usize },
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u8, 0..8_u8).prop_map(|(source, account)| Step::Enter { source, account }),
            1 => (0..32_usize).prop_map(|which| Step::Leave { which }),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        /// Whatever comes and goes: bounds hold, nothing is lost or doubled, and a source that begins to wait has its turn
        /// before any other source has had two.
        #[test]
        fn turns_are_taken_and_bounds_hold(steps in prop::collection::vec(step(), 1..200)) {
            let mut queue = Queue::new(BOUNDS);
            let mut waiting: BTreeMap<u64, String> = BTreeMap::new();
            // For each source that waits, those that have had a turn since it began to wait or had its own.
            let mut passed: HashMap<String, HashSet<String>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Enter { source, account } => {
                        let (source, account) = (source.to_string(), account.to_string());
                        let next_id = queue.tick + 1;
                        if let Ok(entered) = queue.enter(origin(&source, &account), (next_id, source.clone())) {
                            prop_assert_eq!(entered.id, next_id);
                            if let Some((gone, _)) = entered.gave_way {
                                prop_assert!(waiting.remove(&gone).is_some());
                            }
                            waiting.insert(entered.id, source.clone());
                            passed.entry(source).or_default();
                        }
                    }
                    Step::Leave { which } => {
                        if let Some(id) = waiting.keys().nth(which).copied() {
                            prop_assert_eq!(queue.leave(id).map(|(id, _)| id), Some(id));
                            waiting.remove(&id);
                        }
                    }
                    Step::Next => {
                        let next = queue.next();
                        prop_assert_eq!(next.is_none(), waiting.is_empty());
                        if let Some((id, source)) = next {
                            prop_assert!(waiting.remove(&id).is_some());
                            passed.insert(source.clone(), HashSet::new());
                            for (other, had) in passed.iter_mut().filter(|(other, _)| **other != source) {
                                prop_assert!(had.insert(source.clone()), "{source} had two turns while {other} waited");
                            }
                        }
                    }
                }
                passed.retain(|source, _| waiting.values().any(|waits| waits == source));
                prop_assert_eq!(queue.waiting.len(), waiting.len());
                prop_assert!(queue.waiting.len() <= BOUNDS.in_all);
                prop_assert!(queue.sources.0.values().all(|lane| (1..=BOUNDS.of_source).contains(&lane.waiting)));
                prop_assert!(queue.accounts.0.values().all(|lane| (1..=BOUNDS.of_account).contains(&lane.waiting)));
            }
        }
    }
}
