//! One real unit as data: what it answers to each byte, which lists it has, and what is odd about it.
//!
//! The files are of schema `apc-smart-model/1`; their replies come from captures and dumps of real units (each value
//! says which in its `src`). Strings in them are byte strings: code points 0 to 255 are bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::capability::Rings;

/// Longest reply a profile may hold, in bytes. The longest real one is a `^Z` of 260.
pub const MAX_REPLY: usize = 1024;

/// The schema this code reads.
const SCHEMA: &str = "apc-smart-model/1";

/// The built-in profiles, by id, in the order in which they are listed.
const BUILT_IN: [(&str, &str); 8] = [
    ("back-ups-pro-420-11.2.I", include_str!("../../profiles/back-ups-pro-420-11.2.I.json")),
    ("matrix-ups-3000-0ZI", include_str!("../../profiles/matrix-ups-3000-0ZI.json")),
    ("smart-ups-1400-70.9.I", include_str!("../../profiles/smart-ups-1400-70.9.I.json")),
    ("smart-ups-1500-601.3.I", include_str!("../../profiles/smart-ups-1500-601.3.I.json")),
    ("smart-ups-420-21.3.I", include_str!("../../profiles/smart-ups-420-21.3.I.json")),
    ("smart-ups-900i-7TI", include_str!("../../profiles/smart-ups-900i-7TI.json")),
    ("smart-ups-rt-10000-476.18.W", include_str!("../../profiles/smart-ups-rt-10000-476.18.W.json")),
    ("smart-ups-vs-420-42.L.I", include_str!("../../profiles/smart-ups-vs-420-42.L.I.json")),
];

/// A unit at power-up.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Short name, as `smart-ups-420-21.3.I`.
    pub id: String,
    /// Readable name, as `APC Smart-UPS 420 (SU420INET), 230 V`.
    pub name: String,
    /// Which family it belongs to, in words.
    pub generation: String,
    /// Reply to `b`, if the unit has that command.
    pub firmware: Option<Vec<u8>>,
    /// Reply to `V`, if the unit has that command.
    pub old_firmware: Option<Vec<u8>>,
    /// What is answered to a byte the unit does not know; `None` is silence.
    pub unknown_reply: Option<Vec<u8>>,
    /// Reply to `a`; `None`: `a` is unknown.
    pub protocol: Option<Vec<u8>>,
    /// Reply to `^Z`; `None`: `^Z` is unknown.
    pub capabilities: Option<Vec<u8>>,
    /// Replies to the query bytes at power-up, without CR LF.
    pub replies: BTreeMap<u8, Vec<u8>>,
    /// How this unit behaves where units differ.
    pub quirks: Quirks,
}

/// How a unit behaves where units differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Confirmation of `S`, `@` and the second `K`.
    pub shutdown_ack: ShutdownAck,
    /// Least time between the two bytes of `K K`, `Z Z` and `^N ^N`.
    pub two_step_min: Duration,
    /// How many digits follow `@`.
    pub at_digits: usize,
    /// `@000` does nothing, and `@` wakes by the clock alone (first and second generation).
    pub at_000_ignored: bool,
    /// `S` waits for the grace delay `p`; old units switch off at once.
    pub s_waits_grace: bool,
    /// When the alert `|` follows a changed setting; `None`: never.
    pub eeprom_alert: Option<Duration>,
    /// No `Y` is needed after power-up.
    pub starts_in_smart_mode: bool,
    /// Reply to `R`; `None`: `R` is unknown.
    pub leaves_smart_mode: Option<Vec<u8>>,
    /// `^` switches to bypass and back.
    pub bypass: bool,
    /// The alert bytes this unit can send.
    pub alerts: Vec<u8>,
    /// How long a reply takes.
    pub latency: Latency,
}

/// How a shutdown command is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownAck {
    /// `OK` and CR LF.
    Ok,
    /// A single `*` (older units).
    Star,
}

/// Time from the command byte to the end of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The part that does not depend on the reply.
    pub base: Duration,
    /// For each character of the reply, CR LF not counted.
    pub per_char: Duration,
    /// The whole time for `a` where that one is slower.
    pub protocol: Option<Duration>,
}

impl Latency {
    /// How long a reply of `chars` characters to `command` takes.
    #[must_use]
    pub fn of(&self, command: u8, chars: usize) -> Duration {
        match self.protocol {
            Some(fixed) if command == b'a' => fixed,
            _ => self.base + self.per_char * u32::try_from(chars).unwrap_or(u32::MAX),
        }
    }
}

impl Profile {
    /// All built-in profiles, in a fixed order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        BUILT_IN.iter().map(|(_, text)| Self::built_in(text)).collect()
    }

    /// The ids of the built-in profiles, in the order of [`all`](Self::all).
    pub fn ids() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(id, _)| *id)
    }

    /// The built-in profile of this id.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn named(id: &str) -> Result<Self, ProfileError> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, text)| Self::built_in(text))
            .ok_or_else(|| ProfileError::NoSuchProfile { id: id.into() })
    }

    fn built_in(text: &str) -> Self {
        Self::parse(text).expect("the built-in profiles are fixed, and a test reads each of them")
    }

    /// Reads a profile from its JSON text.
    ///
    /// # Errors
    /// It is not JSON, of another schema, or a value is out of range.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let file: ProfileFile = serde_json::from_str(text)?;
        if file.schema != SCHEMA {
            return Err(ProfileError::Schema { found: file.schema });
        }
        file.into_profile()
    }

    /// The last letter of the firmware, which says for which country the unit was made.
    #[must_use]
    pub fn locale(&self) -> Option<u8> {
        self.firmware.as_deref().or(self.old_firmware.as_deref()).and_then(<[u8]>::last).copied()
    }

    /// The command bytes the unit lists in its reply to `a`: the third of the sections between points.
    ///
    /// `None` if it has no `a`; what such a unit knows is a matter of its family.
    #[must_use]
    pub fn listed(&self) -> Option<&[u8]> {
        self.protocol.as_deref().and_then(|reply| reply.split(|byte| *byte == b'.').nth(2))
    }

    /// Whether the unit has the action byte `byte` (a command that is not a query).
    #[must_use]
    pub fn has_action(&self, byte: u8) -> bool {
        match (byte, self.listed()) {
            (b'^', _) if !self.quirks.bypass => false,
            (_, Some(listed)) => listed.contains(&byte),
            // Units without `a` are of the first two generations or Matrix, which cannot be switched on by command.
            (super::ups::SWITCH_ON, None) => false,
            (_, None) => true,
        }
    }

    /// Whether the unit is of the first or second generation (white case).
    #[must_use]
    pub fn is_old_generation(&self) -> bool {
        self.quirks.at_000_ignored
    }

    /// The charge, in per cent, at which a runtime calibration ends: 25, on Matrix units 35.
    #[must_use]
    pub fn calibration_floor(&self) -> f64 {
        let matrix = self.protocol.is_none() && self.quirks.bypass;
        if matrix { 35.0 } else { 25.0 }
    }

    /// The settings that can be stepped through on this unit, from its `^Z` reply.
    #[must_use]
    pub fn rings(&self) -> Rings {
        self.capabilities.as_deref().map(|reply| Rings::parse(reply, self.locale())).unwrap_or_default()
    }
}

/// Why a profile could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON, or a key is missing or of the wrong type.
    #[error("the JSON is not as the schema wants it")]
    Json(#[from] serde_json::Error),
    /// Another schema.
    #[error("the schema is {found:?}, not {SCHEMA:?}")]
    Schema {
        /// The schema named in the file.
        found: String,
    },
    /// A key of `replies` is not one byte.
    #[error("the reply key {key:?} is not one character below 256")]
    ReplyKey {
        /// The key.
        key: String,
    },
    /// A reply is longer than [`MAX_REPLY`].
    #[error("the reply to {key:?} has {length} bytes, more than {MAX_REPLY}")]
    ReplyTooLong {
        /// The key, or `a` or `^Z`.
        key: String,
        /// Its length in bytes.
        length: usize,
    },
    /// `shutdown_ack` is neither `OK` nor `*`.
    #[error("shutdown_ack is {found:?}, not \"OK\" or \"*\"")]
    ShutdownAck {
        /// The value found.
        found: String,
    },
    /// `at_digits` is not 2 or 3.
    #[error("at_digits is {found}, not 2 or 3")]
    AtDigits {
        /// The value found.
        found: usize,
    },
    /// No built-in profile has that id.
    #[error("there is no built-in profile {id:?}; known are {}", known_ids())]
    NoSuchProfile {
        /// The id asked for.
        id: String,
    },
}

fn known_ids() -> String {
    Profile::ids().collect::<Vec<_>>().join(", ")
}

// ---- the file as it is written

#[derive(Deserialize)]
struct ProfileFile {
    schema: String,
    id: String,
    name: String,
    #[serde(default)]
    generation: String,
    firmware: FirmwareFile,
    unknown_reply: Option<ByteString>,
    protocol: Option<ReplyFile>,
    capabilities: Option<ReplyFile>,
    replies: BTreeMap<String, ReplyFile>,
    #[serde(default)]
    quirks: QuirksFile,
}

#[derive(Deserialize)]
#[expect(non_snake_case, reason = "the key is the command byte, and its case matters")]
struct FirmwareFile {
    b: Option<ByteString>,
    V: Option<ByteString>,
}

#[derive(Deserialize)]
struct ReplyFile {
    v: ByteString,
}

#[derive(Deserialize)]
#[serde(default)]
struct QuirksFile {
    shutdown_ack: String,
    two_step_min_ms: u64,
    at_digits: usize,
    at_000_ignored: bool,
    s_waits_grace: bool,
    eeprom_alert: bool,
    eeprom_alert_ms: u64,
    starts_in_smart_mode: bool,
    /// Given as null where `R` is unknown; absent means `BYE`.
    r_reply: Option<ByteString>,
    bypass: bool,
    alerts: ByteString,
    latency: LatencyFile,
}

impl Default for QuirksFile {
    fn default() -> Self {
        Self {
            shutdown_ack: "OK".into(),
            two_step_min_ms: 1500,
            at_digits: 3,
            at_000_ignored: false,
            s_waits_grace: true,
            eeprom_alert: true,
            eeprom_alert_ms: 5000,
            starts_in_smart_mode: false,
            r_reply: Some(ByteString(b"BYE".to_vec())),
            bypass: false,
            alerts: ByteString(b"!$%+?=#|".to_vec()),
            latency: LatencyFile::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct LatencyFile {
    base_ms: u32,
    per_char_ms: u32,
    a_ms: Option<u32>,
}

impl Default for LatencyFile {
    fn default() -> Self {
        Self { base_ms: 40, per_char_ms: 10, a_ms: None }
    }
}

/// Text whose code points are bytes.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct ByteString(Vec<u8>);

impl TryFrom<String> for ByteString {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.chars()
            .map(|c| u8::try_from(c).map_err(|_| format!("{c:?} is no byte: its code point is above 255")))
            .collect::<Result<Vec<u8>, String>>()
            .map(Self)
    }
}

impl ProfileFile {
    fn into_profile(self) -> Result<Profile, ProfileError> {
        let mut replies = BTreeMap::new();
        for (key, reply) in self.replies {
            let byte = one_byte(&key)?;
            replies.insert(byte, checked(&key, reply)?);
        }
        Ok(Profile {
            id: self.id,
            name: self.name,
            generation: self.generation,
            firmware: self.firmware.b.map(|text| text.0),
            old_firmware: self.firmware.V.map(|text| text.0),
            unknown_reply: self.unknown_reply.map(|text| text.0),
            protocol: self.protocol.map(|reply| checked("a", reply)).transpose()?,
            capabilities: self.capabilities.map(|reply| checked("^Z", reply)).transpose()?,
            replies,
            quirks: self.quirks.into_quirks()?,
        })
    }
}

impl QuirksFile {
    fn into_quirks(self) -> Result<Quirks, ProfileError> {
        let shutdown_ack = match self.shutdown_ack.as_str() {
            "OK" => ShutdownAck::Ok,
            "*" => ShutdownAck::Star,
            _ => return Err(ProfileError::ShutdownAck { found: self.shutdown_ack }),
        };
        if !(2..=3).contains(&self.at_digits) {
            return Err(ProfileError::AtDigits { found: self.at_digits });
        }
        Ok(Quirks {
            shutdown_ack,
            two_step_min: Duration::from_millis(self.two_step_min_ms),
            at_digits: self.at_digits,
            at_000_ignored: self.at_000_ignored,
            s_waits_grace: self.s_waits_grace,
            eeprom_alert: self.eeprom_alert.then(|| Duration::from_millis(self.eeprom_alert_ms)),
            starts_in_smart_mode: self.starts_in_smart_mode,
            leaves_smart_mode: self.r_reply.map(|text| text.0),
            bypass: self.bypass,
            alerts: self.alerts.0,
            latency: Latency {
                base: Duration::from_millis(self.latency.base_ms.into()),
                per_char: Duration::from_millis(self.latency.per_char_ms.into()),
                protocol: self.latency.a_ms.map(|ms| Duration::from_millis(ms.into())),
            },
        })
    }
}

fn one_byte(key: &str) -> Result<u8, ProfileError> {
    let mut chars = key.chars();
    match (chars.next().map(u8::try_from), chars.next()) {
        (Some(Ok(byte)), None) => Ok(byte),
        _ => Err(ProfileError::ReplyKey { key: key.into() }),
    }
}

fn checked(key: &str, reply: ReplyFile) -> Result<Vec<u8>, ProfileError> {
    let bytes = reply.v.0;
    if bytes.len() > MAX_REPLY {
        return Err(ProfileError::ReplyTooLong { key: key.into(), length: bytes.len() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_built_in_profile_is_read_under_its_id() {
        let ids: Vec<_> = Profile::ids().collect();
        assert_eq!(ids.len(), 8);
        for (profile, id) in Profile::all().iter().zip(ids) {
            assert_eq!(profile.id, id);
            assert!(!profile.replies.is_empty(), "{id}");
            assert!(profile.locale().is_some(), "{id}");
        }
    }

    #[test]
    fn code_points_are_bytes() {
        let rt = Profile::named("smart-ups-rt-10000-476.18.W").unwrap();
        let protocol = rt.protocol.unwrap();
        assert!(protocol.ends_with(b".\x81:\xd0\xe2\xf0\xfd\xfe\xff"));
        let su = Profile::named("smart-ups-420-21.3.I").unwrap();
        assert_eq!(su.replies[&b'n'], b"NS9847001053\0\0");
    }

    #[test]
    fn quirks_that_are_null_or_absent_are_told_apart() {
        assert_eq!(Profile::named("smart-ups-900i-7TI").unwrap().quirks.leaves_smart_mode, None);
        let su = Profile::named("smart-ups-420-21.3.I").unwrap();
        assert_eq!(su.quirks.leaves_smart_mode.as_deref(), Some(&b"BYE"[..]));
        let minimal = r#"{"schema":"apc-smart-model/1","id":"x","name":"x","firmware":{},"replies":{}}"#;
        let quirks = Profile::parse(minimal).unwrap().quirks;
        assert_eq!(quirks.leaves_smart_mode.as_deref(), Some(&b"BYE"[..]));
        assert_eq!(quirks.eeprom_alert, Some(Duration::from_secs(5)));
        assert_eq!(quirks.latency.of(b'B', 5), Duration::from_millis(90));
    }

    #[test]
    fn actions_come_from_the_list_in_the_reply_to_a_where_there_is_one() {
        let knows = |id, byte| Profile::named(id).unwrap().has_action(byte);
        // (profile, byte, known)
        for (id, byte, known) in [
            ("smart-ups-420-21.3.I", b'Z', true),
            ("smart-ups-420-21.3.I", b'^', false),
            ("smart-ups-vs-420-42.L.I", b'S', true),
            ("smart-ups-vs-420-42.L.I", b'Z', false),
            ("smart-ups-vs-420-42.L.I", b'-', false),
            ("smart-ups-900i-7TI", b'Z', true),
            ("smart-ups-900i-7TI", 0x0e, false),
            ("smart-ups-rt-10000-476.18.W", b'^', true),
            ("matrix-ups-3000-0ZI", b'^', true),
        ] {
            assert_eq!(knows(id, byte), known, "{id} {byte:#04x}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |part: &str| {
            let text = format!(
                r#"{{"schema":"apc-smart-model/1","id":"x","name":"x","firmware":{{"b":null,"V":null}},{part}}}"#
            );
            Profile::parse(&text).unwrap_err()
        };
        let shown = |error: ProfileError| error.to_string();
        assert_eq!(
            shown(with(r#""replies":{"ab":{"v":"x"}}"#)),
            "the reply key \"ab\" is not one character below 256"
        );
        assert!(matches!(with(r#""replies":{"B":{"v":"Ā"}}"#), ProfileError::Json(_)));
        assert_eq!(
            shown(with(r#""replies":{},"quirks":{"shutdown_ack":"YES"}"#)),
            "shutdown_ack is \"YES\", not \"OK\" or \"*\""
        );
        assert_eq!(shown(with(r#""replies":{},"quirks":{"at_digits":9}"#)), "at_digits is 9, not 2 or 3");
        let long = format!(r#""replies":{{"B":{{"v":"{}"}}}}"#, "x".repeat(MAX_REPLY + 1));
        assert_eq!(shown(with(&long)), "the reply to \"B\" has 1025 bytes, more than 1024");
        assert!(matches!(Profile::parse(r#"{"schema":"other"}"#), Err(ProfileError::Json(_))));
        assert!(
            shown(Profile::named("su9000").unwrap_err())
                .starts_with("there is no built-in profile \"su9000\"")
        );
    }
}
