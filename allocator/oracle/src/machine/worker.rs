//! Another thread that does what it is told, one thing after the other.

use std::{
    sync::mpsc::{Sender, channel},
    thread::ThreadId,
};

use gfp::{
    Allocator, Handle,
    sync::thread::{JoinHandle, spawn},
};

type Job = Box<dyn FnOnce(&Handle) + Send>;

/// A thread with a cache of its own.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, on the CPU of the caller if that is bound to one, and waits until it has its cache: that changes the
    /// sizes of the others.
    pub(super) fn new(allocator: &Allocator) -> Self {
        let (jobs, received) = channel::<Job>();
        let allocator = allocator.clone();
        let work = move || {
            let handle = allocator.handle().expect("memory for a cache");
            drop(allocator);
            for job in received {
                job(&handle);
            }
        };
        let worker = Self { jobs: Some(jobs), thread: Some(spawn(work)) };
        worker.run(|_| ());
        worker
    }

    /// Returns the thread.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread.as_ref().expect("it goes on until it is dropped").thread().id()
    }

    /// Has something done, and waits for it.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce(&Handle) -> T + Send + 'static) -> T {
        let (answer, answered) = channel();
        let job = move |handle: &Handle| answer.send(work(handle)).expect("it is waited for");
        let jobs = self.jobs.as_ref().expect("it goes on until it is dropped");
        jobs.send(Box::new(job)).expect("the thread goes on");
        answered.recv().expect("what the thread did, it did without a panic")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was met by whoever waited for the answer.
            let _: Result<(), _> = thread.join();
        }
    }
}
