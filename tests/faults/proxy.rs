//! A proxy between a server and its PostgreSQL, for faults that neither of them would make by itself.
//!
//! It knows just enough of the protocol to see where a message ends and which one appends to the log. Grantlog connects
//! to it over TCP with [`Proxy::url`]; it connects to the unix socket of the test cluster.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::harness::poll::PATIENCE;

/// What an append begins with, as the group commit writes it.
const APPEND: &[u8] = b"INSERT INTO events";

/// Takes connections until it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    socket: PathBuf,
    state: watch::Sender<State>,
    /// Answers to committed appends that are being held back.
    held: watch::Sender<usize>,
    /// Connections that were swallowed for ever, each in the middle of a transaction.
    swallowed: watch::Sender<usize>,
    /// Appends since the start, for [`Proxy::lose_appends`].
    appends: AtomicU32,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Connections of an earlier generation end.
    generation: u64,
    cut: bool,
    stalled: bool,
    holding: bool,
    delay: Duration,
    /// Every so many-th append loses its connection; 0: none.
    lose_every: u32,
    /// Who commits a transaction is heard no more, and hears nothing.
    swallowing_commits: bool,
}

impl Proxy {
    /// A proxy to that database (a URL with `host=` a directory, as [`crate::harness::Site::database`] gives it).
    pub async fn to(database: &str) -> Proxy {
        let mut url = url::Url::parse(database).expect("a URL");
        let host = url.query_pairs().find(|(name, _)| name == "host").expect("a unix socket").1.into_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        url.set_query(Some("sslmode=disable"));
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let shared = Arc::new(Shared {
            socket: PathBuf::from(host).join(".s.PGSQL.5432"),
            state: watch::Sender::default(),
            held: watch::Sender::default(),
            swallowed: watch::Sender::default(),
            appends: AtomicU32::default(),
        });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !accepting.state.borrow().cut {
                    tokio::spawn(connection(Arc::clone(&accepting), client));
                }
            }
        });
        Proxy { shared, url: url.into(), task }
    }

    /// The database through this proxy, for `--database`.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.shared.state.send_modify(change);
    }

    /// Ends every connection, without an answer to what was asked; new ones pass.
    pub fn kill_connections(&self) {
        self.change(|state| state.generation += 1);
    }

    /// Ends every connection and refuses new ones, as a network that says so.
    pub fn cut(&self) {
        self.change(|state| *state = State { cut: true, generation: state.generation + 1, ..*state });
    }

    /// Lets nothing through in either direction; connections stay, as in a network that swallows everything.
    pub fn stall(&self) {
        self.change(|state| state.stalled = true);
    }

    /// Every message arrives so much later.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// From now on the answers to committed appends are held back: the rows are durable, and nobody knows it.
    pub fn hold_answers(&self) {
        self.change(|state| state.holding = true);
    }

    /// Every `every`-th append loses its connection: before it reaches the database, on its way, or after it committed.
    pub fn lose_appends(&self, every: u32) {
        self.change(|state| state.lose_every = every);
    }

    /// From now on a connection on which a transaction is to be committed is swallowed, and stays so whatever is healed;
    /// others pass. Waits until that has happened once, and heals.
    pub async fn swallow_a_commit(&self) {
        let mut swallowed = self.shared.swallowed.subscribe();
        let before = *swallowed.borrow_and_update();
        self.change(|state| state.swallowing_commits = true);
        let waiting = swallowed.wait_for(|swallowed| *swallowed > before);
        tokio::time::timeout(PATIENCE, waiting).await.expect("somebody commits").expect("the proxy lives");
        self.heal();
    }

    /// Everything passes again, also what was held back or stalled.
    pub fn heal(&self) {
        self.change(|state| *state = State { generation: state.generation, ..State::default() });
    }

    /// Waits until at least one answer is held back.
    pub async fn until_held(&self) {
        let mut held = self.shared.held.subscribe();
        let waiting = held.wait_for(|held| *held > 0);
        tokio::time::timeout(PATIENCE, waiting).await.expect("somebody appends").expect("the proxy lives");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// Lives until one side ends it, or the test does.
async fn connection(shared: Arc<Shared>, client: TcpStream) {
    let mut state = shared.state.subscribe();
    let born = state.borrow_and_update().generation;
    let Ok(server) = UnixStream::connect(&shared.socket).await else { return };
    let _ = client.set_nodelay(true);
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let link = Link { shared: &shared, appending: AtomicBool::new(false), lose_answer: AtomicBool::new(false) };
    tokio::select! {
        _ = link.requests(BufReader::new(client_reads), server_writes) => {}
        _ = link.answers(BufReader::new(server_reads), client_writes) => {}
        _ = state.wait_for(|state| state.generation != born) => {}
    }
}

struct Link<'a> {
    shared: &'a Shared,
    /// The next answer is that of an append or of a commit.
    appending: AtomicBool,
    /// The next answer of an append does not arrive.
    lose_answer: AtomicBool,
}

type Through = io::Result<()>;

impl Link<'_> {
    async fn requests(
        &self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
    ) -> Through {
        // The first message has no type.
        let startup = message(&mut from, false).await?;
        to.write_all(&startup).await?;
        let mut appends: HashSet<Vec<u8>> = HashSet::new();
        loop {
            let message = message(&mut from, true).await?;
            let body = &message[5..];
            let mut lose_on_the_way = false;
            match message[0] {
                // Parse: the statement's name, its text.
                b'P' => {
                    let (name, text) = split(body);
                    if contains(text, APPEND) {
                        appends.insert(name.to_vec())
                    } else {
                        appends.remove(name)
                    };
                }
                // Bind: the portal, the statement.
                b'B' if appends.contains(split(split(body).1).0) => {
                    lose_on_the_way = self.append()?;
                }
                b'Q' if body.starts_with(b"COMMIT") => {
                    if self.shared.state.borrow().swallowing_commits {
                        self.shared.swallowed.send_modify(|swallowed| *swallowed += 1);
                        return std::future::pending().await;
                    }
                    self.appending.store(true, SeqCst);
                }
                _ => {}
            }
            self.pass(&mut to, &message).await?;
            if lose_on_the_way {
                // What follows it makes it run; then nobody listens.
                while !to_the_end(&mut from, &mut to).await? {}
                return Ok(());
            }
        }
    }

    /// An append goes through, unless it is its turn to get lost. Answers whether it gets lost on the way.
    fn append(&self) -> io::Result<bool> {
        self.appending.store(true, SeqCst);
        let every = self.shared.state.borrow().lose_every;
        let number = self.shared.appends.fetch_add(1, SeqCst);
        if every == 0 || !number.is_multiple_of(every) {
            return Ok(false);
        }
        match number / every % 3 {
            0 => Err(io::ErrorKind::ConnectionAborted.into()),
            1 => Ok(true),
            _ => {
                self.lose_answer.store(true, SeqCst);
                Ok(false)
            }
        }
    }

    async fn answers(
        &self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
    ) -> Through {
        loop {
            let mut answer = message(&mut from, true).await?;
            if self.appending.load(SeqCst) {
                // Up to ReadyForQuery, which says whether a transaction is still open.
                let mut kind = answer[0];
                while kind != b'Z' {
                    let next = message(&mut from, true).await?;
                    kind = next[0];
                    answer.extend(next);
                }
                self.appending.store(false, SeqCst);
                if answer.last() == Some(&b'I') {
                    self.committed().await?;
                }
            }
            self.pass(&mut to, &answer).await?;
        }
    }

    async fn committed(&self) -> Through {
        if self.lose_answer.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut state = self.shared.state.subscribe();
        if state.borrow_and_update().holding {
            self.shared.held.send_modify(|held| *held += 1);
            let _ = state.wait_for(|state| !state.holding).await;
            self.shared.held.send_modify(|held| *held -= 1);
        }
        Ok(())
    }

    async fn pass(&self, to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> Through {
        let mut state = self.shared.state.subscribe();
        let delay = state.borrow_and_update().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let _ = state.wait_for(|state| !state.stalled).await;
        to.write_all(bytes).await
    }
}

/// Passes one message on; answers whether it was a Sync, after which the server works.
async fn to_the_end(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<bool> {
    let message = message(from, true).await?;
    to.write_all(&message).await?;
    Ok(message[0] == b'S')
}

/// One whole message: its type when it has one, four bytes of length, the rest.
async fn message(from: &mut (impl tokio::io::AsyncRead + Unpin), typed: bool) -> io::Result<Vec<u8>> {
    let start = usize::from(typed);
    let mut bytes = vec![0; start + 4];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes(bytes[start..].try_into().expect("four bytes")) as usize;
    bytes.resize(start + length.max(4), 0);
    from.read_exact(&mut bytes[start + 4..]).await?;
    Ok(bytes)
}

/// Text up to its zero byte, and what comes after.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
