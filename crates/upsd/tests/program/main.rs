//! The real program, over loopback and a Unix socket, with a scripted driver and scripted clients.

#[cfg(test)]
mod access;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod drivers;
#[cfg(test)]
mod hardness;
#[cfg(test)]
mod life;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tls;

#[cfg(test)]
mod tests {
    use super::stage::{Driver, Stage, current_user};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const UPS_CONF: &str = "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n desc = \"Smart-UPS 1000\"\n";
    const USERS: &str = "[admin]\n password = secret\n actions = SET FSD\n instcmds = ALL\n\
                         [mon]\n password = secret\n upsmon primary\n";
    const DUMP: &str = "SETINFO ups.status \"OL\"\nSETINFO ups.id \"x\"\nSETFLAGS ups.id RW STRING\n\
                        SETAUX ups.id 8\nADDCMD load.off\nDATAOK\nDUMPDONE\n";

    fn stage() -> Stage {
        let stage = Stage::new();
        stage.file("ups.conf", UPS_CONF);
        stage.file("upsd.conf", "LISTEN 127.0.0.1 0\n");
        stage.file("upsd.users", USERS);
        stage
    }

    #[test]
    fn from_the_driver_to_the_client_and_back() {
        let stage = stage();
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        let mut client = upsd.client();
        client.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"WAIT\"");
        link.write_all(DUMP.as_bytes()).unwrap();
        client.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        client.ask("USERNAME admin", "OK");
        client.ask("PASSWORD secret", "OK");
        client.ask("SET TRACKING ON", "OK");
        client.say("SET VAR nicole ups.id school");
        let id = client.line().strip_prefix("OK TRACKING ").expect("an id").to_owned();
        assert_eq!(link.line(), format!("SET ups.id \"school\" TRACKING {id}"));
        client.ask(&format!("GET TRACKING {id}"), "PENDING");
        link.write_all(format!("SETINFO ups.id \"school\"\nTRACKING {id} 0\n").as_bytes()).unwrap();
        client.ask_until(&format!("GET TRACKING {id}"), "SUCCESS");
        client.ask("GET VAR nicole ups.id", "VAR nicole ups.id \"school\"");
        client.ask("FSD nicole", "OK FSD-SET");
        client.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"FSD OL\"");
        client.ask("LOGOUT", "OK Goodbye");
        assert!(client.is_closed());
        upsd.logged("Connected to UPS [nicole]: apcsmart-nicole");
        upsd.logged("Client admin@127.0.0.1 set FSD on UPS [nicole]");
        assert_eq!(upsd.stop(), 0);
    }

    #[test]
    fn a_driver_may_come_late_and_go_and_come() {
        let stage = stage();
        let upsd = stage.start(&[]);
        let mut client = upsd.client();
        client.ask("GET VAR nicole ups.status", "ERR DRIVER-NOT-CONNECTED");
        upsd.logged(&format!(
            "Can't connect to UPS [nicole] ({}/apcsmart-nicole): No such file or directory",
            stage.path("").display()
        ));
        for _ in 0..3 {
            let driver = Driver::listen(&stage, "apcsmart-nicole");
            let mut link = driver.accept();
            assert_eq!(link.line(), "DUMPALL");
            link.write_all(DUMP.as_bytes()).unwrap();
            client.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
            drop((link, driver));
            client.ask_until("GET VAR nicole ups.status", "ERR DRIVER-NOT-CONNECTED");
            upsd.logged("UPS [nicole] disconnected - check driver");
        }
    }

    #[test]
    fn a_silent_driver_is_pinged_and_found_stale() {
        let stage = stage();
        stage.file("upsd.conf", "LISTEN 127.0.0.1 0\nMAXAGE 3\n");
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
        assert_eq!(link.line(), "PING");
        let mut client = upsd.client();
        client.ask_until("GET VAR nicole ups.status", "ERR DATA-STALE");
        upsd.logged("Data for UPS [nicole] is stale - check driver");
        link.write_all(b"PONG\n").unwrap();
        client.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        upsd.logged("UPS [nicole] data is no longer stale");
    }

    #[test]
    fn the_schools_file_keeps_strangers_out() {
        let stage = stage();
        // The school's file with an address to listen at that the test may have, and a narrower ACL: all of
        // 127.0.0.0/8 is this host.
        stage.file(
            "upsd.conf",
            "ACL localhost 127.0.0.1/32\nACL all 0.0.0.0/0\nACL myservers 127.0.7.0/24\n\
             ACCEPT localhost\nACCEPT myservers\nREJECT all\nLISTEN 0.0.0.0 0\n",
        );
        stage.file(
            "upsd.users",
            "[slaveuser]\n password = s\n allowfrom = localhost myservers\n upsmon slave\n",
        );
        let upsd = stage.start(&[]);
        for (from, admitted) in [("127.0.0.1", true), ("127.0.7.9", true), ("127.0.8.9", false)] {
            let mut client = upsd.client_from(from);
            if admitted {
                client.ask("USERNAME slaveuser", "OK");
                client.ask("PASSWORD s", "OK");
                client.ask("LOGIN nicole", "OK");
            } else {
                assert!(client.is_closed());
            }
        }
        upsd.logged("Rejecting TCP connection from 127.0.8.9");
    }

    #[test]
    fn a_reload_takes_effect_and_a_broken_one_does_not() {
        let stage = stage();
        let upsd = stage.start(&[]);
        let mut client = upsd.client();
        let list = |client: &mut super::stage::Client| {
            client.say("LIST UPS");
            let mut lines = Vec::new();
            while lines.last().is_none_or(|line: &String| !line.starts_with("END")) {
                lines.push(client.line());
            }
            lines[1..lines.len() - 1].join(", ")
        };
        assert_eq!(list(&mut client), "UPS nicole \"Smart-UPS 1000\"");
        stage.file("ups.conf", &format!("[new]\n driver = a\n port = b\n{UPS_CONF}"));
        upsd.hang_up();
        upsd.logged("SIGHUP: reloading configuration");
        upsd.logged("Can't connect to UPS [new]");
        assert_eq!(list(&mut client), "UPS new \"Description unavailable\", UPS nicole \"Smart-UPS 1000\"");
        for file in ["ups.conf", "upsd.users", "upsd.conf"] {
            let path = stage.path(file);
            let kept = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            upsd.hang_up();
            upsd.logged(&format!("Reload failed: {} does not exist", path.display()));
            assert_eq!(
                list(&mut client),
                "UPS new \"Description unavailable\", UPS nicole \"Smart-UPS 1000\""
            );
            std::fs::write(&path, kept).unwrap();
        }
        stage.file("ups.conf", UPS_CONF);
        upsd.hang_up();
        upsd.logged("Deleting UPS [new]");
        assert_eq!(list(&mut client), "UPS nicole \"Smart-UPS 1000\"");
    }

    #[test]
    fn clients_that_misbehave_disturb_nobody() {
        let stage = stage();
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        let many: String = (0..2000).map(|n| format!("SETINFO v{n} \"{}\"\n", "x".repeat(200))).collect();
        link.write_all((many + DUMP).as_bytes()).unwrap();
        let mut good = upsd.client();
        good.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        // One that asks for more than a hundred megabytes and reads nothing.
        let mut greedy = upsd.client();
        greedy.stream().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = greedy.stream().write_all("LIST VAR nicole\n".repeat(300).as_bytes());
        // Half lines, rubbish, a line without end, and gone.
        let silent: Vec<TcpStream> = (0..200).map(|_| upsd.client().into_stream()).collect();
        for (nth, mut stream) in (0u8..).zip(&silent) {
            let _ = stream.write_all(&[nth; 300]);
        }
        let mut endless = upsd.client();
        let _ = endless.stream().write_all(&[b'x'; 100_000]);
        assert!(endless.is_closed());
        drop(silent);
        for _ in 0..100 {
            good.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        }
        assert!(upsd.resident_kib() < 100 * 1024, "{} KiB", upsd.resident_kib());
        // Now it reads, and gets everything it asked for, in order.
        let mut bytes = 0usize;
        let mut lists = 0;
        let mut buffer = vec![0; 1 << 20];
        let mut tail = Vec::new();
        while lists < 300 {
            let count = greedy.stream().read(&mut buffer).expect("the answer goes on");
            assert!(count > 0, "closed after {lists} lists");
            bytes += count;
            tail.extend_from_slice(&buffer[..count]);
            lists += tail.windows(8).filter(|window| window == b"END LIST").count();
            let keep = tail.len().min(7);
            tail.drain(..tail.len() - keep);
        }
        assert!(bytes > 120_000_000, "{bytes}");
    }

    #[test]
    fn who_closes_behind_his_question_is_answered_and_closed() {
        let stage = stage();
        let upsd = stage.start(&[]);
        for _ in 0..100 {
            let mut client = upsd.client();
            client.say("NETVER");
            client.stream().shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(client.line(), "1.3");
            assert!(client.is_closed());
        }
    }

    #[test]
    fn clients_that_never_stop_asking_keep_nobody_from_stopping_it() {
        let stage = stage();
        let upsd = stage.start(&[]);
        for _ in 0..3 {
            let (mut asks, mut reads) = {
                let stream = upsd.client().into_stream();
                (stream.try_clone().unwrap(), stream)
            };
            std::thread::spawn(move || {
                let many = "NETVER\n".repeat(150_000);
                while asks.write_all(many.as_bytes()).is_ok() {}
            });
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while reads.read(&mut buffer).is_ok_and(|count| count > 0) {}
            });
        }
        let mut client = upsd.client();
        for _ in 0..20 {
            client.ask("NETVER", "1.3");
        }
        for _ in 0..20 {
            upsd.hang_up();
            upsd.logged("SIGHUP: reloading configuration");
            client.ask("NETVER", "1.3");
        }
        assert_eq!(upsd.stop(), 0);
    }

    #[test]
    fn a_driver_that_stands_still_keeps_its_connection() {
        let stage = stage();
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
        let mut client = upsd.client();
        client.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        client.ask("USERNAME admin", "OK");
        client.ask("PASSWORD secret", "OK");
        let mut orders = 0;
        loop {
            client.say("INSTCMD nicole load.off");
            match client.line().as_str() {
                "OK" => orders += 1,
                other => break assert_eq!(other, "ERR INSTCMD-FAILED"),
            }
        }
        client.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        // It goes on, finds each order it was said to have got, and none in part.
        for _ in 0..orders {
            assert_eq!(link.line(), "INSTCMD load.off");
        }
        client.ask("INSTCMD nicole load.off", "OK");
        assert_eq!(link.line(), "INSTCMD load.off");
    }

    #[test]
    fn a_slip_in_an_access_line_leaves_the_server_closed() {
        let stage = stage();
        for line in ["REJCT all", "acl all 0.0.0.0/0", "ACCEPT", "REJECT \"all"] {
            stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 0\n{line}\n"));
            let upsd = stage.start(&[]);
            assert!(upsd.client().is_closed(), "{line}");
            upsd.logged("Rejecting TCP connection from 127.0.0.1");
        }
        let broken = "LISTEN 127.0.0.1 0\nACL localhost 127.0.0.1/what\nACCEPT localhost\n";
        stage.file("upsd.conf", broken);
        let (code, said) = stage.run(&["-F", "-u", &current_user()]);
        assert!(code == 1 && said.contains("upsd.conf cannot be followed"), "{said}");
        // By a reload the server becomes no more open than it was.
        stage.file("upsd.conf", "LISTEN 127.0.0.1 0\nACL a 127.0.0.1/32\nACCEPT a\n");
        let upsd = stage.start(&[]);
        for (conf, log, closed) in [
            (broken, "the running configuration stays in force", false),
            ("LISTEN 127.0.0.1 0\nACEPT localhost\n", "nobody is admitted but by ACCEPT", true),
        ] {
            stage.file("upsd.conf", conf);
            upsd.hang_up();
            upsd.logged(log);
            // Signals and clients are served in turn: the answer tells that the reload is over.
            let mut client = upsd.client();
            let answer = client.try_ask("NETVER");
            assert_eq!(answer.is_none(), closed, "{conf}: {answer:?}");
        }
    }

    #[test]
    fn hundreds_of_clients_at_once_and_all_are_served() {
        let stage = stage();
        let upsd = stage.start(&[]);
        let mut clients: Vec<_> = (0..500).map(|_| upsd.client()).collect();
        for client in &mut clients {
            client.say("NETVER");
        }
        for client in &mut clients {
            assert_eq!(client.line(), "1.3");
        }
    }

    #[test]
    fn beyond_maxconn_one_is_sent_away_at_once() {
        let stage = stage();
        // One listener, one driver, and two clients; localhost has some more.
        stage.file("upsd.conf", "LISTEN 0.0.0.0 0\nMAXCONN 4\n");
        let upsd = stage.start(&[]);
        let most = 2 + upsd::server::RESERVED_FOR_LOCALHOST;
        let mut clients: Vec<_> = (0..most).map(|_| upsd.client()).collect();
        for client in &mut clients {
            client.ask("NETVER", "1.3");
        }
        assert!(upsd.client().is_closed());
        upsd.logged("see MAXCONN in upsd.conf");
        drop(clients.pop());
        stage.wait_until(|| upsd.client().try_ask("NETVER").as_deref() == Some("1.3"));
    }

    #[test]
    fn with_few_descriptors_some_clients_are_served_and_the_others_sent_away() {
        let stage = stage();
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start_with_descriptors(64);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
        let mut good = upsd.client();
        good.ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        let mut crowd: Vec<_> = (0..200).map(|_| upsd.client()).collect();
        let served = crowd.iter_mut().filter_map(|client| client.try_ask("NETVER")).count();
        assert!((16..64).contains(&served), "{served}");
        good.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        // There is room for the files, too.
        upsd.hang_up();
        upsd.logged("SIGHUP: reloading configuration");
        drop(crowd);
        stage.wait_until(|| upsd.client().try_ask("NETVER").as_deref() == Some("1.3"));
        assert_eq!(upsd.stop(), 0);
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        for (file, words) in [
            ("upsd.conf", "it may be empty, but it must be there"),
            ("ups.conf", "it holds a section for each UPS"),
            ("upsd.users", "it may be empty, but it must be there"),
        ] {
            let stage = stage();
            std::fs::remove_file(stage.path(file)).unwrap();
            let (code, said) = stage.run(&["-F", "-u", &current_user()]);
            assert_eq!(code, 1, "{said}");
            let expected = format!("upsd: {} does not exist: ", stage.path(file).display());
            assert!(said.contains(&expected) && said.contains(words), "{said}");
        }
        let stage = stage();
        stage.file("ups.conf", "# nothing\n");
        let (code, said) = stage.run(&["-F", "-u", &current_user()]);
        assert_eq!(code, 1);
        assert!(said.contains("at least one UPS must be defined in ups.conf"), "{said}");
        stage.file("upsd.conf", "LISTEN 127.0.0.1 0\nALLOW_NO_DEVICE true\n");
        assert_eq!(stage.start(&[]).stop(), 0);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {port}\nALLOW_NO_DEVICE true\n"));
        let (code, said) = stage.run(&["-F", "-u", &current_user()]);
        assert_eq!(code, 1);
        let line = format!("not listening on 127.0.0.1 port {port}: another program listens there");
        assert!(said.contains(&line), "{said}");
        assert!(said.contains("no listening interface available"), "{said}");
    }

    #[test]
    fn a_user_who_does_not_exist_stops_the_start() {
        let stage = stage();
        // Who is not root stays who he is, and the name is not asked for.
        if current_user() != "root" {
            let upsd = stage.spawn(stage.command(&["-F", "-u", "no-such-user-here"]));
            assert_eq!(upsd.stop(), 0);
            return;
        }
        let (code, said) = stage.run(&["-F", "-u", "no-such-user-here"]);
        assert_eq!(code, 1);
        assert!(said.contains("user no-such-user-here does not exist"), "{said}");
    }

    #[test]
    fn in_the_background_it_is_ready_when_the_command_returns() {
        let stage = stage();
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {}\n", stage.free_port()));
        let user = current_user();
        let (code, said) = stage.run(&["-u", &user]);
        assert_eq!((code, said.contains("Network UPS Tools upsd")), (0, true), "{said}");
        let _ends = stage.ends_by_pid_file();
        let mut client = stage.client_at_conf_port();
        client.ask("NETVER", "1.3");
        let (code, said) = stage.run(&["-F", "-u", &user]);
        assert_eq!(code, 1);
        assert!(said.contains("Fatal error: A previous upsd instance is already running!"), "{said}");
        assert_eq!(stage.run(&["-c", "reload"]).0, 0);
        client.ask("NETVER", "1.3");
        assert_eq!(stage.run(&["-c", "stop"]).0, 0);
        assert!(client.is_closed());
        stage.wait_until(|| !stage.path("upsd.pid").exists());
        let (code, said) = stage.run(&["-c", "stop"]);
        assert_eq!(code, 1);
        assert!(said.contains("Failed to signal the currently running daemon (if any)"), "{said}");
        let path = stage.path("upsd.pid");
        let why = format!("no upsd is running: there is no PID file {}. Start upsd", path.display());
        assert!(said.contains(&why), "{said}");
    }

    #[test]
    fn in_the_background_a_failure_is_told_to_the_caller() {
        let stage = stage();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {}\n", taken.local_addr().unwrap().port()));
        let (code, said) = stage.run(&["-u", &current_user()]);
        assert_eq!(code, 1);
        assert!(said.starts_with("Network UPS Tools upsd "), "{said}");
        assert!(said.contains("no listening interface available"), "{said}");
        assert!(!stage.path("upsd.pid").exists());
    }

    #[test]
    fn readable_passwords_are_warned_about() {
        let stage = stage();
        let path = stage.path("upsd.users");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let upsd = stage.start(&[]);
        upsd.logged(&format!("WARNING: {} is world readable", path.display()));
        assert_eq!(upsd.stop(), 0);
        assert!(!stage.path("upsd.pid").exists(), "-F writes none");
    }

    #[test]
    fn help_and_version() {
        let stage = stage();
        let (code, said) = stage.run(&["-h"]);
        assert!(
            code == 0 && said.contains("-c <command>") && said.contains("-FF") | said.contains("-F"),
            "{said}"
        );
        let (code, said) = stage.run(&["-V"]);
        assert!(code == 0 && said.starts_with("Network UPS Tools upsd "), "{said}");
        let (code, said) = stage.run(&["--nonsense"]);
        assert!(code == 0 && said.contains("Usage"), "as NUT: {said}");
        let (code, said) = stage.run(&["-c", "nonsense"]);
        assert!(code == 1 && said.contains("-c takes reload or stop"), "{said}");
    }
}
