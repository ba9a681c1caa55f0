//! Random conversations from a grammar: mostly requests that mean something, some of them bent, always the same for one
//! seed.

/// A small generator of numbers; good enough to choose words with.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
        dice.below(2);
        dice
    }

    /// A number from 0 up to, and without, this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const UPSES: [&str; 9] = ["ups1", "ups1", "ups1", "UPS1", "Down", "down", "stale", "nope", "\"\""];
const VARS: [&str; 16] = [
    "ups.status",
    "UPS.Status",
    "ups.mfr",
    "battery.charge",
    "input.transfer.low",
    "ups.delay.start",
    "Driver.Flag",
    "ups.odd",
    "s",
    "n",
    "empty",
    "a-b",
    "a_b",
    "nosuch",
    "server.info",
    "server.version",
];
const COMMANDS: [&str; 5] = ["load.off", "LOAD.OFF", "beeper.enable", "test.panel.start", "nosuch"];
const VALUES: [&str; 18] = [
    "103",
    "100",
    "104",
    "31",
    "20",
    "75.9xyz",
    "-1",
    "abc",
    "\"two words\"",
    "\"\"",
    "12345",
    "123456",
    "\"a\\\"b\\\\c\\#d\"",
    "a\\ b",
    "x=y",
    "\"x=y\"",
    "'q'",
    "\u{1}",
];
const VERBS: [&str; 16] = [
    "GET", "LIST", "SET", "INSTCMD", "VER", "NETVER", "PROTVER", "HELP", "STARTTLS", "get", "List", "FOO",
    "UPS", "VAR", "PRIMARYX", "\"GET\"",
];
/// Who logs in how; `FSD` is left out: it would stay for all conversations to come.
const USERS: [(&str, &str); 7] = [
    ("admin", "adminpw"),
    ("admin", "bad"),
    ("setter", "setpw"),
    ("tester", "testpw"),
    ("mon", "mpw"),
    ("nobody", "x"),
    ("\"\"", "\"\""),
];

/// A conversation of so many requests; without a line feed behind each, that is part of it.
pub(super) fn conversation(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(seed);
    let mut requests = Vec::with_capacity(count);
    if dice.below(4) > 0 {
        let (user, password) = USERS[dice.below(USERS.len())];
        requests.push(format!("USERNAME {user}\n").into_bytes());
        requests.push(format!("PASSWORD {password}\n").into_bytes());
    }
    while requests.len() < count {
        let request = request(&mut dice);
        requests.push(bent(&mut dice, request).into_bytes());
    }
    requests
}

fn request(dice: &mut Dice) -> String {
    let ups = dice.of(&UPSES);
    match dice.below(22) {
        0..=3 => format!("GET VAR {ups} {}", dice.of(&VARS)),
        4 => format!("GET {} {ups} {}", dice.of(&["TYPE", "DESC", "type"]), dice.of(&VARS)),
        5 => format!("GET CMDDESC {ups} {}", dice.of(&COMMANDS)),
        6 => format!("GET {} {ups}", dice.of(&["NUMLOGINS", "UPSDESC", "numlogins", "FOO"])),
        7 => format!("LIST {} {ups}", dice.of(&["VAR", "RW", "CMD", "CLIENT", "UPS", "var", "CLIENTS"])),
        8 => format!("LIST {} {ups} {}", dice.of(&["ENUM", "RANGE", "enum"]), dice.of(&VARS)),
        9..=11 => format!("SET VAR {ups} {} {}", dice.of(&VARS), dice.of(&VALUES)),
        12 => format!("INSTCMD {ups} {}", dice.of(&COMMANDS)),
        13 => format!("INSTCMD {ups} {} {}", dice.of(&COMMANDS), dice.of(&["5", "\"\"", "x y", "\"x\" y"])),
        14 => format!("SET TRACKING {}", dice.of(&["ON", "OFF", "on", "maybe", ""])),
        15 => format!("GET TRACKING {}", dice.of(&["", "x", "2DDC5036-F665-4D29-BE4C-0374D091D263"])),
        16 => format!("{} {ups}", dice.of(&["LOGIN", "PRIMARY", "MASTER", "login"])),
        17 => format!(
            "{} {}",
            dice.of(&["USERNAME", "PASSWORD", "username"]),
            dice.of(&["x", "a b", "", "\"\""])
        ),
        18 => dice.of(&["VER", "NETVER", "PROTVER", "HELP", "", "   ", "# a comment", "NETVER#x"]).to_owned(),
        19 => format!("{} {}", dice.of(&["VER", "HELP", "NETVER", "LOGOUT", "STARTTLS"]), dice.of(&VALUES)),
        20 => {
            let words: Vec<&str> = (0..dice.below(5))
                .map(|_| match dice.below(3) {
                    0 => dice.of(&VARS),
                    1 => dice.of(&UPSES),
                    _ => dice.of(&VALUES),
                })
                .collect();
            format!("{} {}", dice.of(&VERBS), words.join(" "))
        }
        _ => format!("GET VAR {ups} {} {}", dice.of(&VARS), dice.of(&VALUES)),
    }
}

/// Bends a request now and then: blanks, other line ends, quotes, bytes that are dropped, lines that go on.
fn bent(dice: &mut Dice, request: String) -> String {
    // `LOGIN` alone and its like are words of NUT before 1.5: see the catalogue.
    let request = match request.trim() {
        alone if !alone.contains(' ') && !alone.is_empty() => alone.to_owned(),
        _ => request,
    };
    match dice.below(24) {
        0 => format!("  {request}\n"),
        1 => format!("{}\n", request.replace(' ', "  \t ")),
        2 => format!("{request}\r\n"),
        3 => format!("{request} \r\r\n"),
        4 => format!("{request} # and a comment\n"),
        5 => format!("{request}\0\n"),
        6 => format!("{}\n", request.replacen(' ', " \\\n", 1)),
        7 => format!("{}\n", request.replacen('.', "\\.", 1)),
        8 => format!("{request} \"open\nclosed\" more\n"),
        9 => format!("{request} {}\n", "w ".repeat(40)),
        10 => format!("{request} caf\u{e9}\n"),
        11 => format!("{}\n", request.to_ascii_lowercase()),
        _ => format!("{request}\n"),
    }
}
