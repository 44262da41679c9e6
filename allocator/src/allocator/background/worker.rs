//! A thread that ends when it is asked to, or is left behind.

use core::time::Duration;
use std::time::Instant;

use crate::{
    platform::{PlatformError, spawn},
    sync::{
        Arc, Condvar, LockRank, Mutex,
        thread::{self, JoinHandle},
    },
};

/// How long the end of a thread that was asked to stop is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A thread of an allocator's.
#[derive(Debug)]
pub(super) struct Worker {
    thread: JoinHandle<()>,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Says that the thread has ended, also if by a panic.
struct SaysSo(Arc<Ended>);

impl Drop for SaysSo {
    fn drop(&mut self) {
        let _rank = LockRank::Leaf.acquire();
        *self.0.ended.lock() = true;
        self.0.changed.notify_all();
    }
}

impl Worker {
    /// Starts a thread.
    pub(super) fn start(name: String, run: impl FnOnce() + Send + 'static) -> Result<Self, PlatformError> {
        let ended = Arc::new(Ended::default());
        let says_so = SaysSo(Arc::clone(&ended));
        let thread = spawn(name, move || {
            let _says_so = says_so;
            run();
        })?;
        Ok(Self { thread, ended })
    }

    /// Waits for the end of the thread, which has been asked to stop, but not for long, and not on the thread itself.
    pub(super) fn end(self) {
        let is_itself = self.thread.thread().id() == thread::current().id();
        if !is_itself && self.ended.wait() {
            // What is left is the end of its thread-locals. A panic of it has been reported on its own.
            drop(self.thread.join());
        }
    }
}

impl Ended {
    /// Waits a while, and tells whether the thread has ended.
    fn wait(&self) -> bool {
        let _rank = LockRank::Leaf.acquire();
        let until = Instant::now() + PATIENCE;
        let mut ended = self.ended.lock();
        while !*ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(&mut ended, left);
        }
        *ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_does_not_end_is_left_behind_and_one_that_panics_has_ended() {
        let (go, wait) = mpsc::channel::<()>();
        let (gone, is_gone) = mpsc::channel::<()>();
        let stuck = Worker::start("gfp-stuck".to_owned(), move || {
            let _gone = gone;
            _ = wait.recv();
        });
        stuck.expect("a thread").end();
        assert_eq!(is_gone.try_recv(), Err(mpsc::TryRecvError::Empty), "it runs on");
        drop(go);
        assert_eq!(is_gone.recv(), Err(mpsc::RecvError), "and ends by itself");
        let ended = Worker::start("gfp-panics".to_owned(), || std::panic::resume_unwind(Box::new(())));
        ended.expect("a thread").end();
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let (send, receive) = mpsc::channel::<Worker>();
        let (done, is_done) = mpsc::channel::<()>();
        let worker = Worker::start("gfp-itself".to_owned(), move || {
            receive.recv().expect("it is sent").end();
            done.send(()).expect("somebody waits");
        });
        send.send(worker.expect("a thread")).expect("it waits");
        is_done.recv().expect("no panic");
    }
}
