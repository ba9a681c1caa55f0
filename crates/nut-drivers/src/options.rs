//! What a driver was told by `ups.conf` and its command line, and what is wrong with it.
//!
//! Pure. A line of the command line (`-x name=value`) means what the same line of the section would mean, and beats
//! it, wherever it stands on the command line. (In NUT the later of the two counts.)

use crate::core::settings::{Settings, ShutdownStep};
use crate::driver::{About, Driver, OptionKind, POLL_INTERVAL, PortPlan};
use nut_conf::ups_conf::{self, DriverOption, Global, Section, Synchronous};
use nut_conf::{Diagnostic, Source};
use nut_proto::device::Value;
use nut_proto::names::{UpsName, VarName};
use nut_proto::words::quote;
use thiserror::Error;

/// An option whose value a driver cannot use. Ends the start with exit code 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} = {value:?} is not possible: {accepted}")]
pub struct OptionsError {
    /// The option as written.
    pub name: String,
    /// Its value as written; empty for a bare word.
    pub value: String,
    /// What would be accepted, as a clause: `sdtype takes one digit from 0 to 5`.
    pub accepted: String,
}

/// A kind of driver: what its program is made of.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What it says of itself.
    pub about: &'static About,
    /// Makes one from what was configured.
    pub make: fn(&Given<'_>) -> Result<Made, OptionsError>,
}

/// A driver that was made, and how its port is opened.
pub type Made = (Box<dyn Driver>, PortPlan);

/// What was configured for one driver.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// `port`, as written.
    pub port: &'a str,
    /// The driver's own options, each name once, in the order of the file.
    pub options: &'a [DriverOption],
}

impl Given<'_> {
    /// The value of an option, whose name compares without case; nothing if it is not given, or a bare word.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|option| option.name.eq_ignore_ascii_case(name))?;
        found.value.as_deref()
    }

    /// Whether an option is there, with or without a value.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|option| option.name.eq_ignore_ascii_case(name))
    }
}

/// The lines of the command line (`-x`), read as a section of that name.
#[must_use]
pub fn section_of<'a>(ups: &UpsName, lines: impl Iterator<Item = &'a str>) -> (Section, Vec<Diagnostic>) {
    let mut text = format!("[{ups}]\n").into_bytes();
    for line in lines {
        match line.split_once('=') {
            Some((name, value)) => {
                quote(&mut text, name);
                text.extend_from_slice(b" = ");
                quote(&mut text, value);
            }
            None => quote(&mut text, line),
        }
        text.push(b'\n');
    }
    let (conf, diagnostics) = ups_conf::parse(Source { path: "command line", text: &text });
    let section = conf
        .sections
        .into_iter()
        .next()
        .unwrap_or_else(|| Section::new(ups.clone(), nut_conf::Span::default()));
    (section, diagnostics)
}

/// The section of the file with what the command line says on top; each of the driver's own options once, the last
/// one of a name.
#[must_use]
pub fn on_top(file: Section, given: Section) -> Section {
    let both = |file: Vec<_>, given: Vec<_>| file.into_iter().chain(given).collect();
    let mut options: Vec<DriverOption> = Vec::new();
    for option in file.options.into_iter().chain(given.options) {
        options.retain(|known| !known.name.eq_ignore_ascii_case(&option.name));
        options.push(option);
    }
    Section {
        driver: given.driver.or(file.driver),
        port: given.port.or(file.port),
        user: given.user.or(file.user),
        group: given.group.or(file.group),
        poll_interval: given.poll_interval.or(file.poll_interval),
        synchronous: given.synchronous.or(file.synchronous),
        debug_min: given.debug_min.or(file.debug_min),
        no_lock: given.no_lock || file.no_lock,
        ignore_lb: given.ignore_lb || file.ignore_lb,
        allow_killpower: given.allow_killpower || file.allow_killpower,
        shutdown_commands: if given.shutdown_commands.is_empty() {
            file.shutdown_commands
        } else {
            given.shutdown_commands
        },
        defaults: both(file.defaults, given.defaults),
        overrides: both(file.overrides, given.overrides),
        options,
        name: file.name,
        at: file.at,
        desc: file.desc,
        shutdown_order: file.shutdown_order,
        max_start_delay: file.max_start_delay,
        max_retry: file.max_retry,
        retry_delay: file.retry_delay,
    }
}

/// An option name that the driver does not have. (NUT says so, and ends with success.)
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is not a valid variable name for this driver{place}: {known}")]
pub struct UnknownOption {
    name: String,
    place: String,
    known: String,
}

/// Looks for options that the driver does not have.
///
/// # Errors
/// The first of them.
pub fn check_names(about: &About, section: &Section) -> Result<(), UnknownOption> {
    let known = |name: &str| about.options.iter().any(|one| one.name.eq_ignore_ascii_case(name));
    let Some(option) = section.options.iter().find(|option| !known(&option.name)) else { return Ok(()) };
    let names: Vec<&str> = about.options.iter().map(|one| one.name).collect();
    Err(UnknownOption {
        name: option.name.clone(),
        place: if option.at.line > 0 { format!(" (line {})", option.at.line) } else { String::new() },
        known: match names.as_slice() {
            [] => format!("{} has no options of its own", about.name),
            names => format!("{} has {}", about.name, names.join(", ")),
        },
    })
}

/// What the core needs to know of a section.
#[must_use]
pub fn settings(about: &About, section: &Section, global: &Global, program: &str, debug: u8) -> Settings {
    let shutdown: Vec<ShutdownStep> = section
        .shutdown_commands
        .iter()
        .filter_map(|text| match text.trim() {
            "shutdown.default" => Some(ShutdownStep::Default),
            name => name.parse().ok().map(ShutdownStep::Command),
        })
        .collect();
    let variables = |list: &[(String, String)]| -> Vec<(VarName, Value)> {
        list.iter().filter_map(|(name, value)| Some((name.parse().ok()?, Value::new(value)))).collect()
    };
    Settings {
        program: program.to_owned(),
        version: nut_os::options::NUT_LEVEL.to_owned(),
        poll_interval: section.poll_interval.or(global.poll_interval).unwrap_or(POLL_INTERVAL),
        synchronous: section.synchronous.or(global.synchronous).unwrap_or(Synchronous::Auto),
        ignore_lb: section.ignore_lb,
        allow_killpower: section.allow_killpower,
        shutdown: if shutdown.is_empty() { vec![ShutdownStep::Default] } else { shutdown },
        defaults: variables(&section.defaults),
        overrides: variables(&section.overrides),
        parameters: parameters(about, section),
        debug,
        fixed: fixed(section, global),
    }
}

/// `driver.parameter.*` and `driver.flag.*` of what was given. Secrets are not among them.
fn parameters(about: &About, section: &Section) -> Vec<(VarName, Value)> {
    let mut shown: Vec<(String, &str)> = Vec::new();
    if let Some(port) = &section.port {
        shown.push(("driver.parameter.port".to_owned(), port));
    }
    if section.no_lock {
        shown.push(("driver.flag.nolock".to_owned(), "enabled"));
    }
    if section.ignore_lb {
        shown.push(("driver.flag.ignorelb".to_owned(), "enabled"));
    }
    let commands = section.shutdown_commands.join(",");
    if !commands.is_empty() {
        shown.push(("driver.parameter.sdcommands".to_owned(), &commands));
    }
    for option in &section.options {
        let Some(known) = about.options.iter().find(|one| one.name.eq_ignore_ascii_case(&option.name)) else {
            continue;
        };
        match (known.kind, &option.value) {
            (OptionKind::Flag, _) => shown.push((format!("driver.flag.{}", option.name), "enabled")),
            (OptionKind::Value, Some(value)) => {
                shown.push((format!("driver.parameter.{}", option.name), value));
            }
            (OptionKind::Value, None) | (OptionKind::Secret, _) => {}
        }
    }
    for (kind, list) in [("default", &section.defaults), ("override", &section.overrides)] {
        for (name, value) in list {
            shown.push((format!("driver.parameter.{kind}.{name}"), value));
        }
    }
    shown.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, Value::new(value)))).collect()
}

/// What only a restart can change.
fn fixed(section: &Section, global: &Global) -> Vec<(String, String)> {
    let yes = |set: bool| set.then(|| "yes".to_owned());
    let common = [
        ("driver", section.driver.clone()),
        ("port", section.port.clone()),
        ("user", section.user.clone().or_else(|| global.user.clone())),
        ("group", section.group.clone().or_else(|| global.group.clone())),
        ("chroot", global.chroot.clone()),
        ("nolock", yes(section.no_lock)),
        ("ignorelb", yes(section.ignore_lb)),
        ("allow_killpower", yes(section.allow_killpower)),
    ];
    let common = common.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let own = section.options.iter().map(|option| {
        let value = option.value.clone().unwrap_or_default();
        (option.name.to_ascii_lowercase(), value)
    });
    common.chain(own).collect()
}

/// The lines of `-L`: the options, as NUT shows them.
#[must_use]
pub fn table(about: &About) -> String {
    let line = |option: &crate::driver::DriverOption| {
        let kind = match option.kind {
            OptionKind::Flag => "FLAG",
            OptionKind::Value | OptionKind::Secret => "VALUE",
        };
        format!("{kind} {} \"{}\"", option.name, option.help)
    };
    about.options.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DriverOption as Known;
    use std::time::Duration;

    const ABOUT: About = About {
        name: "testdriver",
        title: "Test",
        version: "1",
        options: &[
            Known { name: "sdtype", kind: OptionKind::Value, help: "shutdown method" },
            Known { name: "fast", kind: OptionKind::Flag, help: "be fast" },
            Known { name: "community", kind: OptionKind::Secret, help: "password" },
        ],
    };

    fn ups() -> UpsName {
        "nicole".parse().unwrap()
    }

    fn section(lines: &[&str]) -> Section {
        section_of(&ups(), lines.iter().copied()).0
    }

    fn shown(lines: &[&str]) -> Vec<String> {
        let settings = settings(&ABOUT, &section(lines), &Global::default(), "testdriver", 0);
        settings.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_line_of_the_command_line_means_what_the_same_line_of_the_file_means() {
        let section = section(&[
            "port=/dev/ttyS0",
            "pollinterval=5",
            "ignorelb",
            "override.a.b=x=\"y\"#z",
            "fast",
            "sdtype=3",
        ]);
        assert_eq!(section.port.as_deref(), Some("/dev/ttyS0"));
        assert_eq!(section.poll_interval, Some(Duration::from_secs(5)));
        assert!(section.ignore_lb);
        assert_eq!(section.overrides, [("a.b".to_owned(), "x=\"y\"#z".to_owned())]);
        let own: Vec<_> = section.options.iter().map(|o| (o.name.as_str(), o.value.as_deref())).collect();
        assert_eq!(own, [("fast", None), ("sdtype", Some("3"))]);
    }

    #[test]
    fn the_command_line_beats_the_file() {
        let file = section(&["port=/dev/ttyS0", "SDTYPE=1", "pollinterval=5", "default.a=1"]);
        let both = on_top(file, section(&["port=/dev/ttyS1", "sdtype=2", "default.b=2"]));
        assert_eq!(both.port.as_deref(), Some("/dev/ttyS1"));
        assert_eq!(both.poll_interval, Some(Duration::from_secs(5)));
        assert_eq!(both.defaults.len(), 2);
        let given = Given { port: "", options: &both.options };
        assert_eq!(given.value("SdType"), Some("2"));
        assert_eq!(both.options.len(), 1);
    }

    #[test]
    fn options_the_driver_does_not_have_are_named() {
        assert_eq!(check_names(&ABOUT, &section(&["SDTYPE=1", "fast", "pollinterval=3"])), Ok(()));
        let error = check_names(&ABOUT, &section(&["sdtype=1", "speed=3"])).unwrap_err().to_string();
        assert!(error.starts_with("\"speed\" is not a valid variable name for this driver"), "{error}");
        assert!(error.ends_with("testdriver has sdtype, fast, community"), "{error}");
    }

    #[test]
    fn what_was_given_is_shown_and_secrets_are_not() {
        assert_eq!(
            shown(&[
                "port=/dev/ttyS0",
                "sdtype=3",
                "Fast",
                "community=private",
                "ignorelb",
                "default.battery.charge=5"
            ]),
            [
                "driver.parameter.port=/dev/ttyS0",
                "driver.flag.ignorelb=enabled",
                "driver.parameter.sdtype=3",
                "driver.flag.Fast=enabled",
                "driver.parameter.default.battery.charge=5",
            ]
        );
        assert_eq!(shown(&["sdtype"]), Vec::<String>::new());
    }

    #[test]
    fn shutdown_commands_in_their_order() {
        let with = |lines: &[&str]| settings(&ABOUT, &section(lines), &Global::default(), "t", 0).shutdown;
        assert_eq!(with(&[]), [ShutdownStep::Default]);
        assert_eq!(
            with(&["sdcommands=load.off, shutdown.default"]),
            [ShutdownStep::Command("load.off".parse().unwrap()), ShutdownStep::Default]
        );
    }

    #[test]
    fn the_options_as_a_table() {
        assert_eq!(table(&ABOUT).lines().nth(1), Some("FLAG fast \"be fast\""));
    }
}
