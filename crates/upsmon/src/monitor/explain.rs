//! `upsmon --explain`: what the monitor knows, what it would decide, and where each value comes from, as a text.
//!
//! It says what the log and the notices say, in their words: [`Verdict`], [`Reason`](crate::verdict::Reason) and
//! [`Cause`](crate::watch::Cause) are shown, not described anew. Asking changes nothing.

use nut_conf::upsmon_conf::Role;
use nut_proto::Moment;
use nut_proto::status::{Feed, Word};
use std::fmt::Display;
use std::time::Duration;

use super::asking::Rhythm;
use super::{Halves, Monitor, Phase, Refused, SECOND_WORD, Watched};
use crate::remarks::Remark;
use crate::timer::lasting;
use crate::verdict::{Verdict, verdict};
use crate::watch::{Contact, Standing};

/// Most UPSes that are described one by one. Those that are lost come before all others.
pub const MAX_DESCRIBED: usize = 1000;

/// Most characters that are shown of a text from the network.
const MAX_QUOTED: usize = 200;

/// Most characters of the reason why a file was refused: it names the place, the line and what to do.
const MAX_REASON: usize = 2000;

/// The waits at whose end a UPS does not count any more, or can be the next to be lost.
const CONDEMN: [&str; 5] = ["DEADTIME", "OVERDURATION", "OBLBDURATION", "HOSTSYNC", "OFFDURATION"];

/// What the machine cannot know of the process it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The number of the process that watches.
    pub pid: u32,
    /// Whom it runs as, as people say it.
    pub user: String,
}

impl Monitor {
    /// Answers: would this host be shut down now, why, why not; what each UPS is worth; which waits run; which values
    /// are in force, and where each comes from.
    #[must_use]
    pub fn explain(&self, real: Moment, instance: &Instance) -> String {
        // A copy: that somebody looks at the clock must not move ours.
        let mut time = self.time.clone();
        let (now, _) = time.take(real);
        let mut text = Text::default();
        let count = self.watched.len();
        let upses = if count == 1 { "UPS" } else { "UPSes" };
        let Instance { pid, user } = instance;
        text.line(0, format_args!("upsmon, process {pid}, {user}, watches {count} {upses}"));
        text.line(0, "");
        self.explain_decision(now, &mut text);
        self.explain_means(&mut text);
        text.line(0, "");
        self.explain_all_upses(now, time.left_out(), &mut text);
        self.explain_values(now, &mut text);
        text.0
    }

    /// Whether this host would be shut down now, and why, or why not.
    fn explain_decision(&self, now: Moment, text: &mut Text) {
        text.line(0, "Would this host be shut down now?");
        match &self.phase {
            Phase::Watching => match verdict(&self.supplies(), self.conf.min_supplies) {
                enough @ Verdict::Enough { have, need } => {
                    text.line(1, format_args!("No: {enough}"));
                    text.line(
                        1,
                        match (need, have - need) {
                            (0, _) => "with MINSUPPLIES 0 no power failure stops it, only upsmon -c fsd does"
                                .to_owned(),
                            (_, 0) => "yes as soon as one of its supplies is lost".to_owned(),
                            (_, spare) => {
                                format!("yes as soon as more than {spare} of its supplies are lost")
                            }
                        },
                    );
                }
                Verdict::ShutDown(reason) => {
                    let within =
                        self.short.map_or(SECOND_WORD, |short| (short.since + SECOND_WORD).since(now));
                    let millis = within.as_millis();
                    text.line(
                        1,
                        format_args!(
                            "Yes, unless a lost UPS answers within {millis} ms that it is well: {reason}"
                        ),
                    );
                }
            },
            Phase::Stopping(stopping) => {
                let ago = lasting(now.since(stopping.begun()));
                text.line(
                    1,
                    format_args!("It is being shut down, and nothing stops that: {}", stopping.reason()),
                );
                text.line(1, format_args!("decided {ago} ago"));
                for line in stopping.progress(now, |ups| self.name_of(ups)) {
                    text.line(1, line);
                }
                for timer in stopping.timers() {
                    text.line(1, timer.text(now));
                }
            }
            Phase::Failed { decided, reason, flag, .. } => {
                let (since, flag) = (now.since(*decided), flag.clone());
                text.line(1, format_args!("No: {}", Remark::NotStopped { since, flag }));
                if let Some(reason) = reason {
                    text.line(1, format_args!("that was decided because: {reason}"));
                }
                text.line(1, Remark::AlreadyTried);
            }
            Phase::Over => text.line(1, "upsmon is about to end, and decides nothing any more"),
        }
    }

    /// Whether it could be.
    fn explain_means(&self, text: &mut Text) {
        if self.parent_gone.is_some() {
            text.line(1, format_args!("But it could not be: {}; restart upsmon", Remark::ParentDied));
        }
        if self.last_orders().shutdown_command.is_empty() {
            text.line(1, "But it could not be: there is no SHUTDOWNCMD to run");
        }
        if self.halves == Halves::One {
            text.line(1, "SHUTDOWNCMD is run by this process itself, with no more rights than it has");
        }
    }

    fn name_of(&self, ups: crate::server::UpsId) -> &str {
        let one = self.watched.iter().find(|one| one.id == ups);
        one.map_or("a UPS that is not watched any more", |one| one.line.system.as_str())
    }

    fn explain_all_upses(&self, now: Moment, left_out: Duration, text: &mut Text) {
        let is_asking = matches!(self.phase, Phase::Watching | Phase::Failed { .. });
        let rhythm = self.rhythm_and_why();
        if !is_asking {
            text.line(0, "How the UPSes were when that was decided:");
        } else if !self.watched.is_empty() {
            let Rhythm { every, says } = rhythm;
            text.line(0, format_args!("Each UPS is asked every {} ({says}).", lasting(every)));
        }
        if left_out >= Duration::from_secs(1) {
            let left_out = lasting(left_out);
            text.line(
                0,
                format_args!(
                    "Not counted in any time here: {left_out} in which upsmon did not run (the host was suspended, \
                     or the process was stopped)."
                ),
            );
        }
        text.line(0, "");
        let spare = match verdict(&self.supplies(), self.conf.min_supplies) {
            Verdict::Enough { have, need } if matches!(self.phase, Phase::Watching) => Some(have - need),
            Verdict::Enough { .. } | Verdict::ShutDown(_) => None,
        };
        let is_lost = |one: &&Watched| one.watch.standing() == Standing::Critical;
        let lost = self.watched.iter().filter(is_lost);
        let others = self.watched.iter().filter(|one| !is_lost(one));
        for one in lost.chain(others).take(MAX_DESCRIBED) {
            self.explain_ups(now, one, spare, text);
            if is_asking {
                self.explain_waits(now, one, rhythm, text);
            }
            text.line(0, "");
        }
        if let Some(rest @ 1..) = self.watched.len().checked_sub(MAX_DESCRIBED) {
            text.line(0, format_args!("{rest} more UPSes are not shown"));
            text.line(0, "");
        }
    }

    /// What one UPS is worth, and what is known of it. `spare` is what this host could do without, if it goes on.
    fn explain_ups(&self, now: Moment, one: &Watched, spare: Option<u64>, text: &mut Text) {
        let role = match one.watch.role() {
            Role::Primary => "primary",
            Role::Secondary => "secondary",
        };
        let value = one.line.power_value.0;
        let only = if value == 0 { ", watched only" } else { "" };
        let place = self.conf.places.line(one.line.at);
        let name = quoted(&one.line.system);
        text.line(0, format_args!("UPS {name}: power value {value}{only}, {role} ({place})"));
        text.line(1, self.standing(now, one));
        if one.watch.cause().is_none() && spare.is_some_and(|spare| spare < u64::from(value)) {
            text.line(1, "without it this host would be shut down");
        }
        text.line(1, news(now, one));
        if let Some(login) = login(one) {
            text.line(1, login);
        }
    }

    /// When it is asked next, and which of its waits run.
    fn explain_waits(&self, now: Moment, one: &Watched, rhythm: Rhythm, text: &mut Text) {
        match (one.out, one.due(rhythm.every)) {
            (Some(out), _) => {
                text.line(1, format_args!("asked {} ago, no answer yet", lasting(now.since(out.since))));
            }
            (None, due) => {
                let wait = due.map(|due| due.since(now)).unwrap_or_default();
                text.line(1, format_args!("asked again in {} ms", wait.as_millis()));
            }
        }
        for timer in one.watch.timers(now, &self.rules) {
            text.line(1, timer.text(now));
        }
    }

    /// How it stands, since when, and what that is worth.
    fn standing(&self, now: Moment, one: &Watched) -> String {
        let since = one.watch.standing_since().unwrap_or(one.added);
        let time = lasting(now.since(since));
        let is_supply = one.line.power_value.0 > 0;
        let counts = if is_supply { "counts as a supply" } else { "watched only" };
        let timers = one.watch.timers(now, &self.rules);
        let is_waited_with = timers.iter().any(|timer| CONDEMN.contains(&timer.directive));
        match (one.watch.standing(), one.watch.cause(), one.watch.contact()) {
            (Standing::Good, _, Contact::Fresh { status, .. }) => {
                let is_on_battery = status.feed == Feed::Battery;
                if status.says(Word::Cal) && (is_on_battery || status.low_battery()) {
                    format!("calibrating, so that on battery or low is no reason to stop: {counts}")
                } else if is_waited_with {
                    format!("not lost yet: {counts} while the waits below run")
                } else if is_on_battery {
                    format!("on battery, which alone is no reason to stop: {counts}")
                } else {
                    format!("known good for {time}: {counts}")
                }
            }
            (Standing::Critical, Some(cause), _) if is_supply => {
                format!("critical for {time}: does not count as a supply: {cause}")
            }
            (Standing::Critical, Some(cause), _) => format!("critical for {time}: {counts}: {cause}"),
            (_, _, Contact::Never) => {
                format!("unknown for {time}, not heard yet: {counts}; what is not known is no reason to stop")
            }
            _ if is_waited_with => format!("unknown for {time}: {counts} while the waits below run"),
            _ => format!("unknown for {time}: {counts}; silence alone is no reason to stop"),
        }
    }

    fn explain_values(&self, now: Moment, text: &mut Text) {
        if let Some(Refused { at, why }) = &self.refused {
            let ago = lasting(now.since(*at));
            text.line(0, format_args!("The file is not what is in force, since it was refused {ago} ago."));
            text.line(1, quoted_whole(&why.to_string()));
            text.line(1, "mend it, and then: upsmon -c reload");
            text.line(0, "");
        }
        text.line(0, "The values in force, and where each comes from:");
        for setting in self.conf.settings() {
            let value = match setting.words.is_empty() {
                true => format!("{} (not set)", setting.name),
                false => format!("{} {}", setting.name, quoted(&setting.words)),
            };
            text.line(1, format_args!("{value:<32} {}", setting.origin));
        }
        let started = self.last_orders();
        let differs = [
            ("SHUTDOWNCMD", started.shutdown_command != self.conf.shutdown_command),
            ("POWERDOWNFLAG", started.power_down_flag != self.conf.power_down_flag),
        ];
        for (directive, _) in differs.into_iter().filter(|(_, differs)| *differs) {
            let of_the_start = started.settings().into_iter().find(|one| one.name == directive);
            let words = of_the_start.map(|one| one.words).filter(|words| !words.is_empty());
            let words = words.map_or_else(|| "none".to_owned(), |words| quoted(&words));
            let needs = Remark::NeedsRestart { directive };
            text.line(1, format_args!("{needs}; until then it is what it was at the start: {words}"));
        }
    }
}

/// What was heard last, and when; what became of the last question.
fn news(now: Moment, one: &Watched) -> String {
    let trouble = one.trouble.last.as_ref();
    let trouble = trouble.map(|failure| format!("; no answer: {}", quoted(&failure.text(&one.line))));
    let trouble = trouble.unwrap_or_default();
    let ago = |heard: Moment| lasting(now.since(heard));
    match one.watch.contact() {
        Contact::Never => format!("nothing heard of it{trouble}"),
        Contact::Fresh { heard, status } => {
            format!("{}, heard {} ago{}{trouble}", quoted(&status.to_string()), ago(*heard), feed(now, one))
        }
        Contact::Lost { heard, last } => {
            let last = quoted(&last.to_string());
            format!("last heard {} ago: {last}{}{trouble}", ago(*heard), feed(now, one))
        }
    }
}

fn feed(now: Moment, one: &Watched) -> String {
    let (feed, since) = one.watch.feed();
    if matches!(one.watch.contact(), Contact::Fresh { status, .. } if status.feed == Feed::Unsaid) {
        return "; it does not say where its power comes from".to_owned();
    }
    let what = match feed {
        Feed::Mains => "on mains",
        Feed::Battery => "on battery",
        Feed::Unsaid => return String::new(),
    };
    since.map(|since| format!("; {what} for {}", lasting(now.since(since)))).unwrap_or_default()
}

/// What is wrong with our login there.
fn login(one: &Watched) -> Option<String> {
    let said = one.refusal.as_ref().map(|refusal| quoted(&refusal.line));
    let what = match (one.logged_in, one.watch.role()) {
        (true, _) if said.is_none() => return None,
        (true, _) => "logged in without a primary's rights, so that it cannot set FSD",
        (false, Role::Primary) => "not logged in, so that this host can tell no secondary to stop (FSD)",
        (false, Role::Secondary) => "not logged in, so that no primary waits for this host",
    };
    Some(said.map_or_else(|| what.to_owned(), |said| format!("{what}: got [{said}]")))
}

/// Text of others in one line, without what moves a terminal, cut to [`MAX_QUOTED`] characters.
fn quoted(text: &str) -> String {
    cut(text, MAX_QUOTED)
}

/// The same, for what must be read to its end.
fn quoted_whole(text: &str) -> String {
    cut(text, MAX_REASON)
}

fn cut(text: &str, most: usize) -> String {
    let mut chars = text.chars();
    let harmless = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = chars.by_ref().take(most).map(harmless).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The answer as it grows.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn line(&mut self, depth: usize, line: impl Display) {
        self.0.push_str(&"  ".repeat(depth));
        self.0.push_str(line.to_string().trim_end());
        self.0.push('\n');
    }
}
