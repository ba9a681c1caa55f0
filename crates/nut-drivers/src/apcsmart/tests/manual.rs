//! The tables of apcsmart(8), from those of the driver.

use super::super::commands::names;
use super::super::options;
use super::super::shutdown::{Line, Method, plan};
use super::super::variables::{Class, Kind, ROWS};
use nut_drill::manual::{keep, literal};

#[track_caller]
fn keep_table(block: &str, lines: &[String]) {
    let text: String = lines.iter().map(|line| literal(line.trim_end()) + "\n").collect();
    keep("apcsmart.8", block, &format!(".Bd -literal\n{text}.Ed\n"), "nut-drivers")
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A query as the unit's maker writes it: `^A` for 1, two bytes in hexadecimal.
fn asked(bytes: &[u8]) -> String {
    match bytes {
        [byte @ 0..32] => format!("^{}", char::from(byte + 64)),
        [byte] => char::from(*byte).to_string(),
        bytes => bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn the_manual_has_every_variable() {
    let line = |name: &str, ask: &str, when: &str, what: &str| format!("{name:<31}{ask:<7}{when:<8}{what}");
    let mut lines = vec![line("variable", "query", "when", "value")];
    for row in ROWS {
        let when = match row.class {
            Class::Poll => "always",
            Class::Full => "rarely",
        };
        let what = match row.kind {
            _ if row.is_packed => "one for each probe N",
            Kind::Number | Kind::Percent => "number",
            Kind::Minutes | Kind::Hours => "seconds",
            Kind::Text => "text",
            Kind::Settable => "text of 8 bytes, can be set",
            Kind::Reason => "a sentence",
        };
        lines.push(line(row.name, &asked(row.ask), when, what));
    }
    keep_table("variables", &lines);
}

#[test]
fn the_manual_has_every_command() {
    let mut lines = vec![format!("{:<22}{}", "command", "byte")];
    for byte in 0..=u8::MAX {
        lines.extend(names(byte).map(|name| format!("{name:<22}{}", asked(&[byte]))));
    }
    keep_table("commands", &lines);
}

#[test]
fn the_manual_has_every_way_to_cut_the_power() {
    let line = |cells: [&str; 4]| {
        let [digit, battery, mains, unknown] = cells;
        format!("{digit:<9}{battery:<17}{mains:<17}{unknown}")
    };
    let mut lines = vec![line(["sdtype", "on battery", "on mains", "not known"])];
    for digit in ["0", "1", "2", "3", "4", "5"] {
        let (options, _) = options::read([("sdtype", Some(digit))]).unwrap();
        let sent = [Line::Battery, Line::Mains, Line::Unknown].map(|state| {
            let names: Vec<String> = plan(&options, state).iter().map(Method::name).collect();
            names.join(", then ")
        });
        lines.push(line([digit, &sent[0], &sent[1], &sent[2]]));
    }
    keep_table("sdtype", &lines);
    let mut lines = vec![format!("{:<10}{}", "advorder", "tried")];
    for digit in ["0", "1", "2", "3", "4"] {
        let (options, _) = options::read([("advorder", Some(digit))]).unwrap();
        let names: Vec<String> = plan(&options, Line::Mains).iter().map(Method::name).collect();
        lines.push(format!("{digit:<10}{}", names.join(", then ")));
    }
    keep_table("advorder", &lines);
}
