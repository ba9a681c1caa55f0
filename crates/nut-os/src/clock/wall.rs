//! The wall clock as the people of this place read it.
//!
//! For texts only: it jumps, and so nothing may be decided by it.

use std::fmt;
use std::path::{Component, Path};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::files::read_limited;

/// Largest file of a time zone that is read, in bytes; the largest one shipped has some 3,700.
const MAX_ZONE: usize = 256 * 1024;

/// A point on the wall clock, to be shown: since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime(Duration);

impl WallTime {
    /// This long after the beginning of 1970 in UTC; for tests and tables.
    #[must_use]
    pub const fn from_unix(since_1970: Duration) -> Self {
        Self(since_1970)
    }

    /// Whole seconds since the beginning of 1970 in UTC, as scripts want them.
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Microseconds within the second.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.0.subsec_micros()
    }

    /// Local time in the form that C's `strftime` gives to `format`, as in `%Y-%m-%d %H:%M:%S`.
    ///
    /// Names are English ones. What `strftime` does not know stays as it stands: formats come from configuration files
    /// and page templates.
    #[must_use]
    pub fn strftime(self, format: &str) -> String {
        self.shown(format, here())
    }

    fn shown(self, format: &str, zone: &TimeZone) -> String {
        let as_in_c = Config::new().custom(PosixCustom::new()).lenient(true);
        BrokenDownTime::from(&self.at(zone))
            .to_string_with_config(&as_in_c, format)
            .unwrap_or_else(|_| format.to_owned())
    }

    fn at(self, zone: &TimeZone) -> ZonedDateTime {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        // Past the year 9999 it no longer matters what a clock shows.
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned_datetime(zone.clone())
    }
}

/// Local time as `YYYY-MM-DD HH:MM:SS`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.strftime("%Y-%m-%d %H:%M:%S"))
    }
}

/// The time zone of this process: `TZ`, else `/etc/localtime`; UTC if that says nothing that makes sense, because a
/// text with the wrong hour is better than none.
///
/// It is read once. To be called before a change of root directory, which puts the files out of reach.
pub(crate) fn here() -> &'static TimeZone {
    static HERE: OnceLock<TimeZone> = OnceLock::new();
    HERE.get_or_init(|| {
        let tz = std::env::var("TZ").ok();
        tz.and_then(|tz| zone_named(&tz)).unwrap_or_else(TimeZone::system)
    })
}

/// The zone of this name, as in `TZ=Europe/Berlin`. What else `TZ` may hold is left to `jiff`; so could names be, but
/// for them it reads and keeps a list of all there are.
fn zone_named(tz: &str) -> Option<TimeZone> {
    let name = tz.strip_prefix(':').unwrap_or(tz);
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let rules = read_limited(&Path::new("/usr/share/zoneinfo").join(name), MAX_ZONE).ok()?;
    TimeZone::tzif(name, &rules).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn summer_time_begins_and_ends_to_the_second() {
        for (unix, expected) in [
            (1_711_846_799, "2024-03-31 01:59:59 CET"),
            (1_711_846_800, "2024-03-31 03:00:00 CEST"),
            (1_729_990_799, "2024-10-27 02:59:59 CEST"),
            (1_729_990_800, "2024-10-27 02:00:00 CET"),
        ] {
            let time = WallTime::from_unix(Duration::from_secs(unix));
            assert_eq!(time.shown("%Y-%m-%d %H:%M:%S %Z", &berlin()), expected);
        }
    }

    #[test]
    fn a_format_from_outside_is_never_an_error() {
        let time = WallTime::from_unix(Duration::from_millis(1_711_846_800_250));
        assert_eq!(time.shown("%a %e %b, 100%", &berlin()), "Sun 31 Mar, 100%");
        assert_eq!(time.shown("%c", &berlin()), "Sun Mar 31 03:00:00 2024");
        // As in the DATE of NUT's own pages.
        assert_eq!(time.shown("%a %b %d %X %Z %Y", &berlin()), "Sun Mar 31 03:00:00 CEST 2024");
        assert_eq!(time.shown("%K%!%", &berlin()), "%K%!%");
        assert!(time.shown("%999999999d", &berlin()).len() < 300);
        assert_eq!((time.unix_secs(), time.micros()), (1_711_846_800, 250_000));
    }

    #[test]
    fn the_end_of_time_can_be_shown() {
        let end = WallTime::from_unix(Duration::MAX);
        assert_eq!(end.shown("%Y", &berlin()), "9999");
    }
}
