//! Answers for clients of NUT before 1.5 (net-protocol §12): the same data, the same rights, their words.
//!
//! Values are not quoted and go to the end of the line. `@<ups>` is echoed as the client gave it, or not at all. What is
//! asked first is today's order: the UPS, its driver, its data; then the name.

use crate::common::Common;
use crate::upses::Ups;
use nut_proto::device::Variable;
use nut_proto::net::ErrCode;
use nut_proto::net::old::{COMMANDS, NUM_LOGINS, Of, OldErr, OldRequest, VARIABLES, command, variable};
use nut_proto::words::{fitting, quote};

/// Most bytes of a value: NUT's.
const MAX_VALUE: usize = 255;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldRefusal {
    /// A word of today.
    Today(ErrCode),
    /// One of then.
    Then(OldErr),
}

impl OldRefusal {
    /// Appends the line.
    pub fn encode(self, out: &mut Vec<u8>) {
        let word = match self {
            Self::Today(code) => code.as_str(),
            Self::Then(code) => code.as_str(),
        };
        line(out, &["ERR", word]);
    }
}

impl From<ErrCode> for OldRefusal {
    fn from(code: ErrCode) -> Self {
        Self::Today(code)
    }
}

impl From<OldErr> for OldRefusal {
    fn from(code: OldErr) -> Self {
        Self::Then(code)
    }
}

/// The name of the first UPS, which is meant where none is named; empty if there is none.
#[must_use]
pub fn first_ups(common: &Common) -> String {
    common.upses.iter().next().map_or_else(String::new, |ups| ups.name.to_string())
}

/// Answers what needs no user. The other requests are today's in other words: the client translates them.
///
/// # Errors
/// In this order: the UPS, its driver, its data, the name, the variable. Nothing is written then.
pub fn answer(request: &OldRequest<'_>, common: &Common, out: &mut Vec<u8>) -> Result<(), OldRefusal> {
    match *request {
        OldRequest::ListVars(ups) => {
            let device = found(common, ups)?.upstream.device()?;
            let names = VARIABLES.iter().filter(|(_, name)| device.variable(name).is_some());
            list(out, "VARS", ups, names.map(|(old, _)| *old));
        }
        OldRequest::ListRw(ups) => {
            let device = found(common, ups)?.upstream.device()?;
            let writable = |name: &str| device.variable(name).is_some_and(|one| one.flags().writable);
            let names = VARIABLES.iter().filter(|(_, name)| writable(name));
            list(out, "RW", ups, names.map(|(old, _)| *old));
        }
        OldRequest::ListInstCmd(ups) => {
            let device = found(common, ups)?.upstream.device()?;
            let names = COMMANDS.iter().filter(|(_, name)| device.command(name).is_some());
            list(out, "INSTCMDS", ups, names.map(|(old, _)| *old));
        }
        OldRequest::Req(of) => value(of, common, out)?,
        OldRequest::VarType(of) => {
            let (_, variable) = variable_of(of, common)?;
            if !variable.choices().is_empty() {
                line(out, &["TYPE", "ENUM", &variable.choices().len().to_string()]);
            } else if variable.flags().string {
                line(out, &["TYPE", "STRING", &variable.aux().to_string()]);
            } else {
                return Err(OldErr::UnknownType.into());
            }
        }
        OldRequest::Enum(of) => {
            let (_, variable) = variable_of(of, common)?;
            if variable.choices().is_empty() {
                return Err(OldErr::UnknownType.into());
            }
            line(out, &["ENUM", of.name]);
            for choice in variable.choices() {
                out.extend_from_slice(b"OPTION ");
                quote(out, fitting(choice.as_str(), MAX_VALUE));
                let is_selected = choice.as_str() == variable.value().as_str();
                out.extend_from_slice(if is_selected { b" SELECTED\n" } else { b"\n" });
            }
            line(out, &["END"]);
        }
        OldRequest::VarDesc(name) => {
            let name = variable(name).ok_or(OldErr::VarUnknown)?;
            description(out, common.descriptions.variable(name));
        }
        OldRequest::InstCmdDesc(name) => {
            let name = command(name).ok_or(OldErr::UnknownInstCmd)?;
            description(out, common.descriptions.command(name));
        }
        OldRequest::MissingArgument
        | OldRequest::Set { .. }
        | OldRequest::InstCmd(_)
        | OldRequest::Login
        | OldRequest::Master
        | OldRequest::Fsd => return Err(OldErr::MissingArgument.into()),
    }
    Ok(())
}

/// `REQ`: the value as it is, up to the end of the line.
fn value(of: Of<'_>, common: &Common, out: &mut Vec<u8>) -> Result<(), OldRefusal> {
    if of.name.eq_ignore_ascii_case(NUM_LOGINS) {
        let ups = found(common, of.ups)?;
        ups.upstream.device()?;
        answer_value(out, of, &ups.logins.len().to_string());
        return Ok(());
    }
    let (ups, variable) = variable_of(of, common)?;
    let value = variable.value().as_str();
    if ups.forced && variable.name().is("ups.status") {
        answer_value(out, of, &format!("FSD {value}"));
    } else {
        answer_value(out, of, value);
    }
    Ok(())
}

fn answer_value(out: &mut Vec<u8>, of: Of<'_>, value: &str) {
    out.extend_from_slice(b"ANS ");
    out.extend_from_slice(of.name.as_bytes());
    if let Some(ups) = of.ups {
        out.push(b'@');
        out.extend_from_slice(ups.as_bytes());
    }
    out.push(b' ');
    // A value has no line feed: the tokenizer of the driver's socket lets none through.
    out.extend(value.bytes().take(MAX_VALUE));
    out.push(b'\n');
}

fn found<'a>(common: &'a Common, ups: Option<&str>) -> Result<&'a Ups, ErrCode> {
    match ups {
        Some(name) => common.ups(name),
        None => common.upses.iter().next().ok_or(ErrCode::UnknownUps),
    }
}

fn variable_of<'a>(of: Of<'_>, common: &'a Common) -> Result<(&'a Ups, &'a Variable), OldRefusal> {
    let ups = found(common, of.ups)?;
    let device = ups.upstream.device()?;
    let name = variable(of.name).ok_or(OldErr::VarUnknown)?;
    Ok((ups, device.variable(name).ok_or(ErrCode::VarNotSupported)?))
}

fn list<'a>(out: &mut Vec<u8>, what: &str, ups: Option<&str>, names: impl Iterator<Item = &'a str>) {
    out.extend_from_slice(what.as_bytes());
    if let Some(ups) = ups {
        out.extend_from_slice(b" @");
        out.extend_from_slice(ups.as_bytes());
    }
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
}

fn description(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"DESC ");
    quote(out, fitting(text, MAX_VALUE));
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(words.join(" ").as_bytes());
    out.push(b'\n');
}
