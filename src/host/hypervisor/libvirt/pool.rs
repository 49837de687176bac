//! A few operating-system threads for calls that block.
//!
//! Threads are made when there is work and end when there is none for a while, so an idle daemon has none. A job
//! that nobody waits for any more counts as lost: it keeps its thread, and a new thread may take its place, so that
//! calls that never return do not use the pool up.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread without work stays.
const LINGER: Duration = Duration::from_secs(20);

/// More threads than this are never made, lost ones included.
const MOST_THREADS: usize = 128;

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    work: Work,
    lost: Arc<AtomicBool>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    lost: usize,
}

struct Shared {
    name: &'static str,
    size: usize,
    inner: Mutex<Inner>,
    wake: Condvar,
}

/// A pool of at most `size` threads besides those that are lost in calls.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

/// One submitted job, as its submitter holds it. Dropping it says that nobody waits for the job any more: if it runs,
/// it runs on, beside the pool's size; if it waits, it never will.
#[must_use]
pub struct Ticket {
    pool: Pool,
    lost: Arc<AtomicBool>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.pool.0.lock();
        if !self.lost.swap(true, Ordering::SeqCst) {
            inner.lost += 1;
            self.pool.0.grow(&self.pool, &mut inner);
        }
    }
}

impl Pool {
    pub fn new(name: &'static str, size: usize) -> Self {
        Self(Arc::new(Shared { name, size, inner: Mutex::default(), wake: Condvar::new() }))
    }

    pub fn submit(&self, work: impl FnOnce() + Send + 'static) -> Ticket {
        let lost = Arc::new(AtomicBool::new(false));
        let mut inner = self.0.lock();
        inner.queue.push_back(Job { work: Box::new(work), lost: Arc::clone(&lost) });
        if inner.idle >= inner.queue.len() {
            self.0.wake.notify_one();
        } else {
            self.0.grow(self, &mut inner);
        }
        drop(inner);
        Ticket { pool: self.clone(), lost }
    }

    fn serve(&self) {
        let mut inner = self.0.lock();
        loop {
            if let Some(job) = inner.queue.pop_front() {
                // What nobody waits for is not begun any more.
                if !job.lost.load(Ordering::SeqCst) {
                    drop(inner);
                    if catch_unwind(AssertUnwindSafe(job.work)).is_err() {
                        tracing::error!(pool = self.0.name, "a call to libvirt panicked");
                    }
                    inner = self.0.lock();
                }
                if job.lost.swap(true, Ordering::SeqCst) {
                    inner.lost -= 1;
                }
                if inner.threads.saturating_sub(inner.lost) > self.0.size {
                    break;
                }
                continue;
            }
            inner.idle += 1;
            let (again, waited) =
                self.0.wake.wait_timeout(inner, LINGER).unwrap_or_else(PoisonError::into_inner);
            inner = again;
            inner.idle -= 1;
            if waited.timed_out() && inner.queue.is_empty() {
                break;
            }
        }
        inner.threads -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more thread if there is work for it and room.
    fn grow(&self, pool: &Pool, inner: &mut Inner) {
        let room = inner.threads.saturating_sub(inner.lost) < self.size && inner.threads < MOST_THREADS;
        if inner.queue.len() <= inner.idle || !room {
            return;
        }
        let pool = pool.clone();
        let spawned = std::thread::Builder::new().name(self.name.into()).spawn(move || pool.serve());
        match spawned {
            Ok(_) => inner.threads += 1,
            // The job stays queued for the threads there are; its caller has a deadline.
            Err(error) => tracing::error!(%error, "no thread could be made for calls to libvirt"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn lost_jobs_do_not_use_the_pool_up() {
        let pool = Pool::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        let hanging = pool.submit(move || {
            held.recv().ok();
        });
        let (done, answer) = mpsc::channel();
        let second = done.clone();
        let waiting = pool.submit(move || second.send(1).unwrap());
        assert!(answer.recv_timeout(Duration::from_millis(50)).is_err());
        drop(hanging);
        assert_eq!(answer.recv_timeout(SOON).unwrap(), 1);
        release.send(()).unwrap();
        let last = pool.submit(move || done.send(2).unwrap());
        assert_eq!(answer.recv_timeout(SOON).unwrap(), 2);
        drop((waiting, last));
    }

    #[test]
    fn many_jobs_run_on_few_threads() {
        let pool = Pool::new("test", 3);
        let (done, answer) = mpsc::channel();
        let tickets: Vec<Ticket> = (0..200)
            .map(|number| {
                let done = done.clone();
                pool.submit(move || done.send(number).unwrap())
            })
            .collect();
        let mut seen: Vec<i32> = (0..200).map(|_| answer.recv_timeout(SOON).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        assert!(pool.0.lock().threads <= 3);
        drop(tickets);
        // The last thread notes the end of its job a moment after the job's own last word.
        while pool.0.lock().lost > 0 {
            std::thread::yield_now();
        }
    }
}
