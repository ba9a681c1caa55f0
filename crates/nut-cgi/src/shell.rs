//! Files, environment, servers: what `upsstats.cgi` needs of the world.

use crate::form::Form;
use crate::page::{html, json, url};
use crate::stats::{Context, Shown, Trouble, fill, json_list, json_of, tree};
use crate::template::{MAX_TEMPLATE, Template};
use nut_client::connection::{Connection, Deadlines};
use nut_client::dialog::Answer;
use nut_conf::directives::MAX_FILE;
use nut_conf::hosts_conf::{self, HostsConf};
use nut_conf::{Severity, Source};
use nut_os::clock;
use nut_os::files::{FileError, read_limited};
use nut_os::log::Chain;
use nut_os::options::{NUT_LEVEL, Paths};
use nut_proto::names::{Server, Target, UpsName};
use nut_proto::net::{List, Request};
use nut_proto::numbers::leading_number;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many servers are asked at the same time.
const AT_ONCE: usize = 32;

/// What goes to the browser, and what the exit code says.
struct Reply {
    json: bool,
    body: String,
    success: bool,
}

impl Reply {
    fn json(body: String, success: bool) -> Self {
        Self { json: true, body, success }
    }

    fn page(body: String) -> Self {
        Self { json: false, body, success: true }
    }

    fn failed(body: String) -> Self {
        Self { json: false, body, success: false }
    }
}

/// `upsstats.cgi`: one request, one page.
#[must_use]
pub fn upsstats() -> ExitCode {
    let query = std::env::var("QUERY_STRING").unwrap_or_default();
    let Ok(form) = Form::parse(&query) else {
        eprintln!("bad escape char");
        return ExitCode::FAILURE;
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("upsstats: {}", Chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let reply = runtime.block_on(answer(&form, &Paths::from_env()));
    let kind = if reply.json { "application/json; charset=utf-8" } else { "text/html" };
    let text = format!("Content-type: {kind}\nPragma: no-cache\n\n{}", reply.body);
    // A browser that went away is no error.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    if reply.success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn answer(form: &Form, paths: &Paths) -> Reply {
    let wants_json = form.get("json").is_some();
    let failed = |text: &'static str| {
        if wants_json { Reply::json(error_object(text), false) } else { Reply::failed(error_page(text)) }
    };
    let hosts = match read_hosts(&paths.conf("hosts.conf")) {
        Ok(hosts) => hosts,
        Err(error) => {
            eprintln!("upsstats: {}", Chain(&error));
            return failed("can't open hosts.conf");
        }
    };
    if let Some(host) = form.get("host") {
        let Some(known) = hosts.monitors.iter().find(|known| known.system == host) else {
            return if wants_json {
                Reply::json(error_object(&format!("Access to host {host} is not authorized.")), true)
            } else {
                Reply::failed(format!("Access to that host [{}] is not authorized.\n", html(host)))
            };
        };
        let shown = look(std::slice::from_ref(known)).await;
        return match shown.first() {
            Some(one) if wants_json => Reply::json(json_of(one), true),
            Some(one) if form.get("treemode").is_some() => Reply::page(tree(one)),
            _ => from_template(form, paths, &hosts, &SINGLE, &shown),
        };
    }
    if hosts.monitors.is_empty() {
        eprintln!("upsstats: no hosts to monitor");
        return failed("no hosts to monitor (check hosts.conf)");
    }
    let shown = look(&hosts.monitors).await;
    if wants_json {
        return Reply::json(json_list(&shown), true);
    }
    from_template(form, paths, &hosts, &LIST, &shown)
}

fn read_hosts(path: &Path) -> Result<HostsConf, FileError> {
    let text = read_limited(path, MAX_FILE)?;
    let shown = path.display().to_string();
    let (hosts, diagnostics) = hosts_conf::parse(Source { path: &shown, text: &text });
    for diagnostic in diagnostics.iter().filter(|one| one.severity > Severity::Note) {
        eprintln!("upsstats: {diagnostic}");
    }
    Ok(hosts)
}

/// A kind of page that is made of a template.
struct Kind {
    /// The template's file, unless the request chooses another.
    file: &'static str,
    /// The parameter that chooses.
    parameter: &'static str,
    /// What it may choose.
    allowed: fn(&HostsConf) -> &[String],
}

const SINGLE: Kind = Kind {
    file: "upsstats-single.html",
    parameter: "template_single",
    allowed: |hosts| hosts.single_templates.as_slice(),
};

const LIST: Kind = Kind {
    file: "upsstats.html",
    parameter: "template_list",
    allowed: |hosts| hosts.list_templates.as_slice(),
};

impl Kind {
    /// The template's file for this request.
    ///
    /// # Errors
    /// The name that was asked for, if hosts.conf does not allow it or it cannot be a template's.
    fn chosen<'f>(&self, form: &'f Form, hosts: &HostsConf) -> Result<&'f str, &'f str> {
        let name = match form.get(self.parameter) {
            None | Some("") => return Ok(self.file),
            Some(name) => name,
        };
        let is_bare = !name.contains(['/', '\\']) && name.contains(".htm");
        let is_allowed = name == self.file || (self.allowed)(hosts).iter().any(|one| one == name);
        if is_bare && is_allowed { Ok(name) } else { Err(name) }
    }
}

fn from_template(form: &Form, paths: &Paths, hosts: &HostsConf, kind: &Kind, all: &[Shown]) -> Reply {
    let cannot = |name: &str, why: &str| {
        Reply::failed(format!("Error: can't open template file ({}){why}<br/>\n", html(name)))
    };
    let name = match kind.chosen(form, hosts) {
        Ok(name) => name,
        Err(name) => return cannot(name, ": Not authorized"),
    };
    let text = match read_limited(&paths.conf(name), MAX_TEMPLATE) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("upsstats: {}", Chain(&error));
            return cannot(name, "");
        }
    };
    // The next page shows the other kind; a template not allowed there is told there.
    let repeat = |kind: &Kind| match form.get(kind.parameter) {
        Some(name) if !name.is_empty() && name != kind.file => {
            format!("&amp;{}={}", kind.parameter, url(name))
        }
        _ => String::new(),
    };
    let context = Context {
        refresh: u32::try_from(form.get("refresh").map_or(0, leading_number)).unwrap_or(0),
        templates: repeat(&SINGLE) + &repeat(&LIST),
        version: NUT_LEVEL.to_owned(),
        now: clock::wall(),
    };
    Reply::page(fill(&Template::parse(&String::from_utf8_lossy(&text)), all, &context))
}

/// Asks the servers of these UPSes for all their variables: at the same time, so that the page of many does not wait
/// for one dead server after the other, and each server over one connection.
async fn look(monitors: &[hosts_conf::Shown]) -> Vec<Shown> {
    let mut servers: Vec<(Server, Vec<(usize, UpsName)>)> = Vec::new();
    let mut shown: Vec<Shown> = Vec::new();
    for (nth, known) in monitors.iter().enumerate() {
        // The parser has let through nothing else.
        let unusable = || Trouble::Server(format!("Unusable UPS definition [{}]", known.system));
        let variables = Err(unusable());
        shown.push(Shown { system: known.system.clone(), description: known.description.clone(), variables });
        let Ok(Target { ups, server }) = known.system.parse() else { continue };
        match servers.iter_mut().find(|(other, _)| *other == server) {
            Some((_, upses)) => upses.push((nth, ups)),
            None => servers.push((server, vec![(nth, ups)])),
        }
    }
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut visits = JoinSet::new();
    for (server, upses) in servers {
        let room = Arc::clone(&room);
        visits.spawn(async move {
            let _place = room.acquire_owned().await;
            visit(&server, upses).await
        });
    }
    while let Some(visit) = visits.join_next().await {
        for (nth, variables) in visit.unwrap_or_default() {
            if let Some(one) = shown.get_mut(nth) {
                one.variables = variables;
            }
        }
    }
    for one in &shown {
        if let Err(Trouble::Server(error)) = &one.variables {
            eprintln!("UPS [{}]: can't connect to server: {error}", one.system);
        }
    }
    shown
}

type Variables = Result<Vec<(String, String)>, Trouble>;

/// Asks one server for the variables of its UPSes.
async fn visit(server: &Server, upses: Vec<(usize, UpsName)>) -> Vec<(usize, Variables)> {
    let mut connection = match Connection::reach(server, Deadlines::default()).await {
        Ok(connection) => connection,
        Err(error) => {
            let trouble = Trouble::Server(error.to_string());
            return upses.into_iter().map(|(nth, _)| (nth, Err(trouble.clone()))).collect();
        }
    };
    let mut heard = Vec::with_capacity(upses.len());
    for (nth, ups) in upses {
        let variables = match connection.ask(Request::List(List::Var(ups.as_str()))).await {
            Ok(Answer::Pairs(pairs)) => Ok(pairs),
            Ok(Answer::Refused(refusal)) => Err(Trouble::Refused(refusal.text().to_owned())),
            Ok(_) => Err(Trouble::Server("Protocol error".to_owned())),
            Err(error) => Err(Trouble::Server(error.to_string())),
        };
        heard.push((nth, variables));
    }
    connection.close().await;
    heard
}

fn error_object(text: &str) -> String {
    format!("{{\"error\": {}}}", json(text))
}

/// A page that says what went wrong, in words of ours.
fn error_page(text: &'static str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Error: {text}</title></head>\n<body>\nError: {text}\n</body>\n</html>\n"
    )
}
