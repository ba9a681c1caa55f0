//! From the start to the end: the service manager, PID files, orders from outside, other users, other roots, reloads.

use super::stage::{Driver, Stage, current_user};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

const UPS_CONF: &str = "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n";
const USERS: &str = "[mon]\n password = secret\n upsmon primary\n";
const DUMP: &str = "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n";

fn stage() -> Stage {
    let stage = Stage::new();
    stage.file("ups.conf", UPS_CONF);
    stage.file("upsd.conf", "LISTEN 127.0.0.1 0\n");
    stage.file("upsd.users", USERS);
    stage
}

/// The service manager's end of its socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(socket)
    }

    /// What it hears next, a line for each assignment.
    fn hears(&self) -> String {
        let mut buffer = [0; 500];
        let len = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// What it hears next besides the watchdog's word.
    fn hears_news(&self) -> String {
        loop {
            let heard = self.hears();
            if heard != "WATCHDOG=1" {
                return heard;
            }
        }
    }
}

/// The user nobody, if we may become it.
fn nobody() -> Option<nix::unistd::User> {
    if !nix::unistd::Uid::effective().is_root() {
        println!("    (skipped: only root may become somebody else)");
        return None;
    }
    nix::unistd::User::from_name("nobody").unwrap()
}

fn give(path: &Path, user: &nix::unistd::User) {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// The line of this name in `/proc/PID/status`, without its name.
fn status_of(pid: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_service_manager_hears_of_the_start_of_reloads_of_life_and_of_the_end() {
    let stage = stage();
    let manager = Manager::at(&stage.path("notify"));
    let mut command = stage.command(&["-F", "-u", &current_user()]);
    command.env("NOTIFY_SOCKET", stage.path("notify")).env("WATCHDOG_USEC", "200000");
    let upsd = stage.spawn(command);
    let ready = format!("READY=1\nMAINPID={}", upsd.pid());
    assert_eq!(manager.hears_news(), ready);
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    let monotonic = || {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000
    };
    let before = monotonic();
    upsd.hang_up();
    let reloading = manager.hears_news();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!((before..=monotonic()).contains(&micros.parse().unwrap()), "{before} {reloading}");
    assert_eq!(manager.hears_news(), ready);
    // One that fails ends in readiness too, and shows until one works.
    std::fs::remove_file(stage.path("ups.conf")).unwrap();
    upsd.hang_up();
    assert!(manager.hears_news().starts_with("RELOADING=1\n"));
    assert_eq!(
        manager.hears_news(),
        "STATUS=the last reload failed: the configuration before it is in force"
    );
    assert_eq!(manager.hears_news(), ready);
    stage.file("ups.conf", UPS_CONF);
    upsd.hang_up();
    assert!(manager.hears_news().starts_with("RELOADING=1\n"));
    assert_eq!(manager.hears_news(), "STATUS=");
    assert_eq!(manager.hears_news(), ready);
    assert_eq!(upsd.stop(), 0);
    assert_eq!(manager.hears_news(), "STOPPING=1\nSTATUS=Signal 15: exiting");
}

#[test]
fn a_watchdog_for_somebody_else_hears_nothing() {
    let stage = stage();
    let manager = Manager::at(&stage.path("notify"));
    let mut command = stage.command(&["-F", "-u", &current_user()]);
    command.env("NOTIFY_SOCKET", stage.path("notify")).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let upsd = stage.spawn(command);
    assert!(manager.hears().starts_with("READY=1\n"));
    upsd.client().ask("NETVER", "1.3");
    assert_eq!(upsd.stop(), 0);
    assert!(manager.hears().starts_with("STOPPING=1\n"));
}

#[test]
fn in_the_foreground_twice_it_has_a_pid_file_and_orders_reach_it_by_that_or_by_number() {
    let stage = stage();
    // Of somebody who is gone.
    stage.file("upsd.pid", "2147483647\n");
    let upsd = stage.start(&["-F"]);
    let path = stage.path("upsd.pid");
    let pid = upsd.pid().to_string();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let (code, said) = stage.run(&["-c", "reload"]);
    assert!(code == 0 && said.starts_with("Network UPS Tools upsd ") && said.lines().count() == 1, "{said}");
    upsd.logged("SIGHUP: reloading configuration");
    std::fs::remove_file(&path).unwrap();
    let (code, said) = stage.run(&["-c", "reload"]);
    assert!(code == 1 && said.contains("there is no PID file"), "{said}");
    assert_eq!(stage.run(&["-c", "rel", "-P", &pid]).0, 0);
    upsd.logged("SIGHUP: reloading configuration");
    // A process that is something else is not told.
    let (code, said) = stage.run(&["-c", "stop", "-P", &std::process::id().to_string()]);
    assert!(code == 1 && said.contains("not upsd"), "{said}");
    assert_eq!(stage.run(&["-c", "stop", "-P", &pid]).0, 0);
    assert_eq!(upsd.ended(), 0);
    let (code, said) = stage.run(&["-c", "stop", "-P", &pid]);
    assert!(code == 1 && said.contains(&format!("no process {pid} is running")), "{said}");
}

#[test]
fn every_signal_that_ends_it_ends_it_in_order_and_the_others_do_not() {
    use nix::sys::signal::{Signal, kill};
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        let stage = stage();
        let upsd = stage.start(&["-F"]);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(upsd.pid()).unwrap());
        for harmless in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
            kill(pid, harmless).unwrap();
            upsd.client().ask("NETVER", "1.3");
        }
        kill(pid, signal).unwrap();
        #[expect(clippy::as_conversions, reason = "the signal's number")]
        let number = signal as i32;
        upsd.logged(&format!("Signal {number}: exiting"));
        assert_eq!(upsd.ended(), 0);
        assert!(!stage.path("upsd.pid").exists());
    }
}

#[test]
fn debugging_stays_in_the_foreground_unless_told_to_leave_it() {
    let stage = stage();
    stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {}\n", stage.free_port()));
    let upsd = stage.spawn(stage.command(&["-D", "-u", &current_user()]));
    upsd.client().ask("NETVER", "1.3");
    upsd.logged("[D1] Connect from 127.0.0.1");
    assert_eq!(upsd.stop(), 0);
    for options in [&["-DB"][..], &["-F", "-B"], &["-q"]] {
        let (code, said) = stage.run(&[&["-u", &current_user()], options].concat());
        assert_eq!(code, 0, "{said}");
        let _ends = stage.ends_by_pid_file();
        stage.client_at_conf_port().ask("NETVER", "1.3");
        assert_eq!(stage.run(&["-c", "stop"]).0, 0);
        stage.wait_until(|| !stage.path("upsd.pid").exists());
    }
}

#[test]
fn what_the_launcher_shows_begins_with_the_banner_and_holds_every_warning() {
    let stage = stage();
    stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {}\nMAXAGE x\n", stage.free_port()));
    // Both outputs in one, as on a terminal.
    let script = format!("exec {} -u {} 2>&1", env!("CARGO_BIN_EXE_upsd"), current_user());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]);
    stage.prepare(&mut command);
    let output = command.output().unwrap();
    let _ends = stage.ends_by_pid_file();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("Network UPS Tools upsd "), "{said}");
    assert!(
        said.contains("MAXAGE has non numeric value") && said.contains("listening on 127.0.0.1"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn root_is_given_up_before_anything_of_a_driver_or_a_client_is_read() {
    let Some(nobody) = nobody() else { return };
    let stage = stage();
    for name in ["", "ups.conf", "upsd.conf", "upsd.users"] {
        give(&stage.path(name), &nobody);
    }
    let upsd = stage.spawn(stage.command(&["-FF", "-u", "nobody"]));
    let pid = upsd.pid().to_string();
    for (line, id) in [("Uid:", nobody.uid.to_string()), ("Gid:", nobody.gid.to_string())] {
        assert_eq!(status_of(&pid, line), vec![id; 4]);
    }
    assert_eq!(status_of(&pid, "Groups:"), [nobody.gid.to_string()]);
    assert_eq!(status_of(&pid, "CapEff:"), ["0000000000000000"]);
    upsd.client().ask("NETVER", "1.3");
    // It may still read its files, and remove its PID file.
    upsd.hang_up();
    upsd.logged("SIGHUP: reloading configuration");
    assert_eq!(upsd.stop(), 0);
    assert!(!stage.path("upsd.pid").exists());
}

#[test]
fn what_the_other_user_may_not_do_is_said_with_whose_it_is() {
    let Some(nobody) = nobody() else { return };
    // A file of passwords that it may not read.
    let one = stage();
    give(&one.path(""), &nobody);
    for name in ["ups.conf", "upsd.conf"] {
        give(&one.path(name), &nobody);
    }
    let (code, said) = one.run(&["-F", "-u", "nobody"]);
    let begin = format!("may not read {} (owner root, ", one.path("upsd.users").display());
    assert!(code == 1 && said.contains(&begin) && said.contains("we are user nobody ("), "{said}");
    // A directory that it may not write to.
    let two = stage();
    for name in ["ups.conf", "upsd.conf", "upsd.users"] {
        give(&two.path(name), &nobody);
    }
    std::fs::set_permissions(two.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = two.run(&["-FF", "-u", "nobody"]);
    let (file, dir) = (two.path("upsd.pid"), two.path(""));
    let why = format!("cannot write {} (its directory {}: owner root, ", file.display(), dir.display());
    assert!(code == 1 && said.contains(&why) && said.contains("mode 0755; we are user nobody ("), "{said}");
    assert!(!said.contains("os error"), "{said}");
    // One that it may not enter.
    std::fs::set_permissions(two.path(""), std::fs::Permissions::from_mode(0o700)).unwrap();
    let (code, said) = two.run(&["-F", "-u", "nobody"]);
    assert!(code == 1 && said.contains("Can't chdir to ") && said.contains("we are user nobody ("), "{said}");
    // And who stays root is not told to do what he did.
    let (_, said) = two.run(&["-F", "-u", "root", "-c"]);
    assert!(said.contains("option requires an argument"), "{said}");
    let upsd = two.spawn_deaf(two.command(&["-F", "-u", "root"]));
    upsd.logged("upsd keeps running as root, as -u root says");
}

#[test]
fn a_directory_of_its_own_is_all_it_sees() {
    let Some(nobody) = nobody() else { return };
    let stage = stage();
    std::fs::set_permissions(stage.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["jail", "jail/etc", "jail/etc/nut", "jail/run", "jail/run/nut"] {
        std::fs::create_dir(stage.path(dir)).unwrap();
    }
    let port = stage.free_port();
    stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {port}\n"));
    for name in ["ups.conf", "upsd.conf", "upsd.users"] {
        let inside = stage.path("jail/etc/nut").join(name);
        std::fs::rename(stage.path(name), &inside).unwrap();
        give(&inside, &nobody);
    }
    give(&stage.path("jail/run/nut"), &nobody);
    let driver = Driver::listen(&stage, "jail/run/nut/apcsmart-nicole");
    give(&stage.path("jail/run/nut/apcsmart-nicole"), &nobody);
    let manager = Manager::at(&stage.path("notify"));
    let jail = stage.path("jail");
    let run = |options: &[&str]| {
        let mut command = stage.command(&[&["-r", jail.to_str().unwrap()], options].concat());
        command
            .env("NUT_CONFPATH", "/etc/nut")
            .env("NUT_STATEPATH", "/run/nut")
            .env("NUT_ALTPIDPATH", "/run/nut");
        let output = command.env("NOTIFY_SOCKET", stage.path("notify")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run(&["-u", "nobody"]);
    assert_eq!(code, Some(0), "{said}");
    let pid_file = stage.path("jail/run/nut/upsd.pid");
    let _ends = stage.ends_by_pid_file_at("jail/run/nut/upsd.pid");
    let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/root")).unwrap(), jail.canonicalize().unwrap());
    assert_eq!(status_of(&pid, "Uid:"), vec![nobody.uid.to_string(); 4]);
    // The caller's terminal is let go of, although there is no /dev/null in there.
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/fd/2")).unwrap(), Path::new("/dev/null"));
    assert_eq!(manager.hears_news(), format!("READY=1\nMAINPID={pid}"));
    let mut link = driver.accept();
    assert_eq!(link.line(), "DUMPALL");
    link.write_all(DUMP.as_bytes()).unwrap();
    let mut client = stage.client_at_port(port);
    client.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
    // Orders find it from outside, and a second one sees the first.
    assert_eq!(run(&["-c", "reload"]).0, Some(0));
    assert!(manager.hears_news().starts_with("RELOADING=1\n"));
    assert!(manager.hears_news().starts_with("READY=1\n"));
    let (code, said) = run(&["-u", "nobody"]);
    assert!(code == Some(1) && said.contains("A previous upsd instance is already running"), "{said}");
    client.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
    assert_eq!(run(&["-c", "stop"]).0, Some(0));
    assert!(client.is_closed());
    assert!(manager.hears_news().starts_with("STOPPING=1\n"));
    stage.wait_until(|| !pid_file.exists());
}

#[test]
fn a_root_that_cannot_be_had_stops_the_start() {
    let stage = stage();
    let (code, said) = stage.run(&["-F", "-u", &current_user(), "-r", "/no/such/place"]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot make /no/such/place the root directory"), "{said}");
}

#[test]
fn upses_come_go_and_change_while_clients_are_logged_in() {
    let stage = stage();
    let section = |name: &str, driver: &str| format!("[{name}]\n driver = {driver}\n port = auto\n");
    let first = section("one", "a") + &section("two", "b") + &section("three", "c");
    stage.file("ups.conf", &first);
    let drivers = ["a-one", "b-two", "c-three", "d-two", "e-four"].map(|name| Driver::listen(&stage, name));
    let upsd = stage.start(&[]);
    let mut links: Vec<_> = drivers[..3].iter().map(Driver::accept).collect();
    for link in &mut links {
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
    }
    let mut clients: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|ups| {
            let mut client = upsd.client();
            client.ask_until(&format!("GET VAR {ups} ups.status"), &format!("VAR {ups} ups.status \"OL\""));
            client.ask("USERNAME mon", "OK");
            client.ask("PASSWORD secret", "OK");
            client.ask(&format!("LOGIN {ups}"), "OK");
            client
        })
        .collect();
    clients[1].ask("FSD two", "OK FSD-SET");
    // One stays, two has another driver, three goes, four comes; and mon may no longer do what it could.
    stage.file("ups.conf", &(section("one", "a") + &section("two", "d") + &section("four", "e")));
    stage.file("upsd.users", "[mon]\n password = other\n upsmon primary\n");
    upsd.hang_up();
    upsd.logged("Redefined UPS [two]");
    upsd.logged("Deleting UPS [three]");
    upsd.logged("Kicking client 127.0.0.1 (was on UPS [three])");
    assert!(clients[2].is_closed());
    clients[0].ask("GET VAR one ups.status", "VAR one ups.status \"OL\"");
    clients[0].ask("GET NUMLOGINS one", "NUMLOGINS one 1");
    clients[0].ask("GET VAR three ups.status", "ERR UNKNOWN-UPS");
    clients[0].ask("FSD one", "ERR ACCESS-DENIED");
    for (at, ups, status) in [(3, "two", "FSD OL"), (4, "four", "OL")] {
        let mut link = drivers[at].accept();
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
        clients[1]
            .ask_until(&format!("GET VAR {ups} ups.status"), &format!("VAR {ups} ups.status \"{status}\""));
        links.push(link);
    }
    // Login and latch were kept over the change of driver.
    clients[1].ask("GET NUMLOGINS two", "NUMLOGINS two 1");
    assert_eq!(upsd.stop(), 0);
}

#[test]
fn a_reload_that_cannot_be_followed_changes_nothing_of_any_file() {
    let stage = stage();
    let upsd = stage.start(&[]);
    let mut client = upsd.client();
    client.ask("USERNAME mon", "OK");
    client.ask("PASSWORD secret", "OK");
    // Everything is new, and one file is no good: an ACL without a mask, a directory, a file too long.
    stage.file("ups.conf", "[other]\n driver = a\n port = b\n");
    stage.file("upsd.users", "");
    let breaks: [&dyn Fn(); 3] = [
        &|| stage.file("upsd.conf", "LISTEN 127.0.0.1 0\nACL a 10.0.0.1\nACCEPT a\n"),
        &|| {
            stage.file("upsd.conf", "LISTEN 127.0.0.1 0\n");
            std::fs::remove_file(stage.path("upsd.users")).unwrap();
            std::fs::create_dir(stage.path("upsd.users")).unwrap();
        },
        &|| {
            std::fs::remove_dir(stage.path("upsd.users")).unwrap();
            stage.file("upsd.users", &"#\n".repeat(5_000_000));
        },
    ];
    for break_it in breaks {
        break_it();
        upsd.hang_up();
        let line = upsd.logged("Reload failed: ");
        assert!(line.ends_with("; the running configuration stays in force"), "{line}");
        client.ask("GET UPSDESC nicole", "UPSDESC nicole \"Unavailable\"");
        client.ask("LOGIN other", "ERR UNKNOWN-UPS");
    }
    client.ask("LOGIN nicole", "OK");
    client.ask("FSD nicole", "OK FSD-SET");
    stage.file("upsd.users", USERS);
    upsd.hang_up();
    upsd.logged("Deleting UPS [nicole]");
    assert_eq!(upsd.stop(), 0);
}
