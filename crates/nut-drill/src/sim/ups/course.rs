//! What time brings: delays end, the battery drains, the load goes and returns, and alerts announce it.

use std::time::Duration;

use nut_proto::Moment;

use super::super::deed::{Bypass, Calibration, Deed, OffBy, OnBy, SelfTest, ShutdownCommand};
use super::super::profile::ShutdownAck;
use super::commands::Entry;
use super::{LowBattery, Mains, Relay, SmartUps, Told, Wake};

/// Most things that can have happened since the last step; a chain of consequences is never this long.
const MAX_CATCH_UP: usize = 1000;

/// `!` is repeated this often until the battery is low.
const ON_BATTERY_REPEAT: Duration = Duration::from_secs(30);

/// `&` is repeated this often.
const CARD_REPEAT: Duration = Duration::from_secs(120);

/// `#` is repeated this often.
const REPLACE_REPEAT: Duration = Duration::from_secs(5 * 3600);

impl SmartUps {
    /// Lets happen, in order and each at its moment, what is due by `now`.
    pub(super) fn catch_up(&mut self, now: Moment) {
        for _ in 0..MAX_CATCH_UP {
            let Some(due) = self.deadline().filter(|due| *due <= now) else {
                break;
            };
            self.battery.settle(due, self.flow());
            self.refresh(due);
        }
        self.battery.settle(now, self.flow());
    }

    /// When the next thing happens by itself.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let flow = self.flow();
        let sleep = match &self.relay {
            Relay::Asleep { wake: Wake::At(moment), .. } => Some(*moment),
            Relay::Asleep { wake: Wake::OnMains { delay, ready_since: Some(since), .. }, .. } => {
                Some(*since + *delay)
            }
            Relay::Asleep { wake: Wake::OnMains { min_charge, .. }, .. } => {
                self.battery.when_at(*min_charge, flow)
            }
            Relay::On | Relay::Off => None,
        };
        let draining = self.is_on_battery();
        [
            self.pending.as_ref().map(|pending| pending.off_at),
            sleep,
            self.test_ends,
            self.simulated_until,
            self.calibrating.then(|| self.battery.when_at(self.profile.calibration_floor(), flow)).flatten(),
            (draining && self.low == LowBattery::ByRuntime)
                .then(|| self.battery.when_at(self.low_level(), flow))
                .flatten(),
            draining.then(|| self.battery.when_at(0.0, flow)).flatten(),
            self.eeprom_alerts.front().copied(),
            self.repeat_on_battery,
            self.repeat_replace,
            self.repeat_card,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Draws all consequences of the state at the moment `at`.
    pub(super) fn refresh(&mut self, at: Moment) {
        if self.simulated_until.is_some_and(|until| until <= at) {
            self.simulated_until = None;
        }
        if self.calibrating && (self.battery.is_down_to(self.profile.calibration_floor()) || self.is_low()) {
            self.calibrating = false;
            self.battery.measured();
            self.note(at, Deed::Calibration(Calibration::Finished));
        }
        if self.test_ends.is_some_and(|end| end <= at) {
            self.finish_self_test(at);
        }
        if let Some(pending) = self.pending.take_if(|pending| pending.off_at <= at) {
            self.switch_off(at, pending.command);
        }
        if self.is_on_battery() && self.battery.is_down_to(0.0) {
            self.run_empty(at);
        }
        self.wake_if_time(at);
        self.announce(at);
    }

    fn finish_self_test(&mut self, at: Moment) {
        self.test_ends = None;
        let result = if self.is_overloaded() {
            SelfTest::Overload
        } else if self.worn
            || self.battery.is_down_to(self.battery.true_level_of(self.warning(), self.load()))
        {
            SelfTest::BatteryTooWeak
        } else {
            SelfTest::Passed
        };
        self.replace = match result {
            SelfTest::Passed => false,
            SelfTest::BatteryTooWeak => true,
            _ => self.replace,
        };
        self.tested = Some((at, result));
        self.note(at, Deed::SelfTest(result));
    }

    pub(super) fn stop_self_test(&mut self, at: Moment) {
        if self.test_ends.take().is_some() {
            self.note(at, Deed::SelfTest(SelfTest::Stopped));
        }
    }

    pub(super) fn stop_calibration(&mut self, at: Moment) {
        if self.calibrating {
            self.calibrating = false;
            self.note(at, Deed::Calibration(Calibration::Stopped));
        }
    }

    /// The load loses its power by a command.
    fn switch_off(&mut self, at: Moment, command: ShutdownCommand) {
        // An old unit, whose `*` confirmed the command, does not send it again.
        if self.profile.quirks.shutdown_ack == ShutdownAck::Ok {
            self.alert(at, b'*');
        }
        let wake = match &command {
            ShutdownCommand::StayOff | ShutdownCommand::OffNow => None,
            ShutdownCommand::Soft if !self.profile.quirks.s_waits_grace => {
                Some(Wake::OnMains { min_charge: 0.0, delay: Duration::ZERO, ready_since: None })
            }
            ShutdownCommand::Soft => Some(self.usual_wake(Duration::ZERO)),
            ShutdownCommand::Hibernate { digits } => {
                // Tenths of an hour.
                let extra = Duration::from_secs(digits.parse::<u64>().unwrap_or(0).saturating_mul(360));
                match self.profile.is_old_generation() {
                    true => Some(Wake::At(at + self.scaled(extra))),
                    false => Some(self.usual_wake(extra)),
                }
            }
        };
        self.lose_output(at, OffBy::Command(command), wake);
    }

    /// The battery is empty: the load is off, and without mains so is the unit itself.
    fn run_empty(&mut self, at: Moment) {
        self.alert(at, b'?');
        let wake = self.usual_wake(Duration::ZERO);
        // The hard way to calibrate a unit: whoever drained the battery knows what was in it.
        self.battery.measured();
        self.pending = None;
        self.eeprom_alerts.clear();
        self.lose_output(at, OffBy::EmptyBattery, Some(wake));
    }

    /// Mains and the charge `e`, then `r` and what `@` added.
    fn usual_wake(&self, extra: Duration) -> Wake {
        Wake::OnMains {
            min_charge: self.number(b'e').unwrap_or(0.0),
            delay: self.delay(b'r', 0.0) + self.scaled(extra),
            ready_since: None,
        }
    }

    fn lose_output(&mut self, at: Moment, by: OffBy, wake: Option<Wake>) {
        self.stop_calibration(at);
        self.stop_self_test(at);
        self.simulated_until = None;
        self.bypass = Bypass::Off;
        self.entry = Entry::Idle;
        // Nothing is repeated while the output is off.
        self.repeat_on_battery = None;
        self.repeat_replace = None;
        self.repeat_card = None;
        self.note(at, Deed::LoadOff { by: by.clone() });
        self.relay = match wake {
            None => Relay::Off,
            Some(wake) => {
                if matches!(wake, Wake::OnMains { .. }) {
                    self.note(at, Deed::SleepUntilMains);
                }
                Relay::Asleep { by, wake }
            }
        };
    }

    fn wake_if_time(&mut self, at: Moment) {
        let mains = self.mains;
        let Relay::Asleep { wake, .. } = &mut self.relay else {
            return;
        };
        let by = match wake {
            Wake::At(moment) if *moment <= at => OnBy::Timer,
            Wake::At(_) => return,
            Wake::OnMains { min_charge, delay, ready_since } => {
                if mains == Mains::Off || !self.battery.has(*min_charge) {
                    *ready_since = None;
                    return;
                }
                let since = *ready_since.get_or_insert(at);
                if since + *delay > at {
                    return;
                }
                OnBy::Mains
            }
        };
        self.switch_on(at, by);
    }

    pub(super) fn switch_on(&mut self, at: Moment, by: OnBy) {
        let has_power = self.mains == Mains::On || !self.battery.is_down_to(0.0);
        if !self.is_output_on() && has_power {
            self.relay = Relay::On;
            self.note(at, Deed::LoadOn { by });
        }
    }

    // ---- what is announced

    /// Sends an alert for each thing that changed since it was last announced, and those that are repeated.
    fn announce(&mut self, at: Moment) {
        while self.eeprom_alerts.front().is_some_and(|moment| *moment <= at) {
            self.eeprom_alerts.pop_front();
            self.alert(at, b'|');
        }
        if !self.is_output_on() {
            return;
        }
        let cause = self.battery_cause();
        let is = Told {
            on_battery: cause.is_some(),
            low: self.is_low(),
            overload: self.is_overloaded(),
            replace: self.replace,
            card: self.has_card_alarm(),
        };
        let was = std::mem::replace(&mut self.told, is);
        match cause {
            Some(cause) if !was.on_battery => {
                self.alert(at, b'!');
                self.note(at, Deed::WentOnBattery { cause });
            }
            None if was.on_battery => {
                self.alert(at, b'$');
                self.note(at, Deed::BackOnMains);
            }
            _ => {}
        }
        if is.low != was.low {
            self.alert(at, if is.low { b'%' } else { b'+' });
            self.note(at, if is.low { Deed::BatteryLow } else { Deed::BatteryNoLongerLow });
        }
        if is.overload != was.overload {
            self.alert(at, if is.overload { b'?' } else { b'=' });
        }
        if is.replace && !was.replace {
            self.alert(at, b'#');
            self.note(at, Deed::ReplaceBattery);
        }
        if is.card && !was.card {
            self.alert(at, b'&');
        }
        self.repeat(at, is);
    }

    /// Repeats count from now, not from the moment they were due: after a long pause one alert is enough.
    fn repeat(&mut self, at: Moment, is: Told) {
        let now = self.now;
        let due = |repeat: &mut Option<Moment>, wanted: bool, period: Duration| {
            let strikes = wanted && repeat.is_some_and(|moment| moment <= at);
            if !wanted {
                *repeat = None;
            } else if strikes || repeat.is_none() {
                *repeat = Some(at.max(now) + period);
            }
            strikes
        };
        if due(&mut self.repeat_on_battery, is.on_battery && !is.low, ON_BATTERY_REPEAT) {
            self.alert(at, b'!');
        }
        if due(&mut self.repeat_replace, is.replace, REPLACE_REPEAT) {
            self.alert(at, b'#');
        }
        if due(&mut self.repeat_card, is.card, CARD_REPEAT) {
            self.alert(at, b'&');
        }
    }
}
