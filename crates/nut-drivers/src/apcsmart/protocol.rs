//! Bytes from the unit as what they mean: replies, alerts, confirmations.
//!
//! Replies end with a line feed; alerts are single bytes that may come at any time, also directly in front of a reply
//! (apc-smart-protocol §§2, 4). NUT reads them when it next polls; here they leave the stream the moment they are in it.
//!
//! A unit does not interrupt a reply. What looks like an alert behind other bytes of the same line is more likely noise:
//! it changes nothing by itself, the unit is asked. One such byte must not make "battery low" of a short failure.

/// Longest reply, in bytes without its end: NUT's limit. Real ones stay below 300.
pub const MAX_REPLY: usize = 511;

const LF: u8 = b'\n';
const CR: u8 = b'\r';

/// What the next line is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expecting {
    /// A measured value, a setting, a plain answer: alert bytes are alerts wherever they stand.
    Value,
    /// A text that people may have set: an alert byte in front is an alert, one inside belongs to the text.
    Text,
    /// The answer to a command that cuts the power: a `*` stands for `OK`.
    Confirmation,
    /// The command set (`a`): it lists the alert bytes themselves.
    Commands,
    /// The capability string (`^Z`): a `#` is part of it, and so are control bytes.
    Capabilities,
}

/// What a unit says unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// `!`: mains failed, the load is on battery.
    LineFailed,
    /// `$`: mains are back.
    LineBack,
    /// `%`: the battery is low.
    BatteryLow,
    /// `+`: the battery is no longer low.
    BatteryOk,
    /// `#`: the battery needs replacement.
    ReplaceBattery,
    /// `?`: an abnormal condition, overload in most cases.
    Abnormal,
    /// `=`: that is over.
    AbnormalOver,
    /// `*`: the unit is about to switch the load off (older units).
    SwitchingOff,
}

impl Alert {
    /// The alert a byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'!' => Self::LineFailed,
            b'$' => Self::LineBack,
            b'%' => Self::BatteryLow,
            b'+' => Self::BatteryOk,
            b'#' => Self::ReplaceBattery,
            b'?' => Self::Abnormal,
            b'=' => Self::AbnormalOver,
            b'*' => Self::SwitchingOff,
            _ => return None,
        })
    }
}

/// Something the unit said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Unasked news.
    Alert(Alert),
    /// A byte that would be an alert elsewhere, behind other bytes of a line. Units do not interrupt a reply, so it is
    /// none; asking for the status costs little.
    PerhapsAlert,
    /// A whole reply, without its end; at most [`MAX_REPLY`] bytes, none of them NUL.
    Reply(Vec<u8>),
    /// A `*` in place of `OK`.
    Star,
    /// More than [`MAX_REPLY`] bytes without an end. What follows is thrown away.
    Overlong,
}

/// Takes bytes as they come, in pieces of any size.
///
/// It holds one unfinished reply of at most [`MAX_REPLY`] bytes. Nothing but alerts is taken from what nobody asked for.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    expecting: Option<Expecting>,
    line: Vec<u8>,
    /// Nothing is asked, and the line that comes in all the same has begun.
    is_unasked_text: bool,
}

impl Decoder {
    /// A question is being sent: the next line answers it. What came before is forgotten.
    pub fn expect(&mut self, expecting: Expecting) {
        self.line.clear();
        self.is_unasked_text = false;
        self.expecting = Some(expecting);
    }

    /// Nothing is asked: text is dropped until the next question.
    pub fn rest(&mut self) {
        self.line.clear();
        self.is_unasked_text = false;
        self.expecting = None;
    }

    /// Whether a reply has begun and not ended.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.line.is_empty()
    }

    /// Takes bytes and says what was in them, in order. A line answers one question; a second one is nobody's.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Input> {
        bytes.iter().filter_map(|byte| self.take(*byte)).collect()
    }

    fn take(&mut self, byte: u8) -> Option<Input> {
        match (byte, self.expecting) {
            (LF, Some(_)) => {
                self.expecting = None;
                Some(Input::Reply(std::mem::take(&mut self.line)))
            }
            (LF, None) => {
                self.is_unasked_text = false;
                None
            }
            // Serial numbers are padded with NULs; CR stands in front of LF.
            (CR | 0, _) => None,
            (_, None) => self.take_unasked(byte),
            (_, Some(expecting)) => self.take_of_reply(byte, expecting),
        }
    }

    fn take_unasked(&mut self, byte: u8) -> Option<Input> {
        match Alert::from_byte(byte) {
            Some(_) if self.is_unasked_text => Some(Input::PerhapsAlert),
            Some(alert) => Some(Input::Alert(alert)),
            None => {
                self.is_unasked_text |= !byte.is_ascii_control() && !matches!(byte, b'&' | b'|' | b'~');
                None
            }
        }
    }

    fn take_of_reply(&mut self, byte: u8, expecting: Expecting) -> Option<Input> {
        let in_front = self.line.is_empty();
        let alert = Alert::from_byte(byte);
        // Two more unasked bytes, "look at the alarm register" and "a setting was changed", and one of unknown meaning.
        let dropped = matches!(byte, b'&' | b'|') || (byte == b'~' && in_front);
        match expecting {
            Expecting::Confirmation if byte == b'*' => return Some(Input::Star),
            Expecting::Capabilities if byte == b'#' => {}
            Expecting::Commands | Expecting::Text if !in_front => {
                if expecting == Expecting::Text && byte.is_ascii_control() {
                    return None;
                }
                let perhaps = alert.is_some() && expecting == Expecting::Text;
                return self.keep(byte).or(perhaps.then_some(Input::PerhapsAlert));
            }
            Expecting::Text if byte == b'~' => {}
            _ if alert.is_some() && !in_front => return Some(Input::PerhapsAlert),
            _ if alert.is_some() => return alert.map(Input::Alert),
            _ if dropped => return None,
            Expecting::Value | Expecting::Confirmation | Expecting::Text | Expecting::Commands
                if byte.is_ascii_control() =>
            {
                return None;
            }
            Expecting::Value
            | Expecting::Confirmation
            | Expecting::Text
            | Expecting::Commands
            | Expecting::Capabilities => {}
        }
        self.keep(byte)
    }

    fn keep(&mut self, byte: u8) -> Option<Input> {
        if self.line.len() < MAX_REPLY {
            self.line.push(byte);
            return None;
        }
        self.rest();
        Some(Input::Overlong)
    }
}

/// Bytes as people can read them: control bytes as `^A`, others beyond ASCII as `\xf0`.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            0x20..=0x7e => text.push(char::from(*byte)),
            0x1b => text.push_str("ESC"),
            0..=0x1f => text.extend(['^', char::from(byte + 0x40)]),
            0x7f => text.push_str("DEL"),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(expecting: Expecting, bytes: &[u8]) -> Vec<Input> {
        let mut decoder = Decoder::default();
        decoder.expect(expecting);
        decoder.push(bytes)
    }

    fn reply(text: &[u8]) -> Input {
        Input::Reply(text.to_vec())
    }

    #[test]
    fn a_reply_ends_with_its_line_feed() {
        assert_eq!(read(Expecting::Value, b"08\r\n"), [reply(b"08")]);
        assert_eq!(read(Expecting::Value, b"08"), []);
        assert_eq!(read(Expecting::Value, b"\r\n"), [reply(b"")]);
        assert_eq!(read(Expecting::Value, b"NS9847001053\0\0\r\n"), [reply(b"NS9847001053")]);
    }

    #[test]
    fn alerts_leave_the_stream_wherever_they_stand() {
        let alert = |alert| Input::Alert(alert);
        assert_eq!(read(Expecting::Value, b"!08\r\n"), [alert(Alert::LineFailed), reply(b"08")]);
        assert_eq!(
            read(Expecting::Value, b"$%08\r\n%"),
            [alert(Alert::LineBack), alert(Alert::BatteryLow), reply(b"08"), alert(Alert::BatteryLow)]
        );
        assert_eq!(
            Decoder::default().push(b"?=+#*&|"),
            [
                alert(Alert::Abnormal),
                alert(Alert::AbnormalOver),
                alert(Alert::BatteryOk),
                alert(Alert::ReplaceBattery),
                alert(Alert::SwitchingOff),
            ]
        );
    }

    #[test]
    fn what_stands_inside_a_line_is_perhaps_an_alert_and_perhaps_noise() {
        assert_eq!(read(Expecting::Value, b"0$8\r\n"), [Input::PerhapsAlert, reply(b"08")]);
        assert_eq!(read(Expecting::Confirmation, b"O%K\r\n"), [Input::PerhapsAlert, reply(b"OK")]);
        // The same where nothing was asked.
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"\xf3%z+"), [Input::PerhapsAlert, Input::PerhapsAlert]);
        assert_eq!(decoder.push(b"08\r\n%"), [Input::Alert(Alert::BatteryLow)], "a late reply has an end");
        assert_eq!(decoder.push(b"x"), []);
        decoder.rest();
        assert_eq!(decoder.push(b"&|~\x04%"), [Input::Alert(Alert::BatteryLow)]);
    }

    #[test]
    fn bytes_of_no_known_meaning_in_front_of_a_reply_do_not_change_it() {
        for noise in [&b"~08\r\n"[..], b"\x0408\r\n", b"|08\r\n", b"&0|8\r\n", b"\0~~08\r\n"] {
            assert_eq!(read(Expecting::Value, noise), [reply(b"08")], "{noise:?}");
        }
    }

    #[test]
    fn a_name_may_contain_what_would_be_an_alert() {
        assert_eq!(read(Expecting::Text, b"UPS#1&2\r\n"), [Input::PerhapsAlert, reply(b"UPS#1&2")]);
        assert_eq!(read(Expecting::Text, b"!UPS\r\n"), [Input::Alert(Alert::LineFailed), reply(b"UPS")]);
        assert_eq!(read(Expecting::Text, b"~A\x04~\r\n"), [reply(b"~A~")]);
    }

    #[test]
    fn the_command_set_keeps_its_alert_bytes() {
        let list = b"3.!$%+?=#|.\x01\x0e\x1aAB~\x7f";
        let mut line = list.to_vec();
        line.extend_from_slice(b"\r\n");
        assert_eq!(read(Expecting::Commands, &line), [reply(list)]);
        line.insert(0, b'$');
        assert_eq!(read(Expecting::Commands, &line), [Input::Alert(Alert::LineBack), reply(list)]);
    }

    #[test]
    fn the_capability_string_keeps_its_marks_and_control_bytes() {
        assert_eq!(
            read(Expecting::Capabilities, b"#uI4325!3\x0c4\xf0\r\n"),
            [Input::PerhapsAlert, reply(b"#uI43253\x0c4\xf0")]
        );
    }

    #[test]
    fn a_star_is_a_confirmation_where_one_is_awaited() {
        assert_eq!(read(Expecting::Confirmation, b"*"), [Input::Star]);
        assert_eq!(read(Expecting::Value, b"*"), [Input::Alert(Alert::SwitchingOff)]);
    }

    #[test]
    fn a_second_line_is_nobodys() {
        assert_eq!(read(Expecting::Value, b"08\r\n50\r\n"), [reply(b"08")]);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut line = vec![b'x'; MAX_REPLY];
        assert_eq!(read(Expecting::Value, &line), []);
        line.extend_from_slice(b"yz\r\n");
        assert_eq!(read(Expecting::Value, &line), [Input::Overlong]);
        line.truncate(MAX_REPLY);
        line.push(b'\n');
        assert_eq!(read(Expecting::Value, &line), [Input::Reply(vec![b'x'; MAX_REPLY])]);
    }

    #[test]
    fn bytes_can_be_shown() {
        assert_eq!(shown(b"Q\x01\x1b\x7f\xf0\x00"), "Q^AESCDEL\\xf0^@");
    }

    fn any_expecting() -> impl Strategy<Value = Option<Expecting>> {
        prop::sample::select(vec![
            None,
            Some(Expecting::Value),
            Some(Expecting::Text),
            Some(Expecting::Confirmation),
            Some(Expecting::Commands),
            Some(Expecting::Capabilities),
        ])
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble_or_grow(
            pieces in prop::collection::vec((any_expecting(), prop::collection::vec(any::<u8>(), 0..700)), 0..8)
        ) {
            let mut decoder = Decoder::default();
            for (expecting, bytes) in pieces {
                if let Some(expecting) = expecting {
                    decoder.expect(expecting);
                }
                for input in decoder.push(&bytes) {
                    if let Input::Reply(line) = input {
                        prop_assert!(line.len() <= MAX_REPLY);
                        prop_assert!(!line.contains(&0) && !line.contains(&b'\n') && !line.contains(&b'\r'));
                    }
                }
                prop_assert!(decoder.line.len() <= MAX_REPLY);
            }
        }

        #[test]
        fn how_bytes_are_cut_into_pieces_makes_no_difference(
            expecting in any_expecting(), bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..100
        ) {
            let begin = || {
                let mut decoder = Decoder::default();
                if let Some(expecting) = expecting {
                    decoder.expect(expecting);
                }
                decoder
            };
            let whole = begin().push(&bytes);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut decoder = begin();
            let mut pieces = decoder.push(head);
            pieces.extend(decoder.push(tail));
            prop_assert_eq!(pieces, whole);
        }
    }
}
