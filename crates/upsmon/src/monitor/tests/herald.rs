//! What people must learn of the machine's own sleep: once that it begins, before it may; once that it is over; and of a
//! standstill that nobody had announced, that there was one.

use super::bystander::Clock;
use super::*;
use crate::gaps::LATE;

/// What has been told of the machine's sleep.
#[derive(Debug, Default)]
pub(super) struct Herald {
    is_told_that_it_begins: bool,
    /// When the step before was.
    last: Moment,
}

impl Herald {
    /// Compares what one step told of sleep with what it owed.
    pub(super) fn judge(
        &mut self,
        clock: Clock<'_>,
        event: &Event,
        actions: &[(Moment, Action)],
    ) -> Result<(), String> {
        let places = |is_it: &dyn Fn(&Action) -> bool| -> Vec<usize> {
            let all = actions.iter().enumerate().filter(|(_, (_, action))| is_it(action));
            all.map(|(nth, _)| nth).collect()
        };
        let told = |kind| places(&|action| matches!(action, Action::Notify(notice) if notice.kind == kind));
        let (begins, ends) = (told(NoticeKind::SuspendStarting), told(NoticeKind::SuspendFinished));
        let jumps = told(NoticeKind::SuspendTimeJump);
        let may_sleep = places(&|action| *action == Action::LetSleep);

        let is_announced = *event == Event::SleepAnnounced;
        let slept = matches!(event, Event::Awake(_));
        let is_over = slept || (*event == Event::SleepOver && self.is_told_that_it_begins);
        for (told, is_owed, what) in [
            (&begins, is_announced && !self.is_told_that_it_begins, "SUSPEND_STARTING"),
            (&ends, is_over, "SUSPEND_FINISHED"),
            (&may_sleep, is_announced, "that it may sleep"),
        ] {
            if told.len() != usize::from(is_owed) {
                return Err(format!("{what} was told {} times upon {event:?}", told.len()));
            }
        }
        if begins > may_sleep {
            return Err("the machine may sleep before people know of it".into());
        }
        self.is_told_that_it_begins = (self.is_told_that_it_begins || is_announced) && !is_over;

        let is_noticed =
            !slept && !places(&|action| matches!(action, Action::Log(Remark::Slept { .. }))).is_empty();
        let was_away = clock.at_most(self.last).saturating_sub(clock.at_least(self.last));
        if jumps.len() != usize::from(is_noticed) || (is_noticed && was_away <= LATE) {
            return Err(format!(
                "SUSPEND_TIMEJUMP_UNEXPECTED was told {} times, away for {was_away:?}",
                jumps.len()
            ));
        }
        self.last = clock.now;
        Ok(())
    }
}

/// What he says of a step like this one, all else being well.
fn says(
    herald: &mut Herald,
    at: u64,
    absent: &[(Moment, Moment)],
    event: Event,
    actions: &[Action],
) -> Result<(), String> {
    let now = Moment::from_secs(at);
    let actions: Vec<_> = actions.iter().map(|action| (now, action.clone())).collect();
    herald.judge(Clock { now, absent, before: None, rhythm: Duration::ZERO }, &event, &actions)
}

#[test]
fn he_misses_nothing_that_is_left_out_or_told_twice() {
    let notices = Notices::from(&UpsmonConf::default());
    let tells = |kind| Action::Notify(notices.render(kind, None, None));
    let (begins, ends) = (tells(NoticeKind::SuspendStarting), tells(NoticeKind::SuspendFinished));
    let jump = tells(NoticeKind::SuspendTimeJump);
    let noticed = Action::Log(Remark::Slept { time: Duration::from_secs(9) });
    let away = [(Moment::from_secs(11), Moment::from_secs(20))];
    let may = Action::LetSleep;
    let hour = Duration::from_secs(3600);
    let announced = || Event::SleepAnnounced;
    let good: [(Event, Vec<Action>); 7] = [
        (announced(), vec![begins.clone(), may.clone()]),
        (announced(), vec![may.clone()]),
        (Event::SleepOver, vec![ends.clone()]),
        (Event::SleepOver, vec![]),
        (Event::Awake(hour), vec![noticed.clone(), ends.clone()]),
        (announced(), vec![begins.clone(), may.clone()]),
        (Event::Awake(hour), vec![ends.clone()]),
    ];
    let mut herald = Herald::default();
    for (event, actions) in &good {
        says(&mut herald, 10, &[], event.clone(), actions).unwrap();
    }
    says(&mut herald, 20, &away, Event::Tick, &[noticed.clone(), jump.clone()]).unwrap();

    let bad: [(u64, Event, Vec<Action>); 9] = [
        (10, announced(), vec![may.clone()]),
        (10, announced(), vec![begins.clone()]),
        (10, announced(), vec![may.clone(), begins.clone()]),
        (10, announced(), vec![begins.clone(), begins.clone(), may.clone()]),
        (10, Event::Tick, vec![may]),
        (10, Event::Awake(hour), vec![]),
        (10, Event::SleepOver, vec![ends]),
        (20, Event::Tick, vec![noticed.clone()]),
        // Nobody was away.
        (10, Event::Tick, vec![noticed, jump]),
    ];
    for (at, event, actions) in bad {
        let mut herald = Herald { last: Moment::from_secs(10), ..Herald::default() };
        says(&mut herald, at, &away, event.clone(), &actions).expect_err(&format!("{event:?}, {actions:?}"));
    }
}
