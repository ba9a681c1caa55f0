//! A trace: what happens to some hosts, when, and how it must end. Text, value, and play.
//!
//! ```text
//! # Why it stands here.
//! [file pri.conf]
//! MONITOR u1@localhost 1 pri pp primary
//! [events]
//! 0 ups u1@localhost says OL
//! 0 host pri starts pri.conf
//! 4.5 ups u1@localhost says OB LB
//! 60 end
//! [ends]
//! host pri has stopped
//! ```
//!
//! What the words mean stands in `tests/traces/README.md`. A time is in seconds, with at most three digits behind the
//! point; times do not go back.

use super::world::{Upsd, World};
use crate::link::FromParent;
use crate::monitor::{Action, Event};
use crate::remarks::Remark;
use nut_conf::upsmon_conf::{self, UpsmonConf};
use nut_conf::{Severity, Source};
use nut_proto::Moment;
use nut_proto::names::Target;
use nut_proto::net::ErrCode;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest text that is read, in bytes.
pub(super) const MAX_TEXT: usize = 256 * 1024;
/// Longest line, in bytes.
pub(super) const MAX_LINE: usize = 1024;
/// Most files in one trace.
pub(super) const MAX_FILES: usize = 64;
/// Most hosts that start.
pub(super) const MAX_HOSTS: usize = 16;
/// Most things that happen.
pub(super) const MAX_HAPPENINGS: usize = 4096;
/// The latest time, in milliseconds: two weeks.
pub(super) const MAX_TIME: u64 = 14 * 24 * 3600 * 1000;

/// Milliseconds since it began.
pub(super) type Millis = u64;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trace {
    /// What it is about, a line each.
    pub(super) about: Vec<String>,
    /// The `upsmon.conf`s that hosts read, by name.
    pub(super) files: BTreeMap<String, String>,
    pub(super) happenings: Vec<(Millis, Happening)>,
    pub(super) end: Millis,
    pub(super) expected: Vec<Expected>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    Ups(String, UpsDoes),
    Server(String, Upsd),
    Host(String, HostDoes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UpsDoes {
    /// This is its status from now on.
    Says(String),
    /// `ups.alarm`.
    Alarm(String),
    /// Whether `ups.mode.buzzwords` names an economy mode.
    Economy(bool),
    /// upsd refuses to tell of it.
    Refuses(ErrCode),
    /// So many who are no host of ours are logged in.
    Strangers(usize),
    /// Somebody sets FSD.
    Forced,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostDoes {
    Starts(String),
    Reloads(String),
    ReloadFails,
    /// SIGUSR1.
    Ordered,
    /// SIGTERM.
    Stopped,
    /// `kill -9`.
    Killed,
    /// It does not run for so long.
    Sleeps(Millis),
    /// The machine is suspended for so long.
    Suspended(Millis),
    /// Somebody announces that it will be; that is over.
    SleepAnnounced,
    SleepOver,
    /// From now on it does not run for so long each time it has run.
    Starved(Millis),
    /// When it has not run, it takes what was waiting for it before it looks at the clock; unless this is said, after that.
    HearsFirst,
    ParentDies,
    /// Its root half is gone, and that is not seen before it is asked for something.
    ParentDiesUnseen,
    /// How `SHUTDOWNCMD` is going to end.
    Command(FromParent),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Host(String, HostIs),
    /// What `upsc` shows in the end.
    Status(String, String),
    Logins(String, usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostIs {
    Running,
    /// Its command has been run, and has not failed; upsmon itself may stay (`SHUTDOWNEXIT`).
    Stopped,
    /// It has ended without any.
    Gone,
    /// One line of what it told; all such lines together, in order, are all that it told.
    Told(String),
    ToldNothing,
}

/// What is wrong with a text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceError {
    pub(super) line: usize,
    pub(super) what: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Where a line stands.
enum Section {
    About,
    File(String),
    Events,
    Ends,
}

impl Trace {
    pub(super) fn parse(text: &str) -> Result<Self, TraceError> {
        let mut trace = Self::default();
        let mut section = Section::About;
        let mut has_ended = false;
        let at = |line: usize| move |what: String| TraceError { line, what };
        if text.len() > MAX_TEXT {
            return Err(at(0)(format!("the text is longer than {MAX_TEXT} bytes")));
        }
        for (nth, line) in text.lines().enumerate() {
            let wrong = at(nth + 1);
            if line.len() > MAX_LINE {
                return Err(wrong(format!("it is longer than {MAX_LINE} bytes")));
            }
            if let Some(header) = line.strip_prefix('[') {
                section = match header.strip_suffix(']').map(|header| header.split_once(' ')) {
                    Some(Some(("file", name))) if is_word(name) => {
                        if trace.files.len() >= MAX_FILES || trace.files.contains_key(name) {
                            return Err(wrong(format!(
                                "file {name} is there already, or there are too many"
                            )));
                        }
                        trace.files.insert(name.to_owned(), String::new());
                        Section::File(name.to_owned())
                    }
                    Some(None) if header == "events]" => Section::Events,
                    Some(None) if header == "ends]" => Section::Ends,
                    _ => {
                        return Err(wrong(
                            "no such section: [file NAME], [events] and [ends] are known".into(),
                        ));
                    }
                };
                continue;
            }
            if let Section::File(name) = &section {
                let file = trace.files.get_mut(name).expect("it was put there with its header");
                file.push_str(line);
                file.push('\n');
                continue;
            }
            if let Some(comment) = line.strip_prefix('#') {
                if matches!(section, Section::About) {
                    trace.about.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
                }
                continue;
            }
            // Blanks at the end belong to a status; elsewhere they mean nothing.
            match section {
                _ if line.trim().is_empty() => {}
                Section::Events if has_ended => return Err(wrong("something happens after the end".into())),
                Section::Events => has_ended = trace.take_event(line).map_err(wrong)?,
                Section::Ends => trace.expected.push(expectation(line.trim_end()).map_err(wrong)?),
                Section::About | Section::File(_) => return Err(wrong("it stands in no section".into())),
            }
        }
        if !has_ended {
            return Err(at(text.lines().count())("the events have no end: write TIME end".into()));
        }
        Ok(trace)
    }

    /// Takes a line of the events, and says whether it was the last.
    fn take_event(&mut self, line: &str) -> Result<bool, String> {
        let (time, what) = line.split_once(' ').ok_or("write TIME and what happens")?;
        let time = millis(time).ok_or("the time is none: seconds, at most three digits behind the point")?;
        let before = self.happenings.last().map_or(0, |(time, _)| *time);
        if time < before || time > MAX_TIME {
            return Err(format!("the time goes back, or beyond {} s", MAX_TIME / 1000));
        }
        if what.trim_end() == "end" {
            self.end = time;
            return Ok(true);
        }
        let happening = happening(what).ok_or_else(|| format!("nobody knows what this means: {what}"))?;
        if let Happening::Host(host, HostDoes::Starts(file) | HostDoes::Reloads(file)) = &happening
            && !self.files.contains_key(file)
        {
            return Err(format!("{host} reads {file}, which is not there"));
        }
        let starts = |happening: &Happening| matches!(happening, Happening::Host(_, HostDoes::Starts(_)));
        let hosts = self.happenings.iter().filter(|(_, happening)| starts(happening));
        if self.happenings.len() >= MAX_HAPPENINGS || (starts(&happening) && hosts.count() >= MAX_HOSTS) {
            return Err("too much happens, or too many hosts start".into());
        }
        if let Happening::Host(host, does) = &happening {
            let is_it = |(_, what): &&(Millis, Happening)| matches!(what, Happening::Host(other, HostDoes::Starts(_)) if other == host);
            let has_started = self.happenings.iter().any(|happening| is_it(&happening));
            match (has_started, does) {
                (true, HostDoes::Starts(_)) => return Err(format!("{host} starts twice: use another name")),
                (false, HostDoes::Starts(_)) | (true, _) => {}
                (false, _) => return Err(format!("{host} has not started")),
            }
        }
        self.happenings.push((time, happening));
        Ok(false)
    }

    /// Lets it all happen.
    ///
    /// # Errors
    /// When one of its files cannot be used.
    pub(super) fn play(&self) -> Result<World, String> {
        let mut confs = BTreeMap::new();
        for (name, text) in &self.files {
            let source = Source { path: name, text: text.as_bytes() };
            let (conf, findings) = upsmon_conf::parse(source);
            if let Some(bad) = findings.iter().find(|finding| finding.severity == Severity::Error) {
                return Err(bad.to_string());
            }
            confs.insert(name.clone(), conf);
        }
        let mut world = World::new();
        for (time, happening) in self.happenings.iter().cloned() {
            let file = match &happening {
                Happening::Host(_, HostDoes::Starts(file)) => confs.get(file).cloned(),
                Happening::Host(_, HostDoes::Reloads(file)) => Some(self.read_again(file)),
                _ => None,
            };
            world.at_moment(moment_of(time), move |world| happen(world, happening, file));
        }
        world.run_until_moment(moment_of(self.end));
        Ok(world)
    }

    /// The file as it is read by a host that runs with the defaults: directives it does not name keep their values, and
    /// files of a trace name all that they change.
    fn read_again(&self, name: &str) -> UpsmonConf {
        let text = self.files.get(name).map(String::as_str).unwrap_or_default();
        upsmon_conf::parse_again(&UpsmonConf::default(), Source { path: name, text: text.as_bytes() }).0
    }

    /// Whether it ended as it must.
    ///
    /// # Errors
    /// What is otherwise.
    pub(super) fn check_ends(&self, world: &mut World) -> Result<(), String> {
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for expected in &self.expected {
            match expected {
                Expected::Host(name, is) => {
                    let host = world.hosts.iter().position(|host| host.name == *name);
                    let host = host.ok_or_else(|| format!("there is no host {name}"))?;
                    let has_ordered = world.told(host).iter().any(|line| line.ends_with(" CMD"));
                    let has_failed = |(_, action): &(Moment, Action)| {
                        matches!(action, Action::Log(Remark::NotStopped { .. }))
                    };
                    let has_stopped = has_ordered && !world.actions(host).iter().any(has_failed);
                    let is_so = match is {
                        HostIs::Running => world.is_running(host),
                        HostIs::Stopped => has_stopped,
                        HostIs::Gone => !world.is_running(host) && !has_ordered,
                        HostIs::Told(line) => {
                            told.entry(name).or_default().push(line);
                            true
                        }
                        HostIs::ToldNothing => {
                            told.entry(name).or_default();
                            true
                        }
                    };
                    if !is_so {
                        return Err(format!(
                            "host {name} is not {is:?}; it told {:#?}\nand logged {:#?}",
                            world.told(host),
                            world.logged(host)
                        ));
                    }
                }
                Expected::Status(ups, expected) => {
                    let status = world.status(ups);
                    if status != *expected {
                        return Err(format!("{ups} says {status}, not {expected}"));
                    }
                }
                Expected::Logins(ups, expected) => {
                    let logins = world.logins(ups);
                    if logins != *expected {
                        return Err(format!("{logins} are logged in to {ups}, not {expected}"));
                    }
                }
            }
        }
        for (name, expected) in told {
            let host = world.hosts.iter().position(|host| host.name == name).expect("it was found above");
            let told = world.told(host);
            if told != expected {
                return Err(format!("host {name} told {told:#?}, not {expected:#?}"));
            }
        }
        Ok(())
    }
}

fn happen(world: &mut World, happening: Happening, file: Option<UpsmonConf>) {
    match happening {
        Happening::Ups(ups, does) => match does {
            UpsDoes::Says(status) => world.set(&ups, &status),
            UpsDoes::Alarm(text) => world.set_alarm(&ups, &text),
            UpsDoes::Economy(is_on) => world.set_economy(&ups, is_on),
            UpsDoes::Refuses(code) => world.refuse(&ups, code),
            UpsDoes::Strangers(count) => world.strangers(&ups, count),
            UpsDoes::Forced => world.force(&ups),
        },
        Happening::Server(name, state) => world.upsd(&name, state),
        Happening::Host(name, HostDoes::Starts(_)) => {
            world.host_now(&name, file.expect("the parser looks that it is there"));
        }
        Happening::Host(name, does) => {
            let host = world.hosts.iter().position(|host| host.name == name).expect("it has started");
            let secs = |millis: Millis| Duration::from_millis(millis).as_secs_f64();
            match does {
                HostDoes::Starts(_) => {}
                HostDoes::Reloads(_) => {
                    let conf = file.expect("the parser looks that it is there");
                    world.send(host, Event::Reload(Box::new(conf)));
                }
                HostDoes::ReloadFails => {
                    world.send(host, Event::ReloadFailed { why: "can't open upsmon.conf".into() });
                }
                HostDoes::Ordered => world.send(host, Event::ForceShutdown { signal: 10 }),
                HostDoes::Stopped => world.send(host, Event::Stop { signal: 15 }),
                HostDoes::Killed => world.kill(host),
                HostDoes::Sleeps(millis) => world.freeze(host, secs(millis)),
                HostDoes::Suspended(millis) => world.suspend(host, secs(millis)),
                HostDoes::SleepAnnounced => world.send(host, Event::SleepAnnounced),
                HostDoes::SleepOver => world.send(host, Event::SleepOver),
                HostDoes::Starved(millis) => world.starve(host, secs(millis)),
                HostDoes::HearsFirst => world.hears_first(host),
                HostDoes::ParentDies => world.kill_parent(host),
                HostDoes::ParentDiesUnseen => world.hosts_parent_dies_silently(host),
                HostDoes::Command(ends) => world.command_ends(host, ends),
            }
        }
    }
}

pub(super) fn moment_of(millis: Millis) -> Moment {
    Moment::from_millis(millis)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != ']')
}

/// Seconds, with at most three digits behind the point.
fn millis(text: &str) -> Option<Millis> {
    let (secs, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if secs.is_empty() || !is_number(secs) || !is_number(part) || part.len() > 3 || secs.len() > 9 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    Some(secs.parse::<u64>().ok()? * 1000 + part)
}

const SERVER_STATES: [(&str, Upsd); 5] = [
    ("up", Upsd::Up),
    ("down", Upsd::Down),
    ("hangs", Upsd::Hung),
    ("out-of-reach", Upsd::OutOfReach),
    ("mute", Upsd::Mute),
];

fn happening(text: &str) -> Option<Happening> {
    let (kind, rest) = text.split_once(' ')?;
    let (name, does) = rest.split_once(' ')?;
    if !is_word(name) {
        return None;
    }
    let (verb, object) = does.split_once(' ').map_or((does, None), |(verb, object)| (verb, Some(object)));
    let word = || object.filter(|object| is_word(object)).map(str::to_owned);
    Some(match kind {
        "ups" => {
            // A UPS at a server, both named: else the world would not know where it stands.
            name.parse::<Target>().ok().filter(|_| name.matches('@').count() == 1)?;
            let does = match (verb, object) {
                // An empty status has nothing behind the word.
                ("says", status) => UpsDoes::Says(status.unwrap_or_default().to_owned()),
                ("alarm", Some(text)) => UpsDoes::Alarm(text.to_owned()),
                ("economy", Some("on")) => UpsDoes::Economy(true),
                ("economy", Some("off")) => UpsDoes::Economy(false),
                ("refuses", Some(code)) => UpsDoes::Refuses(ErrCode::from_text(code)?),
                ("strangers", Some(count)) => {
                    UpsDoes::Strangers(count.parse().ok().filter(|count| *count < 1000)?)
                }
                ("forced", None) => UpsDoes::Forced,
                _ => return None,
            };
            Happening::Ups(name.to_owned(), does)
        }
        "server" if object.is_none() => {
            let (_, state) = SERVER_STATES.iter().find(|(word, _)| *word == verb)?;
            Happening::Server(name.to_owned(), *state)
        }
        "host" => {
            let does = match (verb, object) {
                ("starts", _) => HostDoes::Starts(word()?),
                ("reloads", _) => HostDoes::Reloads(word()?),
                ("reload-fails", None) => HostDoes::ReloadFails,
                ("ordered", None) => HostDoes::Ordered,
                ("stopped", None) => HostDoes::Stopped,
                ("killed", None) => HostDoes::Killed,
                ("sleeps", Some(time)) => HostDoes::Sleeps(millis(time)?),
                ("suspended", Some(time)) => HostDoes::Suspended(millis(time)?),
                ("sleep-announced", None) => HostDoes::SleepAnnounced,
                ("sleep-over", None) => HostDoes::SleepOver,
                ("starved", Some(time)) => HostDoes::Starved(millis(time)?),
                ("hears-first", None) => HostDoes::HearsFirst,
                ("parent-dies", None) => HostDoes::ParentDies,
                ("parent-dies-unseen", None) => HostDoes::ParentDiesUnseen,
                ("command", Some(end)) => HostDoes::Command(match end.split_once(' ') {
                    Some(("ends", code)) => FromParent::Ended(code.parse().ok()?),
                    Some(("killed", signal)) => FromParent::Killed(signal.parse().ok()?),
                    None if end == "not-run" => FromParent::NotRun,
                    _ => return None,
                }),
                _ => return None,
            };
            Happening::Host(name.to_owned(), does)
        }
        _ => return None,
    })
}

fn expectation(line: &str) -> Result<Expected, String> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    Ok(match words.as_slice() {
        ["host", name, "is", "running"] => Expected::Host((*name).to_owned(), HostIs::Running),
        ["host", name, "has", "stopped"] => Expected::Host((*name).to_owned(), HostIs::Stopped),
        ["host", name, "is", "gone"] => Expected::Host((*name).to_owned(), HostIs::Gone),
        ["host", name, "told", "nothing"] => Expected::Host((*name).to_owned(), HostIs::ToldNothing),
        ["host", name, "told", line] => Expected::Host((*name).to_owned(), HostIs::Told((*line).to_owned())),
        ["ups", name, "says", status] if name.contains('@') => {
            Expected::Status((*name).to_owned(), (*status).to_owned())
        }
        ["ups", name, "logins", count] if name.contains('@') => {
            Expected::Logins((*name).to_owned(), count.parse().map_err(|_| "that is no number".to_owned())?)
        }
        _ => return Err(format!("nobody knows what this means: {line}")),
    })
}

/// A time as it is written.
struct Time(Millis);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (secs, 0) => write!(f, "{secs}"),
            (secs, part) => f.write_str(format!("{secs}.{part:03}").trim_end_matches('0')),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ups(ups, does) => {
                write!(f, "ups {ups} ")?;
                match does {
                    UpsDoes::Says(status) if status.is_empty() => f.write_str("says"),
                    UpsDoes::Says(status) => write!(f, "says {status}"),
                    UpsDoes::Alarm(text) => write!(f, "alarm {text}"),
                    UpsDoes::Economy(is_on) => write!(f, "economy {}", if *is_on { "on" } else { "off" }),
                    UpsDoes::Refuses(code) => write!(f, "refuses {}", code.as_str()),
                    UpsDoes::Strangers(count) => write!(f, "strangers {count}"),
                    UpsDoes::Forced => f.write_str("forced"),
                }
            }
            Self::Server(name, state) => {
                let word = SERVER_STATES.iter().find(|(_, one)| one == state).map_or("", |(word, _)| word);
                write!(f, "server {name} {word}")
            }
            Self::Host(host, does) => {
                write!(f, "host {host} ")?;
                match does {
                    HostDoes::Starts(file) => write!(f, "starts {file}"),
                    HostDoes::Reloads(file) => write!(f, "reloads {file}"),
                    HostDoes::ReloadFails => f.write_str("reload-fails"),
                    HostDoes::Ordered => f.write_str("ordered"),
                    HostDoes::Stopped => f.write_str("stopped"),
                    HostDoes::Killed => f.write_str("killed"),
                    HostDoes::Sleeps(time) => write!(f, "sleeps {}", Time(*time)),
                    HostDoes::Suspended(time) => write!(f, "suspended {}", Time(*time)),
                    HostDoes::SleepAnnounced => f.write_str("sleep-announced"),
                    HostDoes::SleepOver => f.write_str("sleep-over"),
                    HostDoes::Starved(time) => write!(f, "starved {}", Time(*time)),
                    HostDoes::HearsFirst => f.write_str("hears-first"),
                    HostDoes::ParentDies => f.write_str("parent-dies"),
                    HostDoes::ParentDiesUnseen => f.write_str("parent-dies-unseen"),
                    HostDoes::Command(FromParent::Ended(code)) => write!(f, "command ends {code}"),
                    HostDoes::Command(FromParent::Killed(signal)) => write!(f, "command killed {signal}"),
                    HostDoes::Command(FromParent::NotRun | FromParent::FlagFailed) => {
                        f.write_str("command not-run")
                    }
                }
            }
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name, HostIs::Running) => write!(f, "host {name} is running"),
            Self::Host(name, HostIs::Stopped) => write!(f, "host {name} has stopped"),
            Self::Host(name, HostIs::Gone) => write!(f, "host {name} is gone"),
            Self::Host(name, HostIs::Told(line)) => write!(f, "host {name} told {line}"),
            Self::Host(name, HostIs::ToldNothing) => write!(f, "host {name} told nothing"),
            Self::Status(ups, status) => write!(f, "ups {ups} says {status}"),
            Self::Logins(ups, count) => write!(f, "ups {ups} logins {count}"),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.about {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        for (name, text) in &self.files {
            write!(f, "[file {name}]\n{text}")?;
        }
        f.write_str("[events]\n")?;
        for (time, happening) in &self.happenings {
            writeln!(f, "{} {happening}", Time(*time))?;
        }
        writeln!(f, "{} end", Time(self.end))?;
        if !self.expected.is_empty() {
            f.write_str("[ends]\n")?;
        }
        self.expected.iter().try_for_each(|expected| writeln!(f, "{expected}"))
    }
}
