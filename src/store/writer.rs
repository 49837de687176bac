//! The thread that writes, and the one that flushes what it wrote.
//!
//! The writer commits without waiting for the disk and hands whoever wants more than a commit to the flusher, which puts
//! the write-ahead log on the disk, once for all that came meanwhile. So the next commits, and the work on new tasks, go on
//! beside a flush.

use super::{Connection, StoreError, spawn};
use rusqlite::TransactionBehavior;
use rusqlite::hooks::Action;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use tokio::sync::{Notify, oneshot};

/// How many waiting writes may share one commit.
const BATCH: usize = 64;

/// Runs in the writer, or learns why it cannot; says whether its savepoint is to be kept, and gives what answers the
/// caller once the commit is known.
type Work = Box<dyn FnOnce(Result<&Connection, StoreError>) -> (bool, Answer) + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Is told when a commit is on the disk.
pub(super) type Flushed = oneshot::Sender<Result<(), StoreError>>;
/// Makes room when the disk is full.
type Relief = Box<dyn Fn() + Send + Sync>;

/// One transaction to be.
pub(super) struct WriteJob {
    work: Work,
    flushed: Option<Flushed>,
}

impl WriteJob {
    pub(super) fn new(
        flushed: Option<Flushed>,
        work: impl FnOnce(Result<&Connection, StoreError>) -> (bool, Answer) + Send + 'static,
    ) -> Self {
        Self { work: Box::new(work), flushed }
    }
}

/// What others do at certain moments.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) full: OnceLock<Relief>,
    pub(super) new_tasks: Arc<Notify>,
}

/// What was done since the start.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) writes: AtomicU64,
    pub(super) flushes: AtomicU64,
}

/// The way to the writer.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<WriteJob>);

impl Writer {
    /// Starts both threads; they end when all handles are dropped.
    pub(super) fn start(
        mut connection: Connection,
        log: File,
        hooks: Arc<Hooks>,
        counts: Arc<Counts>,
    ) -> Result<Self, StoreError> {
        let new_tasks = Arc::new(AtomicBool::new(false));
        let noted = new_tasks.clone();
        connection.update_hook(Some(move |action, _: &str, table: &str, _| {
            if action == Action::SQLITE_INSERT && table == "task" {
                noted.store(true, Ordering::Relaxed);
            }
        }))?;
        let (writer, jobs) = mpsc::channel();
        let (flusher, waiting) = mpsc::channel();
        let counted = counts.clone();
        spawn("store-flusher", move || flush_loop(&log, &waiting, &counted));
        spawn("store-writer", move || {
            let mut end = WriterEnd { connection, flusher, hooks, counts, new_tasks };
            while let Ok(first) = jobs.recv() {
                end.turn(first, &jobs);
            }
        });
        Ok(Self(writer))
    }

    pub(super) fn send(&self, job: WriteJob) -> Result<(), StoreError> {
        self.0.send(job).map_err(|_| StoreError::Closed)
    }
}

/// What the writer's thread has.
struct WriterEnd {
    connection: Connection,
    flusher: mpsc::Sender<Vec<Flushed>>,
    hooks: Arc<Hooks>,
    counts: Arc<Counts>,
    new_tasks: Arc<AtomicBool>,
}

impl WriterEnd {
    /// One commit, for `first` and what else waits.
    fn turn(&mut self, first: WriteJob, jobs: &mpsc::Receiver<WriteJob>) {
        let (mut answers, mut to_flush) = (Vec::new(), Vec::new());
        let committed =
            batch(&mut self.connection, first, jobs, &mut answers, &mut to_flush).map_err(Arc::new);
        self.counts.writes.fetch_add(u64::try_from(answers.len()).unwrap_or_default(), Ordering::Relaxed);
        match &committed {
            Ok(()) => {
                if !to_flush.is_empty() && self.flusher.send(to_flush).is_err() {
                    tracing::error!("the thread that flushes the database is gone");
                }
                if self.new_tasks.swap(false, Ordering::Relaxed) {
                    self.hooks.new_tasks.notify_one();
                }
            }
            Err(error) if StoreError::Commit(error.clone()).is_full() => {
                if let Some(relief) = self.hooks.full.get() {
                    relief();
                }
            }
            Err(_) => {}
        }
        for answer in answers {
            answer(committed.clone().map_err(StoreError::Commit));
        }
    }
}

/// Runs `first` and what else waits in one transaction, each job in its savepoint.
fn batch(
    connection: &mut Connection,
    first: WriteJob,
    jobs: &mpsc::Receiver<WriteJob>,
    answers: &mut Vec<Answer>,
    to_flush: &mut Vec<Flushed>,
) -> rusqlite::Result<()> {
    let mut tx = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => tx,
        Err(error) => {
            answers.push((first.work)(Err(error.into())).1);
            return Ok(());
        }
    };
    let mut next = Some(first);
    while let Some(job) = next.take() {
        let savepoint = tx.savepoint()?;
        let (keep, answer) = (job.work)(Ok(&savepoint));
        answers.push(answer);
        if keep {
            savepoint.commit()?;
            to_flush.extend(job.flushed);
        } else {
            savepoint.finish()?;
        }
        if answers.len() < BATCH {
            next = jobs.try_recv().ok();
        }
    }
    tx.commit()
}

/// Flushes for all that wait. After a flush that failed nobody can tell what of the log is on the disk, so none is promised
/// any more: the next start reads what there is.
fn flush_loop(log: &File, waiting: &mpsc::Receiver<Vec<Flushed>>, counts: &Counts) {
    let mut failed: Option<Arc<std::io::Error>> = None;
    while let Ok(mut flushed) = waiting.recv() {
        flushed.extend(waiting.try_iter().flatten());
        if failed.is_none() {
            counts.flushes.fetch_add(1, Ordering::Relaxed);
            failed = log.sync_data().err().map(Arc::new);
            if let Some(error) = &failed {
                tracing::error!(%error, "the write-ahead log could not be put on the disk; start again once that is mended");
            }
        }
        for caller in flushed {
            // A caller that went away does not want the answer.
            let _ = caller.send(failed.clone().map_or(Ok(()), |error| Err(StoreError::Flush(error))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_flush_nothing_is_promised() {
        let (sender, waiting) = mpsc::channel();
        let answers: Vec<_> = (0..3)
            .map(|_| {
                let (flushed, on_disk) = oneshot::channel();
                sender.send(vec![flushed]).unwrap();
                on_disk
            })
            .collect();
        drop(sender);
        let counts = Counts::default();
        // A device that cannot be flushed.
        flush_loop(&File::open("/dev/null").unwrap(), &waiting, &counts);
        for answer in answers {
            assert!(matches!(answer.blocking_recv(), Ok(Err(StoreError::Flush(_)))));
        }
        assert_eq!(counts.flushes.load(Ordering::Relaxed), 1);
    }
}
