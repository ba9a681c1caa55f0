//! `upsd.conf`: the server: where it listens, whom it admits.

use crate::directives::{Directive, Format, Reader, Row};
use crate::report::{Report, as_meant, nearest, quoted};
use crate::values::{Line, seconds};
use crate::{Diagnostic, Severity, Source};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use nut_proto::names::{DEFAULT_PORT, Secret};
use nut_proto::words::truth;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

/// All of `upsd.conf`, both eras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpsdConf {
    /// `MAXAGE`: a driver silent for longer has stale data. 15 s unless set.
    pub max_age: Duration,
    /// `TRACKINGDELAY`: how long the end of a tracked order is remembered. 3600 s unless set.
    pub tracking_delay: Duration,
    /// `ALLOW_NO_DEVICE`: start without a UPS.
    pub allow_no_device: bool,
    /// `ALLOW_NOT_ALL_LISTENERS`: start even if some `LISTEN` fails. `None`, if nothing is said: only if it fails for
    /// want of an address or a name that may come with the network.
    pub allow_not_all_listeners: Option<bool>,
    /// `MAXCONN`: most connections; `None`: what the system allows.
    pub max_connections: Option<usize>,
    /// `STATEPATH`.
    pub state_path: Option<String>,
    /// `DATAPATH`: where `cmdvartab` is.
    pub data_path: Option<String>,
    /// `LISTEN`: where to listen; none: `127.0.0.1` and `::1` (with an ACL, NUT 2.0's way: every address).
    pub listen: Vec<Listen>,
    /// `ACL`: named blocks of addresses; a name may have several.
    pub acls: Vec<Acl>,
    /// `ACCEPT` and `REJECT`, one entry a name, in the file's order: the first that matches decides.
    pub access: Vec<AccessRule>,
    /// Whether any `ACL`, `ACCEPT` or `REJECT` stands in the file, be it one that is misspelt or could not be used: who
    /// wrote it wanted access controlled, and a slip of the pen must not open the server to everybody.
    pub access_controlled: bool,
    /// `CERTFILE`, `CERTPATH`, …: kept as written; TLS reads them.
    pub tls: Tls,
    /// `DEBUG_MIN`.
    pub debug_min: Option<u8>,
}

impl Default for UpsdConf {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(15),
            tracking_delay: Duration::from_secs(3600),
            allow_no_device: false,
            allow_not_all_listeners: None,
            max_connections: None,
            state_path: None,
            data_path: None,
            listen: Vec::new(),
            acls: Vec::new(),
            access: Vec::new(),
            access_controlled: false,
            tls: Tls::default(),
            debug_min: None,
        }
    }
}

impl UpsdConf {
    /// Whether the file controls access in NUT 2.0's manner: then nobody is admitted but by `ACCEPT`.
    #[must_use]
    pub fn has_access_rules(&self) -> bool {
        self.access_controlled || !self.acls.is_empty() || !self.access.is_empty()
    }
}

/// One `LISTEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An address, a host name, or `*`.
    pub address: String,
    /// The port, 3493 unless given.
    pub port: u16,
    /// Where it stands.
    pub at: crate::Span,
}

/// One `ACL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Its name; case counts.
    pub name: String,
    /// The block.
    pub block: NetBlock,
}

/// A block of addresses: those that equal `address` wherever `mask` has a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetBlock {
    /// An address of the block.
    pub address: IpAddr,
    /// Which bits count; of the same family.
    pub mask: IpAddr,
}

/// One name of an `ACCEPT` or `REJECT` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// What happens to those who match.
    pub verdict: Access,
    /// The ACL's name.
    pub acl: String,
}

/// Whether one is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `ACCEPT`.
    Accept,
    /// `REJECT`.
    Reject,
}

/// What the file says about TLS, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `CERTFILE`.
    pub cert_file: Option<String>,
    /// `CERTPATH`.
    pub cert_path: Option<String>,
    /// `CERTIDENT`: name and password of the key.
    pub cert_ident: Option<(String, nut_proto::names::Secret)>,
    /// `CERTREQUEST`: 0 no, 1 ask, 2 demand a client's certificate.
    pub cert_request: Option<u8>,
    /// `DISABLE_WEAK_SSL`.
    pub disable_weak_ssl: bool,
}

/// What follows from a `LISTEN` that cannot be used.
const DEAF: &str = "upsd does not listen there; NUT refuses to start";

/// What follows from an `ACL` that cannot be used. NUT 2.2 stops there, and rightly so: a `REJECT` would reject nobody.
const NO_BLOCK: &str = "the ACL matches nobody: an ACCEPT of it admits nobody, a REJECT of it rejects nobody";

/// Every directive of the file, both eras.
pub static TABLE: &[Row] = &[
    Row::new(
        "MAXAGE",
        "<seconds>",
        "how long a driver may be silent before its data count as stale",
        "15 s",
        "2.0",
        "MAXAGE 15",
    ),
    Row::new(
        "TRACKINGDELAY",
        "<seconds>",
        "how long the end of a tracked order is remembered",
        "3600 s",
        "2.8.0",
        "TRACKINGDELAY 3600",
    ),
    Row::new(
        "ALLOW_NO_DEVICE",
        "true|false",
        "whether upsd starts without a UPS in ups.conf",
        "false",
        "2.8.0",
        "ALLOW_NO_DEVICE true",
    ),
    Row::new(
        "ALLOW_NOT_ALL_LISTENERS",
        "true|false",
        "whether upsd starts even if it cannot listen everywhere it should",
        "unless an address or a name is not there yet, false",
        "2.8.2",
        "ALLOW_NOT_ALL_LISTENERS true",
    ),
    Row::new(
        "MAXCONN",
        "<number>",
        "most connections, those to drivers included; 0: what the system allows",
        "what the system allows",
        "2.4",
        "MAXCONN 1024",
    ),
    Row::new(
        "STATEPATH",
        "<directory>",
        "where the drivers' sockets are",
        "/run/nut",
        "2.0",
        "STATEPATH /run/nut",
    ),
    Row::new(
        "DATAPATH",
        "<directory>",
        "where cmdvartab, the descriptions of variables, is",
        "/usr/share/nut",
        "2.0",
        "DATAPATH /usr/share/nut",
    ),
    Row::new(
        "LISTEN",
        "<address> [<port>]",
        "an address and port to listen on; * is every address",
        "127.0.0.1 and ::1, port 3493",
        "2.2",
        "LISTEN 127.0.0.1 3493",
    )
    .repeats()
    .without(DEAF),
    Row::new(
        "ACL",
        "<name> <address>/<mask>",
        "a named block of addresses; a name may have several",
        "none: access is not limited by address",
        "2.0",
        "ACL localhost 127.0.0.1/32",
    )
    .repeats()
    .without(NO_BLOCK),
    Row::new(
        "ACCEPT",
        "<acl> [<acl> ...]",
        "whom to admit; the first ACCEPT or REJECT that matches decides",
        "nobody, once there is an ACL",
        "2.0",
        "ACCEPT localhost",
    )
    .repeats(),
    Row::new(
        "REJECT",
        "<acl> [<acl> ...]",
        "whom not to admit",
        "everybody not accepted, once there is an ACL",
        "2.0",
        "REJECT all",
    )
    .repeats(),
    Row::new(
        "ACCESS",
        "<action> <level> <acl> [<password>]",
        "access in the manner of NUT 1.4",
        "none",
        "1.0",
        "ACCEPT localhost",
    )
    .repeats()
    .without("the line is left out: NUT 2.0 dropped it for ACCEPT and REJECT here, and users in upsd.users"),
    Row::new(
        "CERTFILE",
        "<file>",
        "the server's certificate chain and key",
        "none: no TLS",
        "2.0",
        "CERTFILE /etc/nut/upsd.pem",
    ),
    Row::new(
        "CERTPATH",
        "<path>",
        "the certificates of the authorities that clients are checked against",
        "none",
        "2.7.1",
        "CERTPATH /etc/nut/certs",
    ),
    Row::new(
        "CERTIDENT",
        "<name> <password>",
        "the name that the certificate must have, and the password of its key",
        "none",
        "2.7.1",
        "CERTIDENT upsd.example.org PASSWORD",
    ),
    Row::new(
        "CERTREQUEST",
        "NO|REQUEST|REQUIRE",
        "whether clients must show a certificate",
        "NO",
        "2.7.1",
        "CERTREQUEST NO",
    ),
    Row::new(
        "DISABLE_WEAK_SSL",
        "true|false",
        "whether only TLS 1.2 and newer will do",
        "false",
        "2.8.0",
        "DISABLE_WEAK_SSL true",
    ),
    Row::new("DEBUG_MIN", "<level>", "least debug level", "0", "2.8.0", "DEBUG_MIN 0").any_case(),
];

static FORMAT: Format = Format { table: TABLE, sections: false, secrets: Some(secrets), mends: None };

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (UpsdConf, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut conf = UpsdConf::default();
    let mut access = Vec::new();
    while let Some(directive) = reader.next(&mut report) {
        if let Some(mut line) = Line::new(&directive, &mut report) {
            take(&mut conf, &mut line);
            if matches!(line.row.name, "ACL" | "ACCEPT" | "REJECT") {
                access.push(directive);
            }
        }
    }
    conf.access_controlled = source.text.split(|byte| *byte == b'\n').any(controls_access);
    check_access(&conf, &access, &mut report);
    (conf, report.finish())
}

/// Takes one line; `None` if it was left out, which is told.
fn take(conf: &mut UpsdConf, line: &mut Line<'_, '_>) -> Option<()> {
    let verdict = match line.row.name {
        "LISTEN" => {
            conf.listen.push(listen(line)?);
            return Some(());
        }
        "ACL" => {
            conf.acls.push(acl(line)?);
            return Some(());
        }
        "CERTIDENT" => {
            line.takes(2, 2)?;
            conf.tls.cert_ident = Some((line.value(1).to_owned(), Secret::new(line.value(2))));
            return Some(());
        }
        "ACCEPT" => Access::Accept,
        "REJECT" => Access::Reject,
        "ACCESS" => return line.left_out(0, "ACCESS is no longer supported"),
        _ => return simple(conf, line),
    };
    line.takes(1, usize::MAX)?;
    conf.access.extend(line.values(1).map(|acl| AccessRule { verdict, acl: acl.to_owned() }));
    Some(())
}

/// The directives of one value.
fn simple(conf: &mut UpsdConf, line: &mut Line<'_, '_>) -> Option<()> {
    line.takes(1, 1)?;
    let text = || line.value(1).to_owned();
    match line.row.name {
        "MAXAGE" => conf.max_age = seconds(digits_first(line)?),
        "TRACKINGDELAY" => conf.tracking_delay = seconds(digits_first(line)?),
        "ALLOW_NO_DEVICE" => conf.allow_no_device = switch(line)?,
        "ALLOW_NOT_ALL_LISTENERS" => conf.allow_not_all_listeners = Some(switch(line)?),
        "MAXCONN" => {
            let most = usize::try_from(digits_first(line)?).ok()?;
            conf.max_connections = (most > 0).then_some(most);
        }
        "STATEPATH" => conf.state_path = Some(text()),
        "DATAPATH" => conf.data_path = Some(text()),
        "CERTFILE" => conf.tls.cert_file = Some(text()),
        "CERTPATH" => conf.tls.cert_path = Some(text()),
        "CERTREQUEST" => {
            conf.tls.cert_request = Some(match line.value(1) {
                "NO" => 0,
                "REQUEST" => 1,
                "REQUIRE" => 2,
                _ => match line.number(1, 0)? {
                    0 => 0,
                    1 => 1,
                    2 => 2,
                    _ => return line.left_out(1, "CERTREQUEST takes 0, 1 or 2"),
                },
            });
        }
        "DISABLE_WEAK_SSL" => match truth(line.value(1)) {
            Some(on) => conf.tls.disable_weak_ssl = on,
            None => return line.left_out(1, "DISABLE_WEAK_SSL takes true or false"),
        },
        "DEBUG_MIN" => conf.debug_min = Some(line.debug_level(1)?),
        other => debug_assert!(false, "nothing reads {other}"),
    }
    Some(())
}

/// A number that begins with a digit, as NUT demands here.
fn digits_first(line: &mut Line<'_, '_>) -> Option<i64> {
    let text = line.value(1);
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        let what = format!("{} has non numeric value ({})!", line.row.name, quoted(text));
        return line.left_out(1, &what);
    }
    line.number(1, 0)
}

/// A number, on unless 0, or a word for on or off.
fn switch(line: &mut Line<'_, '_>) -> Option<bool> {
    let text = line.value(1);
    if let Some(on) = truth(text) {
        return Some(on);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return line.number(1, 0).map(|value| value != 0);
    }
    line.left_out(1, &format!("{} takes true or false, found {}", line.row.name, quoted(text)))
}

fn listen(line: &mut Line<'_, '_>) -> Option<Listen> {
    line.takes(1, 2)?;
    let address = line.value(1);
    let bare = address.split('%').next().unwrap_or_default();
    let advice = if let Some(inner) = address.strip_prefix('[') {
        let (host, port) = inner.split_once(']').unwrap_or((inner, ""));
        Some(format!("write: LISTEN {host} {}", port.strip_prefix(':').unwrap_or(line.value(2))))
    } else if address.contains(':') && bare.parse::<Ipv6Addr>().is_err() {
        let (host, port) = address.split_once(':').unwrap_or((address, ""));
        Some(format!("write: LISTEN {host} {port}"))
    } else if address.is_empty()
        || !address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*.:%-_".contains(&byte))
    {
        Some(format!("write: {}", line.row.write))
    } else {
        None
    };
    if let Some(advice) = advice {
        let what = format!("{} is no address or host name", quoted(address));
        line.report.add(Severity::Error, line.directive, 1, &what, DEAF, advice.trim_end());
        return None;
    }
    Some(Listen { address: address.to_owned(), port: port(line)?, at: line.directive.at })
}

/// The port of a `LISTEN`. NUT takes numbers beyond 65535 for others, and asks the system for names; we know our own.
fn port(line: &mut Line<'_, '_>) -> Option<u16> {
    let text = line.value(2);
    if line.count() < 2 || text.eq_ignore_ascii_case("nut") {
        return Some(DEFAULT_PORT);
    }
    let Some(port) = text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return line.fatal(2, &format!("{} is no port", quoted(text)));
    };
    if port == 0 {
        // It is read and used as it stands, as tests and those who look into the log for the port want it.
        let why = "upsd says in its log which one it is; no client knows";
        line.note(2, "port 0 is whichever port happens to be free", why, "write: 3493");
    }
    Some(port)
}

fn acl(line: &mut Line<'_, '_>) -> Option<Acl> {
    if line.count() < 2 {
        return line.fatal(0, &format!("ACL takes 2 words, found {}", line.count()));
    }
    line.takes(2, 2)?;
    let text = line.value(2);
    match text.parse() {
        Ok(block) => Some(Acl { name: line.value(1).to_owned(), block }),
        Err(error) => line.fatal(2, &format!("{} is no block of addresses: {error}", quoted(text))),
    }
}

/// Why a text is no block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetBlockError {
    /// No `/`.
    #[error("it has no /mask; /32 is one IPv4 address, /128 one IPv6 address")]
    NoMask,
    /// What stands before the `/` is no address. Host names are none.
    #[error("what stands before the / is no address")]
    Address,
    /// What stands behind the `/` is no mask for such an address.
    #[error("the mask is neither a number of bits that the address has, nor an address itself")]
    Mask,
}

impl std::str::FromStr for NetBlock {
    type Err = NetBlockError;

    /// `a.b.c.d/bits`, `a.b.c.d/m.m.m.m` with any pattern of bits, `v6/bits` (upsd §3.1). `/0` is every address.
    fn from_str(text: &str) -> Result<Self, NetBlockError> {
        let (address, mask) = text.split_once('/').ok_or(NetBlockError::NoMask)?;
        let address: IpAddr = address.parse().map_err(|_| NetBlockError::Address)?;
        let digits = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit());
        let bits: Option<u32> = if digits { mask.parse().ok() } else { None };
        let mask = match address {
            IpAddr::V4(_) => match bits {
                Some(bits @ 0..=32) => Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0)),
                Some(_) => return Err(NetBlockError::Mask),
                None => mask.parse().map_err(|_| NetBlockError::Mask)?,
            }
            .into(),
            IpAddr::V6(_) => match bits {
                Some(bits @ 0..=128) => Ipv6Addr::from(u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into(),
                _ => return Err(NetBlockError::Mask),
            },
        };
        Ok(Self { address, mask })
    }
}

/// Whether a line was meant to control access, also one that is misspelt or that no words can be read from.
fn controls_access(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii_start();
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(line.len());
    let word = String::from_utf8_lossy(line.get(..end).unwrap_or_default());
    let row = FORMAT.row(&word).map(|row| row.name);
    let meant = row.or_else(|| nearest(&word, TABLE.iter().map(|row| row.name)));
    matches!(meant, Some("ACL" | "ACCEPT" | "REJECT"))
}

/// Tells of names that no `ACL` defines, and of rules that shut everybody out.
fn check_access(conf: &UpsdConf, access: &[Directive], report: &mut Report<'_>) {
    let defined: HashSet<&str> = conf.acls.iter().map(|acl| acl.name.as_str()).collect();
    for directive in access.iter().filter(|directive| directive.name() != "ACL") {
        for (nth, word) in directive.words.iter().enumerate().skip(1) {
            if !defined.contains(word.text.as_str()) {
                let what = format!("no ACL is called {}", quoted(&word.text));
                let why = "the word matches nobody";
                report.add(
                    Severity::Warning,
                    directive,
                    nth,
                    &what,
                    why,
                    "define it with an ACL line; case counts",
                );
            }
        }
    }
    if conf.access_controlled && conf.access.iter().all(|rule| rule.verdict == Access::Reject) {
        let what = "the file has no ACCEPT";
        let why = "with ACL or REJECT in the file, nobody is admitted but by ACCEPT, this host included";
        let advice = "write: ACCEPT localhost, and an ACL of that name";
        match access.first() {
            Some(first) => report.add(Severity::Warning, first, 0, what, why, advice),
            None => report.file(Severity::Warning, what, why, advice),
        }
    }
}

/// The key's password, and all that follows a name we do not know.
fn secrets(words: &[&str]) -> Range<usize> {
    let end = words.len();
    match words.first() {
        // With a single word behind it, name and password have run into one.
        Some(&"CERTIDENT") => (if end > 2 { 2 } else { 1 })..end,
        // With a word missing before it, the password is the third one behind the name.
        Some(&"ACCESS") => 3.min(end)..end,
        Some(name) if TABLE.iter().any(|row| row.is(name)) => 0..0,
        _ => as_meant(words, TABLE, secrets),
    }
}

#[cfg(test)]
mod tests;
