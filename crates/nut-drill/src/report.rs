//! The timeline a person reads: who noticed what, and how long after mains failed; then what had to happen, and did.

use crate::paint::Paint;
use crate::record::{Entry, What};
use crate::sim::Deed;
use nut_proto::Moment;
use std::fmt::Write as _;
use std::time::Duration;

/// One thing that had to happen, and when it did.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What.
    pub text: String,
    /// When, if at one moment.
    pub at: Option<Moment>,
}

/// Texts of NUT's that tell something, and how the timeline says it: program, part of the line, our words. `%` stands
/// for what follows the part, up to the end of its word.
const LINES: &[(&str, &str, &str, &str)] = &[
    // program, before, after, told as
    ("upsmon", "UPS ", " on battery", "ONBATT: % runs on battery"),
    ("upsmon", "UPS ", " on line power", "ONLINE: % has mains again"),
    ("upsmon", "UPS ", " battery is low", "LOWBATT: the battery of % is low"),
    ("upsmon", "UPS ", ": forced shutdown in progress", "FSD: a shutdown is forced for %"),
    ("upsmon", "Communications with UPS ", " lost", "COMMBAD: no word from %"),
    ("upsmon", "Communications with UPS ", " established", "COMMOK: word from % again"),
    ("upsmon", "Giving up on the primary for UPS [", "]", "waits no longer for the primary of %"),
    ("upsmon", "Auto logout and shutdown proceeding", "", "SHUTDOWN: this host stops"),
    ("upsmon", "Host sync timer expired", "", "HOSTSYNC is over, waits no longer for the others"),
    ("upsd", "set FSD on UPS [", "]", "upsd tells everybody: forced shutdown of %"),
    ("upsd", "Rejecting TCP connection from ", "", "upsd turns % away"),
    ("upsmon", "New timer: ", " ", "timer % starts"),
    ("upsmon", "Cancelling timer: ", "", "timer % is cancelled"),
];

/// One line of the timeline, or nothing if the entry is not for it.
#[must_use]
pub fn told(entry: &Entry) -> Option<String> {
    match &entry.what {
        // Headings are not of a host, and are printed as such.
        What::Cue(text) => (entry.host != "*").then(|| text.clone()),
        What::Line { program, text } => LINES.iter().find_map(|(by, before, after, words)| {
            if program != by {
                return None;
            }
            let (_, rest) = text.split_once(before)?;
            let name = if after.is_empty() { rest } else { rest.split_once(after)?.0 };
            // Explanations put the name in brackets; the notice itself does not.
            if name.starts_with('[') {
                return None;
            }
            Some(words.replace('%', without_port(name)))
        }),
        What::Told { script, args, .. } => {
            let first = args.first().map_or("", String::as_str);
            match script.as_str() {
                "CMDSCRIPT" => Some(format!("CMDSCRIPT runs: {first}")),
                "SHUTDOWNCMD" => Some("SHUTDOWNCMD runs: this host goes down".to_owned()),
                _ => None,
            }
        }
        What::Deed(deed) => match deed {
            Deed::WentOnBattery { .. }
            | Deed::BackOnMains
            | Deed::BatteryLow
            | Deed::ShutdownAccepted { .. }
            | Deed::ShutdownRefused { .. }
            | Deed::LoadOff { .. }
            | Deed::LoadOn { .. } => Some(format!("UPS: {deed}")),
            _ => None,
        },
        What::Status(status) => Some(format!("driver: ups.status is {status}")),
        What::Ended { program, code } => {
            let wanted = program == "upsmon" || program == "upsd";
            wanted.then(|| match code {
                Some(code) => format!("{program} ends (exit code {code})"),
                None => format!("{program} is killed"),
            })
        }
    }
}

/// A name without the port that only the stage gave it.
fn without_port(name: &str) -> &str {
    name.split_once('@').map_or(name, |(ups, _)| ups).split_whitespace().next().unwrap_or(name)
}

/// The time since mains failed, or as much room before that.
fn clock(since: Option<Duration>) -> String {
    match since {
        Some(since) => format!("{:>9.3} s  ", since.as_secs_f64()),
        None => " ".repeat(13),
    }
}

/// The beginning of a part of the timeline: what happens now, and what a reader should see follow from it.
#[must_use]
pub fn heading(paint: Paint, since: Option<Duration>, words: &str, meaning: &str) -> String {
    let mut text = format!("\n{}{}", paint.dim(&clock(since)), paint.bold(words));
    for line in meaning.lines() {
        text.push('\n');
        text.push_str(&clock(None));
        text.push_str(&paint.dim(line));
    }
    text
}

/// A line of the timeline as it is printed.
#[must_use]
pub fn line(paint: Paint, since: Option<Duration>, entry: &Entry, text: &str) -> String {
    let host = format!("{:<9}", entry.host);
    let host = match &entry.what {
        What::Deed(_) | What::Status(_) => paint.yellow(&host),
        _ => paint.cyan(&host),
    };
    let counts = match &entry.what {
        What::Told { script, .. } => script == "SHUTDOWNCMD",
        What::Deed(deed) => matches!(deed, Deed::LoadOff { .. }),
        _ => false,
    };
    let text = if counts { paint.bold(text) } else { text.to_owned() };
    format!("{}{host} {text}", paint.dim(&clock(since)))
}

/// What had to happen, one line each: whether it did, when, what.
#[must_use]
pub fn summary(paint: Paint, claims: &[Claim], failed: Option<&str>, start: Option<Moment>) -> String {
    let mut text = String::new();
    for claim in claims {
        let since = claim.at.zip(start).map(|(at, start)| at.since(start));
        add(&mut text, format_args!("  {} {}{}\n", paint.green("ok"), paint.dim(&clock(since)), claim.text));
    }
    if let Some(failed) = failed {
        add(&mut text, format_args!("  {} {}{}\n", paint.red("NO"), clock(None), paint.red(failed)));
    }
    text
}

/// The steps of an outage, each with the time since mains failed and since the step before.
#[must_use]
pub fn steps(milestones: &[(String, Moment)], start: Moment) -> String {
    let mut text = String::new();
    let mut before = start;
    for (what, at) in milestones {
        let step = at.since(before).as_secs_f64();
        add(&mut text, format_args!("     {}{what:<44} +{step:.3} s\n", clock(Some(at.since(start)))));
        before = *at;
    }
    text
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a text in memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(program: &str, text: &str) -> Option<String> {
        told(&Entry {
            at: Moment::START,
            host: "central".into(),
            what: What::Line { program: program.into(), text: text.into() },
        })
    }

    #[test]
    fn steps_are_counted_from_the_start_and_from_each_other() {
        let milestones = [
            ("all hosts know".to_owned(), Moment::from_millis(1500)),
            ("down".to_owned(), Moment::from_secs(4)),
        ];
        let text = steps(&milestones, Moment::from_secs(1));
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["0.500", "s", "all", "hosts", "know", "+0.500", "s"]);
        assert_eq!(words[1], ["3.000", "s", "down", "+2.500", "s"]);
    }

    #[test]
    fn lines_of_the_programs_become_lines_for_people() {
        assert_eq!(
            line_of("upsmon", "UPS nicole@127.0.0.1:40001 on battery").unwrap(),
            "ONBATT: nicole runs on battery"
        );
        assert_eq!(
            line_of("upsd", "Client masteruser@127.0.0.1 set FSD on UPS [paris]").unwrap(),
            "upsd tells everybody: forced shutdown of paris"
        );
        assert_eq!(
            line_of("upsd", "Rejecting TCP connection from 127.0.2.66").unwrap(),
            "upsd turns 127.0.2.66 away"
        );
        assert_eq!(line_of("upsd", "UPS nicole on battery"), None);
        assert_eq!(line_of("upsmon", "nothing of that kind"), None);
    }
}
