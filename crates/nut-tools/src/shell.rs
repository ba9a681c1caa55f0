//! What the tools do: read the command line, connect, ask, print, end.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use nut_client::{Answer, ClientError, Connection, Deadlines};
use nut_os::clock;
use nut_os::log::{self, Destination, LogOptions, plain};
use nut_os::options::{self, OnMisuse};
use nut_os::terminal;
use nut_proto::names::{Secret, Server};
use nut_proto::net::{Get, List, Request};

use crate::arguments::{Credentials, Stop, TIMEOUT_VARIABLE};
use crate::format::Outcome;
use crate::order::{Action, Deed, Event, Order};
use crate::upsrw::{Choices, Kind, Variable};
use crate::{upsc, upscmd, upsrw};

/// How many descriptions are asked for at once.
const AT_ONCE: usize = 16;

/// `upsc`, from its command line to its exit code.
pub fn upsc(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let plan = match plan(upsc::NAME, upsc::command, args, upsc::Plan::read, |outcome| show(&outcome)) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let talk = async |connection: &mut Connection| match plan.request() {
        Ok(request) => match connection.ask(request).await {
            Ok(answer) => plan.outcome(&answer),
            Err(error) => plan.broken(&error, connection.unfinished().as_ref()),
        },
        Err(outcome) => outcome,
    };
    visit(&plan.server, plan.deadlines, |error| plan.unreachable(error), talk)
}

/// `upscmd`, from its command line to its exit code.
pub fn upscmd(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let stopped = |stop| end(&stop, upscmd::command());
    let plan = match plan(upscmd::NAME, upscmd::command, args, upscmd::Plan::read, stopped) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let talk = async |connection: &mut Connection| match &plan.errand {
        upscmd::Errand::List => list_commands(connection, &plan).await,
        upscmd::Errand::Help => Outcome::success(help(upscmd::command())),
        upscmd::Errand::Refuse(outcome) => outcome.clone(),
        upscmd::Errand::Run { deed, credentials, patience } => match identify(credentials) {
            Ok((user, password)) => {
                carry_out(connection, Order::new(user, password, deed.clone(), *patience)).await
            }
            Err(outcome) => outcome,
        },
    };
    visit(&plan.target.server, plan.deadlines, error_outcome, talk)
}

/// `upsrw`, from its command line to its exit code.
pub fn upsrw(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let stopped = |stop| end(&stop, upsrw::command());
    let plan = match plan(upsrw::NAME, upsrw::command, args, upsrw::Plan::read, stopped) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let talk = async |connection: &mut Connection| match &plan.errand {
        upsrw::Errand::List => match list_variables(connection, plan.target.ups.as_str()).await {
            Ok(outcome) | Err(outcome) => outcome,
        },
        upsrw::Errand::Set { variable, value, credentials, patience } => {
            match setting(variable, value.as_deref(), credentials) {
                Ok((user, password, value)) => {
                    let ups = plan.target.ups.clone();
                    let deed = Deed::Setting { ups, variable: variable.clone(), value };
                    carry_out(connection, Order::new(user, password, deed, *patience)).await
                }
                Err(outcome) => outcome,
            }
        }
    };
    visit(&plan.target.server, plan.deadlines, error_outcome, talk)
}

/// What the command line asks for; or, when there is nothing to ask a server, the code to end with.
fn plan<P, S>(
    name: &str,
    command: impl Fn() -> Command,
    args: impl IntoIterator<Item = OsString>,
    understand: impl Fn(&ArgMatches, Option<&str>) -> Result<(P, Vec<String>), S>,
    stopped: impl Fn(S) -> ExitCode,
) -> Result<P, ExitCode> {
    let matches = read(name, command(), args)?;
    let (plan, complaints) = understand(&matches, timeout().as_deref()).map_err(stopped)?;
    complain(&complaints);
    Ok(plan)
}

/// Connects, talks, prints, says goodbye.
fn visit(
    server: &Server,
    deadlines: Deadlines,
    unreachable: impl Fn(&ClientError) -> Outcome,
    talk: impl AsyncFnOnce(&mut Connection) -> Outcome,
) -> ExitCode {
    let visit = async {
        let mut connection = match Connection::reach(server, deadlines).await {
            Ok(connection) => connection,
            Err(error) => return show(&unreachable(&error)),
        };
        let code = show(&talk(&mut connection).await);
        connection.close().await;
        code
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(visit);
            // A look-up of a host's name that was given up may still be going on; nobody waits for it.
            runtime.shutdown_background();
            code
        }
        Err(error) => show(&Outcome::error(&format!("cannot wait for anything: {}", plain(&error)))),
    }
}

async fn list_commands(connection: &mut Connection, plan: &upscmd::Plan) -> Outcome {
    let ups = plan.target.ups.as_str();
    let commands = match connection.ask(Request::List(List::Cmd(ups))).await {
        Ok(Answer::Words(commands)) => commands,
        other => return no_list(other),
    };
    let mut listed = Vec::with_capacity(commands.len());
    for some in commands.chunks(AT_ONCE) {
        let questions: Vec<_> = some.iter().map(|command| Request::Get(Get::CmdDesc(ups, command))).collect();
        // A command without its description is still worth listing.
        let answers = connection.ask_all(&questions).await.unwrap_or_default();
        let descriptions = answers.into_iter().map(text).chain(std::iter::repeat(None));
        listed.extend(some.iter().cloned().zip(descriptions));
    }
    Outcome::success(plan.listing(&listed))
}

async fn list_variables(connection: &mut Connection, ups: &str) -> Result<Outcome, Outcome> {
    let names = match connection.ask(Request::List(List::Rw(ups))).await {
        Ok(Answer::Pairs(pairs)) => pairs,
        other => return Err(no_list(other)),
    };
    let mut variables = Vec::with_capacity(names.len());
    for (name, _) in names {
        let questions =
            [Get::Desc(ups, &name), Get::Type(ups, &name), Get::Var(ups, &name)].map(Request::Get);
        let answers = connection.ask_all(&questions).await.map_err(|error| error_outcome(&error))?;
        let mut answers = answers.into_iter();
        let description = answers.next().and_then(text);
        let kind = match answers.next() {
            Some(Answer::Type(words)) => Some(Kind::of(&words)),
            _ => None,
        };
        let value = answers.next().and_then(text);
        let choices = match kind.as_ref().and_then(|kind| kind.choices(ups, &name)) {
            None => Choices::Any,
            Some(question) => match connection.ask(question).await.map_err(|error| error_outcome(&error))? {
                Answer::Words(values) => Choices::Values(values),
                Answer::Pairs(ranges) => Choices::Ranges(ranges),
                _ => Choices::Any,
            },
        };
        variables.push(Variable { name, description, kind, value, choices });
    }
    Ok(upsrw::listing(&variables))
}

/// Gives an order and follows it.
async fn carry_out(connection: &mut Connection, mut order: Order) -> Outcome {
    let mut event = Event::Connected;
    loop {
        event = match order.step(clock::now(), event) {
            Action::End(outcome) => return outcome,
            Action::Ask(request) => match connection.ask(request).await {
                Ok(answer) => Event::Answered(answer),
                Err(error) => Event::Failed(error),
            },
            Action::WakeAt(moment) => {
                clock::until(moment).await;
                Event::Tick
            }
        };
    }
}

/// Who gives the order, and what the variable shall be: asked for if the command line does not say.
fn setting(
    variable: &str,
    value: Option<&str>,
    credentials: &Credentials,
) -> Result<(String, Secret, String), Outcome> {
    let (user, password) = identify(credentials)?;
    let value = match value {
        Some(value) => value.to_owned(),
        None => said(terminal::ask(&format!("Enter new value for {variable}: ")))?,
    };
    Ok((user, password, value))
}

/// Who gives the order: asked for if the command line does not say. An empty name is that of whoever asks.
fn identify(credentials: &Credentials) -> Result<(String, Secret), Outcome> {
    let user = match &credentials.user {
        Some(user) => user.clone(),
        None => {
            let me = terminal::user_name();
            let question = me.as_ref().map_or("Username: ".to_owned(), |me| format!("Username ({me}): "));
            let answer = said(terminal::ask(&question))?;
            if answer.is_empty() { me.unwrap_or_default() } else { answer }
        }
    };
    let password = match &credentials.password {
        Some(password) => password.clone(),
        None => Secret::new(&said(terminal::ask_secretly("Password: "))?),
    };
    Ok((user, password))
}

fn said(answer: io::Result<Option<String>>) -> Result<String, Outcome> {
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Outcome::failure("Error reading from stdin!")),
        // Given up with Ctrl-C: there is nothing to explain.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Outcome { code: 1, ..Outcome::default() })
        }
        Err(error) => Err(Outcome::error(&format!("cannot read from the terminal: {}", plain(&error)))),
    }
}

fn text(answer: Answer) -> Option<String> {
    match answer {
        Answer::Text(text) | Answer::Value(text) => Some(text),
        _ => None,
    }
}

/// The end when a list was asked for and none came.
fn no_list(answer: Result<Answer, ClientError>) -> Outcome {
    match answer {
        Ok(Answer::Refused(refusal)) => Outcome::error(refusal.text()),
        Ok(_) => Outcome::error("Protocol error"),
        Err(error) => error_outcome(&error),
    }
}

fn error_outcome(error: &ClientError) -> Outcome {
    Outcome::error(&error.to_string())
}

/// Reads the command line and starts the log.
fn read(
    name: &str,
    command: Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, ExitCode> {
    let matches = options::parse(command, args, OnMisuse::HelpAndSucceed)?;
    let debug = options::debug_level(options::count(&matches, 'D'));
    log::init(LogOptions { program: name.to_owned(), debug, to: Destination::Stderr });
    Ok(matches)
}

fn timeout() -> Option<String> {
    std::env::var(TIMEOUT_VARIABLE).ok()
}

fn end(stop: &Stop, command: Command) -> ExitCode {
    match stop {
        Stop::Help => show(&Outcome::success(help(command))),
        Stop::Outcome(outcome) => show(outcome),
    }
}

fn help(mut command: Command) -> String {
    format!("{}\n", command.render_help().to_string().trim_end())
}

/// Shows what must be said before the work begins.
fn complain(complaints: &[String]) {
    for complaint in complaints {
        say(&mut io::stderr().lock(), &format!("{complaint}\n"));
    }
}

/// Prints what a tool ends with.
fn show(outcome: &Outcome) -> ExitCode {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(outcome.stdout.as_bytes()).and_then(|()| stdout.flush());
    say(&mut io::stderr().lock(), &outcome.stderr);
    match written {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(
                &mut io::stderr().lock(),
                &format!("Error: cannot write to standard output: {}\n", plain(&error)),
            );
            ExitCode::FAILURE
        }
        _ => ExitCode::from(outcome.code),
    }
}

/// Without anywhere to say it there is nothing to be done about it.
fn say(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
}
