//! `--test-notice`: one notice through all its channels, and what happened in each.
//!
//! The running instance is not asked and not told: the file is read anew, and whoever calls this sends the notice. Called
//! by root it first becomes whom `NOTIFYCMD` runs as otherwise, so that a script its user may not run fails here, too.

use std::io;
use std::os::unix::net::UnixDatagram;

use nut_conf::upsmon_conf::{NoticeKind, UpsmonConf};
use nut_os::log::{self, Destination, plain};
use nut_os::notice;
use nut_os::options::say;
use tokio::time::timeout;

use super::{HOOK_PATIENCE, WALL_PATIENCE, is_missing, notify_hook, start_wall};
use crate::notices::{Notice, Notices};

/// Where the system log takes messages.
const SYSTEM_LOG: &str = "/dev/log";

/// What fills the second gap of a text: a running instance has an alarm or the like there.
const EXTRA: &str = "test of upsmon";

/// The words that can be given, for whoever gave another one.
#[must_use]
pub fn known_types() -> String {
    NoticeKind::ALL.map(NoticeKind::as_str).join(", ")
}

/// Which UPS the notice is about: the one given, or the first that is watched.
#[must_use]
pub fn about<'a>(conf: &'a UpsmonConf, given: Option<&'a str>) -> &'a str {
    let first = || conf.monitors.first().map(|line| line.system.as_str());
    given.or_else(first).unwrap_or_default()
}

/// Sends it, says on standard output what came of it, and gives whether every channel took it.
///
/// # Errors
/// When there can be no runtime.
pub fn send(conf: &UpsmonConf, kind: NoticeKind, ups: &str) -> io::Result<bool> {
    let notice = Notices::from(conf).render(kind, Some(ups), Some(EXTRA));
    say(&format!("{kind} about {ups}: {}", notice.text));
    if !conf.monitors.iter().any(|line| line.system == ups) {
        say("no MONITOR line names that UPS: nothing of it would be told in earnest");
    }
    if !(notice.to.syslog || notice.to.wall || notice.to.exec) {
        say("IGNORE: NOTIFYFLAG says that this notice goes nowhere");
        return Ok(true);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let mut all_took_it = true;
        if notice.to.syslog {
            all_took_it &= told("SYSLOG", to_log(&notice));
        }
        if notice.to.wall {
            all_took_it &= told("WALL", to_terminals(&notice).await);
        }
        if notice.to.exec {
            all_took_it &= told("EXEC", to_program(conf, &notice).await);
        }
        all_took_it
    }))
}

fn told(channel: &str, outcome: Result<String, String>) -> bool {
    match &outcome {
        Ok(what) => say(&format!("{channel}: {what}")),
        Err(why) => say(&format!("{channel}: FAILED: {why}")),
    }
    outcome.is_ok()
}

/// As the running instance in the background would log it.
fn to_log(notice: &Notice) -> Result<String, String> {
    let to = Destination::in_background();
    let before = log::destination();
    log::redirect(to);
    notice!("{}", notice.text);
    log::redirect(before);
    match to {
        Destination::Syslog | Destination::Both => reach(SYSTEM_LOG)
            .map(|()| "sent to the system log, facility daemon, priority notice".to_owned())
            .map_err(|error| format!("no system log takes messages at {SYSTEM_LOG}: {}", plain(&error))),
        Destination::Stderr => Ok("written to standard error, as NUT_DEBUG_SYSLOG asks".to_owned()),
        Destination::Nowhere => Ok("sent nowhere, as NUT_DEBUG_SYSLOG asks".to_owned()),
    }
}

/// The log itself drops what it cannot send: a daemon must not fail for that. Here it is what one wants to know.
fn reach(path: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.connect(path)
}

async fn to_terminals(notice: &Notice) -> Result<String, String> {
    let mut wall =
        start_wall(&notice.text).map_err(|error| format!("wall cannot be run: {}", plain(&error)))?;
    match timeout(WALL_PATIENCE, wall.wait()).await {
        Ok(Ok(status)) if status.success() => Ok("wall has shown it to who is logged in".to_owned()),
        Ok(Ok(status)) if is_missing(status) => Err("wall cannot be run: there is none in PATH".to_owned()),
        Ok(Ok(status)) => Err(format!("wall ended with {status}")),
        Ok(Err(error)) => Err(format!("wall cannot be waited for: {}", plain(&error))),
        Err(_) => {
            let _ = wall.start_kill();
            Err(format!("wall has not ended within {} s", WALL_PATIENCE.as_secs()))
        }
    }
}

async fn to_program(conf: &UpsmonConf, notice: &Notice) -> Result<String, String> {
    let program = conf.notify_command.join(" ");
    let hook = notify_hook(conf, notice)
        .ok_or_else(|| "there is no NOTIFYCMD to run; name one in upsmon.conf".to_owned())?
        .deadline(HOOK_PATIENCE);
    let end = hook.run().await;
    let said = format!("NOTIFYCMD {program}, run as {}, {end}", nut_os::privilege::whoami());
    if end.is_success() { Ok(said) } else { Err(said) }
}
