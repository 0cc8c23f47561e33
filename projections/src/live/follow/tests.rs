//! Several nodes follow one log, in any interleaving with writers that commit late, out of order, or never: what had ended
//! before a node began to read the log to its end is ended on that node. Time has no part in it: that a node says no more
//! than that for longer than `max_staleness` is the rule of whoever asks it.

use grantlog_domain::client::ClientEvent;
use grantlog_domain::grant::{GrantEvent, RevocationReason};
use grantlog_domain::user::UserEvent;
use grantlog_domain::{ClientId, GrantId, Recorded, UserId};
use uuid::Uuid;

use super::*;
use crate::db::Tx;
use crate::testing::{Dice, NOW, append, append_in, hash, metadata, now, on_both, opened, recorded};

const SEEDS: u64 = 12;
const STEPS: u64 = 150;
const NODES: usize = 3;
/// Transactions that are open at the same time.
const OPEN_MAX: usize = 5;

/// A token by its number: it has a grant, a client and a user of its own.
#[derive(Clone, Copy, Debug)]
struct Token(u64);

impl Token {
    fn client(self) -> ClientId {
        ClientId(Uuid::from_u128(u128::from(self.0) << 8 | 1))
    }

    fn user(self) -> UserId {
        UserId(Uuid::from_u128(u128::from(self.0) << 8 | 2))
    }

    fn grant(self) -> GrantId {
        GrantId(Uuid::from_u128(u128::from(self.0) << 8 | 3))
    }

    async fn issue(self, db: &Log) {
        let client = ClientEvent::Registered {
            metadata: metadata("app"),
            secret: None,
            owner: None,
            registration_access_token: None,
            by: None,
            at: NOW,
        };
        append(db, &recorded(self.client(), 1, client)).await;
        append(db, &recorded(self.user(), 1, UserEvent::Registered { at: NOW })).await;
        let grant = GrantEvent::Opened(opened(self.client(), Some(self.user()), self.0));
        append(db, &recorded(self.grant(), 1, grant)).await;
    }

    /// One of the ways in which it can end.
    fn end(self, dice: &mut Dice) -> Recorded {
        match dice.below(4) {
            0 => recorded(self.grant(), 2, GrantEvent::Revoked { reason: RevocationReason::Admin, at: NOW }),
            1 => recorded(self.grant(), 2, GrantEvent::AccessTokenRevoked { token: hash(self.0), at: NOW }),
            2 => recorded(self.client(), 2, ClientEvent::Disabled { by: None, at: NOW }),
            _ => recorded(self.user(), 2, UserEvent::Disabled { at: NOW }),
        }
    }
}

struct Node {
    live: Live,
    feed: Option<Eager>,
    /// How many ends were committed when it last began to read the log to its end.
    told: usize,
}

impl Node {
    async fn new(db: &Log, ended: usize) -> Self {
        let live = Live::new();
        live.load(db, NOW).await.unwrap();
        let feed = live.0.status.take_feed();
        Self { live, feed, told: ended }
    }

    async fn read(&mut self, db: &Log, ended: usize) {
        let began = super::nanos(Tick::now());
        if let Reached::End = self.live.read_once(db, &mut self.feed, &FollowOptions::new(now())).await.unwrap() {
            self.told = ended;
            assert!(self.live.0.status.read_at.load(Ordering::Acquire) >= began, "it counts from this read");
        }
    }

    fn is_active(&self, token: Token) -> bool {
        self.live.introspect(token.grant(), &hash(token.0), NOW).is_some()
    }
}

struct World {
    db: Log,
    dice: Dice,
    next: u64,
    active: Vec<Token>,
    /// In the order in which their ends were committed.
    ended: Vec<Token>,
    /// Ends whose transaction is still open.
    open: Vec<(Token, Tx)>,
}

impl World {
    async fn step(&mut self, nodes: &mut [Node]) {
        let node = self.dice.below(NODES as u64) as usize;
        match self.dice.below(10) {
            0 | 1 => {
                let token = Token(self.next);
                self.next += 1;
                token.issue(&self.db).await;
                self.active.push(token);
            }
            2 | 3 if !self.active.is_empty() => self.end(&nodes[node]).await,
            4 if !self.open.is_empty() => self.settle().await,
            // A node that was restarted.
            5 if self.dice.below(4) == 0 => nodes[node] = Node::new(&self.db, self.ended.len()).await,
            _ => nodes[node].read(&self.db, self.ended.len()).await,
        }
    }

    async fn end(&mut self, by: &Node) {
        let at = self.dice.below(self.active.len() as u64) as usize;
        let token = self.active.swap_remove(at);
        let event = token.end(&mut self.dice);
        // SQLite has one writer: nothing is ever in between.
        if self.db.is_postgres() && self.open.len() < OPEN_MAX && self.dice.below(2) == 0 {
            let mut tx = self.db.begin().await.unwrap();
            append_in(&mut tx, &event).await;
            self.open.push((token, tx));
            return;
        }
        append(&self.db, &event).await;
        if self.dice.below(2) == 0 {
            let sql = "SELECT position FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence = $3";
            let key = [event.event.aggregate_type().into(), event.aggregate_id.as_str().into(), event.sequence.into()];
            let position = self.db.fetch(sql, &key).await.unwrap()[0].int(0).unwrap();
            by.live.apply_own(&[Recorded { position, ..event }]);
            assert!(!by.is_active(token), "its own");
        }
        self.ended.push(token);
    }

    /// Commits or rolls back one of the open transactions.
    async fn settle(&mut self) {
        let at = self.dice.below(self.open.len() as u64) as usize;
        let (token, tx) = self.open.swap_remove(at);
        if self.dice.below(4) == 0 {
            tx.rollback().await.unwrap();
            self.active.push(token);
        } else {
            tx.commit().await.unwrap();
            self.ended.push(token);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_before_a_read_began_is_ended_after_it() {
    on_both(|fresh| async move {
        for seed in 1..=SEEDS {
            let (active, ended, open) = (Vec::new(), Vec::new(), Vec::new());
            let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let mut world = World { db: fresh.db.clone(), dice, next: seed * 10_000, active, ended, open };
            let mut nodes = Vec::new();
            for _ in 0..NODES {
                nodes.push(Node::new(&world.db, 0).await);
            }
            for step in 0..STEPS {
                world.step(&mut nodes).await;
                for (number, node) in nodes.iter().enumerate() {
                    let wrong = world.ended[..node.told].iter().find(|token| node.is_active(**token));
                    assert!(wrong.is_none(), "seed {seed}, step {step}, node {number}: {wrong:?} is active");
                }
            }
            for (_, tx) in std::mem::take(&mut world.open) {
                tx.rollback().await.unwrap();
            }
            // And nothing ends by itself.
            for node in &mut nodes {
                node.read(&world.db, world.ended.len()).await;
                assert!(world.active.iter().all(|token| node.is_active(*token)), "seed {seed}");
                assert!(world.ended.iter().all(|token| !node.is_active(*token)), "seed {seed}");
            }
        }
    })
    .await;
}

/// However often the log is read: with many millions held, each part that is looked at costs.
#[tokio::test]
async fn all_that_is_held_is_looked_at_once_a_minute() {
    on_both(|fresh: std::sync::Arc<crate::testing::Fresh>| async move {
        let (live, wake) = (Live::new(), Wake::new(&fresh.db));
        live.load(&fresh.db, NOW).await.expect("loaded");
        let began = Instant::now();
        let options = FollowOptions { interval: Duration::from_millis(1), ..FollowOptions::new(now()) };
        let follower = live.follow(&fresh.db, &wake, options);
        while live.0.swept.load(Ordering::Relaxed) < 4 {
            wake.signal();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        follower.stop().await;
        let parts = began.elapsed().as_micros() / SWEEP_EVERY.as_micros() + 1;
        assert!(live.0.swept.load(Ordering::Relaxed) as u128 <= parts);
    })
    .await;
}
