//! A few operating-system threads for calls that block.
//!
//! Threads are made when there is work and end when there is none for a while, so an idle daemon has none. A job
//! that nobody waits for any more counts as lost: it keeps its thread, and a new thread may take its place, so that
//! calls that never return do not use the pool up. What a thread keeps from job to job, it lets go of when it ends.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread without work stays.
const LINGER: Duration = Duration::from_secs(20);

/// More threads than this are never made, lost ones included.
const MOST_THREADS: usize = 128;

type Work<K> = Box<dyn FnOnce(&mut K) + Send>;

struct Job<K> {
    work: Work<K>,
    lost: Arc<AtomicBool>,
}

struct Inner<K> {
    queue: VecDeque<Job<K>>,
    threads: usize,
    idle: usize,
    lost: usize,
}

struct Shared<K> {
    name: &'static str,
    size: usize,
    inner: Mutex<Inner<K>>,
    wake: Condvar,
}

/// A pool of at most `size` threads besides those that are lost in calls. Each keeps a `K` of its own.
pub struct Pool<K = ()>(Arc<Shared<K>>);

impl<K> Clone for Pool<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// One submitted job, as its submitter holds it. Dropping it says that nobody waits for the job any more: if it runs,
/// it runs on, beside the pool's size; if it waits, it never will.
#[must_use]
pub struct Ticket<K: Default + 'static = ()> {
    pool: Pool<K>,
    lost: Arc<AtomicBool>,
}

impl<K: Default + 'static> Drop for Ticket<K> {
    fn drop(&mut self) {
        let mut inner = self.pool.0.lock();
        if !self.lost.swap(true, Ordering::SeqCst) {
            inner.lost += 1;
            self.pool.0.grow(&self.pool, &mut inner);
        }
    }
}

impl<K: Default + 'static> Pool<K> {
    pub fn new(name: &'static str, size: usize) -> Self {
        Self(Arc::new(Shared { name, size, inner: Mutex::new(Inner::new()), wake: Condvar::new() }))
    }

    pub fn submit(&self, work: impl FnOnce(&mut K) + Send + 'static) -> Ticket<K> {
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
        let mut kept = K::default();
        let mut inner = self.0.lock();
        loop {
            if let Some(job) = inner.queue.pop_front() {
                // What nobody waits for is not begun any more.
                if !job.lost.load(Ordering::SeqCst) {
                    drop(inner);
                    if catch_unwind(AssertUnwindSafe(|| (job.work)(&mut kept))).is_err() {
                        kept = K::default();
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

impl<K> Inner<K> {
    fn new() -> Self {
        Self { queue: VecDeque::new(), threads: 0, idle: 0, lost: 0 }
    }
}

impl<K: Default + 'static> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more thread if there is work for it and room.
    fn grow(&self, pool: &Pool<K>, inner: &mut Inner<K>) {
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
        let pool: Pool = Pool::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        let hanging = pool.submit(move |()| {
            held.recv().ok();
        });
        let (done, answer) = mpsc::channel();
        let second = done.clone();
        let waiting = pool.submit(move |()| second.send(1).unwrap());
        assert!(answer.recv_timeout(Duration::from_millis(50)).is_err());
        drop(hanging);
        assert_eq!(answer.recv_timeout(SOON).unwrap(), 1);
        release.send(()).unwrap();
        let last = pool.submit(move |()| done.send(2).unwrap());
        assert_eq!(answer.recv_timeout(SOON).unwrap(), 2);
        drop((waiting, last));
    }

    #[test]
    fn many_jobs_run_on_few_threads() {
        let pool = Pool::<usize>::new("test", 3);
        let (done, answer) = mpsc::channel();
        let tickets: Vec<Ticket<usize>> = (0..200)
            .map(|number| {
                let done = done.clone();
                pool.submit(move |kept| {
                    *kept += 1;
                    done.send((number, *kept)).unwrap();
                })
            })
            .collect();
        let seen: Vec<(i32, usize)> = (0..200).map(|_| answer.recv_timeout(SOON).unwrap()).collect();
        let mut numbers: Vec<i32> = seen.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        // Some thread has done a third of them at least, and kept count.
        assert!(seen.iter().any(|(_, count)| *count > 66));
        assert!(pool.0.lock().threads <= 3);
        drop(tickets);
        // The last thread notes the end of its job a moment after the job's own last word.
        while pool.0.lock().lost > 0 {
            std::thread::yield_now();
        }
    }
}
