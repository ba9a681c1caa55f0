//! The way to whoever stops the host: the root half at the other end of a socket, or we ourselves.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::aside::Aside;
use crate::link::{FromParent, REPORT, ToParent};
use crate::parent::LastOrders;

/// How long we stay, told to end, until the command that we run ourselves has ended: a little more than the flag may
/// take that is written before it.
const FINISH: Duration = Duration::from_secs(12);

/// Most reports that wait to be taken.
const MAX_REPORTS: usize = 4;

/// Who stops the host.
#[derive(Debug)]
pub enum Half {
    /// The root half, at the other end of this socket.
    Split(StdStream),
    /// We ourselves.
    One(LastOrders),
}

/// The way to it.
#[derive(Debug)]
pub(super) enum Stopper {
    Parent {
        socket: UnixStream,
        report: Vec<u8>,
    },
    /// We ourselves; reports come over a channel, so that they are events like the others'.
    One {
        orders: LastOrders,
        aside: Aside,
        sender: mpsc::Sender<FromParent>,
        reports: mpsc::Receiver<FromParent>,
        carrying_out: Option<JoinHandle<()>>,
    },
    /// A parent that has ended.
    Gone,
}

impl Stopper {
    pub(super) fn new(half: Half) -> io::Result<Self> {
        Ok(match half {
            Half::Split(socket) => {
                socket.set_nonblocking(true)?;
                Self::Parent { socket: UnixStream::from_std(socket)?, report: Vec::new() }
            }
            Half::One(orders) => {
                let (sender, reports) = mpsc::channel(MAX_REPORTS);
                Self::One { orders, aside: Aside::start(), sender, reports, carrying_out: None }
            }
        })
    }

    /// Says a word. Whether it has been said: if not, nobody can stop this host.
    pub(super) async fn tell(&mut self, word: ToParent) -> bool {
        match self {
            Self::Parent { socket, .. } => socket.write_all(&[word.encode()]).await.is_ok(),
            Self::One { orders, aside, sender, carrying_out, .. } => {
                if word == ToParent::ShutDown {
                    *carrying_out = Some(orders.clone().carry_out("", aside.clone(), sender.clone()));
                }
                true
            }
            Self::Gone => false,
        }
    }

    /// Other last orders, if we carry them out ourselves.
    pub(super) fn adopt(&mut self, other: impl FnOnce() -> LastOrders) {
        if let Self::One { orders, .. } = self {
            *orders = other();
        }
    }

    /// The next report; `None` when there is nobody any more. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Option<FromParent> {
        match self {
            Self::Gone => std::future::pending().await,
            Self::One { reports, .. } => reports.recv().await,
            Self::Parent { socket, report } => loop {
                if let Ok(bytes) = <[u8; REPORT]>::try_from(report.as_slice()) {
                    report.clear();
                    if let Some(word) = FromParent::parse(bytes) {
                        return Some(word);
                    }
                    warn!("the root half said something we do not know");
                }
                let mut byte = [0];
                match socket.read(&mut byte).await {
                    Ok(1..) => report.extend(byte),
                    Ok(0) | Err(_) => return None,
                }
            },
        }
    }

    /// Lets what we carry out ourselves be carried out: an order to end must not overtake the one to stop the host.
    pub(super) async fn finish(&mut self) {
        if let Self::One { carrying_out: Some(task), .. } = self {
            // A command that takes longer goes on without us.
            let _ = timeout(FINISH, task).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::upsmon_conf::UpsmonConf;
    use nut_drill::scratch::Scratch;

    /// The disk is slow to take the flag, and meanwhile the service manager ends all services.
    #[test]
    fn an_order_to_end_does_not_overtake_the_command() {
        let dir = Scratch::new();
        let ran = dir.path("ran");
        let conf = UpsmonConf {
            power_down_flag: Some(dir.path("flag").to_str().unwrap().to_owned()),
            shutdown_command: vec![format!("touch '{}'", ran.display())],
            ..UpsmonConf::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (free, taken) = std::sync::mpsc::channel::<()>();
            let mut stopper = Stopper::new(Half::One(LastOrders::new(&conf))).unwrap();
            let Stopper::One { aside, .. } = &mut stopper else { panic!("we stop the host ourselves") };
            assert!(aside.run(Duration::ZERO, move || taken.recv()).await.is_none());
            assert!(stopper.tell(ToParent::ShutDown).await);
            assert!(!ran.exists());
            tokio::join!(stopper.finish(), async { free.send(()).unwrap() });
        });
        assert!(ran.exists());
    }
}
