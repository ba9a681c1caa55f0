//! A shell without an outside around the server: it carries out what the server asks and keeps what was said.

use nut_conf::Span;
use nut_conf::ups_conf::{Section, UpsConf};
use nut_conf::upsd_conf::UpsdConf;
use nut_conf::upsd_users::{Commands, Password, UpsdUsers, User};
use nut_proto::Moment;
use nut_proto::names::{Secret, UserName};
use std::collections::HashMap;
use std::time::Duration;
use upsd::descriptions::Descriptions;
use upsd::events::{Action, ClientId, Event, Outputs, UpsId};
use upsd::server::Server;
use upsd::settings::Settings;
use upsd::slab::Slab;

/// Most bytes of one step: a stretch of answers, and one answer that goes beyond. No device here is large.
const MAX_STEP: usize = 1024 * 1024;

/// The server and everybody around it.
#[derive(Debug)]
pub struct House {
    /// The server.
    pub server: Server,
    /// The time.
    pub now: Moment,
    /// What each client was sent and nobody looked at yet.
    pub sent: HashMap<ClientId, Vec<u8>>,
    /// Connections the server closed.
    pub closed: Vec<ClientId>,
    /// Drivers' connections that the server asked for: the socket's file name.
    pub wanted: Vec<(UpsId, String)>,
    /// Whether drivers' sockets take what is written.
    pub drivers_take: bool,
    /// Clients that take nothing.
    pub stuck: Vec<ClientId>,
    /// Clients whose password is being checked.
    pub held: Vec<ClientId>,
    unfinished: Vec<ClientId>,
    keys: Slab<()>,
    random: u128,
    out: Outputs,
}

impl House {
    /// A house in which the server has just been started.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut out = Outputs::default();
        let now = Moment::from_secs(1000);
        let server = Server::new(settings, now, &mut out);
        let mut house = Self {
            server,
            now,
            sent: HashMap::new(),
            closed: Vec::new(),
            wanted: Vec::new(),
            drivers_take: true,
            stuck: Vec::new(),
            held: Vec::new(),
            unfinished: Vec::new(),
            keys: Slab::default(),
            random: 0,
            out,
        };
        house.perform();
        house.step(Event::Tick);
        house
    }

    /// One event, and all that follows from it.
    ///
    /// # Panics
    /// When the server asks for too much at once.
    pub fn step(&mut self, event: Event<'_>) {
        self.server.step(self.now, event, &mut self.out);
        self.perform();
    }

    /// A client connects; it may be sent away at once.
    pub fn connect(&mut self, address: &str) -> ClientId {
        let client = ClientId(self.keys.insert(()));
        let address = address.parse().expect("the caller writes an address");
        self.step(Event::ClientConnected { client, address });
        client
    }

    /// A client goes.
    pub fn disconnect(&mut self, client: ClientId) {
        self.step(Event::ClientGone { client });
        self.forget(client);
    }

    /// A client takes what it is sent again.
    pub fn unstick(&mut self, client: ClientId) {
        self.stuck.retain(|one| *one != client);
        self.perform();
    }

    /// Time passes, with everything that is due on the way.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(next) = self.server.wake_at().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step(Event::Tick);
        }
        self.now = end;
        self.step(Event::Tick);
    }

    /// What a new client from this host hears when it says this; nothing if it is not let in.
    pub fn ask(&mut self, request: &str) -> Option<String> {
        let client = self.connect("127.0.0.1");
        self.step(Event::ClientBytes { client, bytes: request.as_bytes() });
        let sent = self.sent.remove(&client);
        if !self.closed.contains(&client) {
            self.disconnect(client);
        }
        self.closed.retain(|one| *one != client);
        sent.map(|bytes| String::from_utf8(bytes).expect("plain text was checked at the writing"))
    }

    fn forget(&mut self, client: ClientId) {
        self.keys.remove(client.0);
        self.unfinished.retain(|one| *one != client);
        self.stuck.retain(|one| *one != client);
        self.held.retain(|one| *one != client);
    }

    fn perform(&mut self) {
        loop {
            let out = std::mem::take(&mut self.out);
            assert!(out.bytes.len() <= MAX_STEP, "{} bytes at once", out.bytes.len());
            let mut orders = Vec::new();
            for action in &out.actions {
                match action {
                    Action::Write { client, bytes } => {
                        let bytes = out.get(bytes);
                        let is_plain = bytes.iter().all(|byte| matches!(byte, b'\n' | 0x20..0x80));
                        assert!(is_plain, "{}", bytes.escape_ascii());
                        self.sent.entry(*client).or_default().extend_from_slice(bytes);
                    }
                    // What comes next is what the client meant, whatever it is wrapped in.
                    Action::Encrypt { .. } => {}
                    Action::Unfinished { client } => self.unfinished.push(*client),
                    Action::Hold { client } => self.held.push(*client),
                    Action::Release { client } => self.held.retain(|one| one != client),
                    Action::Verify { .. } => panic!("no password here is hashed"),
                    Action::Finish { client } => {
                        self.server.step(self.now, Event::ClientGone { client: *client }, &mut self.out);
                        self.forget(*client);
                        self.closed.push(*client);
                    }
                    Action::Close { client } => {
                        self.forget(*client);
                        self.closed.push(*client);
                    }
                    Action::Connect { ups, socket } => self.wanted.push((*ups, socket.clone())),
                    Action::Disconnect { ups } => self.wanted.retain(|(one, _)| one != ups),
                    Action::Tell { ups, order_of, .. } => {
                        if !self.drivers_take {
                            self.server.step(self.now, Event::DriverGone { ups: *ups }, &mut self.out);
                        }
                        orders.extend(order_of);
                    }
                }
            }
            let _: Vec<String> = out.notes.iter().map(ToString::to_string).collect();
            self.give_random();
            for client in orders {
                let sent = self.drivers_take;
                self.server.step(self.now, Event::OrderSent { client, sent }, &mut self.out);
            }
            let (stay, go): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.unfinished).into_iter().partition(|one| self.stuck.contains(one));
            self.unfinished = stay;
            for client in go {
                self.server.step(self.now, Event::ClientDrained { client }, &mut self.out);
            }
            if self.out.actions.is_empty() && self.out.notes.is_empty() {
                return;
            }
        }
    }

    /// Not very random, but each different.
    fn give_random(&mut self) {
        let wanted = self.server.wants_random();
        if wanted == 0 {
            return;
        }
        let mut bytes = Vec::new();
        while bytes.len() < wanted {
            self.random += 1;
            bytes.extend_from_slice(&self.random.to_be_bytes());
        }
        bytes.truncate(wanted);
        self.server.step(self.now, Event::Random(&bytes), &mut self.out);
    }
}

/// Settings with these UPSes, each with a driver `dummy`; the users `admin`, who may do all, and `mon`, an upsmon.
///
/// # Panics
/// When a name is none.
#[must_use]
pub fn settings(upses: &[&str]) -> Settings {
    let section = |name: &&str| Section {
        driver: Some("dummy".into()),
        port: Some("auto".into()),
        desc: Some(format!("The \"UPS\" {name}")),
        ..Section::new(name.parse().expect("the caller writes a name"), Span::default())
    };
    let user = |name: &str, actions: &[&str], commands| User {
        password: Some(Password::Plain(Secret::new("secret"))),
        actions: actions.iter().map(ToString::to_string).collect(),
        commands,
        ..User::new(UserName::new(name))
    };
    Settings {
        upsd: UpsdConf::default(),
        ups: UpsConf { sections: upses.iter().map(section).collect(), ..UpsConf::default() },
        users: UpsdUsers {
            users: vec![
                user("admin", &["SET", "FSD", "LOGIN", "PRIMARY"], Commands::All),
                user("mon", &["LOGIN", "MASTER", "FSD"], Commands::These(Vec::new())),
            ],
        },
        descriptions: Descriptions::built_in(),
        speaks_tls: false,
        most_clients: 100,
    }
}
