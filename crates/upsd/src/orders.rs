//! What needs a user: `SET VAR`, `INSTCMD`, `FSD`, `PRIMARY` (net-protocol §§7, 8).

use crate::common::Common;
use crate::events::{ClientId, Outputs};
use crate::notes::{Asker, Note};
use crate::tracking::OrderId;
use crate::users::{Claim, Deed, Denial};
use nut_proto::Moment;
use nut_proto::device::{Value, Variable};
use nut_proto::driver::{ToDriver, leading_number};
use nut_proto::net::{ErrCode, Response};

/// Who gives an order, and how.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The connection.
    pub client: ClientId,
    /// Who he says he is.
    pub claim: Claim<'a>,
    /// Whether he wants an id to ask for the end with.
    pub tracks: bool,
}

impl By<'_> {
    /// For the log.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker { user: Some(self.claim.user.clone()), from: self.claim.from }
    }
}

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// This is the answer.
    Answer(ErrCode),
    /// It has come to where the user matters, and he has not proven yet that he is the one: his password must be
    /// checked, and the request be worked on from its beginning.
    Unproven,
}

impl From<ErrCode> for Halt {
    fn from(code: ErrCode) -> Self {
        Self::Answer(code)
    }
}

/// An order that has been handed to the shell for the driver; the client is answered when it is known to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    kind: Kind,
    id: Option<OrderId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Set,
    Command,
}

/// `SET VAR`. NUT asks for the right before it looks for the variable.
///
/// # Errors
/// In NUT's order: the UPS, its driver, its data, the right, the variable, `READONLY`, length, choices, ranges.
pub fn set_var(
    by: &By<'_>,
    (ups, var, value): (&str, &str, &str),
    now: Moment,
    common: &mut Common,
    out: &mut Outputs,
) -> Result<Pending, Halt> {
    let found = common.upses.find(ups).ok_or(ErrCode::UnknownUps)?;
    common.ups(ups)?.upstream.device()?;
    check(by, Deed::Set, &|| format!("SET VAR {ups} {var}"), now, common, out)?;

    let ups_now = common.ups(ups)?;
    let variable = ups_now.upstream.device()?.variable(var).ok_or(ErrCode::VarNotSupported)?;
    if !variable.flags().writable {
        return Err(ErrCode::ReadOnly.into());
    }
    if variable.flags().string && variable.aux() < 1 {
        out.notes.push(Note::NoAux { ups: ups_now.name.clone(), variable: var.to_owned() });
        return Err(ErrCode::SetFailed.into());
    }
    fits(variable, value)?;
    let ups_name = ups_now.name.clone();

    let name = var.parse().map_err(|_| ErrCode::VarNotSupported)?;
    let id = if by.tracks { common.tracking.begin(now, common.tracking_delay, found) } else { None };
    out.notes.push(Note::Set {
        asker: by.asker(),
        ups: ups_name,
        variable: var.to_owned(),
        value: value.to_owned(),
        id: id.map(|id| id.to_string()),
    });
    let order = ToDriver::Set { var: name, value: Value::new(value), tracking: text_of(id) };
    out.tell(found, &order, Some(by.client));
    Ok(Pending { kind: Kind::Set, id })
}

/// `INSTCMD`. NUT looks for the command before it asks for the right.
///
/// # Errors
/// In NUT's order: the UPS, its driver, its data, the command, the right.
pub fn command(
    by: &By<'_>,
    (ups, cmd, param): (&str, &str, Option<&str>),
    now: Moment,
    common: &mut Common,
    out: &mut Outputs,
) -> Result<Pending, Halt> {
    let found = common.upses.find(ups).ok_or(ErrCode::UnknownUps)?;
    let ups_now = common.ups(ups)?;
    ups_now.upstream.device()?.command(cmd).ok_or(ErrCode::CmdNotSupported)?;
    let ups_name = ups_now.name.clone();
    check(by, Deed::Command(cmd), &|| format!("INSTCMD {ups} {cmd}"), now, common, out)?;

    let name = cmd.parse().map_err(|_| ErrCode::CmdNotSupported)?;
    // An empty parameter is none: NUT's own line has nothing but a blank there.
    let param = param.filter(|param| !param.is_empty());
    let id = if by.tracks { common.tracking.begin(now, common.tracking_delay, found) } else { None };
    out.notes.push(Note::Command {
        asker: by.asker(),
        ups: ups_name,
        command: cmd.to_owned(),
        param: param.map(Into::into),
        id: id.map(|id| id.to_string()),
    });
    let order = ToDriver::InstCmd { cmd: name, param: param.map(Into::into), tracking: text_of(id) };
    out.tell(found, &order, Some(by.client));
    Ok(Pending { kind: Kind::Command, id })
}

/// Answers an order when it is known whether the driver has got it.
pub fn answer(pending: Pending, sent: bool, common: &mut Common, out: &mut Outputs) {
    if sent {
        match pending.id {
            Some(id) => Response::OkTracking(&id.to_string()).encode(&mut out.bytes),
            None => Response::Ok.encode(&mut out.bytes),
        }
        return;
    }
    if let Some(id) = pending.id {
        common.tracking.cancel(id);
    }
    out.notes.push(Note::NotSent);
    let code = match pending.kind {
        Kind::Set => ErrCode::SetFailed,
        Kind::Command => ErrCode::InstCmdFailed,
    };
    Response::Err(code).encode(&mut out.bytes);
}

/// `FSD`: from now on, and until upsd ends or the UPS is taken out of ups.conf, its status begins with `FSD`. Whether
/// the driver is there does not matter.
///
/// # Errors
/// The UPS, the right.
pub fn fsd(by: &By<'_>, ups: &str, now: Moment, common: &mut Common, out: &mut Outputs) -> Result<(), Halt> {
    common.ups(ups)?;
    check(by, Deed::Fsd, &|| format!("FSD {ups}"), now, common, out)?;
    let found = common.ups_mut(ups)?;
    if !std::mem::replace(&mut found.forced, true) {
        // Never left out of the log, so it must not be said again and again.
        out.notes.push(Note::Forced { asker: by.asker(), ups: found.name.clone() });
    }
    Response::OkFsd.encode(&mut out.bytes);
    Ok(())
}

/// `PRIMARY` or `MASTER`: whether the client may command the shutdown. Changes nothing.
///
/// # Errors
/// The UPS, the right.
pub fn primary(
    by: &By<'_>,
    ups: &str,
    granted: Response<'_>,
    now: Moment,
    common: &mut Common,
    out: &mut Outputs,
) -> Result<(), Halt> {
    common.ups(ups)?;
    check(by, Deed::Primary, &|| format!("PRIMARY {ups}"), now, common, out)?;
    granted.encode(&mut out.bytes);
    Ok(())
}

/// Whether he may; a refusal is noted, with `what` he wanted.
///
/// # Errors
/// `ACCESS-DENIED`; that he has not proven who he is.
pub fn check(
    by: &By<'_>,
    deed: Deed<'_>,
    what: &dyn Fn() -> String,
    now: Moment,
    common: &mut Common,
    out: &mut Outputs,
) -> Result<(), Halt> {
    let Err(why) = common.users.may(&by.claim, deed, &common.access) else { return Ok(()) };
    if why == Denial::Unproven {
        return Err(Halt::Unproven);
    }
    if let Some(untold) = common.denials.count(now, by.claim.from) {
        out.notes.push(Note::Denied { asker: by.asker(), what: what(), why, untold });
    }
    Err(ErrCode::AccessDenied.into())
}

/// Whether the variable takes the value.
fn fits(variable: &Variable, value: &str) -> Result<(), ErrCode> {
    let longest = usize::try_from(variable.aux()).unwrap_or(usize::MAX);
    if variable.flags().string && value.len() > longest {
        return Err(ErrCode::TooLong);
    }
    let (choices, ranges) = (variable.choices(), variable.ranges());
    if !choices.is_empty() && !choices.iter().any(|choice| choice.as_str() == value) {
        return Err(ErrCode::InvalidValue);
    }
    let number = leading_number(value);
    if !ranges.is_empty() && !ranges.iter().any(|range| (range.min..=range.max).contains(&number)) {
        return Err(ErrCode::InvalidValue);
    }
    Ok(())
}

fn text_of(id: Option<OrderId>) -> Option<Box<str>> {
    id.map(|id| id.to_string().into())
}
