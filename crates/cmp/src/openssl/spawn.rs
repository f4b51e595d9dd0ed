//! The thread that starts children.
//!
//! Linux kills a child with its parent (`PR_SET_PDEATHSIG`) when the *thread* that started it ends, and threads of a
//! runtime come and go. So children that are to die with us are started by one thread that stays as long as the process.

use std::io;
use std::sync::{OnceLock, mpsc};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

/// Most children that wait to be started.
const QUEUE: usize = 64;

struct Job {
    command: Command,
    runtime: Handle,
    started: oneshot::Sender<io::Result<Child>>,
}

/// Starts the command from the thread that stays. The child belongs to the runtime of the caller.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let (started, child) = oneshot::channel();
    let job = Job {
        command,
        runtime: Handle::current(),
        started,
    };
    let gone = |_| io::Error::other("the thread that starts programs has ended");
    // Full only while as many children are being started at this moment, each of which takes a millisecond.
    tokio::task::spawn_blocking(move || jobs().send(job).map_err(|error| gone(error.to_string())))
        .await
        .map_err(|error| gone(error.to_string()))??;
    child.await.map_err(|error| gone(error.to_string()))?
}

fn jobs() -> &'static mpsc::SyncSender<Job> {
    static JOBS: OnceLock<mpsc::SyncSender<Job>> = OnceLock::new();
    JOBS.get_or_init(|| {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(QUEUE);
        let serve = move || {
            for mut job in waiting {
                let _entered = job.runtime.enter();
                // Nobody may wait any more; a child that is dropped is killed.
                let _ = job.started.send(job.command.spawn());
            }
        };
        // Without the thread each job is refused when its sender is dropped.
        let _ = std::thread::Builder::new()
            .name("starts-programs".to_owned())
            .spawn(serve);
        jobs
    })
}
