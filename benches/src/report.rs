//! The table a person reads.

use crate::contestants::Who;
use crate::figures::{Figure, Report, Row};

/// All of it, as text.
pub(crate) fn table(report: &Report) -> String {
    let head = ["", "", "NUT's upsd", "our upsd", "the echo", "ours / echo", "wanted", ""].map(str::to_owned);
    let mut lines: Vec<[String; 8]> = vec![head];
    lines.extend(report.rows.iter().map(line));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = format!(
        "{}, built for {}, load before {} and after {}\nThe median of several rounds, and behind it the spread.\n\n",
        report.machine,
        report.profile,
        report.load.first().map_or("", String::as_str),
        report.load.last().map_or("", String::as_str)
    );
    for line in &lines {
        for (nth, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            // Figures stand to the right, words to the left.
            let is_figure = (2..=5).contains(&nth);
            let cell = if is_figure { format!("{padding}{cell}") } else { format!("{cell}{padding}") };
            text.push_str(&cell);
            text.push_str("  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn line(row: &Row) -> [String; 8] {
    let figure = |who| row.figures.get(&who).map_or("-".to_owned(), shown);
    let (wanted, met) = match &row.target {
        None => (String::new(), ""),
        Some(target) => (target.text.clone(), if target.met { "met" } else { "NOT MET" }),
    };
    [
        row.name.clone(),
        row.unit.to_owned(),
        figure(Who::Nut),
        figure(Who::Ours),
        figure(Who::Echo),
        row.ratio.as_ref().map_or(String::new(), |ratio| format!("{:.2}", ratio.median)),
        wanted,
        met.to_owned(),
    ]
}

fn shown(figure: &Figure) -> String {
    let spread = (figure.most - figure.least) / 2.0;
    let median = rounded(figure.median);
    if figure.rounds < 2 || figure.median == 0.0 {
        return median;
    }
    format!("{median} ±{:.0} %", 100.0 * spread / figure.median)
}

/// Three digits that count.
fn rounded(number: f64) -> String {
    match number {
        _ if number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Target;

    #[test]
    fn a_person_can_read_it() {
        let figure = |rounds: &[f64]| Figure::of(rounds.to_vec()).unwrap();
        let row = Row {
            name: "GET VAR".into(),
            unit: "us",
            figures: [(Who::Ours, figure(&[9.0, 10.0, 11.0])), (Who::Echo, figure(&[1234.5]))].into(),
            ratio: Some(figure(&[0.95])),
            target: Some(Target { text: "at least 0.9".into(), met: true }),
        };
        let report = Report {
            machine: "2 x CPU".into(),
            load: ["0".into(), "1".into()],
            profile: "release",
            rows: vec![row],
        };
        let text = table(&report);
        let last = text.lines().last().unwrap();
        let words: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(
            words,
            ["GET", "VAR", "us", "-", "10.0", "±10", "%", "1234", "0.95", "at", "least", "0.9", "met"]
        );
        // Columns stand below each other.
        let place = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        let head = text.lines().nth(3).unwrap();
        assert_eq!(place(head, "the echo"), place(&last.replace('±', "x"), "1234"));
    }
}
