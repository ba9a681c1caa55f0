//! The three servers: started in private directories, ended when dropped.

use crate::echo;
use crate::error::{BenchError, Doing as _};
use crate::feeder::{Feeder, Unit};
use crate::load;
use nut_drill::programs::Programs;
use nut_os::clock;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// How long a server may take until it answers for all UPSes: NUT's takes 16 s for 5,000.
const START_LIMIT: Duration = Duration::from_secs(60);

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    /// The oracle: Debian's NUT 2.8.0.
    Nut,
    /// This project's.
    Ours,
    /// The bare echo server.
    Echo,
}

impl Who {
    /// As in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nut => "NUT's upsd",
            Self::Ours => "our upsd",
            Self::Echo => "the echo",
        }
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Houses {
    ours: PathBuf,
    /// None where the oracle cannot be had: then it has no column.
    nut: Option<PathBuf>,
}

impl Houses {
    /// Builds ours, in the profile this program was built in, and looks for NUT's.
    pub(crate) fn find() -> Result<Self, BenchError> {
        let ours = Programs::fresh()?.path("upsd")?;
        let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle");
        let fetched = Command::new(oracle.join("fetch.sh")).stdout(Stdio::null()).status();
        let nut = fetched.is_ok_and(|status| status.success()).then(|| oracle.join("run.sh"));
        Ok(Self { ours, nut })
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    /// Which.
    pub(crate) who: Who,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until it answered for every UPS.
    pub(crate) started_in: Duration,
    child: Child,
    stdin: Option<ChildStdin>,
    folder: Option<PathBuf>,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log.
    pub(crate) fn fault(&self, what: String) -> BenchError {
        let log = self.folder.as_ref().and_then(|folder| fs::read_to_string(folder.join("log")).ok());
        let log = log.unwrap_or_default();
        let from = log.lines().count().saturating_sub(12);
        let log = log.lines().skip(from).collect::<Vec<_>>().join("\n");
        BenchError::Server { who: self.who.name(), what, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A private directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, BenchError> {
        let base = std::env::temp_dir().join("cobnut-bench-XXXXXX");
        let path = nix::unistd::mkdtemp(&base).doing("making a private directory")?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing to be done about it at the end.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The servers with their drivers.
#[derive(Debug)]
pub(crate) struct Contest {
    /// In the order in which they take turns.
    pub(crate) servers: Vec<Server>,
    _feeder: Feeder,
    _folder: Folder,
}

impl Contest {
    /// Starts all of them with these UPSes. The echo learns the answers to `requests` from the others, who must agree.
    pub(crate) fn start(houses: &Houses, units: &[Unit], requests: &[String]) -> Result<Self, BenchError> {
        let folder = Folder::new()?;
        let (nut, ours) = (folder.0.join("nut"), folder.0.join("ours"));
        for one in [&nut, &ours] {
            fs::create_dir(one).doing("making a private directory")?;
        }
        let feeder = Feeder::start(&[&nut, &ours], units)?;
        let mut servers = Vec::new();
        if let Some(program) = &houses.nut {
            let mut command = Command::new(program);
            command.arg("upsd");
            servers.push(upsd(Who::Nut, command, &nut, units)?);
        }
        servers.push(upsd(Who::Ours, Command::new(&houses.ours), &ours, units)?);
        let mut answers = echo::Answers::new();
        for request in requests {
            let mut said = Vec::new();
            for server in &servers {
                said.push(load::ask(server.address, request)?);
            }
            let Some(answer) = said.pop() else { continue };
            if said.iter().any(|other| *other != answer) {
                return Err(BenchError::Differs { request: request.clone() });
            }
            answers.push((request.clone(), answer));
        }
        servers.push(limit(&answers)?);
        Ok(Self { servers, _feeder: feeder, _folder: folder })
    }
}

fn upsd(who: Who, mut command: Command, folder: &Path, units: &[Unit]) -> Result<Server, BenchError> {
    // Given back at once: the port is free again, and the kernel gives out others first.
    let port =
        TcpListener::bind(("127.0.0.1", 0)).and_then(|one| one.local_addr()).doing("finding a port")?.port();
    let sections: String = units.iter().map(Unit::section).collect();
    let files = [
        ("upsd.conf", format!("LISTEN 127.0.0.1 {port}\n")),
        ("ups.conf", sections),
        ("upsd.users", String::new()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).doing("writing configuration")?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).doing("writing configuration")?;
    }
    let log = File::create(folder.join("log")).doing("making a log")?;
    command.args(["-F", "-u", "root"]);
    for name in ["NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH"] {
        command.env(name, folder);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().doing("making a log")?).stderr(log);
    let began = clock::now();
    let child = command.spawn().doing("starting upsd")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let folder = Some(folder.to_owned());
    let mut server = Server { who, address, started_in: Duration::ZERO, child, stdin: None, folder };
    for unit in units.iter().rev() {
        let request = format!("GET VAR {} ups.status\n", unit.name);
        loop {
            let said = load::ask(address, &request).unwrap_or_default();
            if said.ends_with("\"OL\"\n") {
                break;
            }
            if clock::now().since(began) > START_LIMIT || !matches!(server.child.try_wait(), Ok(None)) {
                return Err(server.fault(format!("to {request:?} it said {said:?}")));
            }
            load::pause(Duration::from_millis(1));
        }
        server.started_in = clock::now().since(began);
    }
    Ok(server)
}

fn limit(answers: &echo::Answers) -> Result<Server, BenchError> {
    let began = clock::now();
    // Not by its path: the build of ours may have put a new program in its place.
    let mut command = Command::new("/proc/self/exe");
    command.arg(echo::WORD).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().doing("starting the echo server")?;
    let mut stdin = child.stdin.take();
    let text = serde_json::to_string(answers).map_err(std::io::Error::from).doing("telling the answers")?;
    if let Some(stdin) = &mut stdin {
        writeln!(stdin, "{text}").doing("telling the answers")?;
    }
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).doing("reading the echo server's port")?;
    }
    let port = line.trim().parse().unwrap_or(0);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let started_in = clock::now().since(began);
    Ok(Server { who: Who::Echo, address, started_in, child, stdin, folder: None })
}
