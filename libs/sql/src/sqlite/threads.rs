//! Which threads may wait for a disk.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt as _;
use tokio::runtime::Handle;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the current thread may wait for a disk.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// Runs `work` on a thread that may wait for a disk: this one, if it may. None if the work panicked, or the runtime is ending.
pub(super) async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if may_wait() { Some(work()) } else { tokio::task::spawn_blocking(move || allowed(work)).await.ok() }
}

/// As [`waiting`], for work whose end nothing waits for. Outside a runtime it is done here.
pub(super) fn aside(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) if !may_wait() => drop(runtime.spawn_blocking(move || allowed(work))),
        _ => work(),
    }
}

/// The statements of the work run here, too, be it a transaction or a future of ours.
fn allowed<T>(work: impl FnOnce() -> T) -> T {
    let before = MAY_WAIT.replace(true);
    let done = work();
    // Threads of the runtime's are used again.
    MAY_WAIT.set(before);
    done
}

/// Runs a future that does little but use a store on a thread of its own, which ends with it: none of its statements is handed over.
///
/// Where the machine has no thread left it is a task like any other, and slower.
pub(crate) fn spawn_writer(future: impl Future<Output = ()> + Send + 'static) {
    let (runtime, later) = (Handle::current(), Arc::new(Mutex::new(Some(future.boxed()))));
    let taken = Arc::clone(&later);
    let take = move || taken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let run = move || allowed(|| take().map(|future| runtime.block_on(future)));
    let thread = std::thread::Builder::new().name("sqlite-writer".to_owned());
    if let Err(error) = thread.spawn(run) {
        tracing::warn!(%error, "no thread for a store's writer: it runs as a task");
        let future = later.lock().unwrap_or_else(PoisonError::into_inner).take();
        future.map(tokio::spawn);
    }
}
