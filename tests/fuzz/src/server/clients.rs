//! Several clients' conversation with the server, a driver beside them, time passing, files changing.
//!
//! The bytes are a script. A part goes on up to a byte 0xff; the letter behind that says what the next part is:
//!
//! | letter | what happens |
//! |---|---|
//! | `0` to `3` | the client says the part; it connects first if it has to (the first part is client 0's) |
//! | `a` to `d` | the client 0 to 3 goes away without a word |
//! | `e` to `h` | the client takes nothing from now on, then says the part |
//! | `i` to `l` | the client takes everything again, then says the part |
//! | `D` | the driver of `ups1` says the part |
//! | `G`, `U` | that driver goes; it comes back, if the server has asked for it |
//! | `F` | drivers take no orders from now on, or take them again |
//! | `T` | as many seconds pass as the part's first byte says |
//! | `R` | the files are read again: they say what the part's first byte says, see [`other_settings`] |

use super::house::{House, settings};
use super::parts::parts;
use nut_conf::upsd_conf::{Access, AccessRule, Acl, NetBlock};
use nut_proto::net::Request;
use nut_proto::net::old::OldRequest;
use nut_proto::words::{Outcome, Tokenizer, Words, WordsError};
use std::collections::VecDeque;
use std::time::Duration;
use upsd::events::{ClientId, Event, UpsId};
use upsd::server::{MAX_KEPT_OF_ALL, Server};
use upsd::settings::Settings;

const UPSES: [&str; 2] = ["ups1", "other"];

/// What the driver of net-protocol's appendix A sent.
const DUMP: &str = "SETINFO ups.status \"OL\"\nSETINFO ups.mfr \"Acme \\\"Q\\\" Corp\"\n\
                    SETINFO battery.charge \"100\"\nSETFLAGS battery.charge RW STRING\nSETAUX battery.charge 5\n\
                    SETINFO input.transfer.low \"103\"\nSETFLAGS input.transfer.low RW STRING\n\
                    SETAUX input.transfer.low 3\nADDENUM input.transfer.low \"103\"\n\
                    ADDENUM input.transfer.low \"100\"\nSETINFO ups.delay.start \"20\"\n\
                    SETFLAGS ups.delay.start RW NUMBER\nADDRANGE ups.delay.start 0 30\n\
                    ADDCMD load.off\nADDCMD Beeper.Enable\nDATAOK\nDUMPDONE\n";

/// What one request was, as far as it matters here.
#[derive(Debug)]
enum Asked {
    Login(String),
    /// `LOGIN` alone, in NUT 1.4's way.
    LoginToTheFirst,
    Logout,
    Other,
}

/// A client as it sees itself.
#[derive(Debug)]
struct Client {
    id: ClientId,
    tokenizer: Tokenizer,
    /// Its line is broken: nothing counts up to the line feed.
    is_broken: bool,
    /// It has said the last thing the server listens to.
    has_ended: bool,
    /// Requests not answered yet.
    asked: VecDeque<Asked>,
    login: Option<String>,
    answer: Answer,
}

/// Where in an answer of several lines it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Up to `END LIST`.
    List,
    /// Up to `END`: NUT 1.4's.
    OldList,
}

impl Client {
    fn new(id: ClientId) -> Self {
        Self {
            id,
            tokenizer: Tokenizer::default(),
            is_broken: false,
            has_ended: false,
            asked: VecDeque::new(),
            login: None,
            answer: Answer::Whole,
        }
    }

    /// Counts the requests in what it is about to say.
    fn says(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.has_ended {
                return;
            }
            if self.is_broken {
                self.is_broken = *byte != b'\n';
                continue;
            }
            match self.tokenizer.push(*byte) {
                None => {}
                Some(Outcome::Line) => {
                    let asked = asked(self.tokenizer.words());
                    self.has_ended = matches!(asked, Asked::Logout);
                    self.asked.push_back(asked);
                }
                Some(Outcome::Broken(WordsError::BareHash)) => self.is_broken = true,
                Some(Outcome::Broken(WordsError::TooLong)) => self.has_ended = true,
            }
        }
    }

    /// Reads what it was sent: whole lines, one answer for each request, in order.
    fn hears(&mut self, bytes: &[u8], first_ups: &str) {
        let text = std::str::from_utf8(bytes).expect("plain text was checked at the writing");
        assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text:?}");
        for line in text.lines() {
            self.answer = match self.answer {
                Answer::Whole if line.starts_with("BEGIN LIST ") => Answer::List,
                Answer::Whole if line.starts_with("ENUM ") => Answer::OldList,
                Answer::List if !line.starts_with("END LIST ") => Answer::List,
                Answer::OldList if line != "END" => Answer::OldList,
                Answer::Whole | Answer::List | Answer::OldList => {
                    let asked = self.asked.pop_front().unwrap_or_else(|| panic!("nobody asked for {line:?}"));
                    match asked {
                        Asked::Login(ups) if line == "OK" => self.login = Some(ups),
                        Asked::LoginToTheFirst if line == "OK" => self.login = Some(first_ups.to_owned()),
                        Asked::LoginToTheFirst | Asked::Login(_) | Asked::Logout | Asked::Other => {}
                    }
                    Answer::Whole
                }
            };
        }
    }
}

fn asked(words: &Words) -> Asked {
    match Request::parse(words) {
        Ok(Request::Login(ups)) => Asked::Login(ups.to_ascii_lowercase()),
        Ok(Request::Logout) => Asked::Logout,
        Err(_) if OldRequest::parse(words) == Some(OldRequest::Login) => Asked::LoginToTheFirst,
        Ok(_) | Err(_) => Asked::Other,
    }
}

/// All who talk with the server.
struct Talk {
    house: House,
    clients: [Option<Client>; 4],
    driver: Option<UpsId>,
}

/// Plays the bytes.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut talk = Talk { house: House::new(settings(&UPSES)), clients: Default::default(), driver: None };
    talk.driver_connects();
    talk.driver_says(DUMP.as_bytes());
    for (letter, part) in parts(bytes, b'0') {
        talk.act(letter, part);
        talk.settle();
    }
    for nth in 0..talk.clients.len() {
        talk.unstick(nth);
    }
    talk.settle();
}

impl Talk {
    fn act(&mut self, letter: u8, part: &[u8]) {
        let nth = |from: u8| usize::from(letter - from);
        let number = part.first().copied().unwrap_or(0);
        match letter {
            b'0'..=b'3' => self.say(nth(b'0'), part),
            b'a'..=b'd' => {
                if let Some(client) = self.clients[nth(b'a')].take() {
                    self.house.sent.remove(&client.id);
                    self.house.disconnect(client.id);
                }
            }
            b'e'..=b'h' => {
                let client = self.client(nth(b'e'));
                self.house.stuck.extend(client);
                self.say(nth(b'e'), part);
            }
            b'i'..=b'l' => {
                self.unstick(nth(b'i'));
                self.say(nth(b'i'), part);
            }
            b'D' => self.driver_says(part),
            b'G' => {
                if let Some(ups) = self.driver.take() {
                    self.house.step(Event::DriverGone { ups });
                }
            }
            b'U' => self.driver_connects(),
            b'F' => self.house.drivers_take = !self.house.drivers_take,
            b'T' => self.house.pass(Duration::from_secs(number.into())),
            b'R' => self.house.step(Event::Reload(Box::new(other_settings(number)))),
            _ => self.say(usize::from(letter & 3), part),
        }
    }

    /// The client, connected; nothing if the server does not let it in.
    fn client(&mut self, nth: usize) -> Option<ClientId> {
        if let Some(client) = &self.clients[nth] {
            return Some(client.id);
        }
        let address = ["127.0.0.1", "127.0.0.1", "192.0.2.7", "2001:db8::7"][nth];
        let id = self.house.connect(address);
        self.clients[nth] = Some(Client::new(id));
        self.settle();
        self.clients[nth].as_ref().map(|client| client.id)
    }

    fn say(&mut self, nth: usize, bytes: &[u8]) {
        if self.client(nth).is_none() {
            return;
        }
        if let Some(client) = &mut self.clients[nth] {
            client.says(bytes);
            self.house.step(Event::ClientBytes { client: client.id, bytes });
        }
    }

    fn unstick(&mut self, nth: usize) {
        if let Some(client) = &self.clients[nth] {
            self.house.unstick(client.id);
        }
    }

    fn driver_says(&mut self, bytes: &[u8]) {
        if let Some(ups) = self.driver {
            self.house.step(Event::DriverBytes { ups, bytes });
        }
    }

    fn driver_connects(&mut self) {
        let wanted = self.house.wanted.iter().position(|(_, socket)| socket == "dummy-ups1");
        if let Some(at) = wanted {
            let (ups, _) = self.house.wanted.swap_remove(at);
            self.driver = Some(ups);
            self.house.step(Event::DriverConnected { ups });
        }
    }

    /// Looks at what everybody was sent, and whether everything is as it must be.
    fn settle(&mut self) {
        let upses = self.house.ask("LIST UPS\n").unwrap_or_default();
        let first_ups = upses.lines().nth(1).and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        for place in &mut self.clients {
            let Some(client) = place else { continue };
            client.hears(&self.house.sent.remove(&client.id).unwrap_or_default(), first_ups);
            if self.house.closed.contains(&client.id) {
                *place = None;
                continue;
            }
            let waits = [&self.house.stuck, &self.house.held].iter().any(|list| list.contains(&client.id));
            if !waits {
                assert!(client.asked.is_empty(), "not answered: {:?}", client.asked);
                assert!(!client.has_ended, "still there");
            }
        }
        self.house.closed.clear();
        assert!(kept(&self.house.server) <= MAX_KEPT_OF_ALL);
        self.logins_are_those_of_the_clients();
    }

    fn logins_are_those_of_the_clients(&mut self) {
        for ups in UPSES {
            let Some(list) = self.house.ask(&format!("LIST CLIENT {ups}\n")) else { continue };
            let listed = list.lines().filter(|line| line.starts_with("CLIENT ")).count();
            let logged_in =
                self.clients.iter().flatten().filter(|client| client.login.as_deref() == Some(ups)).count();
            assert_eq!(listed, logged_in, "{list}");
        }
    }
}

fn kept(server: &Server) -> usize {
    server.kept_of_clients()
}

/// The files after a change: 0 as before; 1 `other` is gone; 2 `ups1` is gone; 3 nobody but this host is admitted.
fn other_settings(number: u8) -> Settings {
    let mut new = match number & 3 {
        1 => settings(&UPSES[..1]),
        2 => settings(&UPSES[1..]),
        _ => settings(&UPSES),
    };
    if number & 3 == 3 {
        let block = NetBlock {
            address: "127.0.0.1".parse().expect("an address"),
            mask: "255.0.0.0".parse().expect("a mask"),
        };
        new.upsd.acls.push(Acl { name: "here".into(), block });
        new.upsd.access.push(AccessRule { verdict: Access::Accept, acl: "here".into() });
    }
    new
}
