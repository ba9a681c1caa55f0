//! `hosts.conf`: what the web pages show.

use crate::directives::{Format, Reader, Row};
use crate::report::quoted;
use crate::values::Line;
use crate::{Diagnostic, Source};
use std::collections::HashSet;

/// All of `hosts.conf`, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostsConf {
    /// `MONITOR <system> "<description>"`.
    pub monitors: Vec<Shown>,
    /// `CUSTOM_TEMPLATE_LIST`: templates that a request may choose for the list.
    pub list_templates: Vec<String>,
    /// `CUSTOM_TEMPLATE_SINGLE`: templates that a request may choose for one UPS.
    pub single_templates: Vec<String>,
}

/// One UPS that the pages may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The UPS as typed, `ups@host`.
    pub system: String,
    /// What people call it.
    pub description: String,
}

/// Every directive of the file.
pub static TABLE: &[Row] = &[
    Row::new(
        "MONITOR",
        "<system> <description>",
        "a UPS that the pages show, and what people call it",
        "none: the pages are empty",
        "2.0",
        "MONITOR apc@localhost \"Server room\"",
    )
    .repeats()
    .without("the line is left out: the pages do not show this UPS"),
    Row::new(
        "CUSTOM_TEMPLATE_LIST",
        "<file>",
        "a template that a request may choose for the list of UPSes",
        "none: only the usual one",
        "2.8.5",
        "CUSTOM_TEMPLATE_LIST upsstats-wide.html",
    )
    .repeats(),
    Row::new(
        "CUSTOM_TEMPLATE_SINGLE",
        "<file>",
        "a template that a request may choose for one UPS",
        "none: only the usual one",
        "2.8.5",
        "CUSTOM_TEMPLATE_SINGLE upsstats-single-wide.html",
    )
    .repeats(),
];

static FORMAT: Format = Format { table: TABLE, sections: false, secrets: None, mends: None };

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (HostsConf, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut conf = HostsConf::default();
    let mut shown = HashSet::new();
    while let Some(directive) = reader.next(&mut report) {
        if let Some(mut line) = Line::new(&directive, &mut report) {
            conf.take(&mut line, &mut shown);
        }
    }
    (conf, report.finish())
}

impl HostsConf {
    /// Takes one line; `None` if it was left out, which is told.
    fn take(&mut self, line: &mut Line<'_, '_>, shown: &mut HashSet<String>) -> Option<()> {
        match line.row.name {
            "MONITOR" => {
                line.takes(2, 2)?;
                let system = line.value(1);
                line.target(1)?;
                if !shown.insert(system.to_owned()) {
                    let what = format!("{} stands in the file already", quoted(system));
                    line.note(1, &what, "its first description counts", "");
                }
                self.monitors
                    .push(Shown { system: system.to_owned(), description: line.value(2).to_owned() });
            }
            "CUSTOM_TEMPLATE_LIST" => {
                line.takes(1, 1)?;
                self.list_templates.push(line.value(1).to_owned());
            }
            "CUSTOM_TEMPLATE_SINGLE" => {
                line.takes(1, 1)?;
                self.single_templates.push(line.value(1).to_owned());
            }
            other => debug_assert!(false, "nothing reads {other}"),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
