//! The connections to the servers: a task for each UPS, which carries out orders in their order.

use std::collections::HashMap;
use std::time::Duration;

use nut_client::{Answer, ClientError, Connection, Deadlines, Family, Login, Lookup, Role};
use nut_conf::upsmon_conf;
use nut_os::clock;
use nut_proto::names::UpsName;
use nut_proto::net::{ErrCode, Get, Request};
use nut_proto::status::{Status, Word};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{error, info};

use super::tls::Material;
use crate::server::{Failure, Line, Order, Report, UpsId};
use crate::watch::{Heard, names_economy};

/// Most orders that wait for one connection: a poll, FSD, a count, a new line, and room to spare.
const MAX_ORDERS: usize = 8;

/// How long one answer may take: all that is asked fits into a line.
const ANSWER: Duration = Duration::from_secs(5);

/// How long all that a poll needs may take besides connecting: logging in, and several questions.
const POLL: Duration = Duration::from_secs(15);

/// The variables that name an economy mode.
const MODES: [&str; 2] = ["ups.mode.buzzwords", "experimental.ups.mode.buzzwords"];

/// How servers are reached.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// `-W`: how long to try to connect.
    pub connect: Option<Duration>,
    /// `-4`, `-6`.
    pub family: Family,
}

impl Reach {
    fn deadlines(self) -> Deadlines {
        Deadlines { connect: self.connect, read: ANSWER, answer: ANSWER }
    }
}

/// All connections.
#[derive(Debug)]
pub(super) struct Servers {
    reach: Reach,
    /// What connections are made with from now on.
    material: watch::Sender<Material>,
    reports: mpsc::Sender<(UpsId, Report)>,
    tasks: HashMap<UpsId, Task>,
}

#[derive(Debug)]
struct Task {
    orders: mpsc::Sender<Order>,
    handle: JoinHandle<()>,
}

impl Servers {
    pub(super) fn new(reach: Reach, material: Material, reports: mpsc::Sender<(UpsId, Report)>) -> Self {
        Self { reach, material: watch::Sender::new(material), reports, tasks: HashMap::new() }
    }

    /// From the next connection on these certificates count.
    pub(super) fn use_material(&self, material: Material) {
        self.material.send_replace(material);
    }

    pub(super) fn open(&mut self, ups: UpsId, line: Line) {
        let (sender, orders) = mpsc::channel(MAX_ORDERS);
        let link = Link {
            ups,
            line,
            reach: self.reach,
            material: self.material.subscribe(),
            reports: self.reports.clone(),
            lookup: Lookup::new(),
            connection: None,
            modes: Vec::new(),
        };
        let handle = tokio::spawn(link.work(orders));
        if let Some(old) = self.tasks.insert(ups, Task { orders: sender, handle }) {
            old.handle.abort();
        }
    }

    /// Whether the order has been taken.
    pub(super) fn ask(&self, ups: UpsId, order: Order) -> bool {
        let taken = self.tasks.get(&ups).is_some_and(|task| task.orders.try_send(order).is_ok());
        if !taken {
            error!("the connection of UPS {} takes no order", ups.0);
        }
        taken
    }

    /// Logs out and forgets it; nobody waits for that.
    pub(super) fn close(&mut self, ups: UpsId) {
        self.tasks.remove(&ups);
    }

    /// Closes everything at once, without a word.
    pub(super) fn hang_up(&mut self) {
        for (_, task) in self.tasks.drain() {
            task.handle.abort();
        }
    }

    /// Logs out everywhere, and waits for that, but not for long.
    pub(super) async fn log_out(&mut self, patience: Duration) {
        let mut ends = JoinSet::new();
        for (_, task) in self.tasks.drain() {
            drop(task.orders);
            ends.spawn(task.handle);
        }
        let all = async { while ends.join_next().await.is_some() {} };
        // A server that does not say goodbye sees the connection close.
        let _ = timeout(patience, all).await;
    }
}

/// One UPS's connection at work.
struct Link {
    ups: UpsId,
    line: Line,
    reach: Reach,
    material: watch::Receiver<Material>,
    reports: mpsc::Sender<(UpsId, Report)>,
    lookup: Lookup,
    connection: Option<Connection>,
    /// Those of [`MODES`] the server has not refused on this connection.
    modes: Vec<&'static str>,
}

impl Link {
    /// Works until the orders end, and then logs out.
    async fn work(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Poll { log_in } => self.poll_in_time(log_in).await,
                Order::SetFsd => {
                    let report = self.set_fsd().await.map_or_else(Report::FsdFailed, |()| Report::FsdSet);
                    self.report(report).await;
                }
                Order::CountLogins => {
                    let count = self.count_logins().await;
                    self.report(Report::Logins(count)).await;
                }
                Order::Use(line) => self.line = *line,
                Order::Reconnect(line) => {
                    self.line = *line;
                    if let Some(connection) = self.connection.take() {
                        connection.close().await;
                    }
                }
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    async fn report(&self, report: Report) {
        // The monitor goes only when the process does.
        let _ = self.reports.send((self.ups, report)).await;
    }

    /// A poll, but not longer than it may take: a server that trickles must not hold it open.
    async fn poll_in_time(&mut self, log_in: bool) {
        let Some(connect) = self.reach.connect else {
            return self.poll(log_in).await;
        };
        let late = clock::until(clock::now() + connect + POLL);
        let in_time = tokio::select! {
            biased;
            () = self.poll(log_in) => true,
            () = late => false,
        };
        if !in_time {
            self.connection = None;
            self.report(Report::PollFailed(Failure::Broken(ClientError::Disconnected))).await;
        }
    }

    async fn poll(&mut self, log_in: bool) {
        let is_new = !self.connection.as_ref().is_some_and(Connection::is_open);
        let asked = match self.connect().await {
            // Who is new logs in first, as NUT does.
            Ok(()) if is_new && log_in => match self.log_in().await {
                Ok(()) => self.ask_status().await,
                Err(error) => Err(Failure::Broken(error)),
            },
            Ok(()) => self.ask_status().await,
            Err(failure) => Err(failure),
        };
        self.report(asked.map_or_else(Report::PollFailed, Report::Polled)).await;
        // What failed of it before is tried again, but the status does not wait for that.
        if !is_new && log_in && self.is_login_missing() && self.log_in().await.is_err() {
            self.connection = None;
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.connection.as_ref().is_some_and(Connection::is_open) {
            return Ok(());
        }
        let target = self.line.monitor.target.as_ref();
        let server = &target.map_err(|error| Failure::names_no_ups(*error))?.server;
        let protection = &self.line.protection;
        let security = self.material.borrow().security(protection).map_err(Failure::Unreachable)?;
        let Reach { family, .. } = self.reach;
        let opened = Connection::open_again(server, self.reach.deadlines(), family, &mut self.lookup).await;
        let mut connection = opened.map_err(Failure::Unreachable)?;
        if connection.secure(&security).await.map_err(Failure::Unreachable)? {
            info!("Connected to NUT server {} in SSL", server.host);
            if !protection.verify {
                info!("Certificate verification is disabled");
            }
        }
        self.connection = Some(connection);
        self.modes = MODES.to_vec();
        Ok(())
    }

    fn is_login_missing(&self) -> bool {
        let Some(connection) = self.connection.as_ref().filter(|connection| connection.is_open()) else {
            return false;
        };
        let standing = connection.standing();
        let wants_primary = self.line.monitor.role == upsmon_conf::Role::Primary;
        standing.logged_in_to.is_none() || (wants_primary && standing.primary_of.is_none())
    }

    /// Takes those steps of logging in that have not been taken, and reports how that went.
    async fn log_in(&mut self) -> Result<(), ClientError> {
        let connection = self.connection.as_mut().ok_or(ClientError::Disconnected)?;
        let monitor = &self.line.monitor;
        let role = match monitor.role {
            upsmon_conf::Role::Primary => Role::Primary,
            upsmon_conf::Role::Secondary => Role::Secondary,
        };
        let ups = monitor.target.as_ref().map_err(|_| ClientError::Disconnected)?.ups.as_str();
        let login = connection.login(monitor.user.as_str(), &monitor.password, ups, role).await?;
        self.report(match login {
            Login::Granted => Report::LoggedIn,
            Login::Refused { step, refusal } => Report::LoginFailed { step, refusal },
        })
        .await;
        Ok(())
    }

    /// Asks a question of the connection there is. A broken one is dropped.
    async fn ask(&mut self, request: Request<'_>) -> Result<Answer, Failure> {
        let connection = self.connection.as_mut().ok_or(Failure::NotConnected)?;
        match connection.ask(request).await {
            Ok(Answer::Refused(refusal)) => Err(Failure::Refused(refusal)),
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.connection = None;
                Err(Failure::Broken(error))
            }
        }
    }

    async fn ask_status(&mut self) -> Result<Heard, Failure> {
        let status = Status::from_text(&self.value("ups.status").await?);
        // What follows is for notices only: the status stands whatever comes of it.
        let alarm = match status.says(Word::Alarm) {
            true => self.value("ups.alarm").await.ok().map(Into::into),
            false => None,
        };
        let economy = self.ask_economy().await;
        Ok(Heard { status, alarm, economy })
    }

    async fn ask_economy(&mut self) -> bool {
        let mut economy = false;
        for mode in std::mem::take(&mut self.modes) {
            match self.value(mode).await {
                Ok(words) => economy |= names_economy(&words),
                // What the UPS has not, it is not asked for again on this connection.
                Err(Failure::Refused(refusal)) if refusal.is(ErrCode::VarNotSupported) => continue,
                Err(_) => {}
            }
            self.modes.push(mode);
        }
        economy
    }

    /// The UPS as its server knows it.
    fn name(&self) -> Result<UpsName, Failure> {
        self.line.monitor.target.as_ref().map(|target| target.ups.clone()).map_err(|_| Failure::NotConnected)
    }

    async fn value(&mut self, variable: &str) -> Result<String, Failure> {
        let ups = self.name()?;
        match self.ask(Request::Get(Get::Var(ups.as_str(), variable))).await? {
            Answer::Value(value) => Ok(value),
            _ => Err(Failure::Nonsense),
        }
    }

    async fn set_fsd(&mut self) -> Result<(), Failure> {
        let ups = self.name()?;
        self.ask(Request::Fsd(ups.as_str())).await.map(drop)
    }

    async fn count_logins(&mut self) -> Option<usize> {
        let ups = self.name().ok()?;
        match self.ask(Request::Get(Get::NumLogins(ups.as_str()))).await {
            Ok(Answer::NumLogins(count)) => Some(count),
            _ => None,
        }
    }
}
