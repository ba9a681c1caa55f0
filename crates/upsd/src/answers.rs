//! What can be asked without a user: `GET` and `LIST` (net-protocol §§5, 6), `VER` and its like (§4).
//!
//! An answer is written whole into the buffer, or not at all and an error is given: checks come first.

use crate::common::Common;
use crate::tracking::Known;
use crate::upses::Ups;
use nut_os::options::NUT_LEVEL;
use nut_proto::Moment;
use nut_proto::device::{Device, Variable};
use nut_proto::driver::Judgement;
use nut_proto::net::{ErrCode, Get, List, PROTOCOL_VERSION, Response, VarType};
use nut_proto::words::{fitting, quote};

/// Where NUT's clients expect to read more.
const URL: &str = "https://www.networkupstools.org/";

/// Most bytes of a UPS' description behind its backslashes; NUT's limit, twice that of a value.
const MAX_DESCRIPTION: usize = 511;

/// `VER`, and the value of `server.info`.
#[must_use]
pub fn server_info() -> String {
    format!("Network UPS Tools upsd {NUT_LEVEL} - {URL}")
}

/// Answers `VER`.
pub fn ver(out: &mut Vec<u8>) {
    out.extend_from_slice(server_info().as_bytes());
    out.push(b'\n');
}

/// Answers `NETVER` and `PROTVER`.
pub fn net_ver(out: &mut Vec<u8>) {
    out.extend_from_slice(PROTOCOL_VERSION.as_bytes());
    out.push(b'\n');
}

/// Answers `HELP`. Not all commands are in it; NUT's clients know the text as it is.
pub fn help(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"Commands: HELP VER PROTVER GET LIST SET INSTCMD LOGIN LOGOUT USERNAME PASSWORD STARTTLS\n",
    );
}

/// Answers `GET`, for a connection that tracks its orders or not.
///
/// # Errors
/// In NUT's order: the UPS, its driver, its data, the variable.
pub fn get(
    get: Get<'_>,
    tracks: bool,
    now: Moment,
    common: &Common,
    out: &mut Vec<u8>,
) -> Result<(), ErrCode> {
    match get {
        Get::Var(ups, var) if is_server(var) => server_var(ups, var, out),
        Get::Var(ups, var) => {
            let found = common.ups(ups)?;
            let variable = variable(found.upstream.device()?, var)?;
            write_var(found, ups, var, variable, out);
            Ok(())
        }
        Get::Type(ups, var) => {
            let variable = variable(common.ups(ups)?.upstream.device()?, var)?;
            let kind = VarType {
                writable: variable.flags().writable,
                enumerated: !variable.choices().is_empty(),
                ranged: !variable.ranges().is_empty(),
                string: variable.flags().string.then(|| variable.aux()),
            };
            Response::Type(ups, var, kind).encode(out);
            Ok(())
        }
        Get::Desc(ups, var) => {
            common.ups(ups)?.upstream.device()?;
            Response::Desc(ups, var, common.descriptions.variable(var)).encode(out);
            Ok(())
        }
        Get::CmdDesc(ups, cmd) => {
            common.ups(ups)?.upstream.device()?;
            Response::CmdDesc(ups, cmd, common.descriptions.command(cmd)).encode(out);
            Ok(())
        }
        Get::NumLogins(ups) => {
            Response::NumLogins(ups, logins(ups, common)?).encode(out);
            Ok(())
        }
        Get::NumAttach(ups) => {
            Response::NumAttach(ups, logins(ups, common)?).encode(out);
            Ok(())
        }
        Get::UpsDesc(ups) => {
            let description = common.ups(ups)?.description.as_deref();
            write_description(out, &["UPSDESC", ups], description.unwrap_or("Unavailable"));
            Ok(())
        }
        Get::TrackingState => {
            Response::Tracking(tracks).encode(out);
            Ok(())
        }
        Get::Tracking(_) if !tracks => Err(ErrCode::FeatureNotConfigured),
        Get::Tracking(id) => {
            match common.tracking.ask(now, common.tracking_delay, id) {
                Known::Nothing => return Err(ErrCode::Unknown),
                Known::Pending => Response::Pending.encode(out),
                Known::Ended(judgement) => end_of_order(judgement).encode(out),
            }
            Ok(())
        }
    }
}

/// What `GET TRACKING` says of an order that ended so.
#[must_use]
pub fn end_of_order(judgement: Judgement) -> Response<'static> {
    match judgement {
        Judgement::Handled => Response::Success,
        Judgement::Unknown | Judgement::Other(_) => Response::Err(ErrCode::Unknown),
        Judgement::Invalid | Judgement::NotConverted => Response::Err(ErrCode::InvalidArgument),
        Judgement::Failed => Response::Err(ErrCode::Failed),
    }
}

/// Answers `LIST`.
///
/// # Errors
/// In NUT's order: the UPS, its driver, its data, the variable. Nothing is written then.
pub fn list(list: List<'_>, common: &mut Common, out: &mut Vec<u8>) -> Result<(), ErrCode> {
    match list {
        List::Ups => common.upses.listed(out, |upses, out| {
            framed(list, out, |out| {
                for ups in upses.iter() {
                    let description = ups.description.as_deref().unwrap_or("Description unavailable");
                    write_description(out, &["UPS", ups.name.as_str()], description);
                }
            });
        }),
        List::Var(spelling) => {
            let ups = common.ups_mut(spelling)?;
            ups.upstream.device()?;
            ups.listed(spelling, out, |ups, out| {
                framed(list, out, |out| {
                    for variable in variables(ups) {
                        write_var(ups, spelling, variable.name().as_str(), variable, out);
                    }
                });
            });
        }
        List::Rw(ups) => {
            let device = common.ups(ups)?.upstream.device()?;
            framed(list, out, |out| {
                for one in device.variables().iter().filter(|one| one.flags().writable) {
                    Response::Rw(ups, one.name().as_str(), one.value().as_str()).encode(out);
                }
            });
        }
        List::Cmd(ups) => {
            let device = common.ups(ups)?.upstream.device()?;
            framed(list, out, |out| {
                for cmd in device.commands() {
                    Response::Cmd(ups, cmd.as_str()).encode(out);
                }
            });
        }
        List::Client(ups) => {
            let found = common.ups(ups)?;
            framed(list, out, |out| {
                for login in found.logins.values().rev() {
                    Response::Client(found.name.as_str(), &login.from.to_string()).encode(out);
                }
            });
        }
        List::Enum(ups, var) => {
            let variable = variable(common.ups(ups)?.upstream.device()?, var)?;
            framed(list, out, |out| {
                for choice in variable.choices() {
                    Response::Enum(ups, var, choice.as_str()).encode(out);
                }
            });
        }
        List::Range(ups, var) => {
            let variable = variable(common.ups(ups)?.upstream.device()?, var)?;
            framed(list, out, |out| {
                for range in variable.ranges() {
                    Response::Range(ups, var, range.min, range.max).encode(out);
                }
            });
        }
    }
    Ok(())
}

/// How many connections are logged in to a UPS whose data are good.
fn logins(ups: &str, common: &Common) -> Result<usize, ErrCode> {
    let found = common.ups(ups)?;
    found.upstream.device()?;
    Ok(found.logins.len())
}

fn framed(list: List<'_>, out: &mut Vec<u8>, items: impl FnOnce(&mut Vec<u8>)) {
    Response::Begin(list).encode(out);
    items(out);
    Response::End(list).encode(out);
}

fn variables(ups: &Ups) -> &[Variable] {
    ups.upstream.device().map_or(&[], Device::variables)
}

fn variable<'a>(device: &'a Device, name: &str) -> Result<&'a Variable, ErrCode> {
    device.variable(name).ok_or(ErrCode::VarNotSupported)
}

/// Writes `VAR`; a UPS that is to be shut down says so in its status.
fn write_var(ups: &Ups, spelling: &str, name: &str, variable: &Variable, out: &mut Vec<u8>) {
    let value = variable.value().as_str();
    if ups.forced && variable.name().is("ups.status") {
        Response::Var(spelling, name, &format!("FSD {value}")).encode(out);
    } else {
        Response::Var(spelling, name, value).encode(out);
    }
}

fn write_description(out: &mut Vec<u8>, words: &[&str], text: &str) {
    for word in words {
        out.extend_from_slice(word.as_bytes());
        out.push(b' ');
    }
    quote(out, fitting(text, MAX_DESCRIPTION));
    out.push(b'\n');
}

const SERVER: &str = "server.";

fn is_server(var: &str) -> bool {
    var.get(..SERVER.len()).is_some_and(|head| head.eq_ignore_ascii_case(SERVER))
}

/// Our own variables: those of every UPS, known or not. They alone are echoed in lower case.
fn server_var(ups: &str, var: &str, out: &mut Vec<u8>) -> Result<(), ErrCode> {
    match var.to_ascii_lowercase().as_str() {
        "server.info" => Response::Var(ups, "server.info", &server_info()).encode(out),
        "server.version" => Response::Var(ups, "server.version", NUT_LEVEL).encode(out),
        _ => return Err(ErrCode::VarNotSupported),
    }
    Ok(())
}
