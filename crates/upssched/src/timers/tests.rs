//! The scenarios E1 to E11 of the specification in simulated time, and properties over random requests.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Time as the tests write it: milliseconds since the timer process began.
type Millis = u64;

/// A request of a client that does not say when it was called.
fn asked(what: ToTimers) -> Event {
    Event::Request(Request { what, called: None })
}

/// A timer process without a process: the clock is a number, scripts take as long as the test says.
struct Scenario {
    timers: Timers,
    now: Millis,
    wake: Option<Moment>,
    /// When which running script ends.
    ends: Vec<Millis>,
    /// How long a script with this argument takes; at once if it is not named.
    takes: BTreeMap<&'static str, Millis>,
    /// When which script ran, with the environment it had.
    ran: Vec<(Millis, Run)>,
    told: Vec<String>,
    replies: Vec<Reply>,
    exited: Option<Millis>,
}

impl Scenario {
    fn new() -> Self {
        Self {
            timers: Timers::new(Moment::START, IDLE),
            now: 0,
            wake: None,
            ends: Vec::new(),
            takes: BTreeMap::new(),
            ran: Vec::new(),
            told: Vec::new(),
            replies: Vec::new(),
            exited: None,
        }
    }

    fn with_slow(argument: &'static str, takes: Millis) -> Self {
        let mut new = Self::new();
        new.takes.insert(argument, takes);
        new
    }

    /// The request comes at this time; all that is due before happens first.
    fn at(&mut self, when: Millis, request: ToTimers) -> &mut Self {
        self.until(when);
        self.exited = None;
        self.step(asked(request));
        self
    }

    /// Lets time pass; once the process wants to end, only a request goes on with it.
    fn until(&mut self, when: Millis) -> &mut Self {
        while self.exited.is_none() {
            let end = self.ends.iter().copied().min();
            let wake =
                self.wake.map(|moment| u64::try_from(moment.since_start().as_millis()).unwrap_or(u64::MAX));
            let Some(next) = end.into_iter().chain(wake).min().filter(|next| *next <= when) else { break };
            self.now = self.now.max(next);
            if end == Some(next) {
                let nth = self.ends.iter().position(|one| *one == next).unwrap();
                self.ends.remove(nth);
                self.step(Event::ScriptEnded);
            } else {
                self.wake = None;
                self.step(Event::Tick);
            }
        }
        self.now = when;
        self
    }

    fn step(&mut self, event: Event) {
        for action in self.timers.step(Moment::from_millis(self.now), event) {
            match action {
                Action::Reply(reply) => self.replies.push(reply),
                Action::Tell(tell) => self.told.push(tell.to_string()),
                Action::Run(run) => {
                    let takes = self.takes.get(run.argument.as_str()).copied().unwrap_or(0);
                    self.ends.push(self.now + takes);
                    self.ran.push((self.now, run));
                }
                Action::WakeAt(moment) => self.wake = Some(moment),
                Action::Exit => self.exited = Some(self.now),
            }
        }
    }

    /// What ran when, with the UPS and the notice of its environment.
    fn dispatched(&self) -> Vec<(Millis, &str, &str, &str)> {
        self.ran
            .iter()
            .map(|(at, run)| (*at, &*run.argument, &*run.origin.ups, &*run.origin.notice))
            .collect()
    }
}

fn origin(notice: &str, ups: &str) -> Origin {
    Origin { notice: notice.into(), ups: ups.into(), message: format!("{ups} {notice}") }
}

fn start(name: &str, secs: u64, ups: &str) -> ToTimers {
    ToTimers::Start { name: name.into(), after: Duration::from_secs(secs), origin: origin("ONBATT", ups) }
}

fn share(name: &str, secs: u64, ups: &str) -> ToTimers {
    ToTimers::StartShared {
        name: name.into(),
        after: Duration::from_secs(secs),
        origin: origin("ONBATT", ups),
    }
}

fn cancel(name: &str, ups: &str) -> ToTimers {
    ToTimers::Cancel { name: name.into(), otherwise: None, origin: origin("ONLINE", ups) }
}

fn cancel_or(name: &str, command: &str, ups: &str) -> ToTimers {
    ToTimers::Cancel { name: name.into(), otherwise: Some(command.into()), origin: origin("ONLINE", ups) }
}

fn cancel_of(name: &str, ups: &str) -> ToTimers {
    ToTimers::CancelMatched { name: name.into(), otherwise: None, origin: origin("ONLINE", ups) }
}

const NICOLE: &str = "nicole@localhost";
const PARIS: &str = "paris@localhost";

#[test]
fn e1_a_blip_runs_nothing_and_an_outage_runs_the_script_once() {
    let mut school = Scenario::new();
    school.at(10_000, start("onbatt-nicole", 30, NICOLE)).at(20_000, cancel("onbatt-nicole", NICOLE));
    school.at(55_000, start("onbatt-nicole", 30, NICOLE)).at(105_000, cancel("onbatt-nicole", NICOLE));
    school.at(115_000, start("commbad-paris", 30, PARIS)).at(130_000, cancel("commbad-paris", PARIS));
    school.until(300_000);
    assert_eq!(school.dispatched(), [(85_000, "onbatt-nicole", NICOLE, "ONBATT")]);
}

#[test]
fn a_blip_is_logged_in_nuts_words() {
    let mut blip = Scenario::new();
    blip.at(0, start("x", 30, NICOLE)).at(5_000, cancel("x", NICOLE)).until(60_000);
    assert_eq!(blip.told, ["New timer: x (30 seconds)", "Cancelling timer: x", "Timer queue empty, exiting"]);
    let mut outage = Scenario::new();
    outage.at(0, start("x", 1, NICOLE)).at(5_000, cancel_or("x", "back", NICOLE));
    assert_eq!(outage.told, ["New timer: x (1 seconds)", "Event: x ", "Cancel x, event: back"]);
}

#[test]
fn e2_one_timer_per_ups_keeps_outages_apart() {
    let mut both = Scenario::new();
    both.at(4_000, start("onbatt-nicole", 8, NICOLE));
    both.at(7_000, cancel_or("onbatt-nicole", "online-nicole", NICOLE));
    both.at(17_000, start("onbatt-nicole", 8, NICOLE));
    both.at(20_000, start("onbatt-paris", 8, PARIS));
    both.at(23_000, cancel_or("onbatt-paris", "online-paris", PARIS));
    both.at(31_100, cancel_or("onbatt-nicole", "online-nicole", NICOLE));
    both.until(100_000);
    assert_eq!(
        both.dispatched(),
        [(25_000, "onbatt-nicole", NICOLE, "ONBATT"), (31_100, "online-nicole", NICOLE, "ONLINE")]
    );
}

#[test]
fn e3_a_wildcard_cancel_removes_the_timers_of_every_ups() {
    let mut masked = Scenario::new();
    masked.at(3_000, start("onbatt", 8, NICOLE)).at(6_000, start("onbatt", 8, PARIS));
    masked.at(9_000, cancel("onbatt", PARIS)).until(100_000);
    assert_eq!(masked.dispatched(), []);
    assert_eq!(masked.told.iter().filter(|text| *text == "Cancelling timer: onbatt").count(), 2);
}

#[test]
fn e3_a_matched_cancel_leaves_the_other_ups_its_timer() {
    let mut kept = Scenario::new();
    kept.at(3_000, start("onbatt", 8, NICOLE)).at(6_000, start("onbatt", 8, PARIS));
    kept.at(9_000, cancel_of("onbatt", PARIS)).until(100_000);
    assert_eq!(kept.dispatched(), [(11_000, "onbatt", NICOLE, "ONBATT")]);
}

#[test]
fn e4_an_early_shutdown_fires_only_in_the_long_outage() {
    let mut early = Scenario::new();
    early.at(4_000, start("early", 6, "u1@h")).at(7_000, cancel("early", "u1@h"));
    early.at(14_000, start("early", 6, "u1@h")).until(60_000);
    assert_eq!(early.dispatched(), [(20_000, "early", "u1@h", "ONBATT")]);
}

#[test]
fn e5_the_process_ends_fifteen_seconds_after_the_last_work() {
    let mut life = Scenario::new();
    life.at(0, start("t1", 2, NICOLE)).until(16_999);
    assert_eq!((life.dispatched().len(), life.exited), (1, None));
    life.until(100_000);
    assert_eq!(life.exited, Some(17_000));
}

#[test]
fn e5_a_process_that_is_never_asked_ends_too() {
    let mut life = Scenario::new();
    // The shell begins with a tick, to learn when to wake.
    life.step(Event::Tick);
    life.until(15_000);
    assert_eq!(life.exited, Some(15_000));
    assert!(life.timers.is_idle());
}

#[test]
fn e5_it_stays_while_a_script_runs_and_lives_on_if_somebody_comes_at_the_last_moment() {
    let mut life = Scenario::with_slow("t1", 60_000);
    life.at(0, start("t1", 2, NICOLE)).until(76_999);
    assert_eq!(life.exited, None);
    life.until(77_000);
    assert_eq!(life.exited, Some(77_000));
    // Exit was asked for, but a client was in the queue.
    life.at(77_010, start("t2", 1, NICOLE)).until(80_000);
    assert!(life.dispatched().contains(&(78_010, "t2", NICOLE, "ONBATT")));
    life.until(93_009);
    assert_eq!(life.exited, None);
    life.until(93_010);
    assert_eq!(life.exited, Some(93_010));
}

#[test]
fn e6_timers_of_one_name_are_independent_but_cancelled_together() {
    let mut both = Scenario::new();
    both.at(0, start("t1", 4, "a@h")).at(1_000, start("t1", 4, "b@h")).until(60_000);
    assert_eq!(both.dispatched(), [(4_000, "t1", "a@h", "ONBATT"), (5_000, "t1", "b@h", "ONBATT")]);
    let mut none = Scenario::new();
    none.at(0, start("t1", 4, "a@h")).at(0, start("t1", 4, "b@h")).at(1_000, cancel("t1", "a@h"));
    assert_eq!(none.until(60_000).dispatched(), []);
}

#[test]
fn e7_the_command_of_a_cancel_runs_only_if_nothing_was_pending() {
    let mut back = Scenario::new();
    back.at(0, cancel_or("t1", "back", "a@h"));
    assert_eq!(back.dispatched(), [(0, "back", "a@h", "ONLINE")]);
    back.at(1_000, start("t1", 4, "a@h")).at(2_000, cancel_or("t1", "back", "a@h")).until(60_000);
    assert_eq!(back.dispatched().len(), 1);
    let mut quiet = Scenario::new();
    quiet.at(0, cancel("t1", "a@h")).until(60_000);
    assert_eq!((quiet.dispatched().len(), quiet.replies.as_slice()), (0, &[Reply::Ok][..]));
}

#[test]
fn e7_a_matched_cancel_runs_its_command_if_only_another_ups_has_such_a_timer() {
    let mut back = Scenario::new();
    back.at(0, start("t1", 4, "a@h"));
    let otherwise = Some("back".to_owned());
    let origin = origin("ONLINE", "b@h");
    back.at(1_000, ToTimers::CancelMatched { name: "t1".into(), otherwise, origin }).until(60_000);
    assert_eq!(back.dispatched(), [(1_000, "back", "b@h", "ONLINE"), (4_000, "t1", "a@h", "ONBATT")]);
}

#[test]
fn e8_a_slow_script_delays_no_other_timer_and_no_client() {
    let mut slow = Scenario::with_slow("slow", 6_000);
    slow.at(0, start("slow", 1, "a@h")).at(0, start("fast", 2, "a@h"));
    slow.at(3_000, cancel_or("x", "asked", "a@h")).until(60_000);
    assert_eq!(
        slow.dispatched(),
        [
            (1_000, "slow", "a@h", "ONBATT"),
            (2_000, "fast", "a@h", "ONBATT"),
            (3_000, "asked", "a@h", "ONLINE")
        ]
    );
}

#[test]
fn e9_nothing_reaches_the_timers_that_is_no_request() {
    let mut timers = Timers::new(Moment::START, IDLE);
    for event in [Event::Tick, Event::ScriptEnded, Event::Tick] {
        let actions = timers.step(Moment::from_secs(1), event);
        assert!(actions.iter().all(|action| matches!(action, Action::WakeAt(_))), "{actions:?}");
    }
}

#[test]
fn e10_twelve_events_at_once_are_twelve_timers() {
    let mut burst = Scenario::new();
    for nth in 0..12 {
        burst.at(0, start(&format!("t{nth}"), 2, "a@h"));
    }
    burst.until(2_000);
    let names: Vec<String> = burst.ran.iter().map(|(_, run)| run.argument.clone()).collect();
    assert_eq!(names, (0..12).map(|nth| format!("t{nth}")).collect::<Vec<_>>());
}

#[test]
fn e11_the_process_that_ends_early_can_say_what_is_lost() {
    let mut killed = Scenario::new();
    killed.at(0, start("late", 60, "a@h")).at(0, start("soon", 5, "a@h")).at(0, start("gone", 1, "a@h"));
    assert_eq!(killed.until(2_000).timers.names(), ["soon", "late"]);
    // The one that is started next knows nothing of it: the command runs.
    let mut next = Scenario::new();
    next.at(0, cancel_or("late", "cc", "a@h"));
    assert_eq!(next.dispatched(), [(0, "cc", "a@h", "ONLINE")]);
}

#[test]
fn zero_seconds_are_over_at_once() {
    let mut now = Scenario::new();
    now.at(5_000, start("t", 0, "a@h"));
    assert_eq!(now.dispatched(), [(5_000, "t", "a@h", "ONBATT")]);
}

#[test]
fn a_wait_beyond_the_end_of_time_never_ends() {
    let mut never = Scenario::new();
    never.at(0, start("t", u64::MAX, "a@h")).until(1_000_000);
    assert_eq!(never.dispatched(), []);
    never.at(1_000_000, ToTimers::List);
    assert_eq!(never.timers.names(), ["t"]);
}

#[test]
fn a_cancel_that_comes_together_with_the_end_is_in_time() {
    let mut timers = Timers::new(Moment::START, IDLE);
    timers.step(Moment::START, asked(start("t", 2, "a@h")));
    // Nobody ticked, and the cancel is the first that is heard.
    let actions = timers.step(Moment::from_secs(3), asked(cancel("t", "a@h")));
    assert!(!actions.iter().any(|action| matches!(action, Action::Run(_))), "{actions:?}");
    // Without it the timer would have fired with whatever came first.
    timers.step(Moment::from_secs(4), asked(start("t", 2, "a@h")));
    let actions = timers.step(Moment::from_secs(7), asked(ToTimers::List));
    assert!(actions.iter().any(|action| matches!(action, Action::Run(_))), "{actions:?}");
}

/// What ran in this step, and the moment asked for.
fn ran_and_wake(actions: &[Action]) -> (Vec<&str>, Option<Moment>) {
    let mut ran = Vec::new();
    let mut wake = None;
    for action in actions {
        match action {
            Action::Run(run) => ran.push(run.argument.as_str()),
            Action::WakeAt(moment) => wake = Some(*moment),
            Action::Reply(_) | Action::Tell(_) | Action::Exit => {}
        }
    }
    (ran, wake)
}

#[test]
fn what_comes_due_in_a_standstill_can_still_be_cancelled() {
    let secs = Moment::from_secs;
    let mut timers = Timers::new(Moment::START, IDLE);
    for (name, after) in [("early", 30), ("soon", 610), ("later", 700)] {
        timers.step(Moment::START, asked(start(name, after, "a@h")));
    }
    // Stopped for ten minutes.
    let actions = timers.step(secs(600), Event::Tick);
    assert_eq!(ran_and_wake(&actions), (vec![], Some(secs(615))));
    let told: Vec<String> = actions
        .iter()
        .filter_map(|action| if let Action::Tell(tell) = action { Some(tell.to_string()) } else { None })
        .collect();
    let expected = "nothing ran here for at least 570 s; so that they can still be cancelled, these timers wait 15 s more: early, soon";
    assert_eq!(told, [expected]);
    // Power has come back meanwhile, says upsmon for the one.
    let actions = timers.step(secs(606), asked(cancel("early", "a@h")));
    assert_eq!(ran_and_wake(&actions).0, Vec::<&str>::new());
    // For the other it is as before.
    assert_eq!(ran_and_wake(&timers.step(secs(615), Event::Tick)), (vec!["soon"], Some(secs(700))));
    assert_eq!(ran_and_wake(&timers.step(secs(700), Event::Tick)).0, ["later"]);
}

#[test]
fn a_standstill_that_a_request_ends_is_one_too() {
    let mut timers = Timers::new(Moment::START, IDLE);
    timers.step(Moment::START, asked(start("t", 30, "a@h")));
    let actions = timers.step(Moment::from_secs(600), asked(ToTimers::List));
    assert_eq!(ran_and_wake(&actions), (vec![], Some(Moment::from_secs(615))));
}

#[test]
fn who_always_comes_late_fires_all_the_same() {
    let mut timers = Timers::new(Moment::START, IDLE);
    timers.step(Moment::START, asked(start("t", 30, "a@h")));
    assert_eq!(
        ran_and_wake(&timers.step(Moment::from_secs(90), Event::Tick)),
        (vec![], Some(Moment::from_secs(105)))
    );
    assert_eq!(ran_and_wake(&timers.step(Moment::from_secs(165), Event::Tick)).0, ["t"]);
}

#[test]
fn being_a_little_late_is_no_standstill() {
    let mut timers = Timers::new(Moment::START, IDLE);
    timers.step(Moment::START, asked(start("t", 30, "a@h")));
    assert_eq!(ran_and_wake(&timers.step(Moment::from_secs(35), Event::Tick)).0, ["t"]);
}

#[test]
fn time_in_which_the_machine_was_suspended_does_not_count() {
    let secs = Moment::from_secs;
    let hour = Duration::from_secs(3600);
    let mut timers = Timers::new(Moment::START, IDLE);
    timers.step(Moment::START, asked(start("early", 600, "a@h")));
    timers.step(secs(1), asked(start("soon", 11, "a@h")));
    // Ten seconds after the start it sleeps for an hour; two seconds were left for the other.
    let actions = timers.step(secs(3610), Event::Slept(hour));
    assert_eq!(ran_and_wake(&actions), (vec![], Some(secs(3625))));
    let told = "the machine was suspended for 3600 s, which do not count for 2 pending timers; none fires within 15 s";
    assert!(
        actions.iter().any(|action| matches!(action, Action::Tell(tell) if tell.to_string() == told)),
        "{actions:?}"
    );
    // The alarm that rang at once is nothing to hear out.
    assert_eq!(ran_and_wake(&timers.step(secs(3610), Event::Tick)).0, Vec::<&str>::new());
    assert_eq!(ran_and_wake(&timers.step(secs(3625), Event::Tick)), (vec!["soon"], Some(secs(4200))));
    // However often.
    timers.step(secs(7300), Event::Slept(hour));
    assert_eq!(timers.names(), ["early"]);
    assert_eq!(ran_and_wake(&timers.step(secs(7799), Event::Tick)).0, Vec::<&str>::new());
    assert_eq!(ran_and_wake(&timers.step(secs(7800), Event::Tick)).0, ["early"]);
    // With nothing pending there is nothing to say.
    let mut idle = Timers::new(Moment::START, IDLE);
    assert!(!idle.step(secs(3600), Event::Slept(hour)).iter().any(|action| matches!(action, Action::Run(_))));
}

#[test]
fn a_shared_timer_keeps_its_deadline_and_tells_of_all_its_events() {
    let mut shared = Scenario::new();
    shared.at(0, share("t", 10, "a@h")).at(4_000, share("t", 10, "b@h")).at(5_000, share("t", 99, "a@h"));
    shared.until(60_000);
    let run = Run {
        argument: "t".into(),
        origin: Origin {
            notice: "ONBATT".into(),
            ups: "a@h,b@h".into(),
            message: "a@h ONBATT.\tb@h ONBATT".into(),
        },
    };
    assert_eq!(shared.ran, [(10_000, run)]);
    assert_eq!(shared.told.get(1).unwrap(), "Append data to shared timer: t");
}

#[test]
fn a_shared_timer_goes_with_the_last_ups_that_held_it() {
    let mut shared = Scenario::new();
    shared.at(0, share("t", 10, "a@h")).at(1_000, share("t", 10, "b@h"));
    shared.at(2_000, cancel_of("t", "a@h")).at(3_000, cancel_of("t", "c@h")).until(11_000);
    assert_eq!(shared.dispatched(), [(10_000, "t", "b@h", "ONBATT")]);
    let mut gone = Scenario::new();
    gone.at(0, share("t", 10, "a@h")).at(1_000, share("t", 10, "b@h"));
    gone.at(2_000, cancel_of("t", "a@h")).at(3_000, cancel_of("t", "b@h")).until(11_000);
    assert_eq!(gone.dispatched(), []);
    assert!(gone.told.contains(&"Timer t goes on without a@h".to_owned()), "{:?}", gone.told);
}

#[test]
fn a_shared_timer_remembers_only_so_many_events() {
    let mut shared = Scenario::new();
    for nth in 0..MAX_ORIGINS + 10 {
        shared.at(0, share("t", 1, &format!("u{nth}@h")));
    }
    shared.until(1_000);
    assert_eq!(shared.ran[0].1.origin.ups.split(',').count(), MAX_ORIGINS);
}

#[test]
fn the_list_shows_the_next_one_first() {
    let mut listed = Scenario::new();
    listed.at(0, start("late", 60, "a@h")).at(0, start("soon", 5, "b@h")).at(1_500, ToTimers::List);
    let timer = |name: &str, left, ups: &str| Listed {
        name: name.into(),
        left: Duration::from_millis(left),
        notices: vec!["ONBATT".into()],
        upses: vec![ups.into()],
        messages: vec![format!("{ups} ONBATT")],
    };
    let expected = Reply::Timers(vec![timer("soon", 3_500, "b@h"), timer("late", 58_500, "a@h")]);
    assert_eq!(listed.replies.last(), Some(&expected));
}

#[test]
fn more_timers_than_there_may_be_are_refused_and_told() {
    let mut many = Scenario::new();
    for nth in 0..MAX_TIMERS {
        many.at(0, start(&format!("t{nth}"), 60, "a@h"));
    }
    assert!(many.replies.iter().all(|reply| *reply == Reply::Ok));
    many.at(0, start("more", 60, "a@h")).at(0, share("more", 60, "a@h"));
    assert_eq!(many.replies[MAX_TIMERS..], [Reply::TooMany, Reply::TooMany]);
    assert!(many.told.last().unwrap().starts_with("cannot start timer more: 1000 are pending already"));
    // Joining one that is there needs no room, and a cancel makes some.
    many.at(0, share("t7", 60, "b@h")).at(0, cancel("t1", "a@h")).at(0, start("more", 60, "a@h"));
    assert!(many.replies[MAX_TIMERS + 2..].iter().all(|reply| *reply == Reply::Ok));
}

#[test]
fn scripts_that_hang_hold_up_others_only_when_very_many_do() {
    let mut hung = Scenario::with_slow("hang", 1_000_000);
    for _ in 0..MAX_RUNNING - 1 {
        hung.at(0, start("hang", 1, "a@h"));
    }
    hung.at(0, start("works", 2, "a@h")).at(3_000, start("hang", 0, "a@h")).until(4_000);
    assert!(hung.dispatched().contains(&(2_000, "works", "a@h", "ONBATT")));
    hung.at(5_000, start("waits", 0, "a@h")).at(6_000, cancel_or("x", "waits too", "a@h"));
    assert!(!hung.told.iter().any(|text| text.ends_with("is lost: does it hang?")));
    hung.until(1_002_000);
    let last: Vec<&str> = hung.dispatched().iter().rev().take(2).map(|row| row.1).collect();
    assert_eq!(last, ["waits too", "waits"]);
    assert!(!hung.timers.is_idle());
    hung.until(3_000_000);
    assert!(hung.timers.is_idle() && hung.exited.is_some());
}

#[test]
fn calls_beyond_the_queue_are_lost_and_told() {
    let mut hung = Scenario::with_slow("hang", 1_000_000);
    for _ in 0..MAX_RUNNING + MAX_WAITING {
        hung.at(0, start("hang", 0, "a@h"));
    }
    assert!(!hung.told.iter().any(|text| text.contains("is lost")));
    hung.at(0, start("hang", 0, "a@h"));
    assert!(hung.told.last().unwrap().ends_with("so hang is lost: does it hang?"), "{:?}", hung.told.last());
    assert_eq!(hung.ran.len(), MAX_RUNNING);
}

#[test]
fn waking_is_asked_for_once_and_again_when_it_changes() {
    let mut timers = Timers::new(Moment::START, IDLE);
    let mut wakes = |at, event| -> Vec<Moment> {
        let actions = timers.step(Moment::from_secs(at), event);
        let wake = |action: &Action| if let Action::WakeAt(moment) = action { Some(*moment) } else { None };
        actions.iter().filter_map(wake).collect()
    };
    let secs = Moment::from_secs;
    assert_eq!(wakes(0, asked(start("a", 30, "u@h"))), [secs(30)]);
    assert_eq!(wakes(1, asked(start("b", 40, "u@h"))), []);
    assert_eq!(wakes(2, asked(start("c", 10, "u@h"))), [secs(12)]);
    assert_eq!(wakes(3, asked(cancel("c", "u@h"))), [secs(30)]);
    // A tick at a moment nobody asked for uses the alarm up: it must be set again.
    assert_eq!(wakes(5, Event::Tick), [secs(30)]);
    assert_eq!(wakes(30, Event::Tick), [secs(41)]);
    assert_eq!(wakes(31, Event::ScriptEnded), []);
    assert_eq!(wakes(32, asked(cancel("b", "u@h"))), [secs(47)]);
}

/// One random thing, and how many milliseconds after the last one it happens.
type Happening = (Millis, ToTimers);

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let ups = prop::sample::select(vec!["u@h", "v@h", ""]);
    let request = (name, ups, 0..40_u64, 0..7_u8).prop_map(|(name, ups, secs, kind)| match kind {
        0..=2 => start(name, secs, ups),
        3 => share(name, secs, ups),
        4 => cancel(name, ups),
        5 => cancel_or(name, "command", ups),
        _ => cancel_of(name, ups),
    });
    prop::collection::vec((0..20_000_u64, request), 0..60)
}

/// What the rules say in the simplest words, over a plain list: (name, deadline, UPSes).
#[derive(Default)]
struct Model {
    pending: Vec<(String, Millis, Vec<String>)>,
    fires: Vec<(Millis, String)>,
    commands: usize,
}

impl Model {
    fn until(&mut self, now: Millis) {
        let mut fired: Vec<_> = self.pending.iter().filter(|one| one.1 <= now).cloned().collect();
        self.pending.retain(|one| one.1 > now);
        fired.sort_by_key(|one| one.1);
        self.fires.extend(fired.into_iter().map(|(name, at, _)| (at, name)));
    }

    fn request(&mut self, now: Millis, request: &ToTimers) {
        let found = |model: &Self, wanted: &str| model.pending.iter().any(|(name, ..)| name == wanted);
        match request {
            ToTimers::StartShared { name, origin, .. } if found(self, name) => {
                let timer = self.pending.iter_mut().find(|one| one.0 == *name).unwrap();
                timer.2.push(origin.ups.clone());
            }
            ToTimers::Start { name, after, origin } | ToTimers::StartShared { name, after, origin } => {
                let deadline = now + u64::try_from(after.as_millis()).unwrap();
                self.pending.push((name.clone(), deadline, vec![origin.ups.clone()]));
            }
            ToTimers::Cancel { name, otherwise, .. } => {
                self.commands += usize::from(!found(self, name) && otherwise.is_some());
                self.pending.retain(|one| one.0 != *name);
            }
            ToTimers::CancelMatched { name, origin, .. } => {
                for one in self.pending.iter_mut().filter(|one| one.0 == *name) {
                    one.2.retain(|ups| *ups != origin.ups);
                }
                self.pending.retain(|one| !one.2.is_empty());
            }
            ToTimers::List => {}
        }
    }
}

proptest! {
    #[test]
    fn every_timer_fires_exactly_at_its_time_unless_cancelled(happenings in happenings()) {
        let mut real = Scenario::with_slow("b", 7_000);
        let mut model = Model::default();
        let mut now = 0;
        for (wait, request) in &happenings {
            now += wait;
            // What is due at this very moment has fired already: the scenario ticks first.
            model.until(now);
            model.request(now, request);
            model.until(now);
            real.at(now, request.clone());
            prop_assert!(real.timers.pending.len() <= happenings.len());
            prop_assert!(real.timers.pending.iter().all(|timer| timer.deadline > Moment::from_millis(now)));
        }
        model.until(now + 1_000_000);
        real.until(now + 1_000_000);
        let fired: Vec<(Millis, String)> =
            real.ran.iter().filter(|(_, run)| run.argument != "command").map(|(at, run)| (*at, run.argument.clone())).collect();
        prop_assert_eq!(&fired, &model.fires);
        prop_assert_eq!(real.ran.len() - fired.len(), model.commands);
        prop_assert_eq!(real.replies.len(), happenings.len());
        if !happenings.is_empty() {
            prop_assert!(real.timers.is_idle() && real.exited.is_some());
        }
    }

    #[test]
    fn late_and_needless_ticks_never_fire_early_or_twice(
        steps in prop::collection::vec((0..30_000_u64, prop::option::of(happenings_one())), 0..60)
    ) {
        let mut timers = Timers::new(Moment::START, IDLE);
        let mut now = 0;
        let (mut started, mut fired) = (BTreeMap::<String, Vec<Millis>>::new(), BTreeMap::<String, usize>::new());
        for (wait, request) in steps {
            now += wait;
            if let Some(ToTimers::Start { name, after, .. }) = &request {
                let deadline = now + u64::try_from(after.as_millis()).unwrap();
                started.entry(name.clone()).or_default().push(deadline);
            }
            let event = request.map_or(Event::Tick, asked);
            for action in timers.step(Moment::from_millis(now), event) {
                if let Action::Run(run) = action {
                    let due = started.get(&run.argument).map_or(0, |all| all.iter().filter(|at| **at <= now).count());
                    let fired = fired.entry(run.argument).or_default();
                    *fired += 1;
                    prop_assert!(*fired <= due, "fired {fired} times, {due} were due");
                }
            }
        }
    }
}

fn happenings_one() -> impl Strategy<Value = ToTimers> {
    let name = prop::sample::select(vec!["a", "b"]);
    (name, 0..40_u64, 0..3_u8).prop_map(|(name, secs, kind)| match kind {
        0 | 1 => start(name, secs, "u@h"),
        _ => cancel(name, "u@h"),
    })
}

/// What is told when these come one after another, each from a client that was called at that second.
fn told_of(requests: Vec<(u64, ToTimers)>) -> Vec<String> {
    let mut timers = Timers::new(Moment::from_secs(99), IDLE);
    let mut told = Vec::new();
    for (nth, (called, what)) in (100..).zip(requests) {
        let request = Request { what, called: Some(Moment::from_secs(called)) };
        for action in timers.step(Moment::from_secs(nth), Event::Request(request)) {
            match action {
                Action::Tell(tell) => told.push(tell.to_string()),
                Action::Reply(reply) => assert_eq!(reply, Reply::Ok),
                Action::Run(_) | Action::WakeAt(_) | Action::Exit => {}
            }
        }
    }
    told
}

#[test]
fn orders_keep_the_places_of_their_notices_whichever_comes_first() {
    let void = "Timer t is not started: a later notice has cancelled it already";
    let new = "New timer: t (30 seconds)";
    let cancelled = "Cancelling timer: t";
    let matched = |ups: &str| {
        let origin = Origin { ups: ups.into(), ..Origin::default() };
        ToTimers::CancelMatched { name: "t".into(), otherwise: None, origin }
    };
    let shared = |ups: &str| {
        let origin = Origin { ups: ups.into(), ..Origin::default() };
        ToTimers::StartShared { name: "t".into(), after: Duration::from_secs(30), origin }
    };
    let start = || start("t", 30, "a@h");
    let cancel = || cancel("t", "a@h");
    // A start that comes behind the cancel of a later notice is void; one of the same notice, or a later one, is not.
    assert_eq!(told_of(vec![(5, cancel()), (4, start())]), [void]);
    assert_eq!(told_of(vec![(5, cancel()), (4, shared("a@h"))]), [void]);
    assert_eq!(told_of(vec![(5, cancel()), (5, start())]), [new]);
    assert_eq!(told_of(vec![(5, cancel()), (6, start())]), [new]);
    // The latest cancel counts, in whichever order they come.
    assert_eq!(told_of(vec![(5, cancel()), (3, cancel()), (4, start())]), [void]);
    // Of one UPS only, if it was for one only.
    assert_eq!(told_of(vec![(5, matched("a@h")), (4, start())]), [void]);
    assert_eq!(told_of(vec![(5, matched("b@h")), (4, start())]), [new]);
    // Nor does a cancel that comes late touch what a later notice has set.
    assert_eq!(told_of(vec![(5, start()), (4, cancel())]), [new]);
    assert_eq!(told_of(vec![(5, start()), (4, matched("a@h"))]), [new]);
    assert_eq!(told_of(vec![(5, start()), (5, cancel())]), [new, cancelled]);
    // Nobody was called in the future, and no such word makes all that follows void.
    assert_eq!(told_of(vec![(9_000_000, cancel()), (101, start())]), [new]);
    assert_eq!(told_of(vec![(9_000_000, start()), (101, cancel())]), [new, cancelled]);
}

#[test]
fn cancels_are_remembered_up_to_a_number() {
    let mut timers = Timers::new(Moment::START, IDLE);
    for nth in 0..=MAX_SERVED {
        let request = Request { what: cancel(&format!("t{nth}"), "a@h"), called: Some(Moment::from_secs(5)) };
        timers.step(Moment::from_secs(6), Event::Request(request));
    }
    assert_eq!(timers.served.len(), MAX_SERVED);
    assert!(!timers.is_void("t0", "a@h", Some(Moment::START)));
    assert!(timers.is_void("t1", "a@h", Some(Moment::START)));
}
