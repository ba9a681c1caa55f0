//! A unit that answers as a device profile says: enough of one to show the driver right.

use serde_json::Value;
use std::collections::BTreeMap;

/// One profile, and what it is in the middle of.
pub(super) struct Sim {
    replies: BTreeMap<u8, Vec<u8>>,
    unknown: Option<Vec<u8>>,
    r_reply: Option<Vec<u8>>,
    pub(super) ack: Vec<u8>,
    pub(super) at_digits: usize,
    rings: BTreeMap<u8, (Vec<Vec<u8>>, usize)>,
    pub(super) status: u8,
    pub(super) is_smart: bool,
    pub(super) is_silent: bool,
    in_bypass: bool,
    last_query: u8,
    entry: Entry,
    /// What it did.
    pub(super) deeds: Vec<String>,
    /// Bytes answered otherwise: nothing, or these raw bytes.
    pub(super) instead: BTreeMap<u8, Vec<Option<&'static [u8]>>>,
}

enum Entry {
    None,
    First(u8, u64),
    Digits(Vec<u8>),
    Text(u8, Vec<u8>),
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    Some(text.chars().map(|c| u8::try_from(u32::from(c)).expect("code points are bytes")).collect())
}

impl Sim {
    pub(super) fn load(json: &str) -> Self {
        let profile: Value = serde_json::from_str(json).expect("the profile is JSON");
        let mut replies: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (key, reply) in profile["replies"].as_object().expect("it has replies") {
            let key = u8::try_from(u32::from(key.chars().next().unwrap())).unwrap();
            replies.insert(key, bytes_of(&reply["v"]).unwrap());
        }
        for (key, name) in [(b'a', "protocol"), (0x1a, "capabilities")] {
            if let Some(reply) = bytes_of(&profile[name]["v"]) {
                replies.insert(key, reply);
            }
        }
        let quirks = &profile["quirks"];
        let ack = match quirks["shutdown_ack"].as_str() {
            Some("*") => b"*".to_vec(),
            _ => b"OK\r\n".to_vec(),
        };
        let firmware = profile["firmware"]["b"].as_str().or(profile["firmware"]["V"].as_str()).unwrap_or("");
        let rings = rings(replies.get(&0x1a), firmware, &replies);
        Self {
            unknown: bytes_of(&profile["unknown_reply"]),
            r_reply: bytes_of(&quirks["r_reply"]),
            ack,
            at_digits: 3,
            rings,
            status: 0x08,
            is_smart: false,
            is_silent: false,
            in_bypass: false,
            last_query: 0,
            entry: Entry::None,
            deeds: Vec::new(),
            instead: BTreeMap::new(),
            replies,
        }
    }

    /// The unit most tests use: it has nearly everything.
    pub(super) fn usual() -> Self {
        Self::load(include_str!("../../../../nut-drill/profiles/smart-ups-420-21.3.I.json"))
    }

    pub(super) fn rt() -> Self {
        Self::load(include_str!("../../../../nut-drill/profiles/smart-ups-rt-10000-476.18.W.json"))
    }

    /// From now on this byte is answered so.
    pub(super) fn reply(&mut self, byte: u8, text: &[u8]) {
        self.replies.insert(byte, text.to_vec());
    }

    /// The next times this byte comes it is answered with these raw bytes, or not at all.
    pub(super) fn once(&mut self, byte: u8, raw: &[Option<&'static [u8]>]) {
        let queue = self.instead.entry(byte).or_default();
        queue.extend_from_slice(raw);
    }

    /// What a byte brings forth: delays in milliseconds, and bytes.
    pub(super) fn hear(&mut self, now: u64, byte: u8) -> Vec<(u64, Vec<u8>)> {
        if self.is_silent {
            return Vec::new();
        }
        if let Some(queue) = self.instead.get_mut(&byte)
            && !queue.is_empty()
        {
            let raw = queue.remove(0);
            if byte != b'-' {
                self.last_query = byte;
            }
            return raw
                .map(|raw| (40 + 10 * u64::try_from(raw.len()).unwrap(), raw.to_vec()))
                .into_iter()
                .collect();
        }
        match self.answer(now, byte) {
            None => Vec::new(),
            // A star has no end.
            Some(raw) if raw == b"*" => vec![(40, raw)],
            Some(text) => {
                let delay = 40 + 10 * u64::try_from(text.len()).unwrap();
                let mut raw = text.strip_suffix(b"\r\n").unwrap_or(&text).to_vec();
                raw.extend_from_slice(b"\r\n");
                vec![(delay, raw)]
            }
        }
    }

    fn answer(&mut self, now: u64, byte: u8) -> Option<Vec<u8>> {
        if !self.is_smart {
            self.entry = Entry::None;
        }
        if byte == b'Y' && matches!(self.entry, Entry::None | Entry::First(..)) {
            self.is_smart = true;
            self.entry = Entry::None;
            return Some(b"SM".to_vec());
        }
        if !self.is_smart {
            return None;
        }
        match std::mem::replace(&mut self.entry, Entry::None) {
            Entry::Digits(mut digits) => {
                if !byte.is_ascii_digit() {
                    return Some(b"NO".to_vec());
                }
                digits.push(byte);
                if digits.len() < self.at_digits {
                    self.entry = Entry::Digits(digits);
                    return None;
                }
                self.deeds.push(format!("@{}", String::from_utf8(digits).unwrap()));
                return Some(self.ack.clone());
            }
            Entry::Text(key, mut text) => {
                text.push(byte);
                if text.len() < 8 {
                    self.entry = Entry::Text(key, text);
                    return None;
                }
                text.retain(|byte| *byte != b'\r');
                self.replies.insert(key, text);
                return Some(b"OK".to_vec());
            }
            Entry::First(first, at) if first == byte => {
                if now - at < 1_500 {
                    return None;
                }
                self.deeds.push(format!("{0}{0}", char::from(byte)));
                return (byte == b'K').then(|| self.ack.clone());
            }
            Entry::First(..) | Entry::None => {}
        }
        match byte {
            b'Q' => {
                self.last_query = byte;
                Some(format!("{:02X}", self.status).into_bytes())
            }
            b'R' => {
                self.is_smart = self.r_reply.is_none();
                self.r_reply.clone().or_else(|| self.unknown.clone())
            }
            b'S' if self.status & 0x10 != 0 => {
                self.deeds.push("S".to_owned());
                Some(self.ack.clone())
            }
            b'S' => Some(b"NA".to_vec()),
            b'@' => {
                self.entry = Entry::Digits(Vec::new());
                None
            }
            b'K' | b'Z' | 0x0e => {
                self.entry = Entry::First(byte, now);
                None
            }
            b'U' => {
                self.status = self.status & !0x08 | 0x10;
                Some(b"OK".to_vec())
            }
            b'D' => {
                self.status ^= 0x01;
                Some(b"OK".to_vec())
            }
            b'A' | b'W' => Some(b"OK".to_vec()),
            b'^' => {
                self.in_bypass = !self.in_bypass;
                Some(if self.in_bypass { b"BYP".to_vec() } else { b"INV".to_vec() })
            }
            b'-' => self.step(),
            _ => {
                self.last_query = byte;
                self.replies.get(&byte).or(self.unknown.as_ref()).cloned()
            }
        }
    }

    fn step(&mut self) -> Option<Vec<u8>> {
        let key = self.last_query;
        if let Some((values, at)) = self.rings.get_mut(&key) {
            *at = (*at + 1) % values.len();
            let value = values[*at].clone();
            self.replies.insert(key, value);
            self.deeds.push(format!("step {}", char::from(key)));
            return Some(b"OK".to_vec());
        }
        if matches!(key, b'c' | b'x') {
            self.entry = Entry::Text(key, Vec::new());
            return None;
        }
        Some(b"NO".to_vec())
    }
}

fn rings(
    text: Option<&Vec<u8>>,
    firmware: &str,
    replies: &BTreeMap<u8, Vec<u8>>,
) -> BTreeMap<u8, (Vec<Vec<u8>>, usize)> {
    let mut rings = BTreeMap::new();
    let Some(text) = text else { return rings };
    for group in crate::apcsmart::capability::parse(text).groups {
        if group.locale == b'4' || Some(group.locale) == firmware.bytes().last() {
            let current = replies.get(&group.command);
            let at = group.values.iter().position(|value| Some(value) == current).unwrap_or(0);
            rings.insert(group.command, (group.values, at));
        }
    }
    rings
}
