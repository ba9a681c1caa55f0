//! The set-up that Cobnut was first built for, on a stage: one central host with three Smart-UPSes on serial lines,
//! two servers as network clients, and a stranger whom the ACL turns away. Configured in NUT 2.0's manner.

use crate::overhear::overhear;
use crate::record::{Entry, Missed, What};
use crate::relay::Relay;
use crate::sim::{Pace, Profile, Settings, SimHandle, SmartUps};
use crate::stage::{Host, Running, Stage, StageError};
use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use thiserror::Error;

/// The UPSes in the order of ups.conf: name, profile, how many of the central host's supplies it counts for, sdorder.
///
/// Nicole feeds the central host; the others count one each, so that their loss alone never stops it.
pub const UPSES: [Feeds; 3] = [
    Feeds { name: "nicole", profile: "smart-ups-1400-70.9.I", power_value: 3, shutdown_order: 10 },
    Feeds { name: "paris", profile: "smart-ups-1500-601.3.I", power_value: 1, shutdown_order: 1 },
    Feeds { name: "lindsay", profile: "smart-ups-420-21.3.I", power_value: 1, shutdown_order: 5 },
];

/// The servers: name, address, the UPS that feeds it.
pub const SERVERS: [Server; 2] = [
    Server { name: "mail", address: Ipv4Addr::new(127, 0, 1, 11), ups: "nicole" },
    Server { name: "web", address: Ipv4Addr::new(127, 0, 1, 12), ups: "paris" },
];

/// Whom the ACL does not name.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 66);

/// How long a UPS may be on battery before the timer's script runs; 30 s in the school.
pub const TIMER: Duration = Duration::from_secs(3);

/// How many supplies the central host needs (`MINSUPPLIES`).
const NEEDED: u32 = 3;

/// How many times faster than real the UPSes' delays pass: a grace of 20 s takes 1 s.
const TIME_SCALE: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");

/// How many times faster than real the serial lines are.
const LINE_SCALE: NonZeroU32 = NonZeroU32::new(8).expect("it is not zero");

/// How long starting may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// One UPS of the central host.
#[derive(Debug, Clone, Copy)]
pub struct Feeds {
    /// Its name.
    pub name: &'static str,
    /// The unit it is.
    pub profile: &'static str,
    /// What it counts for the central host.
    pub power_value: u32,
    /// `sdorder`.
    pub shutdown_order: u32,
}

/// One server.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Its name.
    pub name: &'static str,
    /// Its address.
    pub address: Ipv4Addr,
    /// The UPS that feeds it.
    pub ups: &'static str,
}

/// Who watches which UPS.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// The host.
    pub host: &'static str,
    /// The UPS.
    pub ups: &'static str,
}

impl Watched {
    /// Whether this host's `upsmon` told of this UPS, in NUT's words.
    #[must_use]
    pub fn is_notice(&self, entry: &Entry, words: &str) -> bool {
        entry.is_line(self.host, "upsmon", words)
            && entry.is_line(self.host, "upsmon", &format!("UPS {}@", self.ups))
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.host, self.ups)
    }
}

/// All of them: the central host watches every UPS, a server the one that feeds it.
pub fn watched() -> impl Iterator<Item = Watched> {
    let central = UPSES.iter().map(|ups| Watched { host: "central", ups: ups.name });
    central.chain(SERVERS.iter().map(|server| Watched { host: server.name, ups: server.ups }))
}

/// Who plays, for a reader: one line a host.
#[must_use]
pub fn cast() -> String {
    let mut text = String::new();
    let counts: Vec<String> = UPSES.iter().map(|ups| format!("{} {}", ups.name, ups.power_value)).collect();
    add(
        &mut text,
        format_args!(
            "  central   three Smart-UPSes on serial lines, apcsmart for each; upsd, upsmon, upssched;\n            \
             its supplies: {}; it needs {NEEDED}\n",
            counts.join(", ")
        ),
    );
    for server in &SERVERS {
        add(
            &mut text,
            format_args!(
                "  {:<9} upsmon, over the network from {}; fed by {}\n",
                server.name, server.address, server.ups
            ),
        );
    }
    text
}

/// Why the set-up does not stand.
#[derive(Debug, Error)]
pub enum SchoolError {
    /// A file or a program.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A simulated UPS.
    #[error("the simulated UPS {ups} cannot be started: {reason}")]
    Sim {
        /// Which.
        ups: String,
        /// Why.
        reason: String,
    },
    /// A relay.
    #[error("loopback cannot be listened on")]
    Relay(#[source] std::io::Error),
    /// Something did not happen at start.
    #[error(transparent)]
    Missed(#[from] Missed),
    /// `upsd` did not say its port.
    #[error("upsd did not say on which port it listens: {line:?}")]
    NoPort {
        /// What it said.
        line: String,
    },
}

/// The set-up, running.
#[derive(Debug)]
pub struct School {
    /// Where it runs.
    pub stage: Stage,
    /// The central host.
    pub central: Host,
    /// The UPSes, in the order of [`UPSES`].
    pub sims: Vec<SimHandle>,
    /// The cables of the servers, in the order of [`SERVERS`].
    pub cables: Vec<Relay>,
    /// The stranger's way.
    pub stranger: (Host, Relay),
    /// `apcsmart`, in the order of [`UPSES`].
    pub drivers: Vec<Running>,
    /// `upsd`.
    pub upsd: Running,
    /// The port of 127.0.0.1 that `upsd` listens on.
    pub port: u16,
    /// The central host's `upsmon`.
    pub monitor: Running,
    /// The servers' `upsmon`, in the order of [`SERVERS`].
    pub monitors: Vec<Running>,
}

impl School {
    /// Sets everything up and waits until every host is logged in.
    ///
    /// # Errors
    /// See [`SchoolError`].
    pub async fn start(mut stage: Stage) -> Result<Self, SchoolError> {
        let me = whoami();
        let central = stage.host("central")?;
        let mut sims = Vec::new();
        for ups in &UPSES {
            sims.push(simulate(&stage, ups)?);
        }
        stage.script("wall", "#!/bin/sh\nexec cat >/dev/null\n")?;
        write_central(&stage, &central, &me)?;

        let mut drivers = Vec::new();
        for ups in &UPSES {
            let label = format!("apcsmart-{}", ups.name);
            let path = stage.programs().path("apcsmart").map_err(StageError::from)?;
            drivers.push(stage.start_at(&central, &label, &path, &["-a", ups.name, "-F"], &[])?);
        }
        let upsd = stage.start(&central, "upsd", &["-F", "-u", &me])?;
        let line = stage
            .record
            .wait(0, START, "upsd listens", |entry| {
                entry.is_line("central", "upsd", "listening on 127.0.0.1")
            })
            .await?;
        let port = port_in(&line)?;
        for ups in &UPSES {
            let text = format!("Connected to UPS [{}]", ups.name);
            let is = |entry: &Entry| entry.is_line("central", "upsd", &text);
            stage.record.wait(0, START, &format!("upsd is connected to {}", ups.name), is).await?;
            let socket = central.state.join(format!("apcsmart-{}", ups.name));
            overhear(&socket, ups.name, stage.recorder())
                .await
                .map_err(|source| StageError::File { path: socket, source })?;
        }

        write_central_monitor(&stage, &central, &me, port)?;
        let monitor = stage.start(&central, "upsmon", &["-F"])?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (mut cables, mut monitors) = (Vec::new(), Vec::new());
        for server in &SERVERS {
            let relay = Relay::start(server.address, to).await.map_err(SchoolError::Relay)?;
            let host = stage.host(server.name)?;
            write_server(&stage, &host, server, &me, relay.port())?;
            cables.push(relay);
            monitors.push(stage.start(&host, "upsmon", &["-F"])?);
        }
        let relay = Relay::start(STRANGER, to).await.map_err(SchoolError::Relay)?;
        let stranger = (stage.host("stranger")?, relay);

        let mut logins: Vec<String> = UPSES
            .iter()
            .map(|ups| format!("User masteruser@127.0.0.1 logged into UPS [{}]", ups.name))
            .collect();
        logins.extend(
            SERVERS.iter().map(|one| format!("User slaveuser@{} logged into UPS [{}]", one.address, one.ups)),
        );
        for login in &logins {
            let is = |entry: &Entry| entry.is_line("central", "upsd", login);
            stage.record.wait(0, START, &format!("upsd says: {login}"), is).await?;
        }
        Ok(Self { stage, central, sims, cables, stranger, drivers, upsd, port, monitor, monitors })
    }

    /// The simulated UPS of this name.
    #[must_use]
    pub fn sim(&self, name: &str) -> Option<&SimHandle> {
        UPSES.iter().zip(&self.sims).find(|(ups, _)| ups.name == name).map(|(_, sim)| sim)
    }
}

/// The user this process runs as: the daemons of a stage do the same, and nobody else.
#[must_use]
pub fn whoami() -> String {
    let uid = nix::unistd::Uid::effective();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Whether this process runs as root, whom no permission stops.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn simulate(stage: &Stage, ups: &Feeds) -> Result<SimHandle, SchoolError> {
    let failed = |reason: String| SchoolError::Sim { ups: ups.name.to_owned(), reason };
    let profile = Profile::named(ups.profile).map_err(|error| failed(error.to_string()))?;
    let settings = Settings { pace: Pace::Faster(LINE_SCALE), time_scale: TIME_SCALE, ..Settings::default() };
    let sim = SimHandle::start(SmartUps::new(profile, settings), &tty(stage, ups.name))
        .map_err(|error| failed(error.to_string()))?;
    let mut deeds = sim.deeds();
    let recorder = stage.recorder();
    let name = ups.name;
    tokio::spawn(async move {
        while let Ok((at, deed)) = deeds.recv().await {
            recorder.tell_at(at, name, What::Deed(deed)).await;
        }
    });
    Ok(sim)
}

/// What stands for the serial port of this UPS.
fn tty(stage: &Stage, ups: &str) -> std::path::PathBuf {
    stage.folder().join(format!("tty-{ups}"))
}

fn port_in(line: &Entry) -> Result<u16, SchoolError> {
    let What::Line { text, .. } = &line.what else {
        return Err(SchoolError::NoPort { line: String::new() });
    };
    let port = text.split_once(" port ").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    port.ok_or_else(|| SchoolError::NoPort { line: text.clone() })
}

/// ups.conf, upsd.conf and upsd.users of the central host.
fn write_central(stage: &Stage, central: &Host, me: &str) -> Result<(), StageError> {
    let conf = |name: &str| central.conf.join(name);
    let mut ups_conf =
        format!("driverpath = {}\nuser = {me}\npollinterval = 1\n\n", stage.programs().folder().display());
    for ups in &UPSES {
        add(
            &mut ups_conf,
            format_args!(
                "[{}]\n    driver = apcsmart\n    port = {}\n    \
                 # Set load to turn back on automatically when power returns\n    sdtype = 0\n    \
                 desc = \"Smart-UPS of {}\"\n    sdorder = {}\n\n",
                ups.name,
                tty(stage, ups.name).display(),
                ups.name,
                ups.shutdown_order
            ),
        );
    }
    stage.write(&conf("ups.conf"), &ups_conf)?;
    stage.write(
        &conf("upsd.conf"),
        "LISTEN 127.0.0.1 0\n\
         ACL localhost 127.0.0.1/32\n\
         ACL all 0.0.0.0/0\n\
         ACL myservers 127.0.1.0/24\n\
         ACCEPT localhost\n\
         ACCEPT myservers\n\
         REJECT all\n",
    )?;
    stage.write(
        &conf("upsd.users"),
        "# Local user with full manual control over all UPSes\n\
         [upsmaster]\n    password = supersecret\n    allowfrom = localhost\n    actions = SET FSD\n    \
         instcmds = all\n\
         # upsmon agent user with full control over all UPSes\n\
         [masteruser]\n    password = secret\n    allowfrom = localhost\n    upsmon master\n\
         # upsmon agent with read-only privs\n\
         [slaveuser]\n    password = kindasecret\n    allowfrom = localhost myservers\n    upsmon slave\n",
    )
}

/// upssched.conf and upsmon.conf of the central host, which name UPSes by `upsd`'s port.
fn write_central_monitor(stage: &Stage, central: &Host, me: &str, port: u16) -> Result<(), StageError> {
    let dispatch = stage.teller(central, "CMDSCRIPT", "upssched-dispatch")?;
    let mut upssched = format!(
        "CMDSCRIPT {}\nPIPEFN {}\nLOCKFN {}\n",
        dispatch.display(),
        central.state.join("upssched.pipe").display(),
        central.state.join("upssched.lock").display()
    );
    for ups in &UPSES {
        add(
            &mut upssched,
            format_args!(
                "AT ONBATT {0}@127.0.0.1:{port} START-TIMER onbatt-{0} {1}\n\
                 AT ONLINE {0}@127.0.0.1:{port} CANCEL-TIMER onbatt-{0}\n\
                 AT LOWBATT {0}@127.0.0.1:{port} EXECUTE lowbatt-{0}\n",
                ups.name,
                TIMER.as_secs()
            ),
        );
    }
    upssched.push_str("AT SHUTDOWN * EXECUTE powerdown\n");
    stage.write(&central.conf.join("upssched.conf"), &upssched)?;

    let flag = power_down_flag(central);
    let shutdown = stage.script(
        "shutdown-central",
        &format!(
            "#!/bin/sh\nexec {} tell central SHUTDOWNCMD \"$(cat {} 2>/dev/null)\"\n",
            stage.programs().path("upsdrill")?.display(),
            flag.display()
        ),
    )?;
    let mut monitors = String::new();
    for ups in &UPSES {
        add(
            &mut monitors,
            format_args!(
                "MONITOR {}@127.0.0.1:{port} {} masteruser secret master\n",
                ups.name, ups.power_value
            ),
        );
    }
    let text = format!(
        "{monitors}MINSUPPLIES {NEEDED}\n\
         SHUTDOWNCMD \"{}\"\n\
         NOTIFYCMD {}\n\
         POWERDOWNFLAG {}\n\
         {}",
        shutdown.display(),
        stage.programs().path("upssched")?.display(),
        flag.display(),
        rhythm(me)
    );
    stage.write(&central.conf.join("upsmon.conf"), &text)
}

/// upsmon.conf of a server.
fn write_server(stage: &Stage, host: &Host, server: &Server, me: &str, port: u16) -> Result<(), StageError> {
    let shutdown = stage.teller(host, "SHUTDOWNCMD", &format!("shutdown-{}", host.name))?;
    let notify = stage.teller(host, "NOTIFYCMD", &format!("notify-{}", host.name))?;
    let text = format!(
        "MONITOR {}@127.0.0.1:{port} 1 slaveuser kindasecret slave\n\
         MINSUPPLIES 1\n\
         SHUTDOWNCMD \"{}\"\n\
         NOTIFYCMD {}\n\
         POWERDOWNFLAG {}\n\
         {}",
        server.ups,
        shutdown.display(),
        notify.display(),
        power_down_flag(host).display(),
        rhythm(me)
    );
    stage.write(&host.conf.join("upsmon.conf"), &text)
}

/// Where a host's POWERDOWNFLAG is.
#[must_use]
pub fn power_down_flag(host: &Host) -> std::path::PathBuf {
    host.state.join("killpower")
}

/// What all upsmon.conf of the stage share: shortened times, and every notice to syslog and script.
fn rhythm(me: &str) -> String {
    let mut text =
        format!("RUN_AS_USER {me}\nPOLLFREQ 1\nPOLLFREQALERT 1\nHOSTSYNC 6\nDEADTIME 6\nFINALDELAY 1\n");
    for notice in [
        "ONLINE", "ONBATT", "LOWBATT", "FSD", "COMMOK", "COMMBAD", "SHUTDOWN", "REPLBATT", "NOCOMM",
        "NOPARENT",
    ] {
        add(&mut text, format_args!("NOTIFYFLAG {notice} SYSLOG+EXEC\n"));
    }
    text
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a text in memory takes everything");
}
