//! One simulated Smart-UPS: mains, battery and output relay behind a serial line, as a machine.
//!
//! Pure: no I/O, no clock. [`super::pty`] feeds it the bytes of the host and carries out what it asks. Of its
//! submodules `commands` holds what each byte means, `course` what time brings; this file holds what a unit is.

mod commands;
mod course;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use nut_proto::Moment;

use super::battery::{Battery, Flow};
use super::capability::Rings;
use super::deed::{BatteryCause, Bypass, Deed, OffBy, OnBy, SelfTest, ShutdownCommand};
use super::faults::{Fault, FaultKind, Faults};
use super::probes::{CardChange, Slot};
use super::profile::{MAX_REPLY, Profile};
use super::wire::{Outbox, Pace};
use commands::Entry;

/// `^N`: switches the load on, given twice.
pub const SWITCH_ON: u8 = 0x0e;

/// Most deeds kept; older ones are forgotten.
pub const MAX_DEEDS: usize = 4096;

/// Most alerts `|` that wait for their moment; more changes share one.
const MAX_EEPROM_ALERTS: usize = 64;

/// How long `U` keeps the load on the battery. Not shortened by the time scale: the host sends `S` 3.5 s after `U`.
const SIMULATED_FAILURE: Duration = Duration::from_secs(10);

/// How long a self test takes.
const SELF_TEST: Duration = Duration::from_secs(8);

/// How long `X` tells the result of a self test.
const RESULT_KNOWN: Duration = Duration::from_secs(300);

/// What can happen to the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes from the host.
    Received(Vec<u8>),
    /// Mains comes or goes.
    Mains(Mains),
    /// Something about the battery.
    Battery(BatteryChange),
    /// From now on `query` is answered with this text, whatever the state; settings take effect too.
    Set {
        /// The query byte.
        query: u8,
        /// The reply without CR LF, at most [`MAX_REPLY`] bytes.
        text: Vec<u8>,
    },
    /// `query` follows the state again.
    Unset {
        /// The query byte.
        query: u8,
    },
    /// Something about a Measure-UPS card.
    Card(CardChange),
    /// Something goes wrong from now on.
    Fault(Fault),
    /// The fault of this kind ends (what the kind carries does not matter).
    FaultEnds(FaultKind),
    /// All faults end.
    FaultsEnd,
    /// Somebody presses the button: the load is switched on.
    Button,
    /// The unit forgets smart mode, as after a power cycle of its logic.
    FallBack,
    /// The unit sends these bytes unasked (noise, or an alert out of place). At most [`MAX_REPLY`].
    Say(Vec<u8>),
    /// The moment of the last [`Action::WakeAt`] has come, or may have.
    Tick,
}

/// Whether there is mains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mains {
    /// There is.
    On,
    /// There is none.
    Off,
}

/// Something about the battery. Numbers are whole: the world outside is not finer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatteryChange {
    /// The charge is this many per cent.
    Charge(u8),
    /// At the present charge and load it lasts this many minutes, and the unit knows.
    Runtime(u16),
    /// What makes the battery low.
    Low(LowBattery),
    /// It needs replacement: a self test fails.
    WornOut,
    /// It was replaced, by one as good as the first was. The unit knows after the next self test; how long it lasts, after
    /// the next runtime calibration, or when it has run empty.
    Renewed,
}

/// What makes the battery low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowBattery {
    /// The runtime left, on battery, is not above `q`.
    ByRuntime,
    /// It is low now, until told otherwise or until mains returns.
    Now,
    /// It never is: the battery ends without a warning.
    Never,
}

/// What must be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// These bytes go to the host now.
    Send(Vec<u8>),
    /// A `Tick` is wanted at this moment. It replaces the one asked for before; a step without it wants none.
    WakeAt(Moment),
    /// This happened, then.
    Record(Moment, Deed),
}

/// How the unit's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How fast it answers.
    pub pace: Pace,
    /// How many times faster than real its delays pass: `p`, `r`, the time of `@ddd`, the self test. Queries still
    /// tell the configured values. 1 is real.
    pub time_scale: NonZeroU32,
    /// How many times faster than real the battery drains and charges. 1 is real.
    pub battery_scale: NonZeroU32,
    /// How much too early the second byte of `K K` may come. A real unit measures at its end of the line; here the
    /// scheduler of a busy machine is in between.
    pub two_step_tolerance: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: Pace::Real,
            time_scale: NonZeroU32::MIN,
            battery_scale: NonZeroU32::MIN,
            two_step_tolerance: Duration::from_millis(10),
        }
    }
}

/// What the unit is like just now.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Whether the load has power.
    pub output: Output,
    /// Whether there is mains.
    pub mains: Mains,
    /// Whether the load runs from the battery.
    pub on_battery: bool,
    /// Whether the battery is low.
    pub low_battery: bool,
    /// Whether the battery needs replacement.
    pub replace_battery: bool,
    /// Charge in per cent.
    pub charge: f64,
    /// Minutes left at the present load.
    pub runtime: f64,
    /// Whether the host said `Y`.
    pub smart: bool,
    /// What `Q` answers, as a number.
    pub status: u8,
    /// The shutdown whose delay is running, and when it ends.
    pub shutdown: Option<(ShutdownCommand, Moment)>,
}

/// Whether the load has power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It has.
    On,
    /// It has not, until somebody switches it on.
    Off,
    /// It has not, and will have by itself.
    Asleep,
}

/// A simulated unit.
#[derive(Clone, Debug)]
pub struct SmartUps {
    profile: Profile,
    settings: Settings,
    now: Moment,
    actions: Vec<Action>,
    record: VecDeque<(Moment, Deed)>,

    outbox: Outbox,
    faults: Faults,
    mode: Mode,
    entry: Entry,
    last_query: Option<u8>,

    values: BTreeMap<u8, Vec<u8>>,
    pinned: BTreeMap<u8, Vec<u8>>,
    rings: Rings,
    positions: BTreeMap<u8, usize>,
    eeprom_alerts: VecDeque<Moment>,

    mains: Mains,
    relay: Relay,
    pending: Option<Pending>,
    simulated_until: Option<Moment>,
    calibrating: bool,
    bypass: Bypass,
    battery: Battery,
    low: LowBattery,
    worn: bool,
    replace: bool,
    test_ends: Option<Moment>,
    tested: Option<(Moment, SelfTest)>,
    card: Option<Slot>,
    reason: Option<u8>,
    mains_since_m: Seen,
    mains_since_n: Seen,

    told: Told,
    repeat_on_battery: Option<Moment>,
    repeat_replace: Option<Moment>,
    repeat_card: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Dumb,
    Smart,
}

/// The output relay.
#[derive(Clone, Debug, PartialEq)]
enum Relay {
    On,
    Off,
    Asleep { by: OffBy, wake: Wake },
}

/// What ends a sleep.
#[derive(Clone, Debug, PartialEq)]
enum Wake {
    /// Mains and at least this charge, then a delay, counted anew when mains fails meanwhile.
    OnMains { min_charge: f64, delay: Duration, ready_since: Option<Moment> },
    /// The clock alone (old units).
    At(Moment),
}

/// A confirmed shutdown whose delay is running.
#[derive(Clone, Debug, PartialEq)]
struct Pending {
    command: ShutdownCommand,
    off_at: Moment,
}

/// What mains was like since a query asked for its extreme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    on: bool,
    off: bool,
}

impl Seen {
    fn only(mains: Mains) -> Self {
        Self { on: mains == Mains::On, off: mains == Mains::Off }
    }
}

/// What was announced, so that an alert is sent once for each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    on_battery: bool,
    low: bool,
    overload: bool,
    replace: bool,
    card: bool,
}

impl SmartUps {
    /// A unit of this profile at power-up: on mains, output on, values as in the profile.
    #[must_use]
    pub fn new(profile: Profile, settings: Settings) -> Self {
        let values = profile.replies.clone();
        let number = |query: u8| values.get(&query).and_then(|text| parse_number(text));
        let battery = Battery::new(
            number(b'f').unwrap_or(100.0),
            number(b'j').unwrap_or(15.0),
            number(b'P').unwrap_or(DEFAULT_LOAD),
            settings.battery_scale,
        );
        let mode = if profile.quirks.starts_in_smart_mode { Mode::Smart } else { Mode::Dumb };
        Self {
            rings: profile.rings(),
            outbox: Outbox::new(settings.pace),
            now: Moment::START,
            actions: Vec::new(),
            record: VecDeque::new(),
            faults: Faults::default(),
            mode,
            entry: Entry::Idle,
            last_query: None,
            values,
            pinned: BTreeMap::new(),
            positions: BTreeMap::new(),
            eeprom_alerts: VecDeque::new(),
            mains: Mains::On,
            relay: Relay::On,
            pending: None,
            simulated_until: None,
            calibrating: false,
            bypass: Bypass::Off,
            battery,
            low: LowBattery::ByRuntime,
            worn: false,
            replace: false,
            test_ends: None,
            tested: None,
            card: None,
            reason: None,
            mains_since_m: Seen::only(Mains::On),
            mains_since_n: Seen::only(Mains::On),
            told: Told::default(),
            repeat_on_battery: None,
            repeat_replace: None,
            repeat_card: None,
            profile,
            settings,
        }
    }

    /// Takes one event and says what must now be done, in order.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        // The boot clock does not go back; a caller that mixes up two readings of it must not make us count twice.
        let now = now.max(self.now);
        self.now = now;
        self.catch_up(now);
        match event {
            Event::Received(bytes) => bytes.into_iter().for_each(|byte| self.hear(now, byte)),
            Event::Mains(mains) => self.set_mains(now, mains),
            Event::Battery(change) => self.change_battery(change),
            Event::Set { query, mut text } => {
                text.truncate(MAX_REPLY);
                self.pinned.insert(query, text);
            }
            Event::Unset { query } => {
                self.pinned.remove(&query);
            }
            Event::Card(change) => self.change_card(change),
            Event::Fault(fault) => self.faults.add(now, fault),
            Event::FaultEnds(kind) => self.faults.end(&kind),
            Event::FaultsEnd => self.faults.clear(),
            Event::Button => self.switch_on(now, OnBy::Button),
            Event::FallBack => self.leave_smart_mode(now),
            Event::Say(mut bytes) => {
                bytes.truncate(MAX_REPLY);
                self.outbox.unasked(now, bytes);
            }
            Event::Tick => {}
        }
        self.refresh(now);
        while let Some(mut bytes) = self.outbox.take_due(now) {
            if !self.faults.is_silent(now) {
                self.faults.distort(now, &mut bytes);
                self.actions.push(Action::Send(bytes));
            }
        }
        let wake = self.deadline().into_iter().chain(self.outbox.next_due()).min();
        self.actions.extend(wake.map(Action::WakeAt));
        std::mem::take(&mut self.actions)
    }

    /// What the unit is like, as of its last step.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            output: match self.relay {
                Relay::On => Output::On,
                Relay::Off => Output::Off,
                Relay::Asleep { .. } => Output::Asleep,
            },
            mains: self.mains,
            on_battery: self.is_on_battery(),
            low_battery: self.is_low(),
            replace_battery: self.replace,
            charge: self.battery.charge(),
            runtime: self.battery.runtime(self.load()),
            smart: self.mode == Mode::Smart,
            status: self.status(),
            shutdown: self.pending.as_ref().map(|pending| (pending.command.clone(), pending.off_at)),
        }
    }

    /// What the unit did, oldest first; the last [`MAX_DEEDS`].
    pub fn record(&self) -> impl Iterator<Item = &(Moment, Deed)> {
        self.record.iter()
    }

    /// The profile it was made from.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    // ---- what follows from the state

    fn is_output_on(&self) -> bool {
        self.relay == Relay::On
    }

    /// Without mains and battery the unit's logic has no power either.
    fn is_dead(&self) -> bool {
        matches!(&self.relay, Relay::Asleep { by: OffBy::EmptyBattery, .. }) && self.mains == Mains::Off
    }

    /// Old units do not listen while they sleep after `@`.
    fn is_deaf(&self) -> bool {
        let hibernating = matches!(
            &self.relay,
            Relay::Asleep { by: OffBy::Command(ShutdownCommand::Hibernate { .. }), .. }
        );
        hibernating && self.profile.is_old_generation()
    }

    fn battery_cause(&self) -> Option<BatteryCause> {
        if !self.is_output_on() {
            None
        } else if self.mains == Mains::Off {
            Some(BatteryCause::MainsFailed)
        } else if self.simulated_until.is_some() {
            Some(BatteryCause::Simulated)
        } else if self.calibrating {
            Some(BatteryCause::Calibration)
        } else {
            None
        }
    }

    fn is_on_battery(&self) -> bool {
        self.battery_cause().is_some()
    }

    fn flow(&self) -> Flow {
        match (self.is_on_battery(), self.mains) {
            (true, _) => Flow::Discharging { load: self.load() },
            (false, Mains::On) => Flow::Charging,
            (false, Mains::Off) => Flow::Still,
        }
    }

    fn is_low(&self) -> bool {
        match self.low {
            LowBattery::Now => true,
            LowBattery::Never => false,
            LowBattery::ByRuntime if self.is_on_battery() => self.battery.is_down_to(self.low_level()),
            // Seen on units whose battery was replaced: low on mains, with a few minutes shown, until they are calibrated.
            LowBattery::ByRuntime => self.battery.is_written_off(self.warning(), self.load()),
        }
    }

    /// The charge at which the runtime left is what `q` asks for. A calibration finds out about the runtime, and does not
    /// believe in it.
    fn low_level(&self) -> f64 {
        match self.calibrating {
            true => self.battery.true_level_of(self.warning(), self.load()),
            false => self.battery.level_of(self.warning(), self.load()),
        }
    }

    /// The minutes left at which the battery is low.
    fn warning(&self) -> f64 {
        self.number(b'q').unwrap_or(DEFAULT_WARNING)
    }

    fn is_overloaded(&self) -> bool {
        self.is_output_on() && self.load() > 100.0
    }

    /// Load in per cent of the rated power, as `P` tells it while the output is on.
    fn load(&self) -> f64 {
        self.number(b'P').unwrap_or(DEFAULT_LOAD)
    }

    /// The status byte `Q`.
    fn status(&self) -> u8 {
        if !self.is_output_on() {
            return 0x00;
        }
        // Trim and boost are as in the profile while the load is on mains.
        let (feed, regulation) = match self.is_on_battery() {
            true => (0x10, 0x00),
            false => (0x08, self.hex_value(b'Q') & 0x06),
        };
        let bit = |set: bool, value: u8| if set { value } else { 0 };
        feed | regulation
            | bit(self.calibrating, 0x01)
            | bit(self.is_overloaded(), 0x20)
            | bit(self.is_low(), 0x40)
            | bit(self.replace, 0x80)
    }

    /// The present text of a query, pinned or stored, without what follows from the state.
    fn text(&self, query: u8) -> Option<&[u8]> {
        self.pinned.get(&query).or_else(|| self.values.get(&query)).map(Vec::as_slice)
    }

    fn number(&self, query: u8) -> Option<f64> {
        self.text(query).and_then(parse_number)
    }

    fn hex_value(&self, query: u8) -> u8 {
        let text = self.text(query).and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| u8::from_str_radix(text, 16).ok()).unwrap_or(0)
    }

    /// A delay in seconds as configured, shortened by the time scale.
    fn delay(&self, query: u8, default: f64) -> Duration {
        let seconds = self.number(query).unwrap_or(default);
        self.scaled(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO))
    }

    fn scaled(&self, real: Duration) -> Duration {
        real / self.settings.time_scale.get()
    }

    // ---- events

    fn set_mains(&mut self, now: Moment, mains: Mains) {
        if self.mains == mains {
            return;
        }
        self.mains = mains;
        match mains {
            Mains::Off => {
                self.mains_since_m.off = true;
                self.mains_since_n.off = true;
                self.reason = Some(b'L');
                self.simulated_until = None;
                self.bypass = Bypass::Off;
                self.stop_calibration(now);
                self.stop_self_test(now);
            }
            Mains::On => {
                self.mains_since_m.on = true;
                self.mains_since_n.on = true;
                if self.low == LowBattery::Now {
                    self.low = LowBattery::ByRuntime;
                }
                if matches!(&self.relay, Relay::Asleep { by: OffBy::EmptyBattery, .. }) {
                    self.power_up_logic(now);
                }
            }
        }
    }

    /// The logic had no power and has it again: it remembers its settings and nothing else.
    fn power_up_logic(&mut self, now: Moment) {
        if !self.profile.quirks.starts_in_smart_mode {
            self.leave_smart_mode(now);
        }
        self.told = Told::default();
        self.repeat_on_battery = None;
        self.repeat_replace = None;
        self.repeat_card = None;
        self.eeprom_alerts.clear();
        self.last_query = None;
    }

    fn change_card(&mut self, change: CardChange) {
        match (change, &mut self.card) {
            (CardChange::Fitted(card), _) => {
                self.change_card(CardChange::Removed);
                let slot = Slot::new(card);
                self.values.extend(slot.memory());
                for (limit, ring) in slot.rings() {
                    self.rings.set(limit, Some(ring));
                }
                self.card = Some(slot);
            }
            (CardChange::Removed, slot) => {
                for query in slot.take().iter().flat_map(Slot::queries) {
                    self.rings.set(query, None);
                    match self.profile.replies.get(&query) {
                        Some(reply) => self.values.insert(query, reply.clone()),
                        None => self.values.remove(&query),
                    };
                }
            }
            (CardChange::Climate(probe, climate), Some(slot)) => slot.set_climate(probe, climate),
            (CardChange::Contact { number, is_closed }, Some(slot)) => slot.set_contact(number, is_closed),
            (CardChange::Climate(..) | CardChange::Contact { .. }, None) => {}
        }
    }

    /// Whether a card has something to tell: `&`.
    fn has_card_alarm(&self) -> bool {
        let memory = |query: u8| self.text(query).map(<[u8]>::to_vec);
        self.card.as_ref().is_some_and(|slot| slot.alarms(memory) != [0, 0])
    }

    fn change_battery(&mut self, change: BatteryChange) {
        match change {
            BatteryChange::Charge(percent) => self.battery.set_charge(percent.into()),
            BatteryChange::Runtime(minutes) => self.battery.set_runtime(minutes.into(), self.load()),
            BatteryChange::Low(low) => self.low = low,
            BatteryChange::WornOut => {
                self.worn = true;
                self.replace = true;
            }
            BatteryChange::Renewed => {
                self.worn = false;
                self.battery.renew();
            }
        }
    }

    fn leave_smart_mode(&mut self, now: Moment) {
        self.entry = Entry::Idle;
        if self.mode == Mode::Smart {
            self.mode = Mode::Dumb;
            self.note(now, Deed::SmartModeOff);
        }
    }

    fn alert(&mut self, at: Moment, byte: u8) {
        let is_the_cards = byte == b'&' && self.card.is_some();
        if is_the_cards || self.profile.quirks.alerts.contains(&byte) {
            self.outbox.unasked(at, vec![byte]);
        }
    }

    fn note(&mut self, at: Moment, deed: Deed) {
        if self.record.len() == MAX_DEEDS {
            self.record.pop_front();
        }
        self.record.push_back((at, deed.clone()));
        self.actions.push(Action::Record(at, deed));
    }
}

/// Load of a unit that does not tell it, in per cent.
const DEFAULT_LOAD: f64 = 30.0;

/// Low-battery warning of a unit that does not tell it, in minutes.
const DEFAULT_WARNING: f64 = 2.0;

/// Grace delay of a unit that does not tell it, in seconds.
const DEFAULT_GRACE: f64 = 20.0;

/// Greatest number taken from a reply: far above all that units say, far below what arithmetic could trip over.
const GREATEST_NUMBER: f64 = 1e6;

/// The number in a reply such as `013.6` or `0042:`; `None` for `NA`, `>>>>:` and everything else that is none.
fn parse_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_end_matches(':');
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: Option<f64> = if plain { text.parse().ok() } else { None };
    number.filter(|number| *number <= GREATEST_NUMBER)
}
