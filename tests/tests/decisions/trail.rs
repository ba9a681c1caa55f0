//! What an upsmon did, as a trail of few words, read from its own log; and how a trail is compared.

use super::Side;

/// Notices and their default texts, as NUT has them. The first eleven are all that 2.8.0 knows.
pub(super) const NOTICES: &[(&str, &str)] = &[
    ("ONLINE", "UPS %s on line power"),
    ("ONBATT", "UPS %s on battery"),
    ("LOWBATT", "UPS %s battery is low"),
    ("FSD", "UPS %s: forced shutdown in progress"),
    ("COMMOK", "Communications with UPS %s established"),
    ("COMMBAD", "Communications with UPS %s lost"),
    ("SHUTDOWN", "Auto logout and shutdown proceeding"),
    ("REPLBATT", "UPS %s battery needs to be replaced"),
    ("NOCOMM", "UPS %s is unavailable"),
    ("NOPARENT", "upsmon parent process died - shutdown impossible"),
    ("CAL", "UPS %s: calibration in progress"),
    ("NOTCAL", "UPS %s: calibration finished"),
    ("OFF", "UPS %s: administratively OFF or asleep"),
    ("NOTOFF", "UPS %s: no longer administratively OFF or asleep"),
    ("BYPASS", "UPS %s: on bypass (powered, not protecting)"),
    ("NOTBYPASS", "UPS %s: no longer on bypass"),
    ("OTHER", "UPS %s: has at least one unclassified status token: ["),
    ("NOTOTHER", "UPS %s has no unclassified status tokens anymore"),
    (
        "SHUTDOWN_HOSTSYNC",
        "Shutdown initiated; primary system is waiting for secondaries to log out or time out",
    ),
];

/// How many of [`NOTICES`] NUT 2.8.0 knows.
pub(super) const IN_2_8_0: usize = 11;

/// Other lines that matter, by a part of them, and how a trail calls them; `%s` as above.
const REMARKS: &[(&str, &str)] = &[
    ("SHUT", "Executing automatic power-fail shutdown"),
    ("gave up", "Giving up on the primary for UPS [%s]"),
    ("HOSTSYNC is over", "Host sync timer expired, forcing shutdown"),
    ("no FSD for", "FSD set on UPS %s failed"),
    ("no login to", "Login on UPS [%s] failed"),
    ("is no primary of", "Primary managerial privileges unavailable on UPS [%s]"),
    ("reload", "Reloading configuration"),
    ("watches no longer", "No longer monitoring UPS [%s]"),
    ("new power value of", "UPS [%s]: redefined power value"),
    ("secondary of", "UPS [%s]: redefined as a secondary"),
    ("primary of", "UPS [%s]: redefined as a primary"),
    ("too little power", "Fatal error: insufficient power configured!"),
    ("cannot run its command", "nable to call shutdown command"),
    ("cannot reach its parent", "Unable to call parent pipe for shutdown"),
];

/// One item of a trail, if a line of the log is one: `ONBATT u1`, `SHUT`.
pub(super) fn item(line: &str) -> Option<String> {
    let line = without_places(line);
    let named = |(name, text): &(&str, &str)| {
        let Some((before, after)) = text.split_once("%s") else {
            return line.contains(text).then(|| (*name).to_owned());
        };
        let (_, rest) = line.split_once(before)?;
        let end = rest.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (ups, rest) = rest.split_at(end);
        (!ups.is_empty() && rest.starts_with(after)).then(|| format!("{name} {ups}"))
    };
    NOTICES.iter().chain(REMARKS).find_map(named)
}

/// `u1@127.0.0.1:4711` is `u1`: each upsmon finds its server at another port.
fn without_places(line: &str) -> String {
    let mut parts = line.split("@127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| line + part.trim_start_matches(|one: char| one.is_ascii_digit()))
}

/// Whether an item is a notice, by its kind.
pub(super) fn notice(item: &str) -> Option<&'static str> {
    let kind = item.split(' ').next()?;
    NOTICES.iter().map(|(name, _)| *name).find(|name| *name == kind)
}

/// Compares an expected trail with what was seen.
///
/// | written | means |
/// |---|---|
/// | `ONBATT u1` | this item |
/// | `+FSD u1` | the same, which NUT came to tell after 2.8.0: there it is missing |
/// | `?+X`, `?X` | it may be missing, since it depends on who was quicker |
/// | `{A, B}` | both, in any order, for the same reason |
/// | `A *` | once or more, in a row |
pub(super) fn fits(expected: &[&str], seen: &[String], side: Side) -> bool {
    let mut seen = seen.iter().map(String::as_str).peekable();
    for one in expected {
        let (optional, one) = one.strip_prefix('?').map_or((false, *one), |one| (true, one));
        let (newer, one) = one.strip_prefix('+').map_or((false, one), |one| (true, one));
        if newer && side == Side::Nuts {
            continue;
        }
        if let Some(group) = one.strip_prefix('{').and_then(|one| one.strip_suffix('}')) {
            let mut group: Vec<&str> = group.split(", ").collect();
            let mut found: Vec<&str> = seen.by_ref().take(group.len()).collect();
            group.sort_unstable();
            found.sort_unstable();
            if group != found {
                return false;
            }
            continue;
        }
        let (repeated, one) = one.strip_suffix(" *").map_or((false, one), |one| (true, one));
        let mut times = 0;
        while (times == 0 || repeated) && seen.next_if_eq(&one).is_some() {
            times += 1;
        }
        if times == 0 && !optional {
            return false;
        }
    }
    seen.next().is_none()
}

#[test]
fn a_line_of_the_log_is_an_item_or_nothing() {
    for (line, expected) in [
        ("UPS u1@127.0.0.1:4711 on battery", Some("ONBATT u1")),
        ("UPS u1@127.0.0.1:4711: forced shutdown in progress", Some("FSD u1")),
        ("Communications with UPS u1@127.0.0.1:4711 lost", Some("COMMBAD u1")),
        ("Giving up on the primary for UPS [u1@127.0.0.1:4711]", Some("gave up u1")),
        ("FSD set on UPS u1@127.0.0.1:4711 failed: ERR ACCESS-DENIED", Some("no FSD for u1")),
        ("Executing automatic power-fail shutdown", Some("SHUT")),
        ("UPS: u1@127.0.0.1:4711 (primary) (power value 1)", None),
        ("UPS [u1@127.0.0.1:4711]: connect failed: Connection failure: Connection refused", None),
    ] {
        assert_eq!(item(line).as_deref(), expected, "{line}");
    }
}

#[test]
fn a_trail_fits_or_does_not() {
    let seen = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let expected = &["ONBATT u1", "{LOWBATT u1, FSD u1}", "?+HOSTSYNC", "+NEW", "gave up u1 *", "SHUT"];
    for (items, side, fit) in [
        (
            &["ONBATT u1", "FSD u1", "LOWBATT u1", "HOSTSYNC", "NEW", "gave up u1", "SHUT"][..],
            Side::Ours,
            true,
        ),
        (&["ONBATT u1", "LOWBATT u1", "FSD u1", "NEW", "gave up u1", "gave up u1", "SHUT"], Side::Ours, true),
        (&["ONBATT u1", "LOWBATT u1", "FSD u1", "gave up u1", "SHUT"], Side::Nuts, true),
        (&["ONBATT u1", "LOWBATT u1", "FSD u1", "gave up u1", "SHUT"], Side::Ours, false),
        (&["ONBATT u1", "LOWBATT u1", "FSD u1", "gave up u1"], Side::Nuts, false),
        (&["ONBATT u1", "LOWBATT u1", "LOWBATT u1", "gave up u1", "SHUT"], Side::Nuts, false),
        (&["ONBATT u1", "LOWBATT u1", "FSD u1", "gave up u1", "SHUT", "SHUT"], Side::Nuts, false),
    ] {
        assert_eq!(fits(expected, &seen(items), side), fit, "{items:?}");
    }
}
