//! Which `AT` lines match a notice, and what they order.
//!
//! Pure: [`crate::shell`] carries the orders out, one after the other.

use nut_conf::upssched_conf::{At, Missing, Order, UpsschedConf};

use crate::pipe::{Origin, ToTimers};

/// What one notice leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders<'a> {
    /// The matching lines, in the file's order: all of them act.
    pub lines: Vec<Line<'a>>,
    /// What the first `AT` line that could not be used lacks. The file ends there: what stands below was not looked at
    /// (upssched §2), and after the lines above have acted this is a failure, also if that line would not have matched.
    pub lacks: Option<Missing>,
}

/// One matching `AT` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line, with CMDSCRIPT, PIPEFN and LOCKFN as they stood above it.
    pub at: &'a At,
    /// What is to be done.
    pub deed: Deed<'a>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed<'a> {
    /// The client runs CMDSCRIPT with this argument, now.
    Execute(&'a str),
    /// The timer process is told.
    Tell(ToTimers),
}

/// What the file says to this event: its notice type is compared without case, its UPS byte for byte.
///
/// There is no pattern but the single word `*`, which stands for every UPS and also for none (`SHUTDOWN` has none).
#[must_use]
pub fn orders<'a>(conf: &'a UpsschedConf, event: &Origin) -> Orders<'a> {
    let matches =
        |at: &&At| at.notice.eq_ignore_ascii_case(&event.notice) && (at.ups == "*" || at.ups == event.ups);
    let lines = conf.rules.iter().filter(matches).map(|at| Line { at, deed: deed(&at.order, event) });
    Orders { lines: lines.collect(), lacks: conf.missing }
}

fn deed<'a>(order: &'a Order, event: &Origin) -> Deed<'a> {
    let origin = event.clone();
    match order {
        Order::Execute { command } => Deed::Execute(command),
        Order::Start { name, after } => {
            Deed::Tell(ToTimers::Start { name: name.clone(), after: *after, origin })
        }
        Order::StartShared { name, after } => {
            Deed::Tell(ToTimers::StartShared { name: name.clone(), after: *after, origin })
        }
        Order::Cancel { name, otherwise } => {
            Deed::Tell(ToTimers::Cancel { name: name.clone(), otherwise: otherwise.clone(), origin })
        }
        Order::CancelMatched { name, otherwise } => {
            Deed::Tell(ToTimers::CancelMatched { name: name.clone(), otherwise: otherwise.clone(), origin })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(notice: &str, ups: &str, order: Order) -> At {
        At {
            notice: notice.into(),
            ups: ups.into(),
            order,
            script: vec!["/bin/dispatch".into()],
            pipe: "/run/nut/upssched.pipe".into(),
            lock: "/run/nut/upssched.lock".into(),
            at: nut_conf::Span::default(),
        }
    }

    fn execute(command: &str) -> Order {
        Order::Execute { command: command.into() }
    }

    /// The school's file (upssched §9) with lines that nearly match.
    fn school() -> UpsschedConf {
        let after = Duration::from_secs(30);
        UpsschedConf {
            rules: vec![
                at("ONBATT", "nicole@localhost", Order::Start { name: "onbatt-nicole".into(), after }),
                at(
                    "ONLINE",
                    "nicole@localhost",
                    Order::Cancel { name: "onbatt-nicole".into(), otherwise: None },
                ),
                at("onbatt", "*", execute("any")),
                at("*", "*", execute("never: * is no notice type")),
                at("ONBATT", "nicole@*", execute("never: there are no patterns")),
                at("ONBATT", "NICOLE@localhost", execute("never: a UPS has its case")),
                at("ONBATT", "nicole", execute("never: the host is part of the name")),
                at("SHUTDOWN", "*", execute("powerdown")),
            ],
            ..UpsschedConf::default()
        }
    }

    fn event(notice: &str, ups: &str) -> Origin {
        Origin { notice: notice.into(), ups: ups.into(), message: format!("UPS {ups}: {notice}") }
    }

    #[test]
    fn every_matching_line_acts_in_the_files_order() {
        let (conf, event) = (school(), event("ONBATT", "nicole@localhost"));
        let found = orders(&conf, &event);
        let after = Duration::from_secs(30);
        let start = ToTimers::Start { name: "onbatt-nicole".into(), after, origin: event.clone() };
        let deeds: Vec<&Deed<'_>> = found.lines.iter().map(|line| &line.deed).collect();
        assert_eq!(deeds, [&Deed::Tell(start), &Deed::Execute("any")]);
        assert_eq!(found.lacks, None);
    }

    #[test]
    fn the_notice_has_no_case_and_the_ups_has_one() {
        let conf = school();
        for (notice, ups, expected) in [
            ("OnBatt", "nicole@localhost", 2),
            ("ONBATT", "Nicole@localhost", 1),
            ("ONBATT", "paris@localhost", 1),
            ("ONLINE", "nicole@localhost", 1),
            ("ONLINE", "nicole@localhos", 0),
            ("", "", 0),
        ] {
            assert_eq!(orders(&conf, &event(notice, ups)).lines.len(), expected, "{notice} {ups}");
        }
    }

    #[test]
    fn a_star_stands_for_no_ups_too() {
        let conf = school();
        let found = orders(&conf, &event("SHUTDOWN", "")).lines;
        assert_eq!(found.iter().map(|line| &line.deed).collect::<Vec<_>>(), [&Deed::Execute("powerdown")]);
    }

    #[test]
    fn cancels_carry_the_event_and_what_to_run_instead() {
        let name = "onbatt".to_owned();
        let otherwise = Some("back".to_owned());
        let origin = event("ONLINE", "u@h");
        let matched = Order::CancelMatched { name: name.clone(), otherwise: otherwise.clone() };
        let shared = Order::StartShared { name: name.clone(), after: Duration::from_secs(5) };
        let conf = UpsschedConf {
            rules: vec![at("ONLINE", "*", matched), at("ONLINE", "*", shared)],
            ..UpsschedConf::default()
        };
        let after = Duration::from_secs(5);
        let expected = [
            Deed::Tell(ToTimers::CancelMatched { name: name.clone(), otherwise, origin: origin.clone() }),
            Deed::Tell(ToTimers::StartShared { name, after, origin: origin.clone() }),
        ];
        let found: Vec<_> = orders(&conf, &origin).lines.into_iter().map(|line| line.deed).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn e9_a_line_without_its_settings_is_told_also_if_nothing_matches() {
        for (lacks, name) in
            [(Missing::Script, "CMDSCRIPT"), (Missing::Pipe, "PIPEFN"), (Missing::Lock, "LOCKFN")]
        {
            let conf = UpsschedConf { missing: Some(lacks), ..school() };
            assert_eq!(orders(&conf, &event("ONBATT", "nicole@localhost")).lines.len(), 2);
            assert_eq!(orders(&conf, &event("REPLBATT", "x@y")).lacks, Some(lacks));
            assert_eq!(lacks.to_string(), format!("{name} must be set before any ATs in the config file!"));
        }
    }
}
