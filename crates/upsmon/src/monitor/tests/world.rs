//! A small world: hosts, servers, and time that only passes when nothing happens.

use nut_client::dialog::Refusal;
use nut_client::{ClientError, Step};
use nut_conf::Span;
use nut_conf::upsmon_conf::{Monitor as MonitorLine, PowerValue, Role, UpsmonConf};
use nut_proto::Moment;
use nut_proto::names::{Secret, TargetError, UserName};
use nut_proto::net::ErrCode;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::judge::Record;
use crate::link::{FromParent, ToParent};
use crate::monitor::{Action, Event, Halves, Instance, Monitor};
use crate::remarks::Remark;
use crate::server::{Failure, Line, Order, Protection, Report, UpsId};
use crate::watch::Heard;
use nut_proto::status::Status;

/// How long a server that hangs keeps a question waiting.
const READ: Duration = Duration::from_secs(5);

/// Least suspension that the shell takes for one.
const SUSPENSION: Duration = Duration::from_secs(1);

/// How long connecting to a server that is out of reach is tried.
const CONNECT: Duration = Duration::from_secs(10);

pub(super) fn line(text: &str) -> MonitorLine {
    let words: Vec<&str> = text.split(' ').collect();
    MonitorLine {
        system: words[0].to_owned(),
        target: words[0].parse(),
        power_value: PowerValue(words[1].parse().unwrap()),
        user: UserName::new(words[2]),
        password: Secret::new(words[3]),
        role: if words[4] == "primary" { Role::Primary } else { Role::Secondary },
        at: Span::default(),
    }
}

/// NUT's defaults.
pub(super) fn conf(lines: &[&str]) -> UpsmonConf {
    UpsmonConf { monitors: lines.iter().map(|text| line(text)).collect(), ..UpsmonConf::default() }
}

/// `POLLFREQ 1 POLLFREQALERT 1 DEADTIME 5 HOSTSYNC 5 FINALDELAY 1`.
pub(super) fn fast(lines: &[&str]) -> UpsmonConf {
    let secs = Duration::from_secs;
    UpsmonConf {
        poll_frequency: secs(1),
        poll_frequency_alert: secs(1),
        dead_time: secs(5),
        host_sync: secs(5),
        final_delay: secs(1),
        ..conf(lines)
    }
}

pub(super) fn moment(secs: f64) -> Moment {
    Moment::from_start(Duration::from_secs_f64(secs))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Upsd {
    Up,
    Down,
    Hung,
    /// Its network is gone: nothing that is sent to it is answered in any way.
    OutOfReach,
    /// It never answers, and the connection waits for it for ever.
    Mute,
}

/// What a server can do about encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    Plain,
    /// TLS, with a certificate that our authority stands for, or another one.
    Tls {
        trusted: bool,
    },
}

#[derive(Default)]
struct Device {
    status: String,
    error: Option<ErrCode>,
    alarm: Option<String>,
    economy: bool,
    fsd: bool,
    /// Logins that belong to none of our hosts.
    strangers: usize,
}

struct Server {
    upsd: Upsd,
    speaks: Speaks,
    /// How often it was started: sessions of another run are over.
    run: u32,
    devices: BTreeMap<String, Device>,
}

struct Session {
    run: u32,
    logged_in: bool,
    is_primary: bool,
}

struct Link {
    line: Line,
    session: Option<Session>,
    /// A question that a server which hangs has not answered, and when we give up.
    stuck: Option<(Order, Moment)>,
    queue: VecDeque<Order>,
}

pub(super) struct Host {
    pub(super) name: String,
    /// What it was started with.
    pub(super) conf: UpsmonConf,
    monitor: Monitor,
    links: BTreeMap<UpsId, Link>,
    wake: Option<Moment>,
    actions: Vec<(Moment, Action)>,
    /// All that happened to it, as a field report would have it.
    pub(super) trace: Vec<(Moment, Event)>,
    /// For each of these events, how many actions there were after it.
    pub(super) done: Vec<usize>,
    /// The spans in which it did not run.
    pub(super) absent: Vec<(Moment, Moment)>,
    is_running: bool,
    frozen_until: Option<Moment>,
    /// It is starved: each time it has run, and taken what was waiting for it, it does not run for so long.
    late: Duration,
    /// How much of that is still to be taken.
    waiting: usize,
    /// What was waiting for it comes before its timer.
    hears_first: bool,
    /// How long the machine was suspended without having told so yet: the kernel knows, and the shell asks it.
    suspended: Duration,
    has_parent: bool,
    command_ends: FromParent,
}

pub(super) type HostId = usize;
type Script = Box<dyn FnOnce(&mut World)>;

pub(super) struct World {
    pub(super) now: Moment,
    servers: BTreeMap<String, Server>,
    pub(super) hosts: Vec<Host>,
    events: VecDeque<(HostId, Event)>,
    script: Vec<(Moment, Script)>,
}

/// Whether this is as much protection as is asked for.
fn may_connect(protection: &Protection, speaks: Speaks) -> bool {
    match speaks {
        Speaks::Plain => !protection.demands_tls(),
        Speaks::Tls { trusted } => trusted || !protection.verify,
    }
}

fn refusal(code: ErrCode) -> Refusal {
    Refusal { code: Some(code), word: code.as_str().into(), line: format!("ERR {}", code.as_str()) }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Moment::START,
            servers: BTreeMap::new(),
            hosts: Vec::new(),
            events: VecDeque::new(),
            script: Vec::new(),
        }
    }

    /// A host whose upsmon starts then.
    pub(super) fn host(&mut self, name: &str, start: f64, conf: UpsmonConf) -> HostId {
        let host = self.new_host(name, conf);
        self.at(start, move |world| world.send(host, Event::Start));
        host
    }

    /// A host whose upsmon starts now.
    pub(super) fn host_now(&mut self, name: &str, conf: UpsmonConf) -> HostId {
        let host = self.new_host(name, conf);
        self.send(host, Event::Start);
        host
    }

    fn new_host(&mut self, name: &str, conf: UpsmonConf) -> HostId {
        self.hosts.push(Host {
            name: name.to_owned(),
            conf: conf.clone(),
            monitor: Monitor::new(conf, Halves::Split),
            links: BTreeMap::new(),
            wake: None,
            actions: Vec::new(),
            trace: Vec::new(),
            done: Vec::new(),
            absent: Vec::new(),
            is_running: true,
            frozen_until: None,
            late: Duration::ZERO,
            waiting: 0,
            hears_first: false,
            suspended: Duration::ZERO,
            has_parent: true,
            command_ends: FromParent::Ended(0),
        });
        self.hosts.len() - 1
    }

    pub(super) fn at(&mut self, secs: f64, what: impl FnOnce(&mut Self) + 'static) {
        self.at_moment(moment(secs), what);
    }

    pub(super) fn at_moment(&mut self, moment: Moment, what: impl FnOnce(&mut Self) + 'static) {
        self.script.push((moment, Box::new(what)));
    }

    fn server(&mut self, name: &str) -> &mut Server {
        self.servers.entry(name.to_owned()).or_insert_with(|| Server {
            upsd: Upsd::Up,
            speaks: Speaks::Plain,
            run: 0,
            devices: BTreeMap::new(),
        })
    }

    fn device(&mut self, target: &str) -> &mut Device {
        let (ups, server) = target.split_once('@').unwrap();
        self.server(server).devices.entry(ups.to_owned()).or_default()
    }

    /// What the UPS says from now on.
    pub(super) fn set(&mut self, target: &str, status: &str) {
        let device = self.device(target);
        device.status = status.to_owned();
        device.error = None;
    }

    pub(super) fn set_alarm(&mut self, target: &str, alarm: &str) {
        self.device(target).alarm = Some(alarm.to_owned());
    }

    pub(super) fn set_economy(&mut self, target: &str, economy: bool) {
        self.device(target).economy = economy;
    }

    /// What upsd refuses with from now on.
    pub(super) fn refuse(&mut self, target: &str, code: ErrCode) {
        self.device(target).error = Some(code);
    }

    /// Somebody else forces its shutdown.
    pub(super) fn force(&mut self, target: &str) {
        self.device(target).fsd = true;
    }

    pub(super) fn strangers(&mut self, target: &str, count: usize) {
        self.device(target).strangers = count;
    }

    /// What `upsc` would show.
    pub(super) fn status(&mut self, target: &str) -> String {
        let device = self.device(target);
        if device.fsd { format!("FSD {}", device.status) } else { device.status.clone() }
    }

    pub(super) fn upsd(&mut self, name: &str, upsd: Upsd) {
        let server = self.server(name);
        let before = std::mem::replace(&mut server.upsd, upsd);
        if upsd == Upsd::Down {
            server.run += 1;
            server.devices.values_mut().for_each(|device| device.fsd = false);
        }
        let is_mute = |upsd| matches!(upsd, Upsd::Hung | Upsd::OutOfReach | Upsd::Mute);
        if is_mute(before) && !is_mute(upsd) {
            self.unstick(|_| true);
        }
    }

    pub(super) fn speaks(&mut self, name: &str, speaks: Speaks) {
        self.server(name).speaks = speaks;
    }

    pub(super) fn send(&mut self, host: HostId, event: Event) {
        self.events.push_back((host, event));
    }

    pub(super) fn kill(&mut self, host: HostId) {
        self.hosts[host].is_running = false;
        self.hosts[host].links.clear();
    }

    pub(super) fn freeze(&mut self, host: HostId, secs: f64) {
        self.hosts[host].sleep(self.now, Duration::from_secs_f64(secs));
    }

    /// The machine is suspended: it does not run for so long, and is told so afterwards.
    pub(super) fn suspend(&mut self, host: HostId, secs: f64) {
        let time = self.hosts[host].sleep(self.now, Duration::from_secs_f64(secs));
        self.hosts[host].suspended += time;
    }

    /// From now on it does not run for so long each time it has run.
    pub(super) fn starve(&mut self, host: HostId, secs: f64) {
        self.hosts[host].late = Duration::from_secs_f64(secs);
    }

    /// From now on what waits for it comes before its timer.
    pub(super) fn hears_first(&mut self, host: HostId) {
        self.hosts[host].hears_first = true;
    }

    pub(super) fn kill_parent(&mut self, host: HostId) {
        self.hosts[host].has_parent = false;
        self.send(host, Event::ParentGone);
    }

    /// It is gone, and we have not noticed yet.
    pub(super) fn hosts_parent_dies_silently(&mut self, host: HostId) {
        self.hosts[host].has_parent = false;
    }

    pub(super) fn command_ends(&mut self, host: HostId, with: FromParent) {
        self.hosts[host].command_ends = with;
    }

    pub(super) fn logins(&mut self, target: &str) -> usize {
        let (ups, server_name) = target.split_once('@').unwrap();
        let run = self.server(server_name).run;
        let is_in = |link: &&Link| {
            let Ok(target) = &link.line.monitor.target else { return false };
            target.ups.as_str() == ups
                && *target.server.host == *server_name
                && link.session.as_ref().is_some_and(|session| session.run == run && session.logged_in)
        };
        let ours: usize = self.hosts.iter().map(|host| host.links.values().filter(is_in).count()).sum();
        ours + self.device(target).strangers
    }

    /// What `upsmon --explain` answers there.
    pub(super) fn explain(&self, host: HostId) -> String {
        let instance = Instance { pid: 4711, user: "user nut".to_owned() };
        self.hosts[host].monitor.explain(self.now, &instance)
    }

    pub(super) fn monitor(&self, host: HostId) -> &Monitor {
        &self.hosts[host].monitor
    }

    pub(super) fn is_running(&self, host: HostId) -> bool {
        self.hosts[host].is_running
    }

    pub(super) fn actions(&self, host: HostId) -> &[(Moment, Action)] {
        &self.hosts[host].actions
    }

    pub(super) fn run_until(&mut self, secs: f64) {
        self.run_until_moment(moment(secs));
    }

    pub(super) fn run_until_moment(&mut self, end: Moment) {
        let mut rounds = 0;
        loop {
            self.deliver();
            let stuck = self.hosts.iter().flat_map(|host| host.links.values());
            let stuck = stuck.filter_map(|link| Some(link.stuck.as_ref()?.1));
            let wakes = self.hosts.iter().filter(|host| host.is_running).filter_map(Host::next);
            let scripts = self.script.iter().map(|(at, _)| *at);
            let is_waited_for = |(nth, host): (usize, &Host)| {
                let waits = self.events.iter().any(|(to, _)| *to == nth);
                host.frozen_until.filter(|_| waits && host.is_running)
            };
            let thaws = self.hosts.iter().enumerate().filter_map(is_waited_for);
            let Some(next) = stuck.chain(wakes).chain(scripts).chain(thaws).min().filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            rounds = if next > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 10_000, "somebody never rests at {next:?}");
            self.now = self.now.max(next);
            if let Some(nth) = self.script.iter().position(|(at, _)| *at <= next) {
                let (_, what) = self.script.remove(nth);
                what(self);
            } else if !self.unstick(|until| until <= next) && !self.wake() {
                let now = self.now;
                for host in &mut self.hosts {
                    host.frozen_until.take_if(|until| *until <= now);
                }
            }
        }
    }

    fn wake(&mut self) -> bool {
        let now = self.now;
        let due = |host: &Host| host.is_running && host.next().is_some_and(|next| next <= now);
        let host = self.hosts.iter().position(due);
        if let Some(host) = host {
            self.hosts[host].frozen_until = None;
            match self.hosts[host].hears_first {
                true => self.events.push_back((host, Event::Tick)),
                false => self.events.push_front((host, Event::Tick)),
            }
        }
        host.is_some()
    }

    fn deliver(&mut self) {
        let mut kept = VecDeque::new();
        while let Some((host, event)) = self.events.pop_front() {
            let behind = self.events.iter().filter(|(to, _)| *to == host).count();
            let one = &mut self.hosts[host];
            if one.frozen_until.is_some_and(|until| until > self.now) {
                kept.push_back((host, event));
                continue;
            }
            if !one.is_running {
                continue;
            }
            one.wake = None;
            one.frozen_until = None;
            one.waiting = one.waiting.checked_sub(1).unwrap_or(behind);
            if one.waiting == 0 && !one.late.is_zero() {
                one.sleep(self.now, one.late);
            }
            // As the shell does it: before anything else the machine is told how long it was suspended.
            let suspended = std::mem::take(&mut one.suspended);
            let awake = (suspended >= SUSPENSION).then_some(Event::Awake(suspended));
            for event in awake.into_iter().chain([event]) {
                let one = &mut self.hosts[host];
                if !one.is_running {
                    continue;
                }
                one.trace.push((self.now, event.clone()));
                let actions = one.monitor.step(self.now, event);
                one.done.push(one.actions.len() + actions.len());
                for action in actions {
                    self.hosts[host].actions.push((self.now, action.clone()));
                    self.perform(host, action);
                }
            }
        }
        self.events = kept;
    }

    fn perform(&mut self, host: HostId, action: Action) {
        match action {
            Action::Open(ups, line) => {
                let link = Link { line: *line, session: None, stuck: None, queue: VecDeque::new() };
                self.hosts[host].links.insert(ups, link);
            }
            Action::Ask(ups, order) => {
                self.hosts[host].links.get_mut(&ups).unwrap().queue.push_back(order);
                self.work(host, ups);
            }
            Action::Close(ups) => drop(self.hosts[host].links.remove(&ups)),
            Action::HangUp => self.hosts[host].links.clear(),
            Action::WakeAt(moment) => self.hosts[host].wake = Some(moment),
            Action::Exit | Action::LogOutAndExit => self.kill(host),
            Action::ToParent(ToParent::ShutDown) => {
                let one = &self.hosts[host];
                let event =
                    if one.has_parent { Event::FromParent(one.command_ends) } else { Event::ParentGone };
                self.send(host, event);
            }
            Action::ToParent(ToParent::Ready)
            | Action::LetSleep
            | Action::Notify(_)
            | Action::Wall(_)
            | Action::Log(_)
            | Action::Adopt(_) => {}
        }
    }

    /// Ends questions to servers that hang: of those whose time is up, or whose server goes on. Says if there was one.
    fn unstick(&mut self, is_over: impl Fn(Moment) -> bool) -> bool {
        let mut any = false;
        for host in 0..self.hosts.len() {
            let ids: Vec<_> = self.hosts[host].links.keys().copied().collect();
            for ups in ids {
                let Some(link) = self.hosts[host].links.get_mut(&ups) else { continue };
                if let Some((order, until)) = link.stuck.take_if(|(_, until)| is_over(*until)) {
                    any = true;
                    if until <= self.now {
                        link.session = None;
                        let broken = Failure::Broken(ClientError::Disconnected);
                        let report = match order {
                            Order::Poll { .. } => Report::PollFailed(broken),
                            Order::SetFsd => Report::FsdFailed(broken),
                            _ => Report::Logins(None),
                        };
                        self.send(host, Event::Server(ups, report));
                    } else {
                        link.queue.push_front(order);
                    }
                    self.work(host, ups);
                }
            }
        }
        any
    }

    fn work(&mut self, host: HostId, ups: UpsId) {
        loop {
            let Some(link) = self.hosts[host].links.get_mut(&ups) else { return };
            if link.stuck.is_some() {
                return;
            }
            let Some(order) = link.queue.pop_front() else { return };
            match order {
                Order::Use(line) => link.line = *line,
                Order::Reconnect(line) => (link.line, link.session) = (*line, None),
                order => self.ask(host, ups, order),
            }
        }
    }

    fn ask(&mut self, host: HostId, ups: UpsId, order: Order) {
        let link = &self.hosts[host].links[&ups];
        let target = match &link.line.monitor.target {
            Ok(target) => target.clone(),
            Err(error) => return self.ask_nobody(host, ups, &order, *error),
        };
        let (name, of) = (target.server.host.to_string(), target.ups.to_string());
        let target = format!("{of}@{name}");
        let Server { upsd, speaks, run, .. } = *self.server(&name);
        let link = self.hosts[host].links.get_mut(&ups).unwrap();
        let had_session = link.session.is_some();
        link.session.take_if(|session| session.run != run || upsd == Upsd::Down);
        let mut reports = Vec::new();
        match (upsd, &order) {
            (Upsd::Down, Order::Poll { .. }) => reports.push(Report::PollFailed(match had_session {
                true => Failure::Broken(ClientError::Disconnected),
                false => Failure::Unreachable(ClientError::Connect("Connection refused".into())),
            })),
            (Upsd::Up, Order::SetFsd) if !had_session => {
                reports.push(Report::FsdFailed(Failure::NotConnected));
            }
            (_, Order::SetFsd) if link.session.is_none() => {
                reports.push(Report::FsdFailed(Failure::NotConnected));
            }
            (_, Order::CountLogins) if link.session.is_none() => reports.push(Report::Logins(None)),
            (Upsd::OutOfReach, _) if !had_session => {
                link.stuck = Some((order.clone(), self.now + CONNECT));
            }
            (Upsd::Mute, _) => link.stuck = Some((order.clone(), Moment::from_start(Duration::MAX))),
            (Upsd::Hung | Upsd::OutOfReach, _) => link.stuck = Some((order.clone(), self.now + READ)),
            (Upsd::Up, Order::Poll { .. }) if !had_session && !may_connect(&link.line.protection, speaks) => {
                let error = match speaks {
                    Speaks::Plain => ClientError::NoTls,
                    Speaks::Tls { .. } => ClientError::Tls("invalid peer certificate: UnknownIssuer".into()),
                };
                reports.push(Report::PollFailed(Failure::Unreachable(error)));
            }
            (Upsd::Up, Order::Poll { log_in }) => {
                if *log_in {
                    self.log_in(host, ups, &target, run, &mut reports);
                } else if link.session.is_none() {
                    link.session = Some(Session { run, logged_in: false, is_primary: false });
                }
                reports.push(self.poll(&name, &of));
            }
            (Upsd::Up, Order::SetFsd) => {
                let may = link.session.as_ref().is_some_and(|session| session.is_primary);
                reports.push(if may {
                    self.device(&target).fsd = true;
                    Report::FsdSet
                } else {
                    Report::FsdFailed(Failure::Refused(refusal(ErrCode::AccessDenied)))
                });
            }
            (Upsd::Up, Order::CountLogins) => {
                let count = self.device(&target).error.is_none().then(|| self.logins(&target));
                reports.push(Report::Logins(count));
            }
            (_, Order::Use(_) | Order::Reconnect(_)) | (Upsd::Down, _) => {}
        }
        for report in reports {
            self.send(host, Event::Server(ups, report));
        }
    }

    fn ask_nobody(&mut self, host: HostId, ups: UpsId, order: &Order, error: TargetError) {
        let report = match order {
            Order::Poll { .. } => Report::PollFailed(Failure::names_no_ups(error)),
            Order::SetFsd => Report::FsdFailed(Failure::NotConnected),
            Order::CountLogins => Report::Logins(None),
            Order::Use(_) | Order::Reconnect(_) => return,
        };
        self.send(host, Event::Server(ups, report));
    }

    fn log_in(&mut self, host: HostId, ups: UpsId, target: &str, run: u32, reports: &mut Vec<Report>) {
        let (of, server) = target.split_once('@').unwrap();
        let is_known = self.server(server).devices.contains_key(of);
        let link = self.hosts[host].links.get_mut(&ups).unwrap();
        let MonitorLine { user, password, role, .. } = &link.line.monitor;
        let wants_primary = *role == Role::Primary;
        let may_be_primary = user.as_str() == "pri";
        let is_right = !password.is("WRONG");
        let session = link.session.get_or_insert(Session { run, logged_in: false, is_primary: false });
        if session.logged_in && session.is_primary == wants_primary {
            return;
        }
        let failed = |step, code| Report::LoginFailed { step, refusal: refusal(code) };
        if !is_known || !is_right {
            let code = if is_known { ErrCode::AccessDenied } else { ErrCode::UnknownUps };
            return reports.push(failed(Step::Login, code));
        }
        session.logged_in = true;
        if wants_primary && !may_be_primary {
            return reports.push(failed(Step::Primary, ErrCode::AccessDenied));
        }
        session.is_primary = wants_primary;
        reports.push(Report::LoggedIn);
    }

    fn poll(&mut self, server: &str, ups: &str) -> Report {
        let Some(device) = self.server(server).devices.get(ups) else {
            return Report::PollFailed(Failure::Refused(refusal(ErrCode::UnknownUps)));
        };
        if let Some(code) = device.error {
            return Report::PollFailed(Failure::Refused(refusal(code)));
        }
        let fsd = if device.fsd { "FSD " } else { "" };
        Report::Polled(Heard {
            status: Status::from_text(&format!("{fsd}{}", device.status)),
            alarm: device.alarm.as_deref().map(Into::into),
            economy: device.economy,
        })
    }

    /// What a host told, one line each: time, and the notice or what else matters.
    pub(super) fn told(&self, host: HostId) -> Vec<String> {
        let told = self.hosts[host].actions.iter();
        told.filter_map(|(at, action)| Some(format!("{} {}", at.since_start().as_secs_f64(), tell(action)?)))
            .collect()
    }

    /// All that a host logged.
    pub(super) fn logged(&self, host: HostId) -> Vec<String> {
        let actions = self.hosts[host].actions.iter();
        actions
            .filter_map(|(_, action)| match action {
                Action::Log(remark) => Some(remark.to_string()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn has_logged(&self, host: HostId, text: &str) -> bool {
        self.logged(host).iter().any(|line| line.contains(text))
    }

    /// Compares with lines as [`told`](Self::told) makes them; blanks at their ends do not count. Everybody must have kept
    /// all promises besides.
    #[track_caller]
    pub(super) fn expect(&self, host: HostId, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let told = self.told(host);
        let log = self.logged(host).join("\n");
        assert_eq!(told, expected, "{} told something else; it logged:\n{log}", self.hosts[host].name);
        for host in &self.hosts {
            if let Err(broken) = Record::of(host, self.now).judge() {
                panic!("{}: {broken}", host.name);
            }
        }
    }
}

impl Host {
    /// Gives how much of it is new.
    fn sleep(&mut self, now: Moment, time: Duration) -> Duration {
        let from = now.max(self.frozen_until.unwrap_or(now));
        let until = from.max(now + time);
        // Only what is new: spans do not overlap, and one that goes on is the same.
        match self.absent.last_mut().filter(|(_, to)| self.frozen_until.is_some() && *to == from) {
            Some((_, to)) => *to = until,
            None => self.absent.push((from, until)),
        }
        self.frozen_until = Some(until);
        until.since(from)
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(super) fn actions(&self) -> &[(Moment, Action)] {
        &self.actions
    }

    fn next(&self) -> Option<Moment> {
        match self.frozen_until {
            Some(until) => Some(self.wake?.max(until)),
            None => self.wake,
        }
    }
}

fn tell(action: &Action) -> Option<String> {
    Some(match action {
        Action::Notify(notice) => {
            let ups = notice.ups.as_deref().unwrap_or_default();
            let extra = notice.text.split_once('[').map(|(_, text)| format!(" [{text}")).unwrap_or_default();
            format!("{} {ups}{extra}", notice.kind).trim_end().to_owned()
        }
        Action::ToParent(ToParent::ShutDown) => "CMD".to_owned(),
        Action::Log(Remark::GivingUp { ups, .. }) => format!("giving up on the primary of {ups}"),
        Action::Log(Remark::HostSyncExpired) => "host sync expired".to_owned(),
        Action::Log(Remark::FsdFailed { ups, .. }) => format!("no FSD for {ups}"),
        Action::LetSleep => "may sleep".to_owned(),
        Action::Exit => "exit".to_owned(),
        Action::LogOutAndExit => "log out, exit".to_owned(),
        _ => return None,
    })
}
