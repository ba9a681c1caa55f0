//! A thread for what may take for ever: made at the start, since at the end there may be none to be had.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

/// Most pieces of work that wait for the one that is being done.
const MAX_WORK: usize = 4;

type Work = Box<dyn FnOnce() + Send>;

/// Does one thing after the other beside us, so that a disk that hangs holds up itself alone. It ends with the last clone.
///
/// Under a limit on processes (of a container, of a service), or where memory is short, no thread can be made; such times
/// are those in which a host is stopped, and the command must run in them, too.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Nothing if no thread was to be had at the start.
    thread: Option<SyncSender<Work>>,
}

impl Aside {
    /// Makes the thread, if one is to be had.
    #[must_use]
    pub fn start() -> Self {
        let thread =
            begin().inspect_err(|error| debug!(%error, "no thread is to be had for the power down flag"));
        Self { thread: thread.ok() }
    }

    /// Does this work, and gives what came of it; nothing if it takes longer than `patience`. It may be done
    /// later nevertheless.
    ///
    /// Without a thread (none could be had at the start, nor can it now) it is done here: a file is written within
    /// moments, unless its disk hangs, and all that can be chosen then is what goes wrong if it does.
    pub async fn run<T: Send + 'static>(
        &mut self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, result) = oneshot::channel();
        // Who has lost patience wants to know nothing any more.
        let work: Work = Box::new(move || drop(sender.send(work())));
        if self.thread.is_none() {
            self.thread = begin().ok();
        }
        let refused = match &self.thread {
            Some(thread) => thread.try_send(work).err(),
            None => Some(TrySendError::Disconnected(work)),
        };
        match refused {
            None => {}
            Some(TrySendError::Full(_)) => return None,
            Some(TrySendError::Disconnected(work)) => work(),
        }
        timeout(patience, result).await.ok()?.ok()
    }
}

fn begin() -> io::Result<SyncSender<Work>> {
    let (sender, works) = sync_channel::<Work>(MAX_WORK);
    let body = move || works.into_iter().for_each(|work| work());
    thread::Builder::new().name("upsmon-flag".to_owned()).spawn(body)?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_hangs_holds_up_nobody_but_what_is_to_be_done_behind_it() {
        let mut aside = Aside::start();
        let (free, hangs) = std::sync::mpsc::channel::<()>();
        assert_eq!(aside.run(Duration::ZERO, move || hangs.recv().is_ok()).await, None);
        assert_eq!(aside.clone().run(Duration::from_millis(1), || 1).await, None);
        drop(free);
        assert_eq!(aside.run(LONG, || 2).await, Some(2));
    }

    #[tokio::test]
    async fn without_a_thread_it_is_done_here() {
        let (thread, _) = sync_channel(MAX_WORK);
        let mut aside = Aside { thread: Some(thread) };
        assert_eq!(aside.run(LONG, thread_name).await.flatten(), thread_name());
    }

    fn thread_name() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }
}
