//! What is measured, in which order: the servers take turns within each round, so that a noisy moment hits all of them.

use crate::contestants::{Contest, Houses, Server, Who};
use crate::error::{BenchError, Doing as _};
use crate::feeder::Unit;
use crate::figures::{Figure, Report, Row, Target, share};
use crate::load::{self, Load, Slice, float};
use crate::usage;
use nix::sys::resource::{Resource, setrlimit};
use nut_os::options::complain;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Size {
    /// Turns of each server.
    rounds: usize,
    /// How long a turn takes.
    slice: Duration,
    /// How long wakeups are counted.
    idle: Duration,
    /// Connections among which polls go round.
    connected: &'static [usize],
    /// How many connect at once.
    rush: usize,
    /// Connections that only stand, for their memory.
    standing: usize,
    /// UPSes in the second contest.
    units: usize,
}

impl Size {
    /// What the figures are taken from; some ten minutes.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 5,
            slice: Duration::from_millis(400),
            idle: Duration::from_secs(10),
            connected: &[1, 1_000, 5_000],
            rush: 2_000,
            standing: 20_000,
            units: 1_000,
        }
    }

    /// Everything once, as short as can be.
    pub(crate) fn smoke() -> Self {
        Self {
            rounds: 1,
            slice: Duration::from_millis(20),
            idle: Duration::from_millis(200),
            connected: &[1, 20],
            rush: 20,
            standing: 50,
            units: 10,
        }
    }
}

/// NUT's upsd looks at every connection whenever one speaks: more than this many it does not take in reasonable time.
const STANDING_OF_NUT: usize = 5_000;

/// Descriptors for all connections at once, if we may have so many: the servers inherit the limit.
const DESCRIPTORS: u64 = 65_536;

/// Those that are no connections, and those a server keeps for itself.
const DESCRIPTORS_TO_SPARE: usize = 200;

/// How long all who connect at once may wait.
const RUSH_LIMIT: Duration = Duration::from_secs(20);

const GET: &str = "GET VAR small ups.status\n";
const LIST: &str = "LIST VAR small\n";
const LONG_LIST: &str = "LIST VAR large\n";
const LIST_UPS: &str = "LIST UPS\n";

/// Collects rows, of which some may not be wanted.
struct Book<'a> {
    only: Option<&'a str>,
    rows: Vec<Row>,
}

/// The rounds of each server.
type Rounds = BTreeMap<Who, Vec<f64>>;

impl Book<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|text| name.contains(text))
    }

    fn add(
        &mut self,
        name: &str,
        unit: &'static str,
        rounds: &Rounds,
        target: impl FnOnce(&Row) -> Option<Target>,
    ) {
        if !self.wants(name) {
            return;
        }
        let figures = rounds.iter().filter_map(|(who, all)| Some((*who, Figure::of(all.clone())?))).collect();
        let of = |who| rounds.get(&who).map(Vec::as_slice).unwrap_or_default();
        let ratios = of(Who::Ours).iter().zip(of(Who::Echo)).filter(|(_, echo)| **echo > 0.0);
        let ratio = Figure::of(ratios.map(|(ours, echo)| ours / echo).collect());
        let mut row = Row { name: name.to_owned(), unit, figures, ratio, target: None };
        row.target = target(&row);
        self.rows.push(row);
    }
}

fn none(_: &Row) -> Option<Target> {
    None
}

/// Our median, compared with a number.
fn at_most(most: f64, text: &str) -> impl FnOnce(&Row) -> Option<Target> {
    move |row| {
        let ours = row.figures.get(&Who::Ours)?.median;
        Some(Target { text: text.to_owned(), met: ours <= most })
    }
}

/// The middle of the ratios, compared with a number.
fn ratio_at_most(most: f64) -> impl FnOnce(&Row) -> Option<Target> {
    move |row| {
        let ratio = row.ratio.as_ref()?.median;
        Some(Target { text: format!("at most {most} x the echo"), met: ratio <= most })
    }
}

fn ratio_at_least(least: f64) -> impl FnOnce(&Row) -> Option<Target> {
    move |row| {
        let ratio = row.ratio.as_ref()?.median;
        Some(Target { text: format!("at least {least} x the echo"), met: ratio >= least })
    }
}

/// Measures all, or those rows whose name holds `only`.
pub(crate) fn measure(size: &Size, only: Option<&str>) -> Result<Report, BenchError> {
    let descriptors = usize::try_from(descriptors()?).unwrap_or(usize::MAX);
    let houses = Houses::find()?;
    let before = loadavg();
    let mut book = Book { only, rows: Vec::new() };
    let units = [Unit::new("small", 50), Unit::new("large", 1_000)];
    let requests = [GET, LIST, LONG_LIST].map(str::to_owned);
    let contest = Contest::start(&houses, &units, &requests)?;
    at_rest(&contest, size, &mut book)?;
    // Before anything else: memory that connections needed once is not given back, and these would seem to need none.
    let room = descriptors.saturating_sub(DESCRIPTORS_TO_SPARE);
    standing(&contest, size.standing.min(room), &mut book)?;
    for (what, request, rate, cpu) in [
        ("GET VAR", GET, 0.9, 1.5),
        ("LIST VAR of 50", LIST, 0.8, 1.5),
        ("LIST VAR of 1,000", LONG_LIST, 0.8, 1.5),
    ] {
        for (connections, depth) in [(1, 1), (16, 1), (64, 1), (1, 32)] {
            let name = match depth {
                1 => format!("{what}, {connections} at a time"),
                _ => format!("{what}, {depth} in one piece"),
            };
            let load = Load { request: request.to_owned(), connections, depth };
            let is_alone = connections == 1 && depth == 1;
            answers(
                &contest,
                size,
                &name,
                &load,
                is_alone.then_some(rate),
                (connections == 16).then_some(cpu),
                &mut book,
            )?;
        }
    }
    polls(&contest, size, &mut book)?;
    rush(&contest, size, &mut book)?;
    drop(contest);

    if book.wants("UPSes") {
        let units: Vec<Unit> = (0..size.units).map(|nth| Unit::new(&format!("ups{nth:04}"), 5)).collect();
        let contest = Contest::start(&houses, &units, &[LIST_UPS.to_owned()])?;
        let name = format!("{} UPSes: from the start until all answer", size.units);
        let started =
            |server: &Server| (server.who != Who::Echo).then_some(server.started_in.as_secs_f64() * 1e3);
        let rounds = contest.servers.iter().filter_map(|one| Some((one.who, vec![started(one)?]))).collect();
        book.add(&name, "ms", &rounds, none);
        let load = Load { request: LIST_UPS.to_owned(), connections: 1, depth: 1 };
        answers(&contest, size, &format!("{} UPSes: LIST UPS", size.units), &load, None, None, &mut book)?;
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Ok(Report { machine: machine(), load: [before, loadavg()], profile, rows: book.rows })
}

/// Raises the limit of open descriptors, and says what it is now. Only root may go beyond what he was given.
fn descriptors() -> Result<u64, BenchError> {
    let limit = nut_os::socket::raise_descriptor_limit().doing("raising the limit of open descriptors")?;
    match limit < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).is_ok() {
        true => Ok(DESCRIPTORS),
        false => Ok(limit),
    }
}

/// Memory and wakeups of servers that nobody asks.
fn at_rest(contest: &Contest, size: &Size, book: &mut Book<'_>) -> Result<(), BenchError> {
    let (mut resident, mut private, mut wakeups) = (Rounds::new(), Rounds::new(), Rounds::new());
    for server in &contest.servers {
        load::settle(server, GET)?;
        let memory = usage::memory(server.pid())?;
        resident.insert(server.who, vec![kibi(memory.resident)]);
        private.insert(server.who, vec![kibi(memory.private)]);
    }
    if book.wants("at rest: wakeups") {
        let count = |server: &Server| usage::wakeups(server.pid());
        let before = contest.servers.iter().map(count).collect::<Result<Vec<_>, _>>()?;
        load::pause(size.idle);
        for (server, before) in contest.servers.iter().zip(before) {
            let woken = usage::wakeups(server.pid())?.saturating_sub(before);
            wakeups.insert(server.who, vec![kibi(woken) / size.idle.as_secs_f64()]);
        }
    }
    book.add("at rest: resident memory", "KiB", &resident, at_most(6.0 * 1024.0, "below 6 MiB"));
    book.add("at rest: private memory", "KiB", &private, none);
    // Two UPSes whose drivers are asked for a sign of life every 5 s each, and answer.
    book.add("at rest: wakeups", "a second", &wakeups, at_most(1.0, "signs of life only: at most 1"));
    Ok(())
}

/// Rate, CPU time an answer, and how long one waits.
fn answers(
    contest: &Contest,
    size: &Size,
    name: &str,
    load: &Load,
    least_rate: Option<f64>,
    most_cpu: Option<f64>,
    book: &mut Book<'_>,
) -> Result<(), BenchError> {
    if !book.wants(name) {
        return Ok(());
    }
    complain("nut-bench", &name);
    let slices = take_turns(contest, size, |server| load::run(server, load, size.slice))?;
    let of = |pick: fn(&Slice) -> f64| -> Rounds {
        slices.iter().map(|(who, all)| (*who, all.iter().map(pick).collect())).collect()
    };
    let rate = |row: &Row| least_rate.and_then(|least| ratio_at_least(least)(row));
    book.add(&format!("{name}: rate"), "a second", &of(|slice| slice.rate), rate);
    let cpu = |row: &Row| most_cpu.and_then(|most| ratio_at_most(most)(row));
    book.add(&format!("{name}: CPU an answer"), "us", &of(|slice| slice.cpu_us), cpu);
    book.add(&format!("{name}: half wait less than"), "us", &of(|slice| percent(slice, 50)), none);
    book.add(&format!("{name}: 99 of 100 wait less than"), "us", &of(|slice| percent(slice, 99)), none);
    Ok(())
}

fn percent(slice: &Slice, percent: usize) -> f64 {
    share(&slice.latencies, percent).unwrap_or_default()
}

/// Each server once in each round.
fn take_turns(
    contest: &Contest,
    size: &Size,
    turn: impl Fn(&Server) -> Result<Slice, BenchError>,
) -> Result<BTreeMap<Who, Vec<Slice>>, BenchError> {
    let mut all: BTreeMap<Who, Vec<Slice>> = BTreeMap::new();
    let mut nut_gave_up = false;
    for _ in 0..size.rounds {
        for server in &contest.servers {
            let is_nut = server.who == Who::Nut;
            if is_nut && nut_gave_up {
                continue;
            }
            match turn(server) {
                Ok(slice) => all.entry(server.who).or_default().push(slice),
                // It closes a connection that has been silent for a minute, also where it had no time for it.
                Err(error) if is_nut => {
                    complain("nut-bench", &format!("NUT's upsd gave up: {error}"));
                    nut_gave_up = true;
                    all.remove(&Who::Nut);
                }
                Err(error) => return Err(server.fault(error.to_string())),
            }
        }
    }
    Ok(all)
}

/// What a poll costs among many who are connected and silent.
fn polls(contest: &Contest, size: &Size, book: &mut Book<'_>) -> Result<(), BenchError> {
    let mut with_one: Option<f64> = None;
    for connected in size.connected {
        let name = format!("1,000 polls of {connected} connected: CPU");
        if !book.wants(&name) {
            continue;
        }
        complain("nut-bench", &name);
        let slices = take_turns(contest, size, |server| load::in_turn(server, GET, *connected, size.slice))?;
        // A thousand of them: microseconds are milliseconds.
        let rounds =
            slices.iter().map(|(who, all)| (*who, all.iter().map(|one| one.cpu_us).collect())).collect();
        book.add(&name, "ms", &rounds, |row| {
            let ours = row.figures.get(&Who::Ours)?.median;
            let one = *with_one.get_or_insert(ours);
            let text = "at most 1.5 x that of 1 connected".to_owned();
            (*connected > 1).then_some(Target { text, met: ours <= 1.5 * one })
        });
    }
    Ok(())
}

/// Many connect at one instant.
fn rush(contest: &Contest, size: &Size, book: &mut Book<'_>) -> Result<(), BenchError> {
    let name = format!("{} connect at once", size.rush);
    if !book.wants(&name) {
        return Ok(());
    }
    complain("nut-bench", &name);
    let (mut served, mut last) = (Rounds::new(), Rounds::new());
    for round in 0..size.rounds {
        for server in &contest.servers {
            // NUT's needs twenty seconds for it: once is enough.
            if server.who == Who::Nut && round > 0 {
                continue;
            }
            let rush = load::rush(server.address, GET, size.rush, RUSH_LIMIT)?;
            served.entry(server.who).or_default().push(float(rush.served));
            last.entry(server.who).or_default().push(rush.last.as_secs_f64() * 1e3);
            load::settle(server, GET)?;
        }
    }
    let all = float(size.rush);
    book.add(&format!("{name}: served within 20 s"), "", &served, |row| {
        let ours = row.figures.get(&Who::Ours)?.least;
        Some(Target { text: "all".to_owned(), met: ours >= all })
    });
    book.add(&format!("{name}: the last is served after"), "ms", &last, at_most(300.0, "within 300 ms"));
    Ok(())
}

/// What a connection costs that only stands.
fn standing(contest: &Contest, standing: usize, book: &mut Book<'_>) -> Result<(), BenchError> {
    let name = format!("{standing} stand idle: memory of each");
    if !book.wants(&name) {
        return Ok(());
    }
    complain("nut-bench", &name);
    let mut rounds = Rounds::new();
    for server in &contest.servers {
        let count = if server.who == Who::Nut { standing.min(STANDING_OF_NUT) } else { standing };
        let before = usage::memory(server.pid())?.resident;
        let streams = load::connections(server.address, count)?;
        load::settle(server, GET)?;
        let after = usage::memory(server.pid())?.resident;
        drop(streams);
        rounds.insert(server.who, vec![kibi(after.saturating_sub(before)) / float(count)]);
    }
    book.add(&name, "KiB", &rounds, at_most(2.0, "at most 2 KiB"));
    Ok(())
}

/// A number of the system's as one to calculate with.
fn kibi(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

fn loadavg() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |field: &str| -> Vec<&str> {
        text.lines()
            .filter(|line| line.starts_with(field))
            .filter_map(|line| line.split(": ").nth(1))
            .collect()
    };
    format!(
        "{} x {}",
        of("processor").len(),
        of("model name").first().unwrap_or(&"a processor without a name")
    )
}
