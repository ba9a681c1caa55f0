//! What every driver has from the framework, seen from outside: whom it runs as, where its files are, what it tells the
//! service manager, signals, other instances, settings. The driver is `dummy-ups`.

use crate::stage::{DEADLINE, Reader, Stage, eventually};
use nix::sys::signal::Signal;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DUMMY: &str = env!("CARGO_BIN_EXE_dummy-ups");
const SOCKET: &str = "dummy-ups-d";

fn conf(global: &str, more: &str) -> String {
    format!("{global}\n[d]\ndriver = dummy-ups\nport = d.dev\n{more}\n")
}

fn stage(global: &str, more: &str) -> Stage {
    let stage = Stage::new(&conf(global, more));
    stage.write("d.dev", "ups.status: OL\nbattery.charge: 90\n");
    stage
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Who `nobody` and its like are on this machine: user and group.
fn user(name: &str) -> (u32, u32) {
    let user = nix::unistd::User::from_name(name).unwrap().unwrap_or_else(|| panic!("a user {name}"));
    (user.uid.as_raw(), user.gid.as_raw())
}

/// The numbers of one line of /proc/PID/status.
fn status(pid: &str, name: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn pid_in(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn result(reader: &mut Reader, order: &str) -> String {
    reader.say(&format!("{order} TRACKING t\n"));
    loop {
        let line = reader.line().expect("the driver goes on");
        if let Some(result) = line.strip_prefix("TRACKING t ") {
            return result.to_owned();
        }
    }
}

// --- Whom it runs as, and where ----------------------------------------------------------------------------------

#[test]
fn root_becomes_the_user_of_ups_conf_before_anything_is_made() {
    if !is_root() {
        return;
    }
    let stage = stage("", "user = nobody");
    let (uid, gid) = user("nobody");
    // Read before; the driver's user needs no right to it.
    std::fs::set_permissions(stage.path("conf/ups.conf"), PermissionsExt::from_mode(0o600)).unwrap();
    chown(stage.run(), Some(uid), Some(gid)).unwrap();
    let said = stage.output(DUMMY, "-a d");
    assert_eq!(said.code, Some(0), "{said:?}");
    let pid_file = stage.run().join("dummy-ups-d.pid");
    let pid = pid_in(&pid_file);
    assert_eq!(status(&pid, "Uid"), [uid; 4]);
    assert_eq!(status(&pid, "Gid"), [gid; 4]);
    let seen = |path: &Path| {
        let meta = std::fs::metadata(path).unwrap();
        (meta.uid(), meta.gid(), meta.permissions().mode() & 0o777)
    };
    assert_eq!(seen(&pid_file), (uid, gid, 0o644));
    assert_eq!(seen(&stage.run().join(SOCKET)), (uid, gid, 0o660));
    // It cannot read the file again, and goes on with what it knows.
    let mut reader = stage.connect(SOCKET);
    assert_eq!(result(&mut reader, "INSTCMD driver.reload-or-error"), "3");
    assert_eq!(result(&mut reader, "INSTCMD driver.exit"), "0");
    eventually("nothing is left over", || stage.left_over().is_empty());
}

#[test]
fn minus_u_beats_ups_conf_and_minus_g_is_about_the_socket_alone() {
    if !is_root() {
        return;
    }
    let stage = stage("", "user = nobody\ngroup = nogroup");
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    let driver = stage.start(DUMMY, "-a d -F -u root -g daemon");
    stage.connect(SOCKET);
    let pid = driver.pid().to_string();
    assert_eq!((status(&pid, "Uid"), status(&pid, "Gid")), (vec![0; 4], vec![0; 4]));
    eventually("the socket has its group", || {
        std::fs::metadata(stage.run().join(SOCKET)).unwrap().gid() == group
    });
    assert!(driver.log().contains("running as root, as -u says"), "{}", driver.log());
}

#[test]
fn a_group_that_does_not_exist_costs_no_ups() {
    let stage = stage("", "group = no-such-group-here");
    let driver = stage.start(DUMMY, "-a d -F");
    stage.connect(SOCKET);
    let log = driver.log();
    assert!(log.contains("stays with the driver's own group") && log.contains("no-such-group-here"), "{log}");
}

#[test]
fn a_root_directory_of_its_own_is_all_it_sees() {
    if !is_root() {
        return;
    }
    // By the command line, and by ups.conf.
    for by_option in [true, false] {
        let stage = stage("", "");
        let root = stage.path("root");
        std::fs::create_dir_all(root.join("state")).unwrap();
        std::fs::write(root.join("inside.dev"), "ups.status: OB\n").unwrap();
        let option = if by_option {
            format!("-r {}", root.display())
        } else {
            stage.conf(&conf(&format!("chroot = {}", root.display()), ""));
            String::new()
        };
        let mut command = stage.command(DUMMY, &format!("-a d -F {option} -x port=/inside.dev"));
        command.env("NUT_STATEPATH", "/state");
        let driver = stage.start_as(command);
        let mut reader = stage.connect_at(&root.join("state").join(SOCKET));
        assert_eq!(reader.value("ups.status").as_deref(), Some("\"OB\""));
        let seen = std::fs::read_link(format!("/proc/{}/root", driver.pid())).unwrap();
        assert_eq!(seen, root);
    }
}

#[test]
fn in_the_background_it_has_left_everything_of_its_caller() {
    let stage = stage("", "");
    assert_eq!(stage.output(DUMMY, "-a d").code, Some(0));
    let pid = pid_in(&stage.run().join("dummy-ups-d.pid"));
    let number = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    assert_eq!(nix::unistd::getsid(Some(number)).unwrap(), number, "a session of its own");
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(link("cwd"), stage.run());
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(stream), Path::new("/dev/null"), "{stream}");
    }
    assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
}

#[test]
fn files_are_where_the_environment_and_then_ups_conf_say() {
    let stage = stage("", "");
    let (state, pids) = (stage.path("other"), stage.path("pids"));
    std::fs::create_dir_all(&state).unwrap();
    std::fs::create_dir_all(&pids).unwrap();
    stage.conf(&conf(&format!("statepath = {}", state.display()), ""));
    let with = |args: &str| {
        let mut command = stage.command(DUMMY, args);
        command.env_remove("NUT_STATEPATH").env("NUT_ALTPIDPATH", &pids);
        command
    };
    let mut driver = stage.start_as(with("-a d -FF"));
    stage.connect_at(&state.join(SOCKET));
    assert_eq!(pid_in(&pids.join("dummy-ups-d.pid")), driver.pid().to_string());
    assert_eq!(stage.left_over(), Vec::<String>::new());
    assert_eq!(stage.output_of(with("-a d -c exit")).code, Some(0));
    assert_eq!(driver.end(), Some(0));
    // The environment has the last word.
    let mut driver = stage.start(DUMMY, "-a d -FF");
    stage.connect(SOCKET);
    assert_eq!(stage.left_over(), ["dummy-ups-d", "dummy-ups-d.pid"]);
    driver.signal(Signal::SIGTERM);
    assert_eq!(driver.end(), Some(0));
}

#[test]
fn a_place_that_cannot_be_ends_the_start_with_what_to_do() {
    let stage = stage("", "");
    let nowhere = |args: &str| {
        let mut command = stage.command(DUMMY, args);
        command.env("NUT_STATEPATH", stage.path("nowhere"));
        stage.output_of(command)
    };
    for how in ["", "-F"] {
        let said = nowhere(&format!("-a d {how}"));
        assert!(said.code == Some(1) && said.err.contains("cannot enter the state directory"), "{said:?}");
    }
    // To look at the variables nobody needs it.
    let said = nowhere("-a d -d 1");
    assert!(said.code == Some(0) && said.out.contains("ups.status: OL"), "{said:?}");
    let said = stage.output(DUMMY, &format!("-s {} -x port=d.dev -F", "u".repeat(120)));
    assert!(said.code == Some(1) && said.err.contains("107"), "{said:?}");
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

// --- The service manager, and signals ----------------------------------------------------------------------------

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(stage: &Stage) -> Self {
        let path = stage.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, path }
    }

    /// All words up to one that begins like this.
    fn until(&self, start: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 512];
            let count =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{start}: {error}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            if heard.last().is_some_and(|word| word.starts_with(start)) {
                return heard;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_when_it_is_ready_alive_reloading_and_ending() {
    let stage = stage("", "");
    let manager = Manager::new(&stage);
    let start = |watchdog: &str| {
        let mut command = stage.command(DUMMY, "-a d -F");
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", watchdog);
        stage.start_as(command)
    };
    let mut driver = start("200000");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    driver.signal(Signal::SIGKILL);
    assert_eq!(driver.end(), None);

    // Without a watchdog: what is not read at once in a socket with room for ten words would be lost.
    drop(manager);
    std::fs::remove_file(stage.path("notify")).unwrap();
    let manager = Manager::new(&stage);
    let start = || {
        let mut command = stage.command(DUMMY, "-a d -F");
        command.env("NOTIFY_SOCKET", &manager.path);
        stage.start_as(command)
    };
    let mut driver = start();
    let ready = format!("READY=1\nMAINPID={}", driver.pid());
    assert_eq!(manager.until("READY=1"), std::slice::from_ref(&ready), "nothing before it is ready");
    driver.signal(Signal::SIGHUP);
    manager.until("RELOADING=1\nMONOTONIC_USEC=");
    assert_eq!(manager.until("READY=1").last(), Some(&ready));
    driver.signal(Signal::SIGTERM);
    assert!(manager.until("STOPPING=1").last().unwrap().contains("Signal 15"));
    assert_eq!(driver.end(), Some(0));

    // Also when it is told to end in another way.
    let mut driver = start();
    manager.until("READY=1");
    assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
    manager.until("STOPPING=1");
    assert_eq!(driver.end(), Some(0));
}

#[test]
fn signals_that_end_nothing() {
    let stage = stage("", "");
    let mut driver = stage.start(DUMMY, "-a d -F");
    let mut reader = stage.connect(SOCKET);
    let told = "Running as foreground process, not saving a PID file";
    eventually("it tells that there is no PID file", || driver.log().contains(told));
    driver.signal(Signal::SIGUSR2);
    driver.signal(Signal::SIGPIPE);
    driver.signal(Signal::SIGURG);
    let shown = || std::fs::read_to_string(stage.path("shown")).unwrap();
    eventually("all variables are shown", || shown().contains("\nups.status: OL\n"));
    stage.conf(&conf("", "pollinterval = 9"));
    driver.signal(Signal::SIGHUP);
    reader.until("SETINFO driver.parameter.pollinterval \"9\"");
    reader.until("SETINFO driver.state \"quiet\"");
    // Nothing to change: SIGUSR1 ends it only if something needs a restart.
    driver.signal(Signal::SIGUSR1);
    reader.until("SETINFO driver.state \"reloading\"");
    reader.until("SETINFO driver.state \"quiet\"");
    assert!(driver.runs());
    stage.conf(&conf("", "nolock"));
    driver.signal(Signal::SIGUSR1);
    assert_eq!(driver.end(), Some(138), "{}", driver.log());
}

// --- Other instances ---------------------------------------------------------------------------------------------

/// A process that is no driver.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_is_no_driver_is_not_touched_whatever_a_pid_file_says() {
    let stage = stage("", "");
    let mut sleeper = Sleeper::new();
    let pid_file = stage.run().join("dummy-ups-d.pid");
    for text in [format!("{}\n", sleeper.0.id()), "1\n".to_owned(), "nonsense".to_owned()] {
        std::fs::write(&pid_file, &text).unwrap();
        let said = stage.output(DUMMY, "-a d");
        assert_eq!(said.code, Some(0), "{text}: {said:?}");
        assert_ne!(pid_in(&pid_file), text.trim());
        assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
        eventually("nothing is left over", || stage.left_over().is_empty());
    }
    let said = stage.output(DUMMY, &format!("-a d -c reload-or-exit -P {}", sleeper.0.id()));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(sleeper.0.try_wait().unwrap(), None);
}

#[test]
fn an_instance_without_a_socket_is_found_by_its_pid_file() {
    let stage = stage("", "");
    let mut first = stage.start(DUMMY, "-a d -FF");
    drop(stage.connect(SOCKET));
    std::fs::remove_file(stage.run().join(SOCKET)).unwrap();
    let said = stage.output(DUMMY, "-a d");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("Duplicate driver instance detected (PID file "), "{said:?}");
    assert_eq!(first.end(), Some(0), "{}", first.log());
    // What the first left behind is the second's, and stays.
    assert_eq!(stage.left_over(), ["dummy-ups-d", "dummy-ups-d.pid"]);
    let pid = pid_in(&stage.run().join("dummy-ups-d.pid"));
    assert_ne!(pid, first.pid().to_string());
    assert_eq!(stage.output(DUMMY, &format!("-a d -c reload-or-exit -P {pid}")).code, Some(0));
    assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
}

#[test]
fn an_instance_that_hangs_is_killed_before_the_power_is_cut() {
    let stage = stage("", "");
    let mut hung = stage.start(DUMMY, "-a d -FF");
    drop(stage.connect(SOCKET));
    std::fs::remove_file(stage.run().join(SOCKET)).unwrap();
    hung.signal(Signal::SIGSTOP);
    let said = stage.output(DUMMY, "-a d -k");
    // A dummy has no power to cut, but it came to that.
    assert!(said.code == Some(1) && said.err.contains("shutdown not supported"), "{said:?}");
    assert_eq!(hung.end(), None, "killed by a signal");
}

#[test]
fn minus_c_tells_by_its_exit_code_what_came_of_it() {
    let stage = stage("", "");
    for (args, code) in [
        ("-a d -c reload", 255),
        ("-a d -c exit", 255),
        ("-a d -c reload-or-exit", 1),
        ("-a d -c nonsense", 1),
        ("-a d -c exit -c exit", 1),
        ("-a nosuch -c exit", 1),
    ] {
        let said = stage.output(DUMMY, args);
        assert!(said.code == Some(code) && !said.err.is_empty(), "{args}: {said:?}");
    }
    // Without ups.conf, and without a port: it is only to be told.
    let mut driver = stage.start(DUMMY, "-a d -F");
    stage.connect(SOCKET);
    stage.remove("ups.conf");
    let user = if is_root() { "-u root" } else { "" };
    assert_eq!(stage.output(DUMMY, &format!("-s d {user} -c exit")).code, Some(0));
    assert_eq!(driver.end(), Some(0));
}

// --- Settings ----------------------------------------------------------------------------------------------------

#[test]
fn the_interval_of_the_section_beats_the_global_one_and_minus_i_beats_both() {
    for (global, more, args, expected) in [
        ("", "", "", "\"2\""),
        ("pollinterval = 7", "", "", "\"7\""),
        ("pollinterval = 7", "pollinterval = 3", "", "\"3\""),
        ("pollinterval = 7", "pollinterval = 3", "-x pollinterval=4", "\"4\""),
        ("pollinterval = 7", "pollinterval = 3", "-i 5", "\"5\""),
    ] {
        let stage = stage(global, more);
        let driver = stage.start(DUMMY, &format!("-a d -F {args}"));
        let mut reader = stage.connect(SOCKET);
        assert_eq!(reader.value("driver.parameter.pollinterval").as_deref(), Some(expected));
        // What the command line says stands, whatever is read again.
        driver.signal(Signal::SIGHUP);
        reader.until("SETINFO driver.state \"reloading\"");
        reader.until("SETINFO driver.state \"quiet\"");
        assert_eq!(reader.value("driver.parameter.pollinterval").as_deref(), Some(expected), "reloaded");
    }
}

#[test]
fn the_debug_level_is_the_larger_of_the_files_and_the_command_lines() {
    for (global, more, args, environment, expected) in [
        ("debug_min = 1", "", "", "", "1"),
        ("debug_min = 3", "debug_min = 2", "", "", "2"),
        ("debug_min = 3", "", "-DDDD -B", "", "4"),
        ("debug_min = 3", "", "-DD -B", "", "3"),
        ("", "", "", "2", "2"),
        ("", "", "-DDD -B", "2", "3"),
    ] {
        let stage = stage(global, more);
        let mut command = stage.command(DUMMY, &format!("-a d {args}"));
        command.env("NUT_DEBUG_LEVEL", environment);
        // Of all these none keeps it in the foreground.
        let said = stage.output_of(command);
        assert_eq!(said.code, Some(0), "{said:?}");
        let mut reader = stage.connect(SOCKET);
        let level = |reader: &mut Reader| reader.value("driver.debug").unwrap().trim_matches('"').to_owned();
        assert_eq!(level(&mut reader), expected, "{global} {more} {args} {environment}");
        assert_eq!(result(&mut reader, "SET driver.debug 6"), "0");
        assert_eq!(level(&mut reader), "6");
        assert_eq!(result(&mut reader, "SET driver.debug x"), "2");
        assert_eq!(result(&mut reader, "SET driver.debug -1"), "0");
        assert_eq!(level(&mut reader), expected);
        assert_eq!(result(&mut reader, "INSTCMD driver.exit"), "0");
    }
}

#[test]
fn defaults_overrides_and_limits_of_ups_conf_hold_against_the_driver() {
    let stage = stage(
        "",
        "ignorelb\noverride.battery.charge.low = 50\ndefault.ups.mfr = Maker\ndefault.ups.contacts = \"a \\\"b\\\"\"\n\
         OVERRIDE.ups.id = mine",
    );
    stage.write("d.dev", "ups.status: OB LB\nbattery.charge: 90\nbattery.charge.low: 95\nups.id: yours\n");
    let _driver = stage.start(DUMMY, "-a d -F");
    let mut reader = stage.connect(SOCKET);
    let dump = reader.dump();
    for line in [
        "SETINFO battery.charge.low \"50\"",
        "SETINFO driver.flag.ignorelb \"enabled\"",
        "SETINFO driver.parameter.override.battery.charge.low \"50\"",
        "SETINFO driver.parameter.default.ups.mfr \"Maker\"",
        "SETINFO ups.contacts \"a \\\"b\\\"\"",
        "SETINFO ups.id \"mine\"",
        // The driver has its own: a default is only that.
        "SETINFO ups.mfr \"Dummy Manufacturer\"",
        "SETINFO ups.status \"OB\"",
    ] {
        assert!(dump.iter().any(|one| one == line), "{line} is not in {dump:#?}");
    }
    assert_eq!(result(&mut reader, "SET battery.charge.low 1"), "2");
    assert_eq!(result(&mut reader, "SET battery.charge 49"), "0");
    reader.until_status("OB LB");
    assert_eq!(result(&mut reader, "SET battery.charge 50"), "0");
    reader.until_status("OB");
}

#[test]
fn killpower_is_allowed_by_ups_conf_or_by_setting_the_flag() {
    for (more, begins, judged) in [("", "\"0\"", "2"), ("allow_killpower", "\"1\"", "3")] {
        let stage = stage("", more);
        let _driver = stage.start(DUMMY, "-a d -F");
        let mut reader = stage.connect(SOCKET);
        let dump = reader.dump();
        assert!(dump.contains(&format!("SETINFO driver.flag.allow_killpower {begins}")), "{dump:#?}");
        assert!(dump.contains(&"SETFLAGS driver.flag.allow_killpower RW NUMBER".to_owned()), "{dump:#?}");
        // What upsd cannot see it cannot forward.
        assert!(!dump.contains(&"ADDCMD driver.exit".to_owned()));
        assert_eq!(result(&mut reader, "INSTCMD driver.killpower"), judged);
        for (value, flag, judged) in [
            ("7", "\"1\"", "3"),
            ("-1", "\"0\"", "2"),
            ("enabled", "\"1\"", "3"),
            ("off", "\"0\"", "2"),
            ("yes", "\"1\"", "3"),
            ("nonsense", "\"0\"", "2"),
        ] {
            assert_eq!(result(&mut reader, &format!("SET driver.flag.allow_killpower {value}")), "0");
            assert_eq!(reader.value("driver.flag.allow_killpower").as_deref(), Some(flag), "{value}");
            // A dummy cannot do it, but it was allowed to try.
            assert_eq!(result(&mut reader, "INSTCMD driver.killpower"), judged, "{value}");
        }
        assert_eq!(result(&mut reader, "SET driver.name x"), "2");
        assert_eq!(result(&mut reader, "SET driver.nosuch x"), "1");
        assert_eq!(result(&mut reader, "SET driver.flag.allow_killpower 1"), "0");
        assert_eq!(result(&mut reader, "INSTCMD shutdown.default"), "3");
    }
}

#[test]
fn common_words_that_mean_nothing_to_a_driver_are_no_mistakes() {
    let stage = stage(
        "maxretry = 3\nretrydelay = 1\nmaxstartdelay = 9\nnowait\ndriverpath = /nowhere\nfuture = 1\nLIBUSB_DEBUG = 1",
        "desc = \"A UPS\"\nsdorder = 2\nmaxstartdelay = 5\nmaxretry = 2\nretrydelay = 1\nsddelay = 3\n\
         synchronous = no\nnolock\nreconnect_max_tries = 3\n[other]\ndriver = apcsmart\nport = x\nspeed = 9",
    );
    let _driver = stage.start(DUMMY, "-a d -F");
    let mut reader = stage.connect(SOCKET);
    let dump = reader.dump();
    for line in ["SETINFO driver.flag.nolock \"enabled\"", "SETINFO driver.parameter.synchronous \"no\""] {
        assert!(dump.iter().any(|one| one == line), "{line} is not in {dump:#?}");
    }
    assert!(!dump.iter().any(|line| line.contains("desc") || line.contains("sdorder")), "{dump:#?}");
    // Sections are told apart by case.
    let said = stage.output(DUMMY, "-a D -F");
    assert!(said.code == Some(1) && said.err.contains("Section D not found"), "{said:?}");
}

// --- Readers -----------------------------------------------------------------------------------------------------

#[test]
fn readers_that_come_and_go_leave_nothing_behind() {
    let stage = stage("", "");
    let driver = stage.start(DUMMY, "-a d -F");
    let mut stays = stage.connect(SOCKET);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", driver.pid())).unwrap().count();
    stays.dump();
    let before = descriptors();
    for _ in 0..200 {
        let mut guest = stage.connect(SOCKET);
        guest.say("PING\n");
        assert_eq!(guest.line().as_deref(), Some("PONG"));
    }
    eventually("all are gone", || descriptors() <= before);
    stays.say("PING\n");
    assert_eq!(stays.line().as_deref(), Some("PONG"));
}

/// What NUT's own programs say to a driver, from 2.8.1 on.
#[test]
fn the_dialog_of_nuts_own_programs() {
    let stage = stage("", "");
    let mut driver = stage.start(DUMMY, "-a d -F");
    let mut listens = stage.connect(SOCKET);
    let mut asks = stage.connect(SOCKET);
    listens.dump();
    asks.say("NOBROADCAST\nPING\n");
    assert_eq!(asks.line().as_deref(), Some("PONG"));
    asks.say("SET driver.debug 3 TRACKING 98C489FD-821C-4132-9D93-4F6590B55E63\n");
    assert_eq!(asks.line().as_deref(), Some("TRACKING 98C489FD-821C-4132-9D93-4F6590B55E63 0"));
    assert_eq!(listens.line().as_deref(), Some("SETINFO driver.debug \"3\""));
    asks.say("getpid\nDumpStatus\n");
    assert_eq!(asks.line(), Some(format!("PID {}", driver.pid())));
    assert_eq!(
        asks.until("DUMPDONE"),
        [
            "SETINFO ups.status \"OL\"",
            "SETAUX ups.status 32",
            "SETFLAGS ups.status RW STRING",
            "DATAOK",
            "DUMPDONE"
        ]
    );
    asks.say("BROADCAST 1\nINSTCMD driver.reload TRACKING b\n");
    let heard = asks.until("TRACKING b 0");
    assert_eq!(heard[0], "SETINFO driver.state \"reloading\"");
    asks.say("LOGOUT\nPING\n");
    assert_eq!(asks.until("OK Goodbye").last().map(String::as_str), Some("OK Goodbye"));
    assert_eq!(asks.line(), None, "what comes behind a goodbye is not answered");
    driver.signal(Signal::SIGTERM);
    let last = listens.until("SETINFO driver.state \"cleanup.exit\"");
    assert!(last.contains(&"SETINFO driver.state \"cleanup.upsdrv\"".to_owned()), "{last:?}");
    assert_eq!((listens.line(), driver.end()), (None, Some(0)));
}
