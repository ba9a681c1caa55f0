//! Whether this host may go on: its supplies, and how many of them it needs.

use nut_conf::upsmon_conf::{self, PowerValue, UpsmonConf};
use std::fmt;

use crate::watch::Cause;

/// One UPS as a supply of this host.
#[derive(Debug, Clone, Copy)]
pub struct Supply<'a> {
    /// The UPS as `MONITOR` names it.
    pub ups: &'a str,
    /// How many of this host's supplies it feeds.
    pub power_value: PowerValue,
    /// Why it does not count, if so. A UPS never heard has none: it counts as good.
    pub lost: Option<&'a Cause>,
}

/// Whether this host may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Enough {
        /// How many supplies are good.
        have: u64,
        /// `MINSUPPLIES`.
        need: u64,
    },
    /// It must stop.
    ShutDown(Reason),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough { have, need } => {
                let word = if *have == 1 { "supply is" } else { "supplies are" };
                write!(f, "{have} {word} good, {need} needed (MINSUPPLIES)")
            }
            Self::ShutDown(reason) => reason.fmt(f),
        }
    }
}

/// Why this host stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Fewer supplies are good than it needs.
    TooFewSupplies {
        /// How many are good.
        have: u64,
        /// `MINSUPPLIES`.
        need: u64,
        /// The UPSes that feed it and are lost, in the order of the configuration.
        down: Vec<(Box<str>, Cause)>,
    },
    /// An operator or a script said so (`upsmon -c fsd`); power does not matter then.
    Ordered,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordered => f.write_str("ordered by upsmon -c fsd"),
            Self::TooFewSupplies { have, need, down } => {
                let word = if *have == 1 { "supply is" } else { "supplies are" };
                write!(f, "{have} {word} left, {need} needed (MINSUPPLIES)")?;
                for (nth, (ups, cause)) in down.iter().enumerate() {
                    write!(f, "{} {ups}: {cause}", if nth == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
        }
    }
}

/// Adds up the supplies that are good (upsmon spec §4).
#[must_use]
pub fn verdict(supplies: &[Supply<'_>], min_supplies: u32) -> Verdict {
    let value = |supply: &Supply<'_>| u64::from(supply.power_value.0);
    let need = u64::from(min_supplies);
    let have = supplies.iter().filter(|supply| supply.lost.is_none()).map(value).sum();
    if have >= need {
        return Verdict::Enough { have, need };
    }
    let down = supplies.iter().filter(|supply| value(supply) > 0);
    let down = down.filter_map(|supply| Some((supply.ups.into(), supply.lost?.clone()))).collect();
    Verdict::ShutDown(Reason::TooFewSupplies { have, need, down })
}

/// Why a configuration could never keep this host up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittlePower {
    /// The sum of all power values, each UPS counted once.
    pub total: u64,
    /// `MINSUPPLIES`.
    pub need: u64,
}

/// Whether the power values suffice at all. A UPS that stands there twice counts once, as its first line says.
///
/// # Errors
/// When they do not: upsmon must not start with it.
pub fn enough_configured(conf: &UpsmonConf) -> Result<(), TooLittlePower> {
    let is_first = |nth: usize, line: &upsmon_conf::Monitor| {
        !conf.monitors.iter().take(nth).any(|before| before.system == line.system)
    };
    let total = conf
        .monitors
        .iter()
        .enumerate()
        .filter(|(nth, line)| is_first(*nth, line))
        .map(|(_, line)| u64::from(line.power_value.0))
        .sum();
    let need = u64::from(conf.min_supplies);
    if total < need { Err(TooLittlePower { total, need }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn supply<'a>(ups: &'a str, power_value: u32, lost: Option<&'a Cause>) -> Supply<'a> {
        Supply { ups, power_value: PowerValue(power_value), lost }
    }

    static LOW: Cause = Cause::BatteryLow { lasted: Duration::ZERO };
    static FSD: Cause = Cause::Forced;

    #[test]
    fn a_host_needs_as_many_supplies_as_min_supplies_says() {
        /// Power values of the good ones, of the lost ones, MINSUPPLIES; what is left if it may go on.
        type Case<'a> = (&'a [u32], &'a [u32], u32, Option<u64>);
        let cases: [Case<'_>; 9] = [
            (&[1], &[], 1, Some(1)),
            (&[], &[1], 1, None),
            (&[1, 1], &[1], 2, Some(2)),
            (&[1], &[1, 1], 2, None),
            // The school: the UPS that feeds the host weighs 3, two others 1 each.
            (&[3], &[1, 1], 3, Some(3)),
            (&[1, 1], &[3], 3, None),
            // Watched only.
            (&[1], &[0, 0], 1, Some(1)),
            (&[], &[0, 1], 0, Some(0)),
            (&[], &[], 0, Some(0)),
        ];
        for (good, lost, need, expected) in cases {
            let supplies: Vec<_> = good
                .iter()
                .map(|value| supply("good", *value, None))
                .chain(lost.iter().map(|value| supply("lost", *value, Some(&LOW))))
                .collect();
            match (verdict(&supplies, need), expected) {
                (Verdict::Enough { have, .. }, Some(expected)) => assert_eq!(have, expected),
                (Verdict::ShutDown(_), None) => {}
                (verdict, _) => panic!("{good:?} {lost:?} {need}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn the_reason_names_who_is_down_and_why() {
        let supplies = [
            supply("a@h", 1, Some(&LOW)),
            supply("b@h", 1, None),
            supply("c@h", 1, Some(&FSD)),
            supply("watched@h", 0, Some(&LOW)),
        ];
        let Verdict::ShutDown(reason) = verdict(&supplies, 2) else { panic!("one of two is left") };
        assert_eq!(
            reason.to_string(),
            "1 supply is left, 2 needed (MINSUPPLIES): a@h: on battery, and the battery is low; c@h: its shutdown has been forced (FSD)"
        );
        assert_eq!(Reason::Ordered.to_string(), "ordered by upsmon -c fsd");
    }

    #[test]
    fn huge_power_values_do_not_overflow() {
        let supplies = [supply("a", u32::MAX, None), supply("b", u32::MAX, None)];
        assert_eq!(
            verdict(&supplies, u32::MAX),
            Verdict::Enough { have: 2 * u64::from(u32::MAX), need: u64::from(u32::MAX) }
        );
    }

    proptest! {
        #[test]
        fn losing_a_supply_never_helps(values in prop::collection::vec((0u32..4, any::<bool>()), 0..6), need in 0u32..8, nth in 0usize..6) {
            let supplies: Vec<_> =
                values.iter().map(|(value, good)| supply("u", *value, (!good).then_some(&LOW))).collect();
            let mut worse = supplies.clone();
            if let Some(supply) = worse.get_mut(nth) {
                supply.lost = Some(&LOW);
            }
            let goes_on = |supplies: &[Supply<'_>]| matches!(verdict(supplies, need), Verdict::Enough { .. });
            prop_assert!(goes_on(&supplies) || !goes_on(&worse));
        }
    }
}
