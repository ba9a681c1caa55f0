//! Passwords that are hashed, and passwords that are guessed: who waits for whom, and for how long.

use super::*;
use crate::hashing::{Finding, cheap};
use crate::proofs::{MAX_OF_ONE, MAX_THROTTLED};
use crate::throttle::FREE;

/// How long a calculation takes here.
const CALCULATION: Duration = Duration::from_millis(30);

/// [`users`], their passwords hashed.
fn hashed_users() -> UpsdUsers {
    let mut users = users();
    for user in &mut users.users {
        if let Some(Password::Plain(password)) = &user.password {
            user.password = Some(Password::Hashed(cheap(password.reveal())));
        }
    }
    users
}

fn sections() -> Vec<ups_conf::Section> {
    vec![
        section("ups1", Some("dummy-ups"), Some("Test \"UPS\" one")),
        section("down", Some("dummy-ups"), None),
        section("stale", Some("dummy-ups"), None),
    ]
}

fn settings_with(users: UpsdUsers) -> Settings {
    Settings { users, most_clients: 10_000, ..settings(sections()) }
}

/// [`house`] with these users.
fn house_of(users: UpsdUsers) -> House {
    let mut house = House::new(settings_with(users));
    house.driver_up("ups1");
    house.driver_says("ups1", APPENDIX_A);
    house.driver_up("stale");
    house.driver_says("stale", "SETINFO ups.status \"OL\"\nDATASTALE\nDUMPDONE\n");
    house.log.clear();
    house
}

/// One whose passwords are hashed, on a thread that the test plays.
fn slow_house() -> House {
    let mut house = house_of(hashed_users());
    house.verifies = false;
    house
}

impl House {
    /// A client that says who it is and wants to log in, without waiting for the answer.
    fn knocks(&mut self, address: &str, name: &str, password: &str) -> ClientId {
        let client = self.client_from(address);
        let said = self.say(client, &format!("USERNAME {name}\nPASSWORD {password}\n"));
        assert_eq!(said, "OK\nOK\n");
        self.step(Event::ClientBytes { client, bytes: b"LOGIN ups1\n" });
        client
    }

    /// Lets time pass, with calculations that take theirs.
    fn pass_calculating(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let calculated = self.checks.first().map(|(since, ..)| since.after(CALCULATION));
            let due = self.server.wake_at();
            let next = [calculated, due].into_iter().flatten().min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = next.max(self.now);
            if calculated == Some(next) {
                self.verify();
                self.perform();
            } else {
                self.step(Event::Tick);
            }
        }
        self.now = end;
    }

    fn is_at_rest(&self) -> bool {
        self.server.common.proofs.is_idle() && self.checks.is_empty() && self.held.is_empty()
    }
}

#[test]
fn what_comes_while_a_password_is_checked_is_answered_behind_it() {
    let mut house = slow_house();
    let client = house.client();
    let heard = house.say(
        client,
        "USERNAME admin\nPASSWORD adminpw\nNETVER\nLOGIN ups1\nGET NUMLOGINS ups1\nPRIMARY ups1\nGET V",
    );
    assert_eq!(heard, "OK\nOK\n1.3\n");
    assert_eq!(house.held, [client], "nothing more is read from it");
    // What the shell had read by then all the same.
    assert_eq!(house.say(client, "AR ups1 ups.status\nFSD down\n"), "");
    let other = house.client();
    assert_eq!(house.say(other, "GET NUMLOGINS ups1\n"), "NUMLOGINS ups1 0\n", "nobody else waits");
    house.verify();
    house.perform();
    assert_eq!(
        house.hear(client),
        "OK\nNUMLOGINS ups1 1\nOK PRIMARY-GRANTED\nVAR ups1 ups.status \"OL\"\nOK FSD-SET\n"
    );
    assert!(house.is_at_rest(), "proven once, it never waits again");
    house.logged("User admin@127.0.0.1 logged into UPS [ups1]");
}

#[test]
fn errors_that_come_before_the_password_need_none() {
    let mut house = slow_house();
    let client = house.user("admin", "wrong");
    house.play(
        client,
        "
        > LOGIN nowhere
        ERR UNKNOWN-UPS
        > FSD nowhere
        ERR UNKNOWN-UPS
        > SET VAR down ups.id x
        ERR DRIVER-NOT-CONNECTED
        > INSTCMD stale load.off
        ERR DATA-STALE
        > INSTCMD ups1 nothing
        ERR CMD-NOT-SUPPORTED
        > LOGIN a b
        ERR INVALID-ARGUMENT
        > SET TRACKING ON
        OK
        ",
    );
    assert!(house.is_at_rest());
    // SET asks for the right first.
    assert_eq!(house.say(client, "SET VAR ups1 nothing x\n"), "");
    house.verify();
    house.perform();
    assert_eq!(house.hear(client), "ERR ACCESS-DENIED\n");
    house.logged("Client admin@127.0.0.1 was denied SET VAR ups1 nothing: wrong password");
    assert_eq!(house.say(client, "FSD ups1\n"), "ERR ACCESS-DENIED\n", "known to be wrong");
    assert!(house.is_at_rest());
}

#[test]
fn the_right_password_of_another_is_wrong() {
    let mut house = house_of(hashed_users());
    for (name, password) in [("admin", "setpw"), ("nobody", "adminpw"), ("nopw", ""), ("Admin", "adminpw")] {
        let client = house.client();
        let heard = house.say(client, &format!("USERNAME {name}\nPASSWORD \"{password}\"\nFSD ups1\n"));
        assert_eq!(heard, "OK\nOK\nERR ACCESS-DENIED\n", "{name}");
    }
}

#[test]
fn a_reload_that_changes_a_user_asks_for_his_password_again() {
    let mut house = slow_house();
    let client = house.knocks("192.0.2.1", "admin", "adminpw");
    house.pass_calculating(CALCULATION);
    assert_eq!(house.hear(client), "OK\n");
    let mut changed = hashed_users();
    changed.users.retain(|user| user.name.as_str() != "setter");
    changed.users.push(user("new", "x", &[]));
    house.step(Event::Reload(Box::new(settings_with(changed.clone()))));
    assert_eq!(house.say(client, "FSD ups1\n"), "OK FSD-SET\n", "nothing changed for him");
    changed.users[0].actions.retain(|action| action != "FSD");
    house.step(Event::Reload(Box::new(settings_with(changed.clone()))));
    assert_eq!(house.say(client, "FSD ups1\n"), "ERR ACCESS-DENIED\n", "rights count at once");
    changed.users[0].password = Some(Password::Hashed(cheap("another")));
    house.step(Event::Reload(Box::new(settings_with(changed))));
    assert_eq!(house.say(client, "PRIMARY ups1\n"), "", "must be checked");
    house.pass_calculating(CALCULATION);
    assert_eq!(house.hear(client), "ERR ACCESS-DENIED\n");
    assert_eq!(house.say(client, "GET NUMLOGINS ups1\n"), "NUMLOGINS ups1 1\n", "the login stays, as in NUT");
}

#[test]
fn what_is_found_out_about_a_former_password_is_not_believed() {
    for (new, answer) in [("another", "ERR ACCESS-DENIED\n"), ("adminpw", "OK\n")] {
        let mut house = slow_house();
        let client = house.knocks("192.0.2.1", "admin", "adminpw");
        assert_eq!(house.checks.len(), 1);
        let mut changed = hashed_users();
        changed.users[0].password =
            Some(Password::Hashed(crate::hashing::hash(new, [3; crate::hashing::SALT]).unwrap()));
        house.step(Event::Reload(Box::new(settings_with(changed))));
        house.verify();
        house.perform();
        assert_eq!((house.hear(client).as_str(), house.checks.len()), ("", 1), "it is checked again");
        house.verify();
        house.perform();
        assert_eq!((house.hear(client).as_str(), house.is_at_rest()), (answer, true));
    }
}

#[test]
fn one_calculation_answers_for_all_who_say_the_same() {
    // The power is back, and all hosts of a place log in at the same moment.
    let mut house = slow_house();
    let hosts: Vec<ClientId> =
        (1..=200).map(|n| house.knocks(&format!("192.0.2.{n}"), "secondary", "spw")).collect();
    let other = house.knocks("192.0.2.1", "secondary", "guess");
    house.pass_calculating(CALCULATION);
    for host in &hosts {
        assert_eq!(house.hear(*host), "OK\n");
    }
    assert_eq!(house.hear(other), "");
    house.pass_calculating(CALCULATION);
    assert_eq!(house.hear(other), "ERR ACCESS-DENIED\n");
    assert!(house.is_at_rest());
}

#[test]
fn who_does_not_wait_for_the_answer_has_guessed_all_the_same() {
    let mut house = slow_house();
    for nth in 0..FREE {
        let client = house.knocks("192.0.2.1", "admin", &format!("guess{nth}"));
        house.step(Event::ClientGone { client });
        house.keys.remove(client.0);
        house.held.clear();
        house.pass_calculating(CALCULATION);
    }
    let client = house.knocks("192.0.2.1", "admin", "adminpw");
    assert!(house.checks.is_empty(), "throttled");
    house.pass_calculating(Duration::from_secs(1) + CALCULATION);
    assert_eq!(house.hear(client), "OK\n");
}

#[test]
fn a_password_that_cannot_be_checked_is_not_called_wrong() {
    let mut house = slow_house();
    let client = house.knocks("192.0.2.1", "admin", "adminpw");
    let next = house.knocks("192.0.2.2", "setter", "setpw");
    let (_, checked, ..) = house.checks.remove(0);
    house.step(Event::Verified { client: checked, finding: Finding::Unable });
    assert_eq!(house.hear(client), "<closed>");
    house
        .logged("Closing connection from admin@192.0.2.1: no memory or no thread to check the password with");
    house.pass_calculating(CALCULATION);
    assert_eq!(
        house.hear(next),
        "ERR ACCESS-DENIED\n",
        "the next has his turn: right, but no right to LOGIN"
    );
    // A word about somebody who is not being checked means nothing.
    house.step(Event::Verified { client: next, finding: Finding::Right });
    assert_eq!(house.hear(next), "");
}

#[test]
fn wrong_passwords_are_throttled_where_they_come_from_and_nowhere_else() {
    let mut house = house_of(users());
    let proven = house.knocks("192.0.2.66", "admin", "adminpw");
    assert_eq!(house.hear(proven), "OK\n");
    let guess = |house: &mut House| house.knocks("192.0.2.66", "admin", "guess");
    for _ in 0..FREE {
        let client = guess(&mut house);
        assert_eq!(house.hear(client), "ERR ACCESS-DENIED\n");
    }
    house.logged("Client admin@192.0.2.66 was denied LOGIN ups1: wrong password");
    house.logged("Client admin@192.0.2.66: too many wrong passwords, from now on one a second is checked");
    let waiting: Vec<ClientId> = (0..MAX_THROTTLED).map(|_| guess(&mut house)).collect();
    assert_eq!(house.held, waiting);
    let beyond = guess(&mut house);
    assert_eq!(house.hear(beyond), "<closed>", "not told that it is wrong: nobody has looked");
    house.logged("Closing connection from admin@192.0.2.66: too many wait for their passwords to be checked");
    // Whoever has proven himself, another address, another user at the same address: at once.
    assert_eq!(house.say(proven, "FSD ups1\n"), "OK FSD-SET\n");
    for (address, name, password) in
        [("192.0.2.67", "admin", "adminpw"), ("192.0.2.66", "secondary", "spw"), ("::1", "primary", "ppw")]
    {
        let client = house.knocks(address, name, password);
        assert_eq!(house.hear(client), "OK\n", "{name}@{address}");
    }
    for (nth, client) in waiting.iter().enumerate() {
        house.pass_calculating(Duration::from_millis(999));
        assert_eq!(house.hear(*client), "", "{nth}");
        house.pass_calculating(Duration::from_millis(1));
        assert_eq!(house.hear(*client), "ERR ACCESS-DENIED\n", "{nth}");
    }
    assert!(house.is_at_rest());
}

#[test]
fn the_right_password_gets_through_in_seconds_where_others_are_guessed() {
    for users in [users(), hashed_users()] {
        let mut house = house_of(users);
        house.verifies = false;
        for _ in 0..FREE + 3 {
            house.knocks("192.0.2.66", "admin", "guess");
            house.pass_calculating(CALCULATION);
        }
        let client = house.knocks("192.0.2.66", "admin", "adminpw");
        let wait = Duration::from_secs(4) + CALCULATION;
        // The guessing goes on, as fast as it can.
        for _ in 0..100 {
            house.knocks("192.0.2.66", "admin", "guess");
            house.pass_calculating(wait / 100);
        }
        assert_eq!(house.hear(client), "OK\n");
    }
}

#[test]
fn guesses_are_logged_once_a_minute_with_their_number() {
    let mut house = house_of(users());
    for _ in 0..1000 {
        house.knocks("192.0.2.66", "admin", "hush-hush");
        house.pass_calculating(Duration::from_millis(50));
    }
    let wrong = "Client admin@192.0.2.66 was denied LOGIN ups1: wrong password";
    let expected = [
        wrong,
        "Client admin@192.0.2.66: too many wrong passwords, from now on one a second is checked",
        "Closing connection from admin@192.0.2.66: too many wait for their passwords to be checked",
    ];
    house.log.retain(|line| line.contains("192.0.2.66"));
    assert_eq!(house.log, expected, "50 s");
    house.log.clear();
    house.pass_calculating(Duration::from_secs(60));
    house.knocks("192.0.2.66", "admin", "hush-hush");
    // 10 free, one a second until the end, and the four that waited then.
    house.logged(&format!("{wrong} ({} more since the last of these lines)", 10 + 49 + 4 - 1));
}

#[test]
fn a_right_password_costs_no_tries() {
    let mut house = house_of(users());
    for _ in 0..1000 {
        let client = house.knocks("192.0.2.1", "secondary", "spw");
        assert_eq!(house.hear(client), "OK\n");
    }
    // Nor does a wrong one more than once on its connection.
    let client = house.user("admin", "guess");
    for _ in 0..1000 {
        assert_eq!(house.say(client, "FSD ups1\n"), "ERR ACCESS-DENIED\n");
    }
    let client = house.user("admin", "adminpw");
    assert_eq!(house.say(client, "FSD ups1\n"), "OK FSD-SET\n");
}

#[test]
fn a_thousand_guesses_at_once_leave_room_for_others() {
    let mut house = slow_house();
    let guesses: Vec<ClientId> =
        (0..1000).map(|nth| house.knocks("192.0.2.66", "admin", &format!("guess{nth}"))).collect();
    let closed = |house: &House| house.heard.values().filter(|heard| heard.as_str() == "<closed>").count();
    assert_eq!(closed(&house), 1000 - MAX_OF_ONE - 1, "one is being checked");
    let client = house.knocks("192.0.2.1", "admin", "adminpw");
    house.pass_calculating(3 * CALCULATION);
    assert_eq!(house.hear(client), "OK\n", "behind the one that is being checked, and one whose turn it is");
    house.pass_calculating(Duration::from_secs(1));
    assert_eq!(closed(&house), 1000 - usize::try_from(FREE).unwrap() - MAX_THROTTLED);
    house.pass_calculating(Duration::from_secs(60));
    assert!(house.is_at_rest());
    let denied =
        guesses.iter().filter(|client| house.heard.get(client).is_some_and(|heard| heard.contains("DENIED")));
    assert_eq!(denied.count(), usize::try_from(FREE).unwrap() + MAX_THROTTLED);
}

#[test]
fn a_guesser_with_a_whole_net_of_ipv6_addresses_is_one() {
    let mut house = house_of(users());
    let mut answered = 0;
    for nth in 0..100 {
        let client = house.knocks(&format!("2001:db8::{nth:x}:1"), "admin", "guess");
        answered += u32::from(house.hear(client).contains("DENIED"));
    }
    assert_eq!(answered, FREE);
}

#[test]
fn when_nobody_guesses_nothing_wakes() {
    let mut house = slow_house();
    let client = house.knocks("192.0.2.1", "admin", "guess");
    for _ in 0..FREE {
        house.knocks("192.0.2.1", "admin", "other");
    }
    house.pass_calculating(Duration::from_secs(300));
    assert!(house.hear(client).contains("DENIED") && house.is_at_rest());
    assert_eq!(house.server.client_count(), 0);
    while let Some((_, due)) = house.server.deadlines.pop(Moment::START.after(Duration::MAX)) {
        assert!(matches!(due, Due::Ups(_)), "{due:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A client at this address with this user and password.
    Knock(u8, &'static str, &'static str),
    /// The client that came so many knocks ago goes.
    Go(usize),
    /// So many milliseconds pass.
    Pass(u64),
    /// The file is read again, changed or not.
    Reload(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop_oneof![Just("admin"), Just("secondary"), Just("nobody")];
    let password = prop_oneof![Just("adminpw"), Just("spw"), Just("guess"), Just("guess2"), Just("guess3")];
    prop_oneof![
        8 => (0u8..4, name, password).prop_map(|(from, name, password)| Step::Knock(from, name, password)),
        1 => (0usize..8).prop_map(Step::Go),
        3 => (0u64..400).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: who knocks from an address of his own with the right password is let in when those few whose
    /// turn it may be have been looked at, and when all is over nothing is left.
    #[test]
    fn nobody_waits_for_a_guesser_and_nothing_is_left(steps in prop::collection::vec(step(), 0..120), hashed in any::<bool>()) {
        let kept = || if hashed { hashed_users() } else { users() };
        let mut house = house_of(kept());
        house.verifies = false;
        let mut clients: Vec<ClientId> = Vec::new();
        for step in steps {
            match step {
                Step::Knock(from, name, password) => {
                    clients.push(house.knocks(&format!("192.0.2.{from}"), name, password));
                }
                Step::Go(back) => {
                    let Some(at) = clients.len().checked_sub(back + 1) else { continue };
                    let client = clients.remove(at);
                    let over = house.heard.get(&client).is_some_and(|heard| heard.contains("<c"));
                    if !over {
                        house.held.retain(|one| *one != client);
                        house.step(Event::ClientGone { client });
                        house.keys.remove(client.0);
                    }
                }
                Step::Pass(millis) => house.pass_calculating(Duration::from_millis(millis)),
                Step::Reload(changed) => {
                    let mut users = kept();
                    if changed {
                        users.users[0].password = Some(Password::Plain(Secret::new("guess2")));
                    }
                    house.step(Event::Reload(Box::new(settings_with(users))));
                }
            }
            let waiting = house.server.common.proofs.waiting().count();
            // Whose password is being checked may have gone.
            prop_assert!((waiting..=waiting + house.checks.len()).contains(&house.held.len()));
        }
        let innocent = house.knocks("198.51.100.1", "secondary", "spw");
        // One is being calculated, and each of 4 addresses with 3 names may have his turn before.
        house.pass_calculating(CALCULATION * (1 + 4 * 3 + 1));
        prop_assert_eq!(house.hear(innocent), "OK\n");
        house.pass_calculating(Duration::from_secs(30));
        prop_assert!(house.is_at_rest());
    }

    /// How passwords are kept makes no difference to any answer.
    #[test]
    fn hashed_or_plain_the_answers_are_the_same(lines in prop::collection::vec("(USERNAME|PASSWORD) (admin|adminpw|setter|setpw|x)|(LOGIN|PRIMARY|MASTER|FSD)( (ups1|down|nowhere|stale)){0,2}|SET VAR (ups1|down|stale) (battery.charge|ups.mfr|x) (5|abc)|INSTCMD (ups1|down) (load.off|x)|SET TRACKING (ON|OFF)|GET NUMLOGINS ups1|LOGOUT", 0..30), cut in 1usize..200) {
        let (mut plain, mut hashed) = (house_of(users()), house_of(hashed_users()));
        hashed.verifies = false;
        let text = lines.join("\n") + "\n";
        let (one, other) = (plain.client(), hashed.client());
        let expected = plain.say(one, &text);
        for piece in text.as_bytes().chunks(cut) {
            if hashed.server.client_count() > 0 {
                hashed.step(Event::ClientBytes { client: other, bytes: piece });
            }
        }
        hashed.pass_calculating(CALCULATION);
        prop_assert_eq!(hashed.hear(other), expected);
        // Those two tell at what time an order was given.
        prop_assert_eq!(&hashed.log, &plain.log);
        prop_assert_eq!(&hashed.told, &plain.told);
    }
}
