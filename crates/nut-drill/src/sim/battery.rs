//! The battery: charge, runtime and voltage, and when the charge will reach a level.
//!
//! What a battery lasts and what the unit believes it lasts are two things: after a change of battery the estimate is
//! the old one's, until a discharge has been measured.
//!
//! Simple but true in form: runtime falls with the charge and, a little more than proportionally, with the load
//! (Peukert); charging is slow; the voltage sags under load. Everything is linear in time between two events, so the
//! moment of a crossing is computed, not waited for in small steps.

use std::num::NonZeroU32;
use std::time::Duration;

use nut_proto::Moment;

/// How much more than proportionally a load eats runtime (lead-acid).
const PEUKERT: f64 = 1.15;

/// From empty to full, in seconds, at the usual charger: three hours.
const RECHARGE_SECONDS: f64 = 10_800.0;

/// Loads below this count as this many per cent: the inverter itself needs power.
const LEAST_LOAD: f64 = 1.0;

/// Runtime is kept between these, in minutes; the second is what `j` can show.
const RUNTIME_RANGE: (f64, f64) = (0.01, 9999.0);

/// Charges this close count as equal: far below what `f` shows, far above rounding.
const NEAR: f64 = 1e-6;

/// What the battery is doing, which changes only with an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flow {
    /// Feeds a load of this many per cent of the rated power.
    Discharging {
        /// Load in per cent.
        load: f64,
    },
    /// On mains.
    Charging,
    /// Neither: no mains, output off.
    Still,
}

/// One battery. Charge is in per cent, runtime in minutes.
#[derive(Clone, Debug)]
pub struct Battery {
    charge: f64,
    /// What charging leads to; a profile whose unit was captured at 96 % stays there until it was used.
    ceiling: f64,
    /// Runtime from a full battery at `reference_load`.
    full_runtime: f64,
    /// The same when the battery was new.
    new_runtime: f64,
    reference_load: f64,
    /// What the unit believes of the runtime, as a multiple of what is true.
    belief: f64,
    /// How many times faster than real it drains and charges.
    scale: NonZeroU32,
    as_of: Moment,
}

impl Battery {
    /// A battery that at `charge` per cent carries `load` per cent for `runtime` minutes.
    #[must_use]
    pub fn new(charge: f64, runtime: f64, load: f64, scale: NonZeroU32) -> Self {
        let charge = charge.clamp(0.0, 100.0);
        let mut battery = Self {
            charge,
            ceiling: charge,
            full_runtime: RUNTIME_RANGE.1,
            new_runtime: RUNTIME_RANGE.1,
            reference_load: load.max(LEAST_LOAD),
            belief: 1.0,
            scale,
            as_of: Moment::START,
        };
        battery.set_runtime(runtime, load);
        battery.new_runtime = battery.full_runtime;
        battery
    }

    /// Lets time pass up to `now`, while the battery did `flow`.
    pub fn settle(&mut self, now: Moment, flow: Flow) {
        let seconds = now.since(self.as_of).as_secs_f64();
        self.as_of = self.as_of.max(now);
        self.charge = match flow {
            Flow::Discharging { .. } => (self.charge - self.rate(flow) * seconds).max(0.0),
            Flow::Charging => (self.charge + self.rate(flow) * seconds).min(self.ceiling),
            Flow::Still => self.charge,
        };
    }

    /// When `flow` will have brought the charge to `level`; `None` if it is there or beyond, or goes the other way.
    #[must_use]
    pub fn when_at(&self, level: f64, flow: Flow) -> Option<Moment> {
        let way = match flow {
            Flow::Discharging { .. } => self.charge - level,
            Flow::Charging if level <= self.ceiling + NEAR => level - self.charge,
            Flow::Charging | Flow::Still => return None,
        };
        if way <= NEAR {
            return None;
        }
        let wait = Duration::try_from_secs_f64(way / self.rate(flow)).unwrap_or(Duration::MAX);
        // A little late rather than early: at that moment the level must have been passed.
        Some(self.as_of + wait.saturating_add(Duration::from_millis(1)))
    }

    /// Charge in per cent.
    #[must_use]
    pub fn charge(&self) -> f64 {
        self.charge
    }

    /// Whether the charge is at or above `level`.
    #[must_use]
    pub fn has(&self, level: f64) -> bool {
        self.charge + NEAR >= level
    }

    /// Whether the charge is at or below `level`.
    #[must_use]
    pub fn is_down_to(&self, level: f64) -> bool {
        self.charge <= level + NEAR
    }

    /// Whether it is as full as it gets.
    #[must_use]
    pub fn is_charged(&self) -> bool {
        self.has(self.ceiling)
    }

    /// Minutes left at this load, as the unit believes.
    #[must_use]
    pub fn runtime(&self, load: f64) -> f64 {
        self.full_runtime_at(load) * self.belief * self.charge / 100.0
    }

    /// The charge at which the unit believes `minutes` of runtime to be left at this load.
    #[must_use]
    pub fn level_of(&self, minutes: f64, load: f64) -> f64 {
        self.true_level_of(minutes, load) / self.belief
    }

    /// The charge at which `minutes` of runtime are left at this load.
    #[must_use]
    pub fn true_level_of(&self, minutes: f64, load: f64) -> f64 {
        minutes * 100.0 / self.full_runtime_at(load)
    }

    /// Whether the unit is so wrong about the battery that it would be low however full it is.
    #[must_use]
    pub fn is_written_off(&self, minutes: f64, load: f64) -> bool {
        let believed = self.full_runtime_at(load) * self.belief;
        self.belief < 1.0 - NEAR && believed <= minutes && self.full_runtime_at(load) > minutes
    }

    /// Puts the charge at `charge` per cent; charging then leads at least there.
    pub fn set_charge(&mut self, charge: f64) {
        self.charge = charge.clamp(0.0, 100.0);
        self.ceiling = self.ceiling.max(self.charge);
    }

    /// Makes the battery one that lasts `minutes` from the present charge at this load, as the unit knows.
    pub fn set_runtime(&mut self, minutes: f64, load: f64) {
        self.belief = 1.0;
        let at_full = minutes.clamp(RUNTIME_RANGE.0, RUNTIME_RANGE.1) * 100.0 / self.charge.max(1.0);
        let factor = (self.reference_load / load.max(LEAST_LOAD)).powf(PEUKERT);
        self.full_runtime = at_full / factor;
    }

    /// A new battery: charging leads to 100 % again, and it lasts as long as the first one did, but the unit still
    /// believes of it what it knew of the old one.
    pub fn renew(&mut self) {
        self.ceiling = 100.0;
        self.belief *= self.full_runtime / self.new_runtime;
        self.full_runtime = self.new_runtime;
    }

    /// The unit has seen a long discharge under a load it knows: it believes what is true.
    pub fn measured(&mut self) {
        self.belief = 1.0;
    }

    /// The voltage as a fraction of what it is at rest on mains, fully charged.
    #[must_use]
    pub fn voltage_ratio(&self, flow: Flow) -> f64 {
        // Float charge is 2.27 V a cell; under load a full cell gives 2.1 V and an empty one 1.75 V.
        match flow {
            Flow::Discharging { .. } => (1.75 + 0.35 * self.charge / 100.0) / 2.27,
            Flow::Charging if self.is_charged() => 1.0,
            Flow::Charging => (2.13 + 0.14 * self.charge / 100.0) / 2.27,
            Flow::Still => (1.95 + 0.18 * self.charge / 100.0) / 2.27,
        }
    }

    fn full_runtime_at(&self, load: f64) -> f64 {
        self.full_runtime * (self.reference_load / load.max(LEAST_LOAD)).powf(PEUKERT)
    }

    /// Per cent per second, never zero for a flow.
    fn rate(&self, flow: Flow) -> f64 {
        let seconds_for_all = match flow {
            Flow::Discharging { load } => self.full_runtime_at(load) * 60.0,
            Flow::Charging => RECHARGE_SECONDS,
            Flow::Still => return 0.0,
        };
        100.0 / seconds_for_all * f64::from(self.scale.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battery(scale: u32) -> Battery {
        Battery::new(100.0, 40.0, 20.0, NonZeroU32::new(scale).unwrap())
    }

    const AT_20: Flow = Flow::Discharging { load: 20.0 };

    #[test]
    fn it_lasts_as_long_as_it_says() {
        let mut battery = battery(1);
        assert_eq!(battery.runtime(20.0).round(), 40.0);
        battery.settle(Moment::from_secs(20 * 60), AT_20);
        assert!((battery.charge() - 50.0).abs() < 1e-9);
        assert!((battery.runtime(20.0) - 20.0).abs() < 1e-9);
        battery.settle(Moment::from_secs(3 * 3600), AT_20);
        assert_eq!(battery.charge(), 0.0);
    }

    #[test]
    fn twice_the_load_is_less_than_half_the_time() {
        let battery = battery(1);
        assert!(battery.runtime(40.0) < battery.runtime(20.0) / 2.0);
        assert!(battery.runtime(40.0) > battery.runtime(20.0) / 2.5);
    }

    #[test]
    fn a_crossing_happens_when_it_was_foretold() {
        for (flow, level) in [(AT_20, 37.5), (Flow::Charging, 90.0)] {
            let mut battery = battery(7);
            if flow == Flow::Charging {
                battery.charge = 12.0;
            }
            let at = battery.when_at(level, flow).expect("it goes that way");
            battery.settle(at, flow);
            assert!((battery.charge() - level).abs() < 0.1, "{flow:?} {}", battery.charge());
            assert!(battery.is_down_to(level) || battery.has(level));
            assert_eq!(battery.when_at(level, flow), None, "and only once");
        }
        assert_eq!(battery(1).when_at(50.0, Flow::Charging), None);
        assert_eq!(battery(1).when_at(50.0, Flow::Still), None);
    }

    #[test]
    fn charging_ends_at_the_charge_the_unit_was_met_with_unless_renewed() {
        let mut worn = Battery::new(96.0, 39.0, 33.2, NonZeroU32::MIN);
        worn.settle(Moment::from_secs(86_400), Flow::Charging);
        assert_eq!(worn.charge(), 96.0);
        worn.renew();
        worn.settle(Moment::from_secs(2 * 86_400), Flow::Charging);
        assert_eq!(worn.charge(), 100.0);
    }

    #[test]
    fn of_a_new_battery_the_unit_believes_what_it_knew_of_the_old_one_until_it_has_measured_it() {
        let mut battery = battery(1);
        battery.set_runtime(2.0, 20.0);
        battery.renew();
        assert!((battery.runtime(20.0) - 2.0).abs() < 1e-9, "{}", battery.runtime(20.0));
        assert!(battery.is_written_off(2.0, 20.0) && !battery.is_written_off(1.0, 20.0));
        // It lasts as long as the first one all the same.
        battery.settle(Moment::from_secs(10 * 60), AT_20);
        assert!((battery.charge() - 75.0).abs() < 1e-9, "{}", battery.charge());
        assert!(battery.level_of(2.0, 20.0) > 99.0 && (battery.true_level_of(2.0, 20.0) - 5.0).abs() < 1e-9);
        battery.measured();
        assert!((battery.runtime(20.0) - 30.0).abs() < 1e-9 && !battery.is_written_off(2.0, 20.0));
        // Renewed in time, nothing is wrong.
        battery.renew();
        assert!((battery.runtime(20.0) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn the_voltage_falls_with_the_charge_and_under_load() {
        let mut battery = battery(1);
        let (rest, full) = (battery.voltage_ratio(Flow::Charging), battery.voltage_ratio(AT_20));
        battery.settle(Moment::from_secs(30 * 60), AT_20);
        let low = battery.voltage_ratio(AT_20);
        assert!(rest == 1.0 && full < rest && low < full, "{rest} {full} {low}");
    }
}
