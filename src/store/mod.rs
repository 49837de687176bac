//! Typed SQLite: the only place with SQL.
//!
//! One writer thread (`writer`) and a few reader threads, each with its own connection, fed by channels: no SQLite call
//! runs on an async worker. A write closure is one transaction; writes that wait together share one commit, each in a
//! savepoint of its own, and commits that wait together share one flush to the disk. Nobody hears "done" before the
//! flush who has not said that the commit is enough. The state folder is locked for one process.

pub mod aggregates;
pub mod console_tokens;
pub mod firewall;
pub mod flavors;
pub mod identity;
pub mod image_list;
pub mod image_members;
pub mod images;
pub mod keypairs;
mod listing;
mod migrate;
pub mod networks;
pub mod node;
pub mod ports;
pub mod quotas;
pub mod rows;
pub mod security_groups;
pub mod server_actions;
pub mod server_groups;
pub mod server_list;
pub mod server_migrations;
pub mod server_ports;
pub mod server_rebuild;
mod server_rows;
pub mod server_times;
pub mod server_usage;
pub mod servers;
pub mod setting;
pub mod tasks;
mod writer;

pub use rusqlite::Connection;
use rusqlite::OpenFlags;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use tokio::sync::{Notify, oneshot};
use writer::{Counts, Flushed, Hooks, WriteJob, Writer};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the database has schema {found}, this program knows up to {known}: use the newer program")]
    Newer { found: u32, known: u32 },
    #[error("{path} is in use by another process: {detail}")]
    Locked { path: PathBuf, detail: String },
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a stored value does not parse: {0}")]
    Corrupt(String),
    #[error("the transaction could not be committed: {0}")]
    Commit(Arc<rusqlite::Error>),
    #[error("the write-ahead log could not be put on the disk: {0}")]
    Flush(Arc<std::io::Error>),
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the disk (or the database's limit) is full.
    pub fn is_full(&self) -> bool {
        let cause = match self {
            Self::Sqlite(cause) => cause,
            Self::Commit(cause) => cause.as_ref(),
            _ => return false,
        };
        cause.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

impl From<StoreError> for crate::core::Error {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::unavailable("The disk of this host is full.").with_source(error);
        }
        Self::internal(error)
    }
}

impl From<rusqlite::Error> for crate::core::Error {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    readers: Arc<[mpsc::Sender<Job>]>,
    next: Arc<AtomicUsize>,
    hooks: Arc<Hooks>,
    counts: Arc<Counts>,
    path: Arc<Path>,
    _lock: Arc<File>,
}

/// How busy the store was since the start, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreFigures {
    /// Transactions that were asked for.
    pub writes: u64,
    /// Flushes to the disk, each for one or more transactions.
    pub commits: u64,
    /// Size of the database's file, in bytes.
    pub database_bytes: u64,
    /// Size of its write-ahead log, in bytes.
    pub log_bytes: u64,
}

impl Store {
    /// Opens (or makes) `dwarfnova.db` in the state folder, takes the folder's lock, and migrates.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let lock = lock(state_dir)?;
        let path = state_dir.join("dwarfnova.db");
        let mut connection = connect(&path, false)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        migrate::run(&mut connection)?;
        let (hooks, counts) = (Arc::new(Hooks::default()), Arc::new(Counts::default()));
        let log = flushed_log(state_dir, &path)?;
        let writer = Writer::start(connection, log, hooks.clone(), counts.clone())?;
        let readers = (0..reader_count())
            .map(|_| {
                let connection = connect(&path, true)?;
                let (sender, jobs) = mpsc::channel::<Job>();
                spawn("store-reader", move || {
                    for job in jobs {
                        job(&connection);
                    }
                });
                Ok(sender)
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Self {
            writer,
            readers: readers.into(),
            next: Arc::new(AtomicUsize::new(0)),
            hooks,
            counts,
            path: path.into(),
            _lock: Arc::new(lock),
        })
    }

    /// How busy the store was, and how large it is. A file that is not there has no size.
    pub fn figures(&self) -> StoreFigures {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        StoreFigures {
            writes: self.counts.writes.load(Ordering::Relaxed),
            commits: self.counts.flushes.load(Ordering::Relaxed),
            database_bytes: size(&self.path),
            log_bytes: size(&self.path.with_extension("db-wal")),
        }
    }

    /// Says what makes room when the disk is full. It is done before the write that failed is answered, so that whoever
    /// tries again can succeed. Only the first call counts.
    pub fn when_full(&self, relief: impl Fn() + Send + Sync + 'static) {
        // Set already: the first one stays.
        let _ = self.hooks.full.set(Box::new(relief));
    }

    /// Is notified whenever new tasks are committed, which is a moment before they are on the disk.
    pub fn new_tasks(&self) -> Arc<Notify> {
        self.hooks.new_tasks.clone()
    }

    /// Runs `job` on a reading connection, inside one consistent snapshot.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let reader = &self.readers[self.next.fetch_add(1, Ordering::Relaxed) % self.readers.len()];
        let boxed: Job = Box::new(move |connection| {
            let result = match connection.unchecked_transaction() {
                Ok(_snapshot) => job(connection),
                Err(error) => Err(StoreError::from(error).into()),
            };
            // A caller that went away does not want the answer.
            let _ = sender.send(result);
        });
        reader.send(boxed).map_err(|_| StoreError::Closed)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `job` as one transaction: kept and on the disk when it returned `Ok`, without a trace otherwise.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (flushed, on_disk) = oneshot::channel();
        let result = self.submit(job, Some(flushed)).await?;
        on_disk.await.map_err(|_| StoreError::Closed)??;
        Ok(result)
    }

    /// As [`Store::write`], but does not wait for the disk: the process may die at once, and it is kept; when the host loses
    /// power it may be gone, as if the process had died a moment before. For what is found out, or done, again then.
    /// Any later [`Store::write`] puts it on the disk too.
    pub async fn write_unflushed<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.submit(job, None).await
    }

    async fn submit<T, E, F>(&self, job: F, flushed: Option<Flushed>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job = WriteJob::new(flushed, move |connection| {
            let result = connection.map_err(E::from).and_then(job);
            let keep = result.is_ok();
            let answer = move |committed: Result<(), StoreError>| {
                let outcome = match committed {
                    Ok(()) => result,
                    Err(error) => result.and(Err(error.into())),
                };
                // A caller that went away does not want the answer.
                let _ = sender.send(outcome);
            };
            (keep, Box::new(answer))
        });
        self.writer.send(job)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

fn reader_count() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned());
    // Without its threads the store answers `Closed`; there is no better place to say so than the log.
    if let Err(error) = thread.spawn(body) {
        tracing::error!(%error, name, "a store thread could not be started");
    }
}

/// Opens the write-ahead log to be flushed, and makes sure that it will be found after a power loss. SQLite keeps the file
/// as long as it has a connection.
fn flushed_log(state_dir: &Path, database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("db-wal");
    let open = || {
        let log = File::open(&path)?;
        File::open(state_dir)?.sync_all()?;
        Ok(log)
    };
    open().map_err(|source| StoreError::File { path: path.clone(), source })
}

fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let access = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // SQLite itself flushes when it empties its log, so that the database is never damaged. What was answered 202 has to
    // survive power loss too: the writer flushes that, beside the next commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(128);
    rows::add_functions(&connection)?;
    Ok(connection)
}

/// Takes the folder's lock, or says who has it.
fn lock(state_dir: &Path) -> Result<File, StoreError> {
    use std::io::{Read, Write};
    let path = state_dir.join("lock");
    let file_error = |source| StoreError::File { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(file_error)?;
    if let Err(error) = file.try_lock() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let detail = match error {
            std::fs::TryLockError::WouldBlock => format!("process {} holds the lock", holder.trim()),
            std::fs::TryLockError::Error(error) => error.to_string(),
        };
        return Err(StoreError::Locked { path, detail });
    }
    file.set_len(0).map_err(file_error)?;
    writeln!(file, "{}", std::process::id()).map_err(file_error)?;
    Ok(file)
}

/// A database in memory with the newest schema, for the tests of one aggregate.
#[cfg(test)]
pub fn in_memory() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    rows::add_functions(&connection).unwrap();
    migrate::run(&mut connection).unwrap();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> Result<i64, StoreError> {
        Ok(connection.query_row("SELECT count(*) FROM setting", [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_and_its_neighbours_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let good = (0..20).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write::<_, StoreError, _>(move |c| {
                        c.execute("INSERT INTO setting VALUES (?1, 'x')", [format!("k{n}")])?;
                        if n % 2 == 0 { Err(StoreError::Corrupt("wanted".into())) } else { Ok(()) }
                    })
                    .await
                    .is_ok()
            })
        });
        let kept =
            futures_util::future::join_all(good).await.into_iter().filter(|r| *r.as_ref().unwrap()).count();
        assert_eq!(kept, 10);
        assert_eq!(store.read(count).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn a_second_store_on_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Store::open(folder.path()).unwrap();
        let Err(StoreError::Locked { detail, .. }) = Store::open(folder.path()) else {
            panic!("the second store was opened");
        };
        assert!(detail.contains(&std::process::id().to_string()), "{detail}");
    }

    #[tokio::test]
    async fn what_need_not_be_flushed_is_kept_in_order_and_flushes_are_counted_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let before = store.figures();
        let last = |n: i64| {
            move |c: &Connection| {
                let seen = count(c)?;
                c.execute("INSERT INTO setting VALUES (?1, 'x')", [format!("k{n}")])?;
                Ok::<_, StoreError>(seen)
            }
        };
        let jobs = (0..200).map(|n| {
            let store = store.clone();
            async move {
                let job = last(n);
                if n % 3 == 0 { store.write(job).await } else { store.write_unflushed(job).await }
            }
        });
        let seen: Vec<i64> =
            futures_util::future::join_all(jobs).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        let flushed = store.figures();
        assert_eq!(flushed.writes - before.writes, 200);
        assert!((1..=67).contains(&(flushed.commits - before.commits)), "{flushed:?}");
        store.write_unflushed(last(200)).await.unwrap();
        let after = store.figures();
        assert_eq!((after.writes, after.commits), (flushed.writes + 1, flushed.commits));
        assert_eq!(store.read(count).await.unwrap(), 201);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let result = store
            .read::<_, StoreError, _>(|c| Ok(c.execute("INSERT INTO setting VALUES ('a', 'b')", [])?))
            .await;
        assert!(result.is_err());
    }
}
