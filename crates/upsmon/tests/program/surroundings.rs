//! Where it runs: without root, in a container, under a service manager; and what the root half holds.

use super::stage::{DEADLINE, PROGRAM, Running, Stage, is_root, kill, uid_of};
use super::upsd::Upsd;
use nut_os::clock;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

fn one_ups(upsd: &Upsd, more: &str) -> String {
    format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\n{more}", upsd.port)
}

/// Numbers of this process's sockets.
fn sockets(pid: u32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.filter_map(|entry| {
        let link = fs::read_link(entry.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    })
    .collect()
}

/// How many of these are of TCP or UDP.
fn of_the_network(sockets: &[String]) -> usize {
    let tables = ["tcp", "tcp6", "udp", "udp6"]
        .map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let is_there = |number: &&String| {
        tables
            .iter()
            .flat_map(|table| table.lines())
            .any(|line| line.split_whitespace().nth(9) == Some(number))
    };
    sockets.iter().filter(is_there).count()
}

/// The line of a process's status file that begins with this word.
fn status_of(pid: u32, word: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_root_half_holds_no_network_and_the_other_no_right() {
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.wait_for_polls("u1", 1);
    let (root, worker) = (upsmon.child.id(), upsmon.worker());
    assert_eq!(of_the_network(&sockets(root)), 0);
    assert_eq!(of_the_network(&sockets(worker)), 1);
    // One waits for what goes to the disk at the end.
    assert_eq!((uid_of(root), status_of(root, "Threads:").as_str()), (0, "2"));
    // Whom it has become it is in every way, and for good.
    let nobody = uid_of(worker).to_string();
    assert_eq!(status_of(worker, "Uid:"), [nobody.as_str(); 4].join(" "));
    assert!(!status_of(worker, "Gid:").split(' ').any(|group| group == "0"));
    assert!(!status_of(worker, "Groups:").split(' ').any(|group| group == "0"));
    for set in ["CapPrm:", "CapEff:"] {
        assert_eq!(status_of(worker, set), "0000000000000000", "{set}");
    }
}

#[test]
fn without_root_it_watches_and_says_what_it_may_not() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    let closed = stage.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    stage.configure(&one_ups(&upsd, &format!("POWERDOWNFLAG {}/flag", closed.display())));
    // Where the program lies may be closed to others.
    let copy = stage.path("bin/upsmon");
    fs::copy(PROGRAM, &copy).unwrap();
    let mut command = Command::new(&copy);
    command.arg("-F");
    let mut command = stage.placed(command);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    let mut upsmon = stage.start_command(command);
    let cannot = upsmon.log("POWERDOWNFLAG could not be set: cannot write ");
    assert!(cannot.contains("its directory") && cannot.contains("; we are user "), "{cannot}");
    upsmon.log("Not root, shutdown may fail: SHUTDOWNCMD and POWERDOWNFLAG are tried as user ");
    upsmon.log("UPS: u1@127.0.0.1");
    assert_eq!(upsmon.worker(), upsmon.child.id());
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0));
    // The command is tried all the same.
    assert!(upsmon.has_in_order(&["Failed to create power down flag!"]), "{}", upsmon.seen.join("\n"));
    assert!(!stage.read("shutdown.out").is_empty());
}

/// The only child of the process that made the namespace.
fn only_child(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

fn in_a_container(stage: &Stage, arguments: &[&str]) -> Option<Running> {
    let new = ["--mount", "--pid", "--fork", "--kill-child"];
    if !Command::new("unshare").args(new).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no name space can be had here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(new).arg(PROGRAM).args(arguments);
    let mut command = stage.placed(command);
    // No /run, and process numbers that mean nothing outside.
    command.env("NUT_PIDPATH", stage.path("no/run")).env("container", "box");
    Some(stage.start_command(command))
}

#[test]
fn where_etc_cannot_be_written_to_the_flag_is_at_the_end_of_its_link() {
    let stage = Stage::new();
    fs::create_dir(stage.path("etc")).unwrap();
    fs::create_dir(stage.path("run")).unwrap();
    // Nobody else may lead root anywhere.
    fs::set_permissions(stage.path(""), Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../run/killpower", stage.path("etc/killpower")).unwrap();
    let etc = stage.path("etc");
    let mounted = format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}'", etc.display());
    let unshare = |text: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", text]);
        stage.placed(command)
    };
    if stage.run_command(unshare(&mounted)).code != Some(0) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let upsd = Upsd::start("u1", "OB LB");
    stage.configure(&one_ups(&upsd, &format!("POWERDOWNFLAG {}/killpower", etc.display())));
    let mut upsmon = stage.start_command(unshare(&format!("{mounted} && exec '{PROGRAM}' -F -p")));
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(!upsmon.has_in_order(&["power down flag!"]), "{}", upsmon.seen.join("\n"));
    assert!(!upsmon.has_in_order(&["could not be set"]), "{}", upsmon.seen.join("\n"));
    assert_eq!(stage.read("run/killpower"), "upsmon-shutdown-file");
    assert_eq!(stage.run(&["-K"]).code, Some(0));
}

#[test]
fn as_process_one_it_takes_orders() {
    let new = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !Command::new("unshare").args(new).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no name space can be had here");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let mut command = Command::new("unshare");
    command.args(new).arg(PROGRAM).args(["-F", "-p"]);
    let mut upsmon = stage.start_command(stage.placed(command));
    upsmon.log("UPS: u1@127.0.0.1");
    assert_eq!(stage.read("upsmon.pid"), "1\n");
    let first = only_child(upsmon.child.id()).to_string();
    // As `docker exec` does.
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--target", &first, PROGRAM]).args(arguments);
        stage.run_command(stage.placed(command))
    };
    let told = inside(&["-c", "reload"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    upsmon.log("Reloading configuration");
    // Its end is that of all in there, and of who has told it.
    inside(&["-c", "stop", "-P", "1"]);
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
}

#[test]
fn in_a_container_it_is_process_one_and_says_whom_it_can_stop() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    for (arguments, processes) in [(&["-F"][..], 2), (&["-F", "-p"], 1)] {
        let Some(mut upsmon) = in_a_container(&stage, arguments) else { return };
        upsmon.log("this is a container (box): SHUTDOWNCMD and POWERDOWNFLAG stop and mark this container");
        upsmon.log("upsmon -c will not find this instance");
        upsmon.log("UPS: u1@127.0.0.1");
        let first = only_child(upsmon.child.id());
        let second = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        assert_eq!(1 + second.split_whitespace().count(), processes);
        // As `docker stop` does: the first process must not be deaf.
        kill(first, "TERM");
        assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
        assert!(upsmon.has_in_order(&["Signal 15: exiting"]));
    }
    let mut upsmon = in_a_container(&stage, &["-F"]).unwrap();
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert_eq!(stage.read("flag"), "upsmon-shutdown-file");
    assert!(stage.read("shutdown.out").ends_with(" upsmon-shutdown-file\n"));
}

/// How many children of this process have ended and were not taken in.
fn zombies(pid: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let state = |child: &str| fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    children.split_whitespace().filter(|child| state(child).contains(") Z ")).count()
}

#[test]
fn as_process_one_it_takes_in_what_scripts_leave_behind() {
    let stage = Stage::new();
    // Each leaves twenty behind, of which ten have ended before it, and says how it ends itself.
    stage.script(
        "notify",
        "for i in 1 2 3 4 5 6 7 8 9 10; do (true & sleep 0.1 &); done; echo \"told $NOTIFYTYPE\"; exit 3",
    );
    stage.script("shutdown", "(true & sleep 0.1 &); exit 7");
    for arguments in [&["-F"][..], &["-F", "-p"]] {
        let upsd = Upsd::start("u1", "OL");
        stage.configure(&one_ups(&upsd, "FINALDELAY 0\nNOTIFYFLAG ONBATT EXEC\nNOTIFYFLAG ONLINE EXEC"));
        let Some(mut upsmon) = in_a_container(&stage, arguments) else { return };
        upsmon.log("UPS: u1@127.0.0.1");
        let first = only_child(upsmon.child.id());
        for (status, kind) in [("OB", "ONBATT"), ("OL", "ONLINE")] {
            upsd.set("u1", status);
            // Nobody has stolen its end.
            upsmon.log(&format!("for {kind} ended with code 3"));
        }
        upsd.set("u1", "OB LB");
        upsmon.log("SHUTDOWNCMD ended with code 7");
        let until = clock::now() + DEADLINE;
        while zombies(first) > 0 {
            assert!(clock::now() < until, "{} are left", zombies(first));
            std::thread::yield_now();
        }
        kill(first, "TERM");
        upsmon.end();
    }
}

/// A service manager, and all it has heard. Two halves speak to it, so that words may come in either order; it listens all
/// the time, since the kernel keeps ten words and no more.
struct Manager {
    words: Receiver<String>,
    heard: Vec<String>,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        let (sender, words) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len) = socket.recv(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..len]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { words, heard: Vec::new() }
    }

    /// Waits for a word with this text, behind so many others.
    #[track_caller]
    fn hear(&mut self, from: usize, text: &str) -> usize {
        let until = clock::now() + DEADLINE;
        loop {
            if let Some(nth) = self.heard.iter().skip(from).position(|word| word.contains(text)) {
                return from + nth;
            }
            // That it lives is said every second, so that silence alone is no deadline.
            match self.words.recv_timeout(until.since(clock::now())) {
                Ok(word) => self.heard.push(word),
                Err(_) => panic!("no {text:?} in {:#?}", self.heard),
            }
        }
    }
}

#[test]
fn the_service_manager_hears_how_it_is() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, "FINALDELAY 0\nNOTIFYFLAG ONBATT EXEC"));
    stage.script("notify", "echo \"[$NOTIFY_SOCKET$WATCHDOG_USEC]\"");
    let socket = UnixDatagram::bind(stage.path("manager")).unwrap();
    fs::set_permissions(stage.path("manager"), Permissions::from_mode(0o666)).unwrap();
    // A thread must not wait for ever for one who never speaks again.
    socket.set_read_timeout(Some(3 * DEADLINE)).unwrap();
    let mut manager = Manager::new(socket);
    let mut command = stage.command(&["-F"]);
    command
        .env("NOTIFY_SOCKET", stage.path("manager"))
        .env("WATCHDOG_USEC", "2000000")
        .env_remove("WATCHDOG_PID");
    let mut upsmon = stage.start_command(command);
    // The process to watch is the one that was started, in two halves, too.
    let ready = manager.hear(0, "READY=1");
    assert_eq!(manager.heard[ready], format!("READY=1\nMAINPID={}", upsmon.child.id()));
    manager.hear(0, "STATUS=watching 1 UPS(es), MINSUPPLIES 1");
    manager.hear(0, "WATCHDOG=1");
    kill(upsmon.worker(), "HUP");
    let reloading = manager.hear(0, "RELOADING=1");
    let ready = manager.hear(reloading, "READY=1");
    assert_eq!(manager.heard[ready], "READY=1");
    upsd.set("u1", "OB");
    // Nobody further down takes itself for us.
    upsmon.log("[]");
    upsd.set("u1", "OB LB");
    let status = manager.hear(0, "STATUS=Too few UPS(es) are healthy");
    assert!(manager.heard[status].contains("the battery is low"), "{:?}", manager.heard);
    manager.hear(status, "STOPPING=1");
    assert_eq!(upsmon.end().code(), Some(0));
}
