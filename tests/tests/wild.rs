//! Clients that others have written, run for real against our upsd: `tests/wild/fetch.sh` brings them. Those that cannot
//! be installed are played from a record of what they say (`wild/replays.rs`).
//!
//! A client that is not to be had is skipped, with a word on standard error; with `COBNUT_WILD_REQUIRED=1`, as `.ci/run`
//! sets it, that is a failure.

mod replays;

use crate::oracle::Oracle;
use crate::support::{PATIENCE, stage, upsd};
use nut_drill::record::Entry;
use nut_drill::stage::{Host, Running, Stage};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};

const FINE: &str = r#"SETINFO ups.status "OL CHRG"
SETINFO ups.mfr "APC"
SETINFO ups.model "Smart-UPS 1000"
SETINFO ups.serial "WS9643050926"
SETINFO ups.firmware "60.11.I"
SETINFO ups.load "23.4"
SETINFO ups.temperature "31.2"
SETINFO battery.charge "98.0"
SETINFO battery.voltage "27.41"
SETINFO battery.runtime "3360"
SETINFO input.voltage "229.8"
SETINFO input.frequency "50.00"
SETINFO output.voltage "229.8"
SETINFO ups.id "school"
SETFLAGS ups.id RW STRING
SETAUX ups.id 16
SETINFO battery.charge.low "10"
SETFLAGS battery.charge.low RW STRING
SETAUX battery.charge.low 2
SETINFO input.sensitivity "high"
SETFLAGS input.sensitivity RW STRING
SETAUX input.sensitivity 6
ADDENUM input.sensitivity "high"
ADDENUM input.sensitivity "medium"
ADDENUM input.sensitivity "low"
SETINFO ups.delay.start "20"
SETFLAGS ups.delay.start RW NUMBER
ADDRANGE ups.delay.start 0 60
ADDCMD load.off
ADDCMD load.on
ADDCMD test.battery.start
ADDCMD beeper.toggle
ADDCMD shutdown.return
DATAOK
DUMPDONE
"#;
const BATTERY: &str = "SETINFO ups.status \"OB LB\"\nSETINFO battery.charge \"9.0\"\nSETINFO ups.load \"23.4\"\n\
    SETINFO input.voltage \"0.0\"\nDATAOK\nDUMPDONE\n";
const STALE: &str = "SETINFO ups.status \"OL\"\nDATASTALE\nDUMPDONE\n";

const USERS: &str = "[admin]\n  password = adminpass\n  actions = SET FSD\n  instcmds = ALL\n  upsmon primary\n\
    [monuser]\n  password = secret\n  upsmon slave\n";

/// One that is well, one on battery, one whose data are old, one without a driver.
const UPSES: [(&str, &str); 4] = [("fine", FINE), ("battery", BATTERY), ("stale", STALE), ("absent", "")];

/// A client from `tests/wild`, in the folder of the root that holds it.
pub(crate) fn client(folder: &str, test: &str) -> Option<PathBuf> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wild/fetch.sh");
        let output = Command::new("bash").arg(script).output().map_err(|error| format!("bash: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match said.lines().last() {
            Some(root) if output.status.success() => Ok(PathBuf::from(root)),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    });
    match root {
        Ok(root) if root.join(folder).is_dir() => Some(root.clone()),
        other => {
            let why = other.as_ref().err().cloned().unwrap_or_else(|| format!("there is no {folder}"));
            assert!(std::env::var_os("COBNUT_WILD_REQUIRED").is_none(), "{test} has no client: {why}");
            eprintln!("skipped: {test}: {why}");
            None
        }
    }
}

/// What a driver was told.
type Orders = Arc<Mutex<Vec<String>>>;

/// A driver that tells what it is given, does what it is told, and remembers it.
fn driver(socket: &Path, dump: &'static str, orders: &Orders) {
    let listener = UnixListener::bind(socket).unwrap();
    let orders = orders.clone();
    tokio::spawn(async move {
        while let Ok((reader, _)) = listener.accept().await {
            tokio::spawn(serve(reader, dump, orders.clone()));
        }
    });
}

async fn serve(reader: UnixStream, dump: &'static str, orders: Orders) {
    let (input, mut output) = reader.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "DUMPALL" => dump.to_owned(),
            "PING" => "PONG\n".to_owned(),
            order => {
                let (order, id) = order.split_once(" TRACKING ").unwrap_or((order, ""));
                orders.lock().unwrap().push(order.to_owned());
                let mut told = match order.strip_prefix("SET ") {
                    Some(set) => format!("SETINFO {set}\n"),
                    None => String::new(),
                };
                if !id.is_empty() {
                    told.push_str(&format!("TRACKING {id} 0\n"));
                }
                told
            }
        };
        if output.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server with a UPS that is well, one on battery, one whose data are old, and one without a driver.
struct House {
    stage: Stage,
    host: Host,
    port: u16,
    orders: Orders,
    _server: Running,
}

impl House {
    async fn new() -> Self {
        Self::with(&UPSES, USERS, "").await
    }

    /// With a certificate for 127.0.0.1; the authority's is in `ca.pem` beside it.
    async fn with_tls() -> Self {
        Self::with(&UPSES, USERS, "CERTFILE upsd.pem\n").await
    }

    /// With these UPSes, each with what its driver tells (there is none where that is nothing), these users, and these
    /// further lines in upsd.conf.
    async fn with(upses: &[(&str, &'static str)], users: &str, lines: &str) -> Self {
        let mut stage = stage();
        let host = stage.host("server").unwrap();
        let authority = nut_tls::testing::authority("Test CA");
        let own = authority.issue("School", "ups", &["127.0.0.1"]).own();
        stage.write(&host.conf.join("upsd.pem"), &own).unwrap();
        stage.write(&host.conf.join("ca.pem"), &authority.certificate).unwrap();
        let orders = Orders::default();
        let mut conf = String::new();
        for (ups, dump) in upses {
            conf.push_str(&format!("[{ups}]\n  driver = dummy-ups\n  port = x\n"));
            if *ups == "fine" {
                conf.push_str("  desc = \"The fine one\"\n");
            }
            if !dump.is_empty() {
                driver(&host.state.join(format!("dummy-ups-{ups}")), dump, &orders);
            }
        }
        stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
        stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 0\n{lines}")).unwrap();
        stage.write(&host.conf.join("upsd.users"), users).unwrap();
        let (server, port) = upsd(&mut stage, &host).await;
        let house = Self { stage, host, port, orders, _server: server };
        let mut watch = house.connect().await;
        let ready = async {
            for (ups, dump) in upses {
                let awaited = match *dump {
                    "" => "ERR DRIVER-NOT-CONNECTED\n".to_owned(),
                    STALE => "ERR DATA-STALE\n".to_owned(),
                    BATTERY => format!("VAR {ups} ups.status \"OB LB\"\n"),
                    _ => format!("VAR {ups} ups.status \"OL CHRG\"\n"),
                };
                while watch.ask(&format!("GET VAR {ups} ups.status\n")).await != awaited {
                    nut_drill::stage::turn().await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the drivers are known in time");
        house
    }

    async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// Runs a program to its end: what it printed, both outputs together, and its exit code.
    async fn run(&self, program: &str, args: &[&str], environment: &[(&str, &str)]) -> (String, Option<i32>) {
        let mut command = tokio::process::Command::new(program);
        command.args(args).envs(environment.iter().copied()).current_dir(self.stage.folder());
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .unwrap_or_else(|_| panic!("{program} does not end"))
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout) + &text(&output.stderr), output.status.code())
    }

    /// Runs a script of `tests/wild` that says itself whether all is well.
    async fn script(&self, program: &str, name: &str, root: &Path) {
        self.script_with(program, name, root, &[]).await;
    }

    /// The same, with further arguments.
    async fn script_with(&self, program: &str, name: &str, root: &Path, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wild").join(name);
        let (script, root) = (script.display().to_string(), root.display().to_string());
        let port = self.port.to_string();
        let args = [&[script.as_str(), &root, &port][..], more].concat();
        let (said, code) = self.run(program, &args, &[]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.trim_end().ends_with(": fine"), "{said}");
    }

    /// Waits until the driver has been told this.
    async fn told(&self, order: &str) {
        let arrived = async {
            while !self.orders.lock().unwrap().iter().any(|one| one == order) {
                nut_drill::stage::turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, arrived).await.is_ok();
        assert!(in_time, "{order} did not arrive: {:#?}", self.orders.lock().unwrap());
    }
}

/// A connection without a client's help.
struct Raw(TcpStream);

impl Raw {
    /// Sends this and gives the next line, or all of a list.
    async fn ask(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).await.unwrap();
        let read = async {
            let mut heard = Vec::new();
            let mut byte = [0];
            loop {
                if self.0.read(&mut byte).await.unwrap() == 0 {
                    break;
                }
                heard.extend_from_slice(&byte);
                let is_list = heard.starts_with(b"BEGIN ");
                let last = heard.split(|byte| *byte == b'\n').rev().nth(1).unwrap_or_default();
                if byte == *b"\n" && (!is_list || last.starts_with(b"END ")) {
                    break;
                }
            }
            String::from_utf8(heard).unwrap()
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no answer to {text:?}"))
    }

    /// The other side has closed, and said nothing before.
    async fn is_closed(&mut self) {
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut [0])).await;
        assert_eq!(read.expect("it closes in time").unwrap(), 0);
    }

    async fn play(&mut self, conversation: &[(&str, &str)]) {
        for (said, expected) in conversation {
            assert_eq!(self.ask(said).await, *expected, "{said:?}");
        }
    }
}

#[tokio::test]
async fn pynut_old_and_new() {
    let Some(root) = client("debian", "pynut_old_and_new").filter(|root| root.join("python").is_dir()) else {
        return;
    };
    let house = House::new().await;
    house.script("python3", "pynut.py", &root).await;
    for order in [
        "SET ups.id \"pynut\"",
        "SET input.sensitivity \"low\"",
        "SET ups.delay.start \"30\"",
        "INSTCMD beeper.toggle",
    ] {
        house.told(order).await;
    }
}

#[tokio::test]
async fn pynut_over_tls() {
    let Some(root) = client("python", "pynut_over_tls") else { return };
    let mut house = House::with_tls().await;
    let authority = house.host.conf.join("ca.pem").display().to_string();
    house.script_with("python3", "pynut_tls.py", &root, &[&authority]).await;
    house.told("SET ups.id \"sealed\"").await;
    let login =
        |entry: &Entry| entry.is_line("server", "upsd", "User admin@127.0.0.1 logged into UPS [fine] (SSL)");
    house.stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
}

#[tokio::test]
async fn aionut_of_home_assistant() {
    let Some(root) = client("python", "aionut_of_home_assistant") else { return };
    let house = House::new().await;
    house.script("python3", "aionut.py", &root).await;
    house.told("INSTCMD test.battery.start").await;
    house.told("INSTCMD load.off \"30\"").await;
}

#[tokio::test]
async fn node_nut_of_iobroker_and_node_red() {
    let Some(root) = client("node", "node_nut_of_iobroker_and_node_red") else { return };
    let house = House::new().await;
    house.script("node", "node-nut.js", &root).await;
    house.told("SET ups.id \"node\"").await;
    house.told("INSTCMD load.on").await;
}

#[tokio::test]
async fn ups_nut_of_perl() {
    let Some(root) = client("debian", "ups_nut_of_perl") else { return };
    let house = House::new().await;
    house.script("perl", "upsnut.pl", &root).await;
    house.told("SET ups.id \"perl one\"").await;
    house.told("INSTCMD beeper.toggle").await;
}

/// It pipelines: the variables of two UPSes are asked for in one write.
#[tokio::test]
async fn libnutclient_of_cpp() {
    let Some(root) = client("debian", "libnutclient_of_cpp") else { return };
    if Command::new("g++").arg("--version").output().is_err() {
        eprintln!("skipped: libnutclient_of_cpp: there is no g++ here");
        return;
    }
    let house = House::new().await;
    let debian = root.join("debian");
    let folders = library_folders(&debian);
    let mut library = folders.split(':').map(|folder| Path::new(folder).join("libnutclient.so.2"));
    let library = library.find(|path| path.exists()).expect("the package brings its library");
    let program = house.stage.folder().join("nutclient").display().to_string();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("wild/nutclient.cpp").display().to_string();
    let include = format!("-I{}", debian.join("usr/include").display());
    let library = library.display().to_string();
    let args = ["-std=c++17", &include, &source, &library, "-o", &program];
    let (said, code) = house.run("g++", &args, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    let port = house.port.to_string();
    let (said, code) = house.run(&program, &[&port], &[("LD_LIBRARY_PATH", &folders)]).await;
    assert_eq!((said.as_str(), code), ("libnutclient: fine\n", Some(0)));
    house.told("SET ups.id \"c++ one\"").await;
    house.told("INSTCMD beeper.toggle").await;
    house.told("INSTCMD load.off \"30\"").await;
}

/// Munin's plugins read what upsc prints.
#[tokio::test]
async fn munins_plugins_and_our_upsc() {
    let Some(root) = client("debian", "munins_plugins_and_our_upsc") else { return };
    let house = House::new().await;
    let plugin = |name: &str| root.join("debian/usr/share/munin/plugins").join(name).display().to_string();
    let upsc = house.stage.programs().path("upsc").unwrap();
    let ups = format!("fine@127.0.0.1:{}", house.port);
    let environment = [("upsname", ups.as_str()), ("upsc", &upsc.display().to_string())];
    let (said, code) = house.run("perl", &[&plugin("nut_misc")], &environment).await;
    assert_eq!(
        (said.as_str(), code),
        (
            "battery_charge.value 98.0\nbattery_runtime.value 56\nbattery_voltage.value 27.41\n\
             input_frequency.value 50.00\nups_load.value 23.4\nups_temperature.value 31.2\n",
            Some(0)
        )
    );
    // This one is told which UPS, and what of it, by its own name.
    let search = format!("{}:{}", upsc.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for (what, expected) in [
        ("freq", "inputfreq.value 50.00\n"),
        ("charge", "charge.value 98.0\nlow.value 10\nload.value 23.4\n"),
        ("voltages", "battery.value 27.41\ninput.value 229.8\noutput.value 229.8\n"),
    ] {
        let link = house.stage.folder().join(format!("nutups_{ups}_{what}"));
        std::os::unix::fs::symlink(plugin("nutups_"), &link).unwrap();
        let (said, code) = house.run("sh", &[&link.display().to_string()], &[("PATH", &search)]).await;
        assert_eq!((said.as_str(), code), (expected, Some(0)), "{what}");
    }
}

#[tokio::test]
async fn check_ups_of_nagios() {
    let Some(root) = client("debian", "check_ups_of_nagios") else { return };
    let house = House::new().await;
    let program = root.join("debian/usr/lib/nagios/plugins/check_ups").display().to_string();
    let port = house.port.to_string();
    let check = async |ups: &str, more: &[&str]| {
        let args = [&["-H", "127.0.0.1", "-p", &port, "-u", ups][..], more].concat();
        house.run(&program, &args, &[]).await
    };
    let (said, code) = check("fine", &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("UPS OK - Status=Online, Charging Utility=229.8V Batt=98.0% Load=23.4% Temp="),
        "{said}"
    );
    assert!(said.contains("|voltage=229800mV;;;0; battery=98%;;;0;100 load=23%;;;0;100 temp="), "{said}");
    let (said, code) = check("fine", &["-v", "LOADPCT", "-w", "20", "-c", "50"]).await;
    assert_eq!(code, Some(1), "{said}");
    let (said, code) = check("battery", &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("On Battery, Low Battery"), "{said}");
    let (said, code) = check("stale", &[]).await;
    assert_eq!((code, said.starts_with("CRITICAL - UPS data is stale")), (Some(2), true), "{said}");
    let (said, code) = check("nothing", &[]).await;
    assert_eq!((code, said.starts_with("CRITICAL - no such UPS")), (Some(2), true), "{said}");
}

#[tokio::test]
async fn collectds_nut_plugin() {
    let test = "collectds_nut_plugin";
    let (Some(root), Some(oracle)) = (client("debian", test), Oracle::get(test)) else { return };
    collectd(House::new().await, &root, oracle, "").await;
}

#[tokio::test]
async fn collectds_nut_plugin_over_tls() {
    let test = "collectds_nut_plugin_over_tls";
    let (Some(root), Some(oracle)) = (client("debian", test), Oracle::get(test)) else { return };
    collectd(House::with_tls().await, &root, oracle, "ForceSSL true").await;
}

/// collectd asks every second, and tells what it hears.
async fn collectd(mut house: House, root: &Path, oracle: &Oracle, option: &str) {
    let debian = root.join("debian");
    let conf = format!(
        "FQDNLookup false\nHostname \"school\"\nBaseDir \"{state}\"\nPIDFile \"{state}/collectd.pid\"\nInterval 1\n\
         PluginDir \"{debian}/usr/lib/collectd\"\nTypesDB \"{debian}/usr/share/collectd/types.db\"\n\
         LoadPlugin csv\n<Plugin csv>\n  DataDir \"stdout\"\n</Plugin>\n\
         LoadPlugin nut\n<Plugin nut>\n  UPS \"fine@127.0.0.1:{port}\"\n  {option}\n</Plugin>\n",
        state = house.host.state.display(),
        debian = debian.display(),
        port = house.port
    );
    let path = house.host.conf.join("collectd.conf");
    house.stage.write(&path, &conf).unwrap();
    let libraries = format!("{}:{}", library_folders(&debian), library_folders(oracle.root()));
    let _collectd = house
        .stage
        .start_at(
            &house.host,
            "collectd",
            // It would keep its lines until it ends.
            Path::new("/usr/bin/stdbuf"),
            &[
                "-oL",
                &debian.join("usr/sbin/collectd").display().to_string(),
                "-f",
                "-C",
                &path.display().to_string(),
            ],
            &[("LD_LIBRARY_PATH", &libraries)],
        )
        .unwrap();
    for (name, value) in [
        ("percent-charge", ":98"),
        ("percent-load", ":23.4"),
        ("timeleft-battery", ":3360"),
        ("voltage-battery", ":27.41"),
        ("voltage-input", ":229.8"),
        ("voltage-output", ":229.8"),
        ("frequency-input", ":50"),
        ("temperature-ups", ":31.2"),
    ] {
        let name = format!("PUTVAL 127.0.0.1/nut-fine/{name} ");
        let is = |entry: &Entry| matches!(&entry.what, nut_drill::record::What::Line { text, .. } if text.contains(&name) && text.contains(value));
        let told = house.stage.record.wait(0, PATIENCE, &format!("collectd tells {name}{value}"), is).await;
        assert!(told.is_ok(), "{told:?}: {:#?}", house.stage.record.entries());
    }
}

/// Where Debian's packages below this folder have their libraries.
pub(crate) fn library_folders(root: &Path) -> String {
    let mut found = Vec::new();
    for below in ["lib", "usr/lib"] {
        let Ok(entries) = std::fs::read_dir(root.join(below)) else { continue };
        found.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-"))
                .map(|path| path.display().to_string()),
        );
    }
    found.join(":")
}
