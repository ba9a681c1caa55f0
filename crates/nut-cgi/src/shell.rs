//! Files, environment, servers: what `upsstats.cgi` needs of the world.

use crate::form::Form;
use crate::page::{html, json};
use crate::stats::{Context, Shown, fill, json_list, json_of, tree};
use crate::template::{MAX_TEMPLATE, Template};
use nut_client::connection::{Connection, Deadlines, Family};
use nut_client::dialog::Answer;
use nut_conf::hosts_conf::{self, HostsConf};
use nut_conf::{Severity, Source};
use nut_os::clock;
use nut_os::files::read_limited;
use nut_os::options::{NUT_LEVEL, Paths};
use nut_proto::driver::leading_number;
use nut_proto::names::Target;
use nut_proto::net::{List, Request};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Longest hosts.conf that is read.
const MAX_CONF: usize = 1024 * 1024;

/// What goes to the browser, and what the exit code says.
struct Reply {
    json: bool,
    body: String,
    success: bool,
}

impl Reply {
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
            eprintln!("upsstats: {error}");
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
    let hosts = match read_hosts(&paths.conf("hosts.conf")) {
        Ok(hosts) => hosts,
        Err(error) => {
            eprintln!("upsstats: {error}");
            return Reply::failed(error_page("can't open hosts.conf"));
        }
    };
    let refresh = form.get("refresh").map_or(0, leading_number);
    let context = Context {
        refresh: u32::try_from(refresh).unwrap_or(0),
        version: NUT_LEVEL.to_owned(),
        date: clock::wall().to_string(),
    };
    if let Some(host) = form.get("host") {
        let Some(known) = hosts.monitors.iter().find(|known| known.system == host) else {
            return if wants_json {
                let text = format!("Access to host {host} is not authorized.");
                Reply { json: true, body: format!("{{\"error\": {}}}", json(&text)), success: true }
            } else {
                Reply::failed(format!("Access to that host [{}] is not authorized.\n", html(host)))
            };
        };
        let shown = look(known).await;
        if wants_json {
            return Reply { json: true, body: json_of(&shown), success: true };
        }
        if form.get("treemode").is_some() {
            return Reply::page(tree(&shown));
        }
        return from_template(paths, "upsstats-single.html", &[shown], &context);
    }
    if hosts.monitors.is_empty() {
        eprintln!("upsstats: no hosts to monitor");
        return Reply::failed(error_page("no hosts to monitor (check hosts.conf)"));
    }
    let mut all = Vec::new();
    for known in &hosts.monitors {
        all.push(look(known).await);
    }
    if wants_json {
        return Reply { json: true, body: json_list(&all), success: true };
    }
    from_template(paths, "upsstats.html", &all, &context)
}

fn read_hosts(path: &Path) -> Result<HostsConf, nut_os::files::FileError> {
    let text = read_limited(path, MAX_CONF)?;
    let shown = path.display().to_string();
    let (hosts, diagnostics) = hosts_conf::parse(Source { path: &shown, text: &text });
    for diagnostic in diagnostics.iter().filter(|one| one.severity > Severity::Note) {
        eprintln!("upsstats: {diagnostic}");
    }
    Ok(hosts)
}

fn from_template(paths: &Paths, name: &str, all: &[Shown], context: &Context) -> Reply {
    match read_limited(&paths.conf(name), MAX_TEMPLATE) {
        Ok(text) => {
            let template = Template::parse(&String::from_utf8_lossy(&text));
            Reply::page(fill(&template, all, context))
        }
        Err(error) => {
            eprintln!("upsstats: {error}");
            Reply::failed(format!("Error: can't open template file ({name})<BR/>\n"))
        }
    }
}

/// Asks a UPS's server for all its variables.
async fn look(known: &hosts_conf::Shown) -> Shown {
    let variables = variables(&known.system).await;
    if let Err(error) = &variables {
        eprintln!("UPS [{}]: can't connect to server: {error}", known.system);
    }
    Shown { system: known.system.clone(), description: known.description.clone(), variables }
}

async fn variables(system: &str) -> Result<Vec<(String, String)>, String> {
    let target: Target = system.parse().map_err(|_| format!("Unusable UPS definition [{system}]"))?;
    let mut connection = Connection::open(&target.server, Deadlines::default(), Family::Any)
        .await
        .map_err(|error| error.to_string())?;
    let answer = connection.ask(Request::List(List::Var(target.ups.as_str()))).await;
    connection.close().await;
    match answer.map_err(|error| error.to_string())? {
        Answer::Pairs(pairs) => Ok(pairs),
        Answer::Refused(refusal) => Err(refusal.text().to_owned()),
        _ => Err("Protocol error".to_owned()),
    }
}

fn error_page(text: &str) -> String {
    let text = html(text);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Error: {text}</title></head>\n<body>\nError: {text}\n</body>\n</html>\n"
    )
}
