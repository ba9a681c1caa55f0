//! Whole conversations with the machine: clients on one side, drivers on the other, time as the test says.

use super::*;
use crate::slab::Slab;
use nut_conf::ups_conf::{self, UpsConf};
use nut_conf::upsd_conf::{Access as Verdict, AccessRule, Acl, NetBlock, UpsdConf};
use nut_conf::upsd_users::{Commands, Password, PasswordHash, UpsdUsers, User};
use nut_proto::names::{Secret, UserName};
use proptest::prelude::*;
use std::fmt::Write as _;

mod conversations;
mod drivers;
mod encrypted;
mod hardness;
mod old;
mod passwords;
mod rules;

/// A shell without an outside: it does what the server asks, and keeps a record.
struct House {
    server: Server,
    out: Outputs,
    now: Moment,
    keys: Slab<()>,
    /// What each client has got so far and nobody looked at; `<closed>` and `<cut>` when it is over.
    heard: HashMap<ClientId, String>,
    /// What the drivers were told.
    told: Vec<(String, String)>,
    /// Connections that were asked for, by socket.
    wanted: Vec<(UpsId, String)>,
    log: Vec<String>,
    /// Whether the drivers' sockets take what is written.
    drivers_take: bool,
    unfinished: Vec<ClientId>,
    /// Whether clients take what is written.
    clients_take: bool,
    random: u128,
    /// What is to be verified, and when it was asked for.
    checks: Vec<(Moment, ClientId, Secret, PasswordHash)>,
    /// Whether that is done at once.
    verifies: bool,
    /// Clients that are not to be read from.
    held: Vec<ClientId>,
}

impl House {
    fn new(settings: Settings) -> Self {
        let mut out = Outputs::default();
        let now = Moment::from_secs(1000);
        let server = Server::new(settings, now, &mut out);
        let mut house = Self {
            server,
            out,
            now,
            keys: Slab::default(),
            heard: HashMap::new(),
            told: Vec::new(),
            wanted: Vec::new(),
            log: Vec::new(),
            drivers_take: true,
            unfinished: Vec::new(),
            clients_take: true,
            random: 0,
            checks: Vec::new(),
            verifies: true,
            held: Vec::new(),
        };
        house.perform();
        house.step(Event::Tick);
        house
    }

    fn step(&mut self, event: Event<'_>) {
        self.server.step(self.now, event, &mut self.out);
        self.perform();
    }

    fn perform(&mut self) {
        let out = std::mem::take(&mut self.out);
        self.log.extend(out.notes.iter().map(ToString::to_string));
        let mut orders = Vec::new();
        for action in &out.actions {
            match action {
                Action::Write { client, bytes } => {
                    let text = String::from_utf8(out.get(bytes).to_vec()).unwrap();
                    self.heard.entry(*client).or_default().push_str(&text);
                }
                Action::Encrypt { client } => self.heard.entry(*client).or_default().push_str("<tls>"),
                Action::Unfinished { client } => self.unfinished.push(*client),
                Action::Hold { client } => self.held.push(*client),
                Action::Release { client } => self.held.retain(|one| one != client),
                Action::Verify { client, password, hash } => {
                    assert!(self.checks.is_empty(), "one at a time");
                    self.checks.push((self.now, *client, password.clone(), hash.clone()));
                }
                Action::Finish { client } => {
                    self.heard.entry(*client).or_default().push_str("<closed>");
                    self.held.retain(|one| one != client);
                    self.server.step(self.now, Event::ClientGone { client: *client }, &mut self.out);
                    self.keys.remove(client.0);
                }
                Action::Close { client } => {
                    self.heard.entry(*client).or_default().push_str("<cut>");
                    self.held.retain(|one| one != client);
                    self.keys.remove(client.0);
                }
                Action::Connect { ups, socket } => self.wanted.push((*ups, socket.clone())),
                Action::Tell { ups, bytes, order_of } => {
                    let name = self.server.common.upses.get(*ups).unwrap().name.to_string();
                    if self.drivers_take {
                        let text = String::from_utf8(out.get(bytes).to_vec()).unwrap();
                        self.told.push((name, text));
                    } else {
                        self.server.step(self.now, Event::DriverGone { ups: *ups }, &mut self.out);
                    }
                    orders.extend(order_of);
                }
                Action::Disconnect { ups } => self.wanted.retain(|(one, _)| one != ups),
            }
        }
        let wanted = self.server.wants_random();
        if wanted > 0 {
            // Not very random, but each different.
            let mut bytes = Vec::new();
            while bytes.len() < wanted {
                self.random += 1;
                bytes.extend_from_slice(&self.random.to_be_bytes());
            }
            bytes.truncate(wanted);
            self.server.step(self.now, Event::Random(&bytes), &mut self.out);
        }
        for client in orders {
            let sent = self.drivers_take;
            self.server.step(self.now, Event::OrderSent { client, sent }, &mut self.out);
        }
        if self.verifies {
            self.verify();
        }
        if self.clients_take {
            for client in std::mem::take(&mut self.unfinished) {
                self.server.step(self.now, Event::ClientDrained { client }, &mut self.out);
            }
        }
        if !self.out.actions.is_empty() || !self.out.notes.is_empty() {
            self.perform();
        }
    }

    /// Does what a thread does for the real server.
    fn verify(&mut self) {
        for (_, client, password, hash) in std::mem::take(&mut self.checks) {
            let finding = crate::hashing::verify(password.reveal(), &hash);
            self.server.step(self.now, Event::Verified { client, finding }, &mut self.out);
        }
    }

    fn at(&mut self, secs: u64) {
        self.now = Moment::from_secs(1000 + secs);
    }

    /// Lets time pass, with everything that is due on the way.
    fn pass(&mut self, secs: u64) {
        let end = self.now.after(Duration::from_secs(secs));
        while let Some(next) = self.server.wake_at().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step(Event::Tick);
        }
        self.now = end;
        self.step(Event::Tick);
    }

    fn client(&mut self) -> ClientId {
        self.client_from("127.0.0.1")
    }

    fn client_from(&mut self, address: &str) -> ClientId {
        let client = ClientId(self.keys.insert(()));
        self.step(Event::ClientConnected { client, address: address.parse().unwrap() });
        client
    }

    /// A client that has said who it is.
    fn user(&mut self, name: &str, password: &str) -> ClientId {
        let client = self.client();
        let said = self.say(client, &format!("USERNAME {name}\nPASSWORD {password}\n"));
        assert_eq!(said, "OK\nOK\n");
        client
    }

    /// What the client hears when it says this.
    fn say(&mut self, client: ClientId, text: &str) -> String {
        self.send(client, text.as_bytes())
    }

    fn send(&mut self, client: ClientId, bytes: &[u8]) -> String {
        self.step(Event::ClientBytes { client, bytes });
        self.hear(client)
    }

    fn hear(&mut self, client: ClientId) -> String {
        self.heard.remove(&client).unwrap_or_default()
    }

    fn ups(&self, name: &str) -> UpsId {
        self.server.common.upses.find(name).unwrap()
    }

    /// The driver that the server asked to be connected to is there.
    fn driver_up(&mut self, name: &str) -> UpsId {
        let ups = self.ups(name);
        let at = self.wanted.iter().position(|(one, _)| *one == ups).expect("the server wants to connect");
        self.wanted.remove(at);
        self.step(Event::DriverConnected { ups });
        assert_eq!(self.told.pop(), Some((name.to_owned(), "DUMPALL\n".to_owned())));
        ups
    }

    fn driver_says(&mut self, name: &str, text: &str) {
        let ups = self.ups(name);
        self.step(Event::DriverBytes { ups, bytes: text.as_bytes() });
    }

    /// Plays lines that begin with `> ` and compares with the lines below each.
    fn play(&mut self, client: ClientId, script: &str) {
        let mut lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let request = line.strip_prefix("> ").or(line.strip_prefix(">")).expect("a request");
            let mut expected = String::new();
            while let Some(answer) = lines.next_if(|line| !line.starts_with('>')) {
                writeln!(expected, "{answer}").unwrap();
            }
            let heard = self.say(client, &format!("{request}\n"));
            assert_eq!(heard, expected.replace("<closed>\n", "<closed>"), "{request}");
        }
    }

    fn logged(&mut self, text: &str) {
        let at = self.log.iter().position(|line| line == text);
        let at = at.unwrap_or_else(|| panic!("not logged: {text}\nbut: {:#?}", self.log));
        self.log.drain(..=at);
    }
}

fn section(name: &str, driver: Option<&str>, desc: Option<&str>) -> ups_conf::Section {
    ups_conf::Section {
        driver: driver.map(Into::into),
        port: driver.map(|_| "auto".into()),
        desc: desc.map(Into::into),
        ..ups_conf::Section::new(name.parse().unwrap(), nut_conf::Span::default())
    }
}

fn user(name: &str, password: &str, actions: &[&str]) -> User {
    User {
        password: Some(Password::Plain(Secret::new(password))),
        actions: actions.iter().map(ToString::to_string).collect(),
        ..User::new(UserName::new(name))
    }
}

/// `admin` may do all, `setter` set, `tester` test the panel, `primary` and `secondary` are upsmons.
fn users() -> UpsdUsers {
    let mut admin = user("admin", "adminpw", &["SET", "FSD", "LOGIN", "PRIMARY"]);
    admin.commands = Commands::All;
    let mut tester = user("tester", "testpw", &[]);
    tester.commands = Commands::These(vec!["test.panel.start".into()]);
    UpsdUsers {
        users: vec![
            admin,
            tester,
            user("setter", "setpw", &["SET"]),
            user("primary", "ppw", &["LOGIN", "MASTER", "FSD"]),
            user("secondary", "spw", &["LOGIN"]),
            User { password: None, ..user("nopw", "", &["SET"]) },
        ],
    }
}

fn settings(sections: Vec<ups_conf::Section>) -> Settings {
    Settings {
        upsd: UpsdConf::default(),
        ups: UpsConf { sections, ..UpsConf::default() },
        users: users(),
        descriptions: Descriptions::default(),
        speaks_tls: false,
        most_clients: 100,
    }
}

/// What the driver of net-protocol's appendix A sent.
const APPENDIX_A: &str = r#"
SETINFO ups.status "OL"
SETINFO ups.mfr "Acme \"Q\" Corp"
SETINFO battery.charge "100"
SETFLAGS battery.charge RW STRING
SETAUX battery.charge 5
SETINFO input.transfer.low "103"
SETFLAGS input.transfer.low RW STRING
SETAUX input.transfer.low 3
ADDENUM input.transfer.low "103"
ADDENUM input.transfer.low "100"
SETINFO ups.delay.start "20"
SETFLAGS ups.delay.start RW NUMBER
ADDRANGE ups.delay.start 0 30
ADDRANGE ups.delay.start 60 90
SETINFO Driver.Flag "x"
SETINFO ups.odd "a\#b"
ADDCMD load.off
ADDCMD Beeper.Enable
ADDCMD test.panel.start
DATAOK
DUMPDONE
"#;

/// One UPS as in appendix A, another whose driver is not there, a third whose data is stale.
fn house() -> House {
    let mut house = House::new(settings(vec![
        section("ups1", Some("dummy-ups"), Some("Test \"UPS\" one")),
        section("down", Some("dummy-ups"), None),
        section("stale", Some("dummy-ups"), None),
    ]));
    house.driver_up("ups1");
    house.driver_says("ups1", APPENDIX_A);
    house.driver_up("stale");
    house.driver_says("stale", "SETINFO ups.status \"OL\"\nDATASTALE\nDUMPDONE\n");
    house
}
