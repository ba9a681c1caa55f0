//! A page with commands between `@` signs, as lines of pieces (cgi §2.1).

/// Longest template that is read.
pub const MAX_TEMPLATE: usize = 1024 * 1024;

/// A template: its lines in order. Loops go from line to line, so the lines are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// The lines.
    pub lines: Vec<Vec<Piece>>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Copied as it is; the last one of a line holds its end.
    Text(String),
    /// Between two `@`: the command's name, and what follows the first blank.
    Command {
        /// The name; case counts.
        name: String,
        /// The argument, empty if there is none.
        argument: String,
    },
}

impl Template {
    /// Reads a template. Every text is one: an `@` without another on its line swallows the rest of that line, with
    /// its end, as NUT does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(line).collect() }
    }
}

fn line(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('@') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some((command, behind)) = behind.split_once('@') else { return pieces };
        let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
        pieces.push(Piece::Command { name: name.to_owned(), argument: argument.to_owned() });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn command(name: &str, argument: &str) -> Piece {
        Piece::Command { name: name.to_owned(), argument: argument.to_owned() }
    }

    #[test]
    fn commands_stand_between_two_signs_on_one_line() {
        let template = Template::parse("<b>@VAR ups.model@</b>\n@HOST@@@x\nlone @ sign\nend");
        assert_eq!(
            template.lines,
            [
                vec![text("<b>"), command("VAR", "ups.model"), text("</b>\n")],
                vec![command("HOST", ""), command("", ""), text("x\n")],
                vec![text("lone ")],
                vec![text("end")],
            ]
        );
    }

    proptest! {
        #[test]
        fn text_without_signs_is_copied(source in "[^@]{0,200}") {
            let copied: String = Template::parse(&source).lines.into_iter().flatten().map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Command { .. } => String::new(),
            }).collect();
            prop_assert_eq!(copied, source);
        }
    }
}
