//! What the wall clock of this place shows, from the system's time zone files. For texts only.
//!
//! The C library does this behind an interface that cannot be used safely from Rust, so the files (RFC 8536) and the
//! rules of the `TZ` variable (POSIX) are read here. Damaged or missing ones mean UTC, never an error: a text with the
//! wrong hour is better than none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Largest time zone file read, in bytes; the largest one shipped has some 3,700.
const MAX_FILE: usize = 256 * 1024;

/// The time zone of this process: `TZ`, else `/etc/localtime`, else UTC. Read once, at the first call.
///
/// Call it before a change of root directory: the files may be out of reach afterwards.
pub fn here() -> &'static Zone {
    static HERE: OnceLock<Zone> = OnceLock::new();
    HERE.get_or_init(|| Zone::named(std::env::var("TZ").ok().as_deref()))
}

/// A point in time as a calendar and a clock of some place show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year, as in 2024.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The day of the week, 0 (Sunday) to 6.
    pub weekday: u8,
    /// The day of the year, 0 (1 January) to 365.
    pub year_day: u16,
    /// How far ahead of UTC the clock is, in seconds.
    pub offset: i32,
    /// What that time is called, as in `CEST`.
    pub zone: Box<str>,
}

/// As `YYYY-MM-DD HH:MM:SS`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// The clock changes of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// What holds before the first change.
    first: Offset,
    /// From when on (seconds since 1970 in UTC) which offset holds, in order.
    changes: Vec<(i64, Offset)>,
    /// What holds after the last change.
    rule: Option<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Offset {
    seconds: i32,
    name: Box<str>,
}

/// What a `TZ` text says: one offset, or two and the days on which they alternate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    standard: Offset,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: Offset,
    begins: Turn,
    ends: Turn,
}

/// A day of each year, and seconds from its midnight in the time that holds until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    day: TurnDay,
    seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnDay {
    /// 1 to 365, never 29 February.
    Julian(i64),
    /// 0 to 365, counting 29 February.
    Counted(i64),
    /// Month 1 to 12, week 1 to 5 (5 is the last), weekday 0 (Sunday) to 6.
    Weekday { month: i64, week: i64, weekday: i64 },
}

impl Zone {
    /// Greenwich.
    #[must_use]
    pub fn utc() -> Self {
        Self { first: Offset { seconds: 0, name: "UTC".into() }, changes: Vec::new(), rule: None }
    }

    /// The zone that this value of `TZ` means; without a value that of `/etc/localtime`.
    #[must_use]
    pub fn named(tz: Option<&str>) -> Self {
        let Some(tz) = tz else {
            return Self::from_file(Path::new("/etc/localtime")).unwrap_or_else(Self::utc);
        };
        let name = tz.strip_prefix(':').unwrap_or(tz);
        let path = if name.starts_with('/') {
            PathBuf::from(name)
        } else {
            Path::new("/usr/share/zoneinfo").join(name)
        };
        let climbs = name.split('/').any(|part| part == "..");
        let from_file = if name.is_empty() || climbs { None } else { Self::from_file(&path) };
        from_file.or_else(|| Self::from_rule(name)).unwrap_or_else(Self::utc)
    }

    /// Reads the text of a `TZ` variable, as in `CET-1CEST,M3.5.0,M10.5.0/3`.
    #[must_use]
    pub fn from_rule(text: &str) -> Option<Self> {
        let rule = Rule::parse(text)?;
        Some(Self { first: rule.standard.clone(), changes: Vec::new(), rule: Some(rule) })
    }

    /// Reads a time zone file (RFC 8536, version 2 and later: 64-bit times and a rule at the end).
    #[must_use]
    pub fn from_bytes(file: &[u8]) -> Option<Self> {
        let old = Counts::read(file)?;
        let newer = file.get(old.data_len(4)?.checked_add(Counts::LEN)?..)?;
        let counts = Counts::read(newer)?;
        let data_len = counts.data_len(8)?;
        let data = newer.get(Counts::LEN..)?;
        let (times, rest) = data.split_at_checked(counts.times.checked_mul(8)?)?;
        let (kinds_of, rest) = rest.split_at_checked(counts.times)?;
        let (kinds, rest) = rest.split_at_checked(counts.kinds.checked_mul(6)?)?;
        let (names, _) = rest.split_at_checked(counts.name_bytes)?;
        let offsets: Vec<Offset> =
            kinds.chunks_exact(6).map(|kind| Offset::read(kind, names)).collect::<Option<_>>()?;
        let mut changes = Vec::with_capacity(counts.times);
        for (time, kind) in times.chunks_exact(8).zip(kinds_of) {
            let at = i64::from_be_bytes(time.try_into().ok()?);
            changes.push((at, offsets.get(usize::from(*kind))?.clone()));
        }
        if !changes.is_sorted_by_key(|(at, _)| *at) {
            return None;
        }
        let footer = data.get(data_len..).unwrap_or_default();
        let rule = footer.strip_prefix(b"\n").and_then(|text| {
            let end = text.iter().position(|byte| *byte == b'\n')?;
            Rule::parse(std::str::from_utf8(text.get(..end)?).ok()?)
        });
        Some(Self { first: offsets.first()?.clone(), changes, rule })
    }

    fn from_file(path: &Path) -> Option<Self> {
        Self::from_bytes(&crate::files::read_limited(path, MAX_FILE).ok()?)
    }

    /// What calendar and clock show at this time (seconds since 1970 in UTC).
    #[must_use]
    pub fn civil(&self, unix: i64) -> Civil {
        let offset = self.offset_at(unix);
        // Far outside any calendar in use the numbers stay in range; what they say there matters to nobody.
        let local = unix.clamp(-(1 << 40), 1 << 40) + i64::from(offset.seconds);
        let days = local.div_euclid(86_400);
        let second_of_day = local.rem_euclid(86_400);
        let (year, month, day) = date_of(days);
        let small = |number: i64| u8::try_from(number).unwrap_or(0);
        Civil {
            year,
            month: small(month),
            day: small(day),
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
            weekday: small((days + 4).rem_euclid(7)),
            year_day: u16::try_from(days - days_before(year, 1, 1)).unwrap_or(0),
            offset: offset.seconds,
            zone: offset.name.clone(),
        }
    }

    fn offset_at(&self, unix: i64) -> &Offset {
        let passed = self.changes.partition_point(|(at, _)| *at <= unix);
        if passed == self.changes.len()
            && let Some(rule) = &self.rule
        {
            return rule.offset_at(unix);
        }
        let last = passed.checked_sub(1).and_then(|at| self.changes.get(at));
        last.map_or(&self.first, |(_, offset)| offset)
    }
}

/// The counts at the head of a block of a time zone file.
struct Counts {
    ut_flags: usize,
    standard_flags: usize,
    leaps: usize,
    times: usize,
    kinds: usize,
    name_bytes: usize,
}

impl Counts {
    const LEN: usize = 44;

    fn read(block: &[u8]) -> Option<Self> {
        let rest = block.strip_prefix(b"TZif")?;
        // The version and fifteen unused bytes.
        let version = *rest.first()?;
        let numbers = rest.get(16..40)?;
        let mut counts = numbers
            .chunks_exact(4)
            .map(|four| usize::try_from(u32::from_be_bytes(four.try_into().ok()?)).ok());
        let mut next = || counts.next().flatten();
        (version >= b'2').then_some(())?;
        Some(Self {
            ut_flags: next()?,
            standard_flags: next()?,
            leaps: next()?,
            times: next()?,
            kinds: next()?,
            name_bytes: next()?,
        })
    }

    /// How many bytes follow the head, if a time takes `time` bytes.
    fn data_len(&self, time: usize) -> Option<usize> {
        let parts = [
            (self.times, time + 1),
            (self.kinds, 6),
            (self.name_bytes, 1),
            (self.leaps, time + 4),
            (self.standard_flags, 1),
            (self.ut_flags, 1),
        ];
        parts.into_iter().try_fold(0_usize, |sum, (count, each)| sum.checked_add(count.checked_mul(each)?))
    }
}

impl Offset {
    fn read(kind: &[u8], names: &[u8]) -> Option<Self> {
        let (seconds, rest) = kind.split_first_chunk::<4>()?;
        let name = names.get(usize::from(*rest.get(1)?)..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Self { seconds: i32::from_be_bytes(*seconds), name: std::str::from_utf8(name).ok()?.into() })
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let name = take_name(&mut rest)?;
        let west = take_time(&mut rest, 24)?;
        let standard = Offset { seconds: i32::try_from(-west).ok()?, name };
        if rest.is_empty() {
            return Some(Self { standard, summer: None });
        }
        let name = take_name(&mut rest)?;
        let west =
            if rest.is_empty() || rest.starts_with(',') { west - 3600 } else { take_time(&mut rest, 24)? };
        let offset = Offset { seconds: i32::try_from(-west).ok()?, name };
        // Without dates: those of the United States, as the C library has it.
        let dates = if rest.is_empty() { "M3.2.0,M11.1.0" } else { rest.strip_prefix(',')? };
        let (begins, ends) = dates.split_once(',')?;
        let summer = Summer { offset, begins: Turn::parse(begins)?, ends: Turn::parse(ends)? };
        Some(Self { standard, summer: Some(summer) })
    }

    fn offset_at(&self, unix: i64) -> &Offset {
        let Some(summer) = &self.summer else {
            return &self.standard;
        };
        let unix = unix.clamp(-(1 << 40), 1 << 40);
        let (year, ..) = date_of((unix + i64::from(self.standard.seconds)).div_euclid(86_400));
        let begins = summer.begins.local(year) - i64::from(self.standard.seconds);
        let ends = summer.ends.local(year) - i64::from(summer.offset.seconds);
        let is_summer =
            if begins < ends { (begins..ends).contains(&unix) } else { !(ends..begins).contains(&unix) };
        if is_summer { &summer.offset } else { &self.standard }
    }
}

impl Turn {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').map_or((text, None), |(day, time)| (day, Some(time)));
        let within = |text: &str, range: std::ops::RangeInclusive<i64>| {
            text.parse().ok().filter(|number| range.contains(number))
        };
        let day = if let Some(day) = day.strip_prefix('J') {
            TurnDay::Julian(within(day, 1..=365)?)
        } else if let Some(day) = day.strip_prefix('M') {
            let mut parts = day.split('.');
            let month = within(parts.next()?, 1..=12)?;
            let week = within(parts.next()?, 1..=5)?;
            let weekday = within(parts.next()?, 0..=6)?;
            TurnDay::Weekday { month, week, weekday }
        } else {
            TurnDay::Counted(within(day, 0..=365)?)
        };
        let seconds = match time {
            None => 2 * 3600,
            Some(mut time) => take_time(&mut time, 167).filter(|_| time.is_empty())?,
        };
        Some(Self { day, seconds })
    }

    /// Seconds since 1970 that a clock at the place shows when the turn comes in this year.
    fn local(self, year: i64) -> i64 {
        let new_year = days_before(year, 1, 1);
        let day = match self.day {
            TurnDay::Counted(day) => new_year + day,
            TurnDay::Julian(day) => new_year + day - 1 + i64::from(is_leap(year) && day >= 60),
            TurnDay::Weekday { month, week, weekday } => {
                let first = days_before(year, month, 1);
                let first_such = first + (weekday - (first + 4)).rem_euclid(7);
                let day = first_such + (week - 1) * 7;
                let (year_after, month_after) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                if day < days_before(year_after, month_after, 1) { day } else { day - 7 }
            }
        };
        day * 86_400 + self.seconds
    }
}

/// A zone's name: three letters or more, or anything but `>` between `<` and `>`.
fn take_name(rest: &mut &str) -> Option<Box<str>> {
    if let Some(quoted) = rest.strip_prefix('<') {
        let (name, after) = quoted.split_once('>')?;
        *rest = after;
        return Some(name.into());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    (name.len() >= 3).then(|| name.into())
}

/// `[+-]hours[:minutes[:seconds]]`, in seconds.
fn take_time(rest: &mut &str, max_hours: i64) -> Option<i64> {
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(rest.len());
    let (time, after) = rest.split_at(end);
    *rest = after;
    let mut parts = time.split(':');
    let hours: i64 = parts.next()?.parse().ok().filter(|hours| *hours <= max_hours)?;
    let mut sixty = || match parts.next() {
        None => Some(0),
        Some(text) => text.parse::<i64>().ok().filter(|number| *number < 60),
    };
    let (minutes, seconds) = (sixty()?, sixty()?);
    Some(sign * (hours * 3600 + minutes * 60 + seconds))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1 January 1970 to this date. Years begin in March here, so that 29 February comes last.
const fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_before`].
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn shown(zone: &Zone, unix: i64) -> String {
        let civil = zone.civil(unix);
        format!("{civil} {}", civil.zone)
    }

    #[test]
    fn utc_is_the_calendar_itself() {
        let utc = Zone::utc();
        assert_eq!(shown(&utc, 0), "1970-01-01 00:00:00 UTC");
        assert_eq!(shown(&utc, 951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(shown(&utc, -1), "1969-12-31 23:59:59 UTC");
        let civil = utc.civil(1_735_603_200); // 31 December 2024, a Tuesday
        assert_eq!((civil.weekday, civil.year_day), (2, 365));
    }

    #[test]
    fn summer_time_begins_and_ends_to_the_second() {
        let berlin = Zone::from_rule(BERLIN).unwrap();
        assert_eq!(shown(&berlin, 1_711_846_799), "2024-03-31 01:59:59 CET");
        assert_eq!(shown(&berlin, 1_711_846_800), "2024-03-31 03:00:00 CEST");
        assert_eq!(shown(&berlin, 1_729_990_799), "2024-10-27 02:59:59 CEST");
        assert_eq!(shown(&berlin, 1_729_990_800), "2024-10-27 02:00:00 CET");
    }

    #[test]
    fn summer_may_span_the_new_year() {
        let sydney = Zone::from_rule("AEST-10AEDT,M10.1.0,M4.1.0/3").unwrap();
        assert_eq!(shown(&sydney, 1_704_067_200), "2024-01-01 11:00:00 AEDT");
        assert_eq!(shown(&sydney, 1_719_792_000), "2024-07-01 10:00:00 AEST");
    }

    #[test]
    fn odd_rules_are_read_and_broken_ones_refused() {
        let offset = |text: &str, unix| Zone::from_rule(text).map(|zone| zone.civil(unix).offset);
        assert_eq!(offset("<+0545>-5:45", 0), Some(20_700));
        assert_eq!(offset("NST3:30NDT", 1_719_792_000), Some(-9_000));
        assert_eq!(offset("EST5EDT,J60/0,J300/0", 1_709_276_400), Some(-14_400));
        assert_eq!(offset("IST-2IDT,M3.4.4/26,M10.5.0", 1_711_670_399), Some(7_200));
        assert_eq!(offset("IST-2IDT,M3.4.4/26,M10.5.0", 1_711_670_400), Some(10_800));
        for broken in
            ["", "C", "CET", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M1.1.1", "<CET-1", "CET-99", "CET-1:61"]
        {
            assert_eq!(Zone::from_rule(broken), None, "{broken}");
        }
    }

    /// A file as `zic` writes it: empty old block, two changes, a rule.
    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let head = |file: &mut Vec<u8>, counts: [u32; 6]| {
            file.extend_from_slice(b"TZif2");
            file.extend_from_slice(&[0; 15]);
            counts.iter().for_each(|count| file.extend_from_slice(&count.to_be_bytes()));
        };
        head(&mut file, [0, 0, 0, 0, 1, 1]);
        file.extend_from_slice(&[0; 7]);
        head(&mut file, [0, 0, 0, 2, 3, 13]);
        file.extend_from_slice(&(-2_422_054_408_i64).to_be_bytes());
        file.extend_from_slice(&1_711_846_800_i64.to_be_bytes());
        file.extend_from_slice(&[1, 2]);
        for (seconds, summer, name) in [(3_208_i32, 0_u8, 0_u8), (3_600, 0, 4), (7_200, 1, 8)] {
            file.extend_from_slice(&seconds.to_be_bytes());
            file.extend_from_slice(&[summer, name]);
        }
        file.extend_from_slice(b"LMT\0CET\0CEST\0");
        file.extend_from_slice(format!("\n{BERLIN}\n").as_bytes());
        file
    }

    #[test]
    fn a_time_zone_file_gives_past_and_future() {
        let berlin = Zone::from_bytes(&file()).unwrap();
        assert_eq!(shown(&berlin, -2_422_054_409), "1893-03-31 23:59:59 LMT");
        assert_eq!(shown(&berlin, 0), "1970-01-01 01:00:00 CET");
        assert_eq!(shown(&berlin, 1_711_846_800), "2024-03-31 03:00:00 CEST");
        assert_eq!(shown(&berlin, 1_894_665_600), "2030-01-15 01:00:00 CET");
        let cut_anywhere =
            (0..file().len() - BERLIN.len() - 2).filter_map(|len| Zone::from_bytes(&file()[..len]));
        assert_eq!(cut_anywhere.count(), 0);
    }

    #[test]
    fn the_systems_own_files_are_understood() {
        let new_york = Zone::named(Some("America/New_York"));
        if new_york == Zone::utc() {
            eprintln!("skipped: this machine has no time zone files");
            return;
        }
        // Until 2006 summer time ended in October, since 2007 in November.
        assert_eq!(shown(&new_york, 1_162_101_599), "2006-10-29 01:59:59 EDT");
        assert_eq!(shown(&new_york, 1_162_101_600), "2006-10-29 01:00:00 EST");
        assert_eq!(shown(&new_york, 1_194_155_999), "2007-11-04 01:59:59 EDT");
        assert_eq!(shown(&new_york, 1_194_156_000), "2007-11-04 01:00:00 EST");
        assert_eq!(shown(&new_york, 2_540_000_000), "2050-06-27 23:33:20 EDT");
    }

    #[test]
    fn a_zone_without_a_name_we_know_is_utc() {
        for tz in ["", ":", "No/Such/Place", "../../../etc/passwd"] {
            assert_eq!(Zone::named(Some(tz)), Zone::utc(), "{tz}");
        }
        assert_eq!(Zone::named(Some(BERLIN)).civil(0).offset, 3600);
    }

    proptest! {
        #[test]
        fn dates_and_days_are_inverse(days in -1_000_000_i64..10_000_000) {
            let (year, month, day) = date_of(days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            prop_assert_eq!(days_before(year, month, day), days);
        }

        #[test]
        fn rubbish_is_no_zone_and_no_panic(mut file in prop::collection::vec(any::<u8>(), 0..200), rule in ".{0,30}", unix: i64) {
            file.splice(0..0, *b"TZif2");
            if let Some(zone) = Zone::from_bytes(&file) {
                prop_assert!(zone.civil(unix).month <= 12);
            }
            if let Some(zone) = Zone::from_rule(&rule) {
                prop_assert!(zone.civil(unix).month <= 12);
            }
        }

        #[test]
        fn a_damaged_file_is_no_panic(at in 0usize..200, byte: u8, unix: i64) {
            let mut file = file();
            let at = at % file.len();
            file[at] = byte;
            if let Some(zone) = Zone::from_bytes(&file) {
                prop_assert!(zone.civil(unix).month <= 12);
            }
        }
    }
}
