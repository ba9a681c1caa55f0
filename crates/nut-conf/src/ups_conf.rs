//! `ups.conf`: the drivers: which, on which port, in which order they are powered down.

use crate::directives::{Directive, Format, Reader, Row, Scope};
use crate::report::{Report, nearest, quoted};
use crate::values::{Line, MAX_NUMBER, seconds};
use crate::{Diagnostic, Severity, Source};
use nut_proto::names::{UpsName, VarName};
use nut_proto::words::truth;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

/// All of `ups.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpsConf {
    /// What stands before the first section.
    pub global: Global,
    /// The sections, in the file's order; sections of one name are one.
    pub sections: Vec<Section>,
}

/// What stands before the first section. `None` is "not said": the program's default holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Global {
    /// `chroot`: the directory the drivers lock themselves into.
    pub chroot: Option<String>,
    /// `driverpath`: where `upsdrvctl` finds the drivers.
    pub driver_path: Option<String>,
    /// `statepath`: where sockets and PID files are.
    pub state_path: Option<String>,
    /// `user`: whom the drivers run as.
    pub user: Option<String>,
    /// `group`: whose the driver's socket is.
    pub group: Option<String>,
    /// `pollinterval`, 2 s unless set.
    pub poll_interval: Option<Duration>,
    /// `synchronous`: kept for the record; our drivers never block on a reader.
    pub synchronous: Option<Synchronous>,
    /// `maxstartdelay`, 75 s unless set. Zero or less: as long as it takes.
    pub max_start_delay: Option<i64>,
    /// `maxretry`: attempts in all, 1 unless set.
    pub max_retry: Option<i64>,
    /// `retrydelay`: seconds between attempts, 5 unless set.
    pub retry_delay: Option<i64>,
    /// `nowait`: do not wait for drivers to start.
    pub no_wait: bool,
    /// `debug_min`: least debug level.
    pub debug_min: Option<u8>,
}

/// `synchronous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// `yes`.
    Yes,
    /// `no`, and any text NUT does not know.
    No,
    /// `auto`.
    Auto,
}

/// One `[name]`: a UPS and its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name between the brackets.
    pub name: UpsName,
    /// Where the section begins.
    pub at: crate::Span,
    /// `driver`: the program.
    pub driver: Option<String>,
    /// `port`: the device node, file or address.
    pub port: Option<String>,
    /// `desc`: what people call it.
    pub desc: Option<String>,
    /// `sdorder`: powered down in rising order; negative: never with the others. 0 unless set.
    pub shutdown_order: i64,
    /// `maxstartdelay` of this one.
    pub max_start_delay: Option<i64>,
    /// `maxretry` of this one.
    pub max_retry: Option<i64>,
    /// `retrydelay` of this one.
    pub retry_delay: Option<i64>,
    /// `user` of this one.
    pub user: Option<String>,
    /// `group` of this one.
    pub group: Option<String>,
    /// `pollinterval` of this one.
    pub poll_interval: Option<Duration>,
    /// `synchronous` of this one.
    pub synchronous: Option<Synchronous>,
    /// `debug_min` of this one.
    pub debug_min: Option<u8>,
    /// `nolock`: do not lock the port.
    pub no_lock: bool,
    /// `ignorelb`: judge low battery by charge and runtime instead of the device's word.
    pub ignore_lb: bool,
    /// `allow_killpower`.
    pub allow_killpower: bool,
    /// `sdcommands`: what to try at shutdown, in order.
    pub shutdown_commands: Vec<String>,
    /// `default.<variable>`: values the driver starts with.
    pub defaults: Vec<(String, String)>,
    /// `override.<variable>`: values that stand whatever the driver says.
    pub overrides: Vec<(String, String)>,
    /// All other lines, as written and in order: the driver's own options. A bare word has no value.
    pub options: Vec<DriverOption>,
}

/// A line that only the driver understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverOption {
    /// Its name as written.
    pub name: String,
    /// What stands behind the equals sign; `None` for a bare word.
    pub value: Option<String>,
    /// Where it stands.
    pub at: crate::Span,
}

/// Every directive that NUT's core, `upsd` or `upsdrvctl` knows. Drivers have more of their own; those are not here.
pub static TABLE: &[Row] = &[
    Row::new(
        "chroot",
        "= <directory>",
        "the directory the drivers lock themselves into",
        "none",
        "2.0",
        "chroot = /run/nut",
    )
    .scope(Scope::Global),
    Row::new(
        "driverpath",
        "= <directory>",
        "where upsdrvctl finds the drivers",
        "where it was installed",
        "2.0",
        "driverpath = /lib/nut",
    )
    .scope(Scope::Global),
    Row::new(
        "statepath",
        "= <directory>",
        "where sockets and PID files are",
        "/run/nut",
        "2.8.3",
        "statepath = /run/nut",
    )
    .scope(Scope::Global)
    .any_case(),
    Row::new(
        "user",
        "= <user>",
        "whom the drivers run as",
        "the user chosen when they were built",
        "2.0",
        "user = nut",
    ),
    Row::new(
        "group",
        "= <group>",
        "whose the driver's socket is",
        "the user's group",
        "2.8.0",
        "group = nut",
    ),
    Row::new("pollinterval", "= <seconds>", "time between two polls", "2 s", "2.0", "pollinterval = 2"),
    Row::new(
        "synchronous",
        "= yes|no|auto",
        "whether a driver waits for a reader that is slow",
        "auto",
        "2.6.5",
        "synchronous = no",
    )
    .idle("our drivers never wait for a reader"),
    Row::new(
        "maxstartdelay",
        "= <seconds>",
        "how long upsdrvctl waits for a driver to start; 0 or less: as long as it takes",
        "75 s",
        "2.0",
        "maxstartdelay = 75",
    ),
    Row::new(
        "maxretry",
        "= <number>",
        "how often upsdrvctl starts a driver that fails, in all",
        "1",
        "2.4",
        "maxretry = 3",
    ),
    Row::new(
        "retrydelay",
        "= <seconds>",
        "the pause between two such attempts",
        "5 s",
        "2.4",
        "retrydelay = 5",
    ),
    Row::new("nowait", "", "upsdrvctl does not wait for drivers to start", "it waits", "2.7.1", "nowait")
        .scope(Scope::Global),
    Row::new("debug_min", "= <level>", "least debug level", "0", "2.8.0", "debug_min = 0").any_case(),
    Row::new(
        "LIBUSB_DEBUG",
        "= <level>",
        "debug level of the USB library",
        "none",
        "2.8.3",
        "LIBUSB_DEBUG = 0",
    )
    .idle("our drivers do not use that library"),
    Row::new(
        "reconnect_max_tries",
        "= <number>",
        "how often a driver tries to reach a lost device before it gives up",
        "-1: for ever",
        "2.8.6",
        "reconnect_max_tries = -1",
    )
    .idle("our drivers try for ever"),
    Row::new(
        "reconnect_report_freq",
        "= <number>",
        "how often a driver tells of its attempts",
        "-1",
        "2.8.6",
        "reconnect_report_freq = -1",
    )
    .idle("our drivers tell once that a device is lost, and once that it is back"),
    Row::new(
        "driver",
        "= <name>",
        "the program that talks to the UPS",
        "none: required",
        "2.0",
        "driver = apcsmart",
    )
    .scope(Scope::Section)
    .without("the line is left out; without a driver the UPS is not served"),
    Row::new(
        "port",
        "= <device>",
        "the device node, file or address of the UPS",
        "none: required",
        "2.0",
        "port = /dev/ttyS0",
    )
    .scope(Scope::Section)
    .without("the line is left out; without a port the UPS is not served"),
    Row::new("desc", "= <text>", "what people call the UPS", "none", "2.0", "desc = \"Server room\"")
        .scope(Scope::Section),
    Row::new(
        "sdorder",
        "= <number>",
        "UPSes are powered down in rising order; negative: not with the others",
        "0",
        "2.0",
        "sdorder = 0",
    )
    .scope(Scope::Section),
    Row::new("nolock", "", "the port is not locked", "it is locked", "2.0", "nolock").scope(Scope::Section),
    Row::new(
        "ignorelb",
        "",
        "low battery is judged by charge and runtime instead of the device's word",
        "the device's word counts",
        "2.6.4",
        "ignorelb",
    )
    .scope(Scope::Section),
    Row::new(
        "allow_killpower",
        "",
        "the command driver.killpower is obeyed",
        "it is refused",
        "2.8.1",
        "allow_killpower",
    )
    .scope(Scope::Section),
    Row::new(
        "sdcommands",
        "= <command>[,<command> ...]",
        "what the driver tries at a shutdown, in order",
        "the driver's own choice",
        "2.8.3",
        "sdcommands = shutdown.return,load.off",
    )
    .scope(Scope::Section),
    Row::new("sddelay", "= <seconds>", "nothing any more", "none", "2.0", "sdorder = 0")
        .scope(Scope::Section)
        .idle("it is obsolete: NUT ignores it, too"),
    Row::new(
        "default.<variable>",
        "= <value>",
        "the value a variable has until the driver reports one",
        "none",
        "2.4",
        "default.battery.voltage.high = 27.6",
    )
    .scope(Scope::Section)
    .repeats()
    .without("the line is left out"),
    Row::new(
        "override.<variable>",
        "= <value>",
        "the value a variable has, whatever the driver reports",
        "none",
        "2.4",
        "override.battery.charge.low = 30",
    )
    .scope(Scope::Section)
    .repeats()
    .without("the line is left out"),
];

static FORMAT: Format = Format { table: TABLE, sections: true, secrets: Some(secrets), mends: None };

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (UpsConf, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut reading = Reading::default();
    while let Some(directive) = reader.next(&mut report) {
        reading.take(&directive, &mut report);
    }
    for (section, header) in reading.conf.sections.iter().zip(&reading.headers) {
        let lacks = match (&section.driver, &section.port) {
            (Some(_), Some(_)) => continue,
            (None, None) => "neither driver nor port",
            (None, Some(_)) => "no driver",
            (Some(_), None) => "no port",
        };
        let what = format!("UPS {} has {lacks}", section.name);
        let advice = "write: driver = NAME, and port = DEVICE (port = auto for USB)";
        report.add(
            Severity::Warning,
            header,
            0,
            &what,
            "it cannot be started, and upsd does not serve it",
            advice,
        );
    }
    (reading.conf, report.finish())
}

/// Which section the line being read is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before the first header.
    #[default]
    Global,
    /// In that one.
    Section(usize),
    /// In one that is left out.
    Nowhere,
}

/// The file as far as it was read.
#[derive(Debug, Default)]
struct Reading {
    conf: UpsConf,
    /// Where each section begins.
    headers: Vec<Directive>,
    /// The sections by their names.
    known: HashMap<UpsName, usize>,
    /// The last of each name in lower case: `upsd` knows no case.
    caseless: HashMap<String, usize>,
    place: Place,
}

/// What a line is by its words (driver-framework §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `name`.
    Flag,
    /// `name = value`.
    Setting,
}

impl Reading {
    fn take(&mut self, directive: &Directive, report: &mut Report<'_>) {
        if let Some(header) = directive.header() {
            self.open(header, directive, report);
            return;
        }
        if self.place == Place::Nowhere {
            return;
        }
        let name = directive.name();
        let row = row(name);
        if directive.leftover && row.is_none() {
            // NUT takes it for a flag, which the driver refuses; that a text has a bare # is no reason for that.
            return;
        }
        let Some(shape) = shape(directive, report) else { return };
        let in_section = matches!(self.place, Place::Section(_));
        let Some(row) = row else {
            self.other(shape, directive, report);
            return;
        };
        let misplaced = match row.scope {
            Scope::Any => None,
            Scope::Global => in_section.then_some("before the first section"),
            Scope::Section => (!in_section).then_some("in a section"),
        };
        if let Some(belongs) = misplaced {
            let what = format!("{} belongs {belongs}", row.name);
            report.add(Severity::Warning, directive, 0, &what, "the line is left out", "");
            return;
        }
        let line = &mut Line::known(row, directive, report, if shape == Shape::Flag { 1 } else { 2 });
        if row.words.is_empty() != (shape == Shape::Flag) && !flag_or_value(line) {
            return;
        }
        if !row.repeats {
            line.report.once(row, directive);
        }
        match self.place {
            Place::Section(nth) => {
                self.conf.sections.get_mut(nth).and_then(|section| section.take(line));
            }
            Place::Global | Place::Nowhere => {
                self.conf.global.take(line);
            }
        }
    }

    fn open(&mut self, header: Result<&str, ()>, directive: &Directive, report: &mut Report<'_>) {
        report.forget_seen();
        self.place = Place::Nowhere;
        let Ok(text) = header else {
            let what = "the section's name is not closed by a ] in the same word";
            let why = "the section is left out; NUT puts its lines into the section above it";
            report.add(Severity::Warning, directive, 0, what, why, "write the name as one word: [my-ups]");
            return;
        };
        let name: UpsName = match text.parse() {
            Ok(name) => name,
            Err(error) => {
                let what = format!("{} names no UPS: {error}", quoted(text));
                let why = "the section is left out: this UPS is not served";
                report.add(Severity::Warning, directive, 0, &what, why, "use letters, digits, - and _");
                return;
            }
        };
        report.header_alone(directive);
        let line_of = |nth: usize| self.headers.get(nth).map_or(0, |header| header.at.line);
        if let Some(nth) = self.known.get(&name).copied() {
            let what = format!("section {name} begins in line {}", line_of(nth));
            report.add(Severity::Note, directive, 0, &what, "it goes on here", "");
            self.place = Place::Section(nth);
            return;
        }
        let nth = self.conf.sections.len();
        if let Some(other) = self.caseless.insert(text.to_ascii_lowercase(), nth) {
            let what = format!("UPS name [{name}] is already in use!");
            let why = format!(
                "upsd knows no case: of this one and that in line {} it serves the later",
                line_of(other)
            );
            report.add(Severity::Warning, directive, 0, &what, &why, "give one of them another name");
        }
        if name.is("default") {
            report.add(
                Severity::Note,
                directive,
                0,
                "the name default is reserved",
                "NUT may give it a meaning",
                "",
            );
        }
        self.known.insert(name.clone(), nth);
        self.place = Place::Section(nth);
        self.headers.push(directive.clone());
        self.conf.sections.push(Section::new(name, directive.at));
    }

    /// A name that no row knows: the driver's, if it stands in a section.
    fn other(&mut self, shape: Shape, directive: &Directive, report: &mut Report<'_>) {
        let name = directive.name();
        let alike = TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name));
        let Place::Section(nth) = self.place else {
            let what = format!("unknown directive {}", quoted(name));
            // NUT passes over what it does not know here; only what was meant to be something must not be missed.
            let (severity, advice) = match (alike, nearest(name, TABLE.iter().map(|row| row.name))) {
                (Some(row), _) => (Severity::Warning, format!("write it so: {}", row.name)),
                (None, Some(near)) => (Severity::Warning, format!("did you mean {near}?")),
                (None, None) => (Severity::Note, String::new()),
            };
            let why = "the line is left out; options of drivers belong in a section";
            report.add(severity, directive, 0, &what, why, &advice);
            return;
        };
        if let Some(row) = alike {
            let what = format!("{} is written {}", quoted(name), row.name);
            let why = "it goes to the driver, which does not know it so";
            report.add(Severity::Warning, directive, 0, &what, why, &format!("write: {}", row.write));
        }
        let value = (shape == Shape::Setting).then(|| directive.text(2).to_owned());
        if let Some(section) = self.conf.sections.get_mut(nth) {
            section.options.push(DriverOption { name: name.to_owned(), value, at: directive.at });
        }
    }
}

/// The row that a name belongs to; the two prefixes are written in any case.
fn row(name: &str) -> Option<&'static Row> {
    let prefix = name.split_once('.').map(|(prefix, _)| prefix);
    match prefix {
        Some(prefix) if prefix.eq_ignore_ascii_case("default") => FORMAT.row("default.<variable>"),
        Some(prefix) if prefix.eq_ignore_ascii_case("override") => FORMAT.row("override.<variable>"),
        _ => FORMAT.row(name),
    }
}

/// What the line is; `None` if NUT makes nothing of it, which is told.
fn shape(directive: &Directive, report: &mut Report<'_>) -> Option<Shape> {
    let name = directive.name();
    let sign = directive.text(1) == "=";
    match directive.words.len() {
        1 => return Some(Shape::Flag),
        2 if sign => {
            let advice = format!("write: {name} = value, or {name} = \"\" for an empty one");
            report.add(
                Severity::Warning,
                directive,
                1,
                "nothing stands behind the equals sign",
                "the line is left out",
                &advice,
            );
            return None;
        }
        words if words == 2 || !sign => {
            let advice = format!("write: {name} = value");
            report.add(
                Severity::Warning,
                directive,
                1,
                "an equals sign is missing",
                "the line is left out",
                &advice,
            );
            return None;
        }
        3 => {}
        _ => report.add(
            Severity::Warning,
            directive,
            3,
            &format!("{} takes one word", quoted(name)),
            "the words from here on are not read",
            "put a value of several words into quotes",
        ),
    }
    Some(Shape::Setting)
}

/// A flag with a value, or a value missing: whether the line counts all the same.
fn flag_or_value(line: &mut Line<'_, '_>) -> bool {
    let name = line.row.name;
    if !line.row.words.is_empty() {
        line.left_out::<()>(0, &format!("{} needs a value", line.directive.name()));
        return false;
    }
    let what = format!("{name} stands alone; it takes no value");
    if truth(line.value(1)) == Some(false) {
        line.warn(1, &what, "the line is left out", "to switch it off, leave the line out");
        return false;
    }
    line.warn(1, &what, "it is switched on", &format!("write: {name}"));
    true
}

impl Global {
    /// Takes one line; `None` if it was left out, which is told.
    fn take(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        let text = || line.value(1).to_owned();
        match line.row.name {
            "chroot" => self.chroot = Some(text()),
            "driverpath" => self.driver_path = Some(text()),
            "statepath" => self.state_path = Some(text()),
            "user" => self.user = Some(text()),
            "group" => self.group = Some(text()),
            "pollinterval" => self.poll_interval = Some(poll_interval(line)?),
            "synchronous" => self.synchronous = Some(synchronous(line)),
            "maxstartdelay" => self.max_start_delay = Some(any_number(line)?),
            "maxretry" => self.max_retry = Some(any_number(line)?),
            "retrydelay" => self.retry_delay = Some(any_number(line)?),
            "nowait" => self.no_wait = true,
            "debug_min" => self.debug_min = Some(line.debug_level(1)?),
            other => debug_assert!(line.row.idle.is_some(), "nothing reads {other}"),
        }
        Some(())
    }
}

impl Section {
    /// A section of this name in which nothing is said yet.
    #[must_use]
    pub fn new(name: UpsName, at: crate::Span) -> Self {
        Self {
            name,
            at,
            driver: None,
            port: None,
            desc: None,
            shutdown_order: 0,
            max_start_delay: None,
            max_retry: None,
            retry_delay: None,
            user: None,
            group: None,
            poll_interval: None,
            synchronous: None,
            debug_min: None,
            no_lock: false,
            ignore_lb: false,
            allow_killpower: false,
            shutdown_commands: Vec::new(),
            defaults: Vec::new(),
            overrides: Vec::new(),
            options: Vec::new(),
        }
    }

    /// Takes one line; `None` if it was left out, which is told.
    fn take(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        let text = || line.value(1).to_owned();
        match line.row.name {
            "driver" => self.driver = Some(driver(line)?),
            "port" => self.port = Some(text()),
            "desc" => self.desc = Some(text()),
            "sdorder" => self.shutdown_order = any_number(line)?,
            "maxstartdelay" => self.max_start_delay = Some(any_number(line)?),
            "maxretry" => self.max_retry = Some(any_number(line)?),
            "retrydelay" => self.retry_delay = Some(any_number(line)?),
            "user" => self.user = Some(text()),
            "group" => self.group = Some(text()),
            "pollinterval" => self.poll_interval = Some(poll_interval(line)?),
            "synchronous" => self.synchronous = Some(synchronous(line)),
            "debug_min" => self.debug_min = Some(line.debug_level(1)?),
            "nolock" => self.no_lock = true,
            "ignorelb" => self.ignore_lb = true,
            "allow_killpower" => self.allow_killpower = true,
            "sdcommands" => {
                let commands = line.value(1).split(',').map(str::trim).filter(|command| !command.is_empty());
                self.shutdown_commands = commands.map(str::to_owned).collect();
            }
            "default.<variable>" => self.defaults.push(fixed(line)?),
            "override.<variable>" => self.overrides.push(fixed(line)?),
            other => debug_assert!(line.row.idle.is_some(), "nothing reads {other}"),
        }
        Some(())
    }
}

/// A program's bare name: it becomes part of paths.
fn driver(line: &mut Line<'_, '_>) -> Option<String> {
    let name = line.value(1);
    if name.is_empty()
        || name.starts_with('.')
        || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    {
        return line.left_out(1, &format!("{} is no driver's name", quoted(name)));
    }
    Some(name.to_owned())
}

/// `default.` or `override.`: the variable and its value.
fn fixed(line: &mut Line<'_, '_>) -> Option<(String, String)> {
    let name = line.directive.name();
    let variable = name.split_once('.').map_or("", |(_, variable)| variable);
    if let Err(error) = variable.parse::<VarName>() {
        return line.left_out(0, &format!("{} names no variable: {error}", quoted(name)));
    }
    Some((variable.to_owned(), line.value(1).to_owned()))
}

/// 0 and less end NUT's drivers; ours keep to their rhythm.
fn poll_interval(line: &mut Line<'_, '_>) -> Option<Duration> {
    line.number(1, 1).map(seconds)
}

fn any_number(line: &mut Line<'_, '_>) -> Option<i64> {
    line.number(1, -MAX_NUMBER)
}

fn synchronous(line: &mut Line<'_, '_>) -> Synchronous {
    match line.value(1) {
        "yes" => Synchronous::Yes,
        "auto" => Synchronous::Auto,
        "no" => Synchronous::No,
        other => {
            let what = format!("synchronous takes yes, no or auto, found {}", quoted(other));
            line.warn(1, &what, "it counts as no, as in NUT", "");
            Synchronous::No
        }
    }
}

/// What drivers call passwords: `password`, `authPassword`, `community`, … Such a word may have got behind another one
/// by a slip; what stands behind it is not shown either way.
fn secrets(words: &[&str]) -> Range<usize> {
    let is_secret = |word: &&str| {
        let word = word.to_ascii_lowercase();
        // Parts of `authPassword` and the like, so that a slip of the pen leaves one of them.
        ["pass", "word", "community", "secret", "auth", "priv"].iter().any(|part| word.contains(part))
    };
    if words.first() == Some(&"=") {
        // Its name was lost, to the line above perhaps.
        return 1..words.len();
    }
    let Some(at) = words.iter().position(is_secret) else { return 0..0 };
    match words.get(at + 1) {
        // In quotes, name and value may be one word; behind another word, nobody knows what this one is.
        _ if at > 0 || words.first().is_some_and(|name| name.contains('=')) => at..words.len(),
        Some(&"=") => 2..words.len(),
        _ => 1..words.len(),
    }
}

#[cfg(test)]
mod tests;
