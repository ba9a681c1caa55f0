//! A Measure-UPS card: probes for temperature and humidity, four contacts, limits, and what is an alarm.
//!
//! From captures: the answers' forms, two probes with a comma between, a probe that is missing as an empty field. Not
//! established, and chosen here: a unit with a card adds the card's bytes to the command list of its `a`; of a
//! Measure-UPS II with the first probe alone one value is told, without a comma; `-` steps the limit of both probes at
//! once; the bits of `I` and of the first field of `J` are the four limits below and the four contacts above, the second
//! field of `J` holds the limits of the second probe; a contact is an alarm as long as it is closed.

/// Which card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// Measure-UPS: one probe, told by `t` and `h`.
    MeasureUps,
    /// Measure-UPS II (AP9612TH): two probes, told by `T` and `H`; the first also by `t` and `h`.
    MeasureUps2,
}

/// Which probe of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The one, or the first of two.
    First,
    /// The second; a Measure-UPS has none.
    Second,
}

/// What a probe measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Climate {
    /// Temperature in hundredths of a degree Celsius, at most 9999.
    pub temperature: u16,
    /// Relative humidity in tenths of a per cent, at most 1000.
    pub humidity: u16,
}

/// What can happen to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardChange {
    /// It is plugged in, its first probe at 21 degrees and 40 per cent; nothing is a limit, every alarm enabled.
    Fitted(Card),
    /// It is pulled out.
    Removed,
    /// A probe measures this; `None`: it is not plugged in.
    Climate(Probe, Option<Climate>),
    /// The contact of this number (1 to 4) is closed or open.
    Contact {
        /// Its number; others do nothing.
        number: u8,
        /// Whether it is closed.
        is_closed: bool,
    },
}

/// The queries a card answers beside `t`, `h`, `T` and `H`.
const OTHERS: &[u8] = b"ivIJ[]{}";

/// The limits, each with what it is before anybody sets it.
const LIMITS: &[u8] = b"[]{}";

/// No limit.
const NONE: &str = "NO";

/// A card in its slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    card: Card,
    probes: [Option<Climate>; 2],
    contacts: u8,
}

impl Slot {
    pub(super) fn new(card: Card) -> Self {
        let climate = Climate { temperature: 2100, humidity: 400 };
        Self { card, probes: [Some(climate), None], contacts: 0 }
    }

    pub(super) fn set_climate(&mut self, probe: Probe, climate: Option<Climate>) {
        let climate = climate.map(|climate| Climate {
            temperature: climate.temperature.min(9999),
            humidity: climate.humidity.min(1000),
        });
        let [first, second] = &mut self.probes;
        match (probe, self.card) {
            (Probe::First, _) => *first = climate,
            (Probe::Second, Card::MeasureUps2) => *second = climate,
            (Probe::Second, Card::MeasureUps) => {}
        }
    }

    pub(super) fn set_contact(&mut self, number: u8, is_closed: bool) {
        let bit = match number {
            1..=4 => 0x08_u8 << number,
            _ => return,
        };
        self.contacts = if is_closed { self.contacts | bit } else { self.contacts & !bit };
    }

    /// The query bytes it answers.
    pub(super) fn queries(&self) -> Vec<u8> {
        let climate: &[u8] = match self.card {
            Card::MeasureUps => b"th",
            Card::MeasureUps2 => b"thTH",
        };
        [climate, OTHERS].concat()
    }

    /// What is kept in the card's memory at first: what `v` and `I` answer, and the limits.
    pub(super) fn memory(&self) -> Vec<(u8, Vec<u8>)> {
        let none = match self.card {
            Card::MeasureUps => NONE.as_bytes().to_vec(),
            Card::MeasureUps2 => format!("{NONE},{NONE}").into_bytes(),
        };
        let mut memory = vec![(b'v', b"4Kx".to_vec()), (b'I', b"FF".to_vec())];
        memory.extend(LIMITS.iter().map(|query| (*query, none.clone())));
        memory
    }

    /// The values through which the limits are stepped.
    pub(super) fn rings(&self) -> Vec<(u8, Vec<Vec<u8>>)> {
        let told = |value: String| match self.card {
            Card::MeasureUps => value.into_bytes(),
            Card::MeasureUps2 => format!("{value},{value}").into_bytes(),
        };
        let degrees = (1..=11).map(|fives| format!("{:02}.00", 5 * fives));
        let percents = (1..=9).map(|tens| format!("{:03}.0", 10 * tens));
        let ring = |values: Vec<String>| std::iter::once(NONE.to_owned()).chain(values).map(told).collect();
        let (degrees, percents): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            (ring(degrees.collect()), ring(percents.collect()));
        vec![(b'[', degrees.clone()), (b']', degrees), (b'{', percents.clone()), (b'}', percents)]
    }

    /// What a query for a measurement answers, if it is one of this card; `memory` gives a limit or `I`.
    pub(super) fn answer(&self, query: u8, memory: impl Fn(u8) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let [first, _] = self.probes;
        let answer = match (query, self.card) {
            (b't', _) => first.map_or_else(|| "NA".to_owned(), |climate| degrees(climate.temperature)),
            (b'h', _) => first.map_or_else(|| "NA".to_owned(), |climate| percents(climate.humidity)),
            (b'T', Card::MeasureUps2) => self.both(|climate| degrees(climate.temperature)),
            (b'H', Card::MeasureUps2) => self.both(|climate| percents(climate.humidity)),
            (b'i', _) => format!("{:02X}", self.contacts),
            (b'J', _) => {
                let [first, second] = self.alarms(memory);
                format!("{first:02X},{second:02X}")
            }
            _ => return None,
        };
        Some(answer.into_bytes())
    }

    /// The alarms of either probe that are enabled, and with the first one's those of the contacts.
    pub(super) fn alarms(&self, memory: impl Fn(u8) -> Option<Vec<u8>>) -> [u8; 2] {
        let text =
            |query: u8| memory(query).and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
        let enabled = u8::from_str_radix(&text(b'I'), 16).unwrap_or(0);
        let limit = |query: u8, place: usize| {
            let value = text(query).split(',').nth(place).and_then(|value| value.trim().parse::<f64>().ok());
            value.filter(|value| value.is_finite())
        };
        let [first, second] = self.probes;
        let of = |climate: Option<Climate>, place: usize| {
            let Some(climate) = climate else { return 0 };
            let temperature = f64::from(climate.temperature) / 100.0;
            let humidity = f64::from(climate.humidity) / 10.0;
            let is = [
                limit(b'[', place).is_some_and(|limit| temperature > limit),
                limit(b']', place).is_some_and(|limit| temperature < limit),
                limit(b'{', place).is_some_and(|limit| humidity > limit),
                limit(b'}', place).is_some_and(|limit| humidity < limit),
            ];
            is.into_iter().zip([0x01_u8, 0x02, 0x04, 0x08]).map(|(is, bit)| if is { bit } else { 0 }).sum()
        };
        let (first, second): (u8, u8) = (of(first, 0), of(second, 1));
        [(first | self.contacts) & enabled, second & enabled]
    }

    fn both(&self, text: impl Fn(&Climate) -> String) -> String {
        match self.probes.each_ref().map(|probe| probe.as_ref().map(&text)) {
            [None, None] => "NA".to_owned(),
            [Some(first), None] => first,
            [first, Some(second)] => format!("{},{second}", first.unwrap_or_default()),
        }
    }
}

fn degrees(hundredths: u16) -> String {
    format!("{:02}.{:02}", hundredths / 100, hundredths % 100)
}

fn percents(tenths: u16) -> String {
    format!("{:03}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(limits: &'static [(u8, &'static str)]) -> impl Fn(u8) -> Option<Vec<u8>> {
        move |query| {
            let found = limits.iter().find(|(known, _)| *known == query);
            found.map(|(_, text)| text.as_bytes().to_vec()).or((query == b'I').then(|| b"FF".to_vec()))
        }
    }

    fn answer(slot: &Slot, query: u8) -> String {
        String::from_utf8(slot.answer(query, memory(&[])).unwrap_or_default()).unwrap()
    }

    fn climate(temperature: u16, humidity: u16) -> Option<Climate> {
        Some(Climate { temperature, humidity })
    }

    #[test]
    fn answers_have_the_forms_of_real_cards() {
        let mut two = Slot::new(Card::MeasureUps2);
        two.set_climate(Probe::First, climate(2108, 372));
        two.set_climate(Probe::Second, climate(2009, 340));
        assert_eq!([answer(&two, b'T'), answer(&two, b'H')], ["21.08,20.09", "037.2,034.0"]);
        assert_eq!([answer(&two, b't'), answer(&two, b'h')], ["21.08", "037.2"]);
        two.set_climate(Probe::First, None);
        two.set_climate(Probe::Second, climate(2009, 343));
        assert_eq!([answer(&two, b'H'), answer(&two, b't')], [",034.3", "NA"]);
        two.set_climate(Probe::Second, None);
        assert_eq!(answer(&two, b'T'), "NA");
        two.set_climate(Probe::First, climate(60_000, 60_000));
        assert_eq!([answer(&two, b'T'), answer(&two, b'h')], ["99.99", "100.0"], "no wider than the form");
        let mut one = Slot::new(Card::MeasureUps);
        one.set_climate(Probe::Second, climate(1, 1));
        assert_eq!([answer(&one, b't'), answer(&one, b'T')], ["21.00", ""]);
    }

    #[test]
    fn contacts_are_the_upper_bits() {
        let mut slot = Slot::new(Card::MeasureUps);
        for (number, told) in [(1, "10"), (4, "90"), (2, "B0"), (3, "F0"), (0, "F0"), (5, "F0"), (255, "F0")]
        {
            slot.set_contact(number, true);
            assert_eq!(answer(&slot, b'i'), told, "{number}");
        }
        slot.set_contact(4, false);
        assert_eq!(answer(&slot, b'i'), "70");
    }

    #[test]
    fn an_alarm_is_what_is_beyond_a_limit_and_enabled() {
        let mut slot = Slot::new(Card::MeasureUps2);
        slot.set_climate(Probe::First, climate(3001, 250));
        slot.set_climate(Probe::Second, climate(1999, 750));
        assert_eq!(slot.alarms(memory(&[])), [0, 0], "without limits there is none");
        const LIMITS: &[(u8, &str)] =
            &[(b'[', "30.00,30.00"), (b']', "20.00,20.00"), (b'{', "070.0,070.0"), (b'}', "NO,NO")];
        assert_eq!(slot.alarms(memory(LIMITS)), [0x01, 0x06]);
        slot.set_contact(2, true);
        assert_eq!(slot.alarms(memory(LIMITS)), [0x21, 0x06]);
        let enabled = |enabled: &'static str| {
            move |query: u8| if query == b'I' { Some(enabled.into()) } else { memory(LIMITS)(query) }
        };
        assert_eq!(slot.alarms(enabled("20")), [0x20, 0x00]);
        assert_eq!(slot.alarms(enabled("0F")), [0x01, 0x06]);
        assert_eq!(slot.alarms(enabled("no number")), [0, 0]);
    }

    #[test]
    fn limits_step_by_five_degrees_and_ten_per_cent() {
        let ring = |card, query| -> Vec<String> {
            let rings = Slot::new(card).rings();
            let (_, values) = rings.into_iter().find(|(known, _)| *known == query).unwrap();
            values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
        };
        let degrees = ring(Card::MeasureUps, b'[');
        assert_eq!((degrees.len(), &*degrees[0], &*degrees[1], &*degrees[11]), (12, "NO", "05.00", "55.00"));
        let percents = ring(Card::MeasureUps2, b'}');
        assert_eq!((percents.len(), &*percents[0], &*percents[9]), (10, "NO,NO", "090.0,090.0"));
    }
}
