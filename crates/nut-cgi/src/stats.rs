//! What each command of a template shows, and the built-in pages: the tree of variables and JSON (cgi §2).
//!
//! Pure: the shell has asked the servers before; what they said comes in as [`Shown`]s.

use crate::page::{html, json, url};
use crate::template::{Piece, Template};
use nut_os::clock::WallTime;
use nut_proto::numbers::{Number, leading_number};
use nut_proto::status::{Status, Word};

/// Most bytes of a page; a loop of a template over many UPSes must end somewhere.
pub const MAX_PAGE: usize = 16 * 1024 * 1024;

/// A UPS with what its server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The UPS as hosts.conf has it.
    pub system: String,
    /// What people call it.
    pub description: String,
    /// Its variables; or why there are none.
    pub variables: Result<Vec<(String, String)>, Trouble>,
}

/// Why there are no variables, in the words of NUT's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The server cannot be reached, or broke off.
    Server(String),
    /// The server has none: no such UPS, no driver, nothing fresh.
    Refused(String),
}

impl Trouble {
    /// What there is to say.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Server(text) | Self::Refused(text) => text,
        }
    }
}

impl Shown {
    /// The value of a variable; `Ok(None)` if the UPS has no such.
    fn get(&self, name: &str) -> Result<Option<&str>, &str> {
        let variables = self.variables.as_ref().map_err(Trouble::text)?;
        let found = variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(found.map(|(_, value)| value.as_str()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).ok().flatten()
    }

    fn status(&self) -> Option<Status> {
        self.value("ups.status").map(Status::from_text)
    }
}

/// What the request and the machine add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// `refresh`: seconds after which the browser asks again; 0: never.
    pub refresh: u32,
    /// What links must repeat of the request so that the next page is of the same templates, `&amp;` in front.
    pub templates: String,
    /// The version for `VERSION`.
    pub version: String,
    /// The time for `DATE`.
    pub now: WallTime,
}

/// What a status word means to people, and how bad it is: 0 well, 1 take note, 2 bad.
fn meaning(word: Word) -> Option<(&'static str, u8)> {
    Some(match word {
        Word::Off => ("OFF", 1),
        Word::Ol => ("ONLINE", 0),
        Word::Ob => ("ON BATTERY", 2),
        Word::Lb => ("LOW BATTERY", 2),
        Word::Rb => ("REPLACE BATTERY", 2),
        Word::Over => ("OVERLOAD", 2),
        Word::Trim => ("VOLTAGE TRIM", 1),
        Word::Boost => ("VOLTAGE BOOST", 1),
        Word::Cal => ("CALIBRATION", 1),
        Word::Bypass => ("BYPASS", 2),
        Word::Eco => ("ECO", 1),
        Word::Alarm => ("ALARM", 2),
        // NUT shows nothing for a forced shutdown; whoever looks must see it.
        Word::Fsd => ("FORCED SHUTDOWN", 2),
        Word::Hb | Word::Chrg | Word::Dischrg | Word::Wait => return None,
    })
}

/// The words of a status that people read, in the order the UPS said them.
fn meanings(text: &str) -> Vec<&'static str> {
    text.split_ascii_whitespace()
        .filter_map(Word::from_text)
        .filter_map(meaning)
        .map(|(text, _)| text)
        .collect()
}

fn color(shown: &Shown) -> &'static str {
    if matches!(shown.variables, Err(Trouble::Server(_))) {
        return "#FF0000";
    }
    let Some(status) = shown.status() else { return "#FFFF00" };
    match status.words().filter_map(meaning).map(|(_, severity)| severity).max() {
        None | Some(0) => "#00FF00",
        Some(1) => "#FFFF00",
        Some(_) => "#FF0000",
    }
}

/// Fills a template. `all` are the UPSes that `FOREACHUPS` goes through; the first is the one shown outside a loop.
#[must_use]
pub fn fill(template: &Template, all: &[Shown], context: &Context) -> String {
    let mut filler = Filler {
        out: String::new(),
        all,
        current: 0,
        celsius: true,
        stats_path: "upsstats.cgi".to_owned(),
        skip_clause: false,
        skip_block: false,
        context,
    };
    let mut line = 0;
    let mut back_to = None;
    while let Some(pieces) = template.lines.get(line) {
        line += 1;
        // One turn a line: what stands behind the end of a loop on its line belongs to no other loop.
        let mut turned = false;
        for piece in pieces {
            match (filler.piece(piece), back_to) {
                (Turn::On, _) | (Turn::LoopEnds, None) => {}
                (Turn::LoopBegins | Turn::LoopEnds, _) if turned => {}
                // Loops do not nest: a second beginning inside one would never end.
                (Turn::LoopBegins, Some(_)) => {}
                (Turn::LoopBegins, None) => {
                    filler.current = 0;
                    back_to = Some(line);
                    turned = true;
                }
                (Turn::LoopEnds, Some(start)) => {
                    turned = true;
                    filler.current += 1;
                    if filler.current < all.len() {
                        line = start;
                    } else {
                        back_to = None;
                    }
                }
            }
        }
        if filler.out.len() > MAX_PAGE {
            break;
        }
    }
    filler.out
}

/// Where a template goes on after a piece.
enum Turn {
    On,
    LoopBegins,
    LoopEnds,
}

struct Filler<'a> {
    out: String,
    all: &'a [Shown],
    current: usize,
    celsius: bool,
    stats_path: String,
    skip_clause: bool,
    skip_block: bool,
    context: &'a Context,
}

impl Filler<'_> {
    fn piece(&mut self, piece: &Piece) -> Turn {
        let skipping = self.skip_clause || self.skip_block;
        match piece {
            Piece::Text(text) => {
                if !skipping {
                    self.out.push_str(text);
                }
                Turn::On
            }
            Piece::Command { name, argument } => self.command(name, argument, skipping),
        }
    }

    fn command(&mut self, name: &str, argument: &str, skipping: bool) -> Turn {
        match name {
            "ENDIF" => {
                self.skip_clause = false;
                self.skip_block = false;
            }
            _ if self.skip_block => {}
            "ELSE" if self.skip_clause => self.skip_clause = false,
            "ELSE" => self.skip_block = true,
            _ if skipping => {}
            "IFSUPP" => self.skip_clause = self.now().and_then(|shown| shown.value(argument)).is_none(),
            "IFEQ" => self.if_equal(argument),
            "IFBETWEEN" => self.if_between(argument),
            "FOREACHUPS" => return Turn::LoopBegins,
            "ENDFOR" => return Turn::LoopEnds,
            "TEMPC" => self.celsius = true,
            "TEMPF" => self.celsius = false,
            "UPSSTATSPATH" if !argument.is_empty() => argument.clone_into(&mut self.stats_path),
            name => self.show(name, argument),
        }
        Turn::On
    }

    /// Commands that only print.
    fn show(&mut self, name: &str, argument: &str) {
        let text = match name {
            "VAR" => self.variable(argument, html),
            "HOST" => self.now().map_or_else(String::new, |shown| html(&shown.system)),
            "HOSTDESC" => self.now().map_or_else(String::new, |shown| html(&shown.description)),
            "HOSTLINK" => self.link("", None),
            "TREELINK" => {
                self.link("&amp;treemode", Some(if argument.is_empty() { "All data" } else { argument }))
            }
            "TREELINK_JSON" => {
                self.link("&amp;json", Some(if argument.is_empty() { "JSON" } else { argument }))
            }
            "STATUS" => {
                let separator = if argument.is_empty() { "<br/>" } else { argument };
                self.variable("ups.status", |text| meanings(text).join(separator))
            }
            "STATUSCOLOR" => self.now().map_or("#FF0000", color).to_owned(),
            "RUNTIME" => self.variable("battery.runtime", |text| {
                let seconds = leading_number(text);
                format!("{:02}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
            }),
            "UPSTEMP" => self.temperature("ups.temperature"),
            "BATTTEMP" => self.temperature("battery.temperature"),
            "AMBTEMP" => self.temperature("ambient.temperature"),
            "DEGREES" => if self.celsius { "&deg;C" } else { "&deg;F" }.to_owned(),
            "DATE" => html(&self.context.now.strftime(argument)),
            "VERSION" => html(&self.context.version),
            "REFRESH" if self.context.refresh > 0 => {
                format!("<META HTTP-EQUIV=\"Refresh\" CONTENT=\"{}\">", self.context.refresh)
            }
            // Commands we do not know print nothing, as in NUT.
            _ => String::new(),
        };
        self.out.push_str(&text);
    }

    fn now(&self) -> Option<&Shown> {
        self.all.get(self.current)
    }

    fn variable(&self, name: &str, shape: impl FnOnce(&str) -> String) -> String {
        match self.now().map(|shown| shown.get(name)) {
            None => "No UPS specified for monitoring\n".to_owned(),
            Some(Ok(Some(value))) => shape(value),
            Some(Ok(None)) => "Not supported\n".to_owned(),
            Some(Err(error)) => format!("[error: {}]\n", html(error)),
        }
    }

    fn temperature(&self, name: &str) -> String {
        self.variable(name, |text| match text.trim().parse::<f64>() {
            Ok(celsius) if !self.celsius => format!("{:.1}", celsius * 1.8 + 32.0),
            _ => html(text),
        })
    }

    fn link(&self, more: &str, text: Option<&str>) -> String {
        let Some(shown) = self.now() else { return String::new() };
        let refresh = match self.context.refresh {
            0 => String::new(),
            seconds => format!("&amp;refresh={seconds}"),
        };
        let text = html(text.unwrap_or(&shown.description));
        format!(
            "<a href=\"{}?host={}{more}{}{refresh}\">{text}</a>",
            html(&self.stats_path),
            url(&shown.system),
            self.context.templates,
        )
    }

    fn if_equal(&mut self, argument: &str) {
        let words: Vec<&str> = argument.split(' ').collect();
        let [name, wanted] = words.as_slice() else {
            self.out.push_str("upsstats: IFEQ: Argument error!\n");
            return;
        };
        let own = if self.celsius { "1" } else { "0" };
        let value = match *name {
            "upsstats.use_celsius" => Some(own),
            name => self.now().and_then(|shown| shown.value(name)),
        };
        self.skip_clause = value != Some(*wanted);
    }

    fn if_between(&mut self, argument: &str) {
        let words: Vec<&str> = argument.split(' ').collect();
        let [low, high, name] = words.as_slice() else {
            self.out.push_str("upsstats: IFBETWEEN: Argument error!\n");
            return;
        };
        let number = |name: &str| Number::read(self.now()?.value(name)?).value();
        if let (Some(low), Some(high), Some(value)) = (number(low), number(high), number(name)) {
            self.skip_clause = value < low || value > high;
        }
    }
}

/// The page with all variables of one UPS.
#[must_use]
pub fn tree(shown: &Shown) -> String {
    let variables = match &shown.variables {
        Ok(variables) => variables,
        Err(error) => return format!("[error: {}]\n", html(error.text())),
    };
    let title = html(&shown.description);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>upsstat: data tree of {title}</title>\n</head>\n<body>\n\
         <table bgcolor=\"#50A0A0\" align=\"center\">\n<tr><th colspan=\"3\">{title}</th></tr>\n"
    );
    for (name, value) in variables {
        page.push_str("<tr bgcolor=\"#60B0B0\"><td>");
        page.push_str(&html(name));
        page.push_str("</td><td>:</td><td>");
        page.push_str(&html(value));
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

/// One UPS as JSON, as `host=…&json` answers it.
#[must_use]
pub fn json_of(shown: &Shown) -> String {
    let (system, description) = (json(&shown.system), json(&shown.description));
    if let Err(Trouble::Server(error)) = &shown.variables {
        let error = json(&format!("Connection failed: {error}"));
        return format!("  {{\"host\": {system}, \"desc\": {description}, \"error\": {error}}}");
    }
    let mut text = format!("  {{\n    \"host\": {system},\n    \"desc\": {description},\n");
    if let Some(status) = shown.value("ups.status") {
        let parsed: Vec<String> = meanings(status).into_iter().map(json).collect();
        text.push_str(&format!(
            "    \"status_raw\": {},\n    \"status_parsed\": [{}],\n",
            json(status),
            parsed.join(", ")
        ));
    }
    let pair = |name: &str, value: &str| format!("      {}: {}", json(name), json(value));
    let pairs: Vec<String> = match &shown.variables {
        Ok(variables) => variables.iter().map(|(name, value)| pair(name, value)).collect(),
        Err(error) => vec![pair("error", &format!("Failed to list variables: {}", error.text()))],
    };
    text.push_str(&format!("    \"vars\": {{\n{}\n    }}\n  }}", pairs.join(",\n")));
    text
}

/// All UPSes as JSON.
#[must_use]
pub fn json_list(all: &[Shown]) -> String {
    let devices: Vec<String> = all.iter().map(json_of).collect();
    format!("{{\"devices\": [\n{}\n]}}\n", devices.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn ups(system: &str, variables: &[(&str, &str)]) -> Shown {
        Shown {
            system: system.to_owned(),
            description: format!("The {system}"),
            variables: Ok(variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()),
        }
    }

    fn filled(template: &str, all: &[Shown]) -> String {
        let context = Context {
            refresh: 0,
            templates: String::new(),
            version: "2".into(),
            now: WallTime::from_unix(Duration::from_secs(1_720_000_000)),
        };
        fill(&Template::parse(template), all, &context)
    }

    #[test]
    fn commands_show_what_the_ups_says() {
        let one = [ups(
            "a@h",
            &[
                ("ups.status", "OB LB FOO"),
                ("battery.runtime", "3725"),
                ("ups.temperature", "20.0"),
                ("x.y", "<i>"),
            ],
        )];
        let cases = [
            ("@HOST@ @HOSTDESC@", "a@h The a@h"),
            ("@VAR x.y@", "&lt;i&gt;"),
            ("@VAR no.such@", "Not supported\n"),
            ("@STATUS@", "ON BATTERY<br/>LOW BATTERY"),
            ("@STATUS , @", "ON BATTERY, LOW BATTERY"),
            ("@STATUSCOLOR@", "#FF0000"),
            ("@RUNTIME@", "01:02:05"),
            ("@UPSTEMP@@DEGREES@ @TEMPF@@UPSTEMP@@DEGREES@", "20.0&deg;C 68.0&deg;F"),
            ("@HOSTLINK@", "<a href=\"upsstats.cgi?host=a@h\">The a@h</a>"),
            ("@UPSSTATSPATH x.cgi@@TREELINK@", "<a href=\"x.cgi?host=a@h&amp;treemode\">All data</a>"),
            ("@UTILITYCOLOR@|@REFRESH@|", "||"),
            ("@DATE %Y <%m>@|@DATE@|", "2024 &lt;07&gt;||"),
        ];
        for (template, expected) in cases {
            assert_eq!(filled(template, &one), expected, "{template}");
        }
    }

    #[test]
    fn a_forced_shutdown_is_told_and_red() {
        let forced = [ups("a", &[("ups.status", "FSD OL")])];
        assert_eq!(filled("@STATUS , @ @STATUSCOLOR@", &forced), "FORCED SHUTDOWN, ONLINE #FF0000");
        assert!(json_of(&forced[0]).contains("[\"FORCED SHUTDOWN\", \"ONLINE\"]"));
    }

    #[test]
    fn two_flags_and_no_nesting_as_in_nut() {
        let one = [ups("a", &[("yes", "5"), ("lo", "1"), ("hi", "9")])];
        let cases = [
            ("[@IFSUPP yes@A@IFSUPP no@B@ELSE@C@ENDIF@]", "[AC]"),
            ("[@IFSUPP no@x@IFSUPP yes@y@ENDIF@z@ENDIF@]", "[z]"),
            ("[@IFSUPP yes@1@ELSE@2@ELSE@3@ENDIF@]", "[1]"),
            ("[@IFEQ yes 5@=@ELSE@!@ENDIF@]", "[=]"),
            ("[@IFEQ yes@kept@ENDIF@]", "[upsstats: IFEQ: Argument error!\nkept]"),
            ("[@IFEQ upsstats.use_celsius 1@C@ENDIF@]", "[C]"),
            ("[@IFBETWEEN lo hi yes@in@ENDIF@]", "[in]"),
            ("[@IFBETWEEN hi lo yes@in@ELSE@out@ENDIF@]", "[out]"),
            ("[@IFBETWEEN lo no yes@kept@ENDIF@]", "[kept]"),
        ];
        for (template, expected) in cases {
            assert_eq!(filled(template, &one), expected, "{template}");
        }
    }

    #[test]
    fn a_loop_shows_every_ups_and_nobody_crashes_behind_it() {
        let all = [ups("a", &[("v", "1")]), ups("b", &[("v", "2")])];
        assert_eq!(
            filled("@FOREACHUPS@once\n@HOST@=@VAR v@;\n@ENDFOR@each\n", &all),
            "once\na=1;\neach\nb=2;\neach\n"
        );
        assert_eq!(
            filled("@FOREACHUPS@\n@ENDFOR@@HOST@@VAR v@\n", &all[..1]),
            "\nNo UPS specified for monitoring\n\n"
        );
        assert_eq!(filled("@ENDFOR@x", &all), "x");
    }

    #[test]
    fn a_ups_out_of_reach_is_red_and_says_why() {
        let gone = [Shown {
            system: "a".into(),
            description: "A".into(),
            variables: Err(Trouble::Server("Connection failure: Connection refused".into())),
        }];
        assert_eq!(filled("@STATUSCOLOR@", &gone), "#FF0000");
        assert_eq!(filled("@VAR x@", &gone), "[error: Connection failure: Connection refused]\n");
        assert_eq!(filled("@IFSUPP x@no@ELSE@yes@ENDIF@", &gone), "yes");
        let stale = [Shown { variables: Err(Trouble::Refused("Data stale".into())), ..gone[0].clone() }];
        assert_eq!(filled("@STATUSCOLOR@@VAR x@", &stale), "#FFFF00[error: Data stale]\n");
    }

    #[test]
    fn json_is_json() {
        let all = [
            ups("a\"", &[("ups.status", "OL CHRG"), ("x", "\\\u{1}")]),
            Shown { variables: Err(Trouble::Server("No such host".into())), ..ups("b", &[]) },
            Shown { variables: Err(Trouble::Refused("Data stale".into())), ..ups("c", &[]) },
        ];
        let value: serde_json::Value = serde_json::from_str(&json_list(&all)).unwrap();
        assert_eq!(value["devices"][0]["status_parsed"][0], "ONLINE");
        assert_eq!(value["devices"][0]["vars"]["x"], "\\\u{1}");
        assert_eq!(value["devices"][1]["error"], "Connection failed: No such host");
        assert_eq!(value["devices"][2]["vars"]["error"], "Failed to list variables: Data stale");
    }

    proptest! {
        #[test]
        fn no_template_runs_away(source in "(@(FOREACHUPS|ENDFOR|ELSE|ENDIF|IFSUPP x|VAR x|HOST)@|[a-z\n]){0,40}") {
            let all = [ups("a", &[("x", "1")]), ups("b", &[])];
            prop_assert!(filled(&source, &all).len() < 100_000);
        }
    }
}
