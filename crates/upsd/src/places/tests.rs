//! Scenarios: places that come late, that are taken, that a reload changes.

use super::*;
use nut_conf::upsd_conf::{Access, AccessRule, Listen};
use proptest::prelude::*;

fn conf(addresses: &[&str]) -> UpsdConf {
    let at = nut_conf::Span::default();
    let listen =
        addresses.iter().map(|address| Listen { address: (*address).into(), port: 3493, at }).collect();
    UpsdConf { listen, ..UpsdConf::default() }
}

fn no_name(is_final: bool) -> Miss {
    Miss::NoName { text: "words".into(), is_final }
}

/// What comes of listening at an address.
type Works<'a> = &'a [(&'static str, Result<(), Miss>)];

/// A host on which some addresses work, in seconds.
struct Host {
    places: Places,
    works: Vec<(&'static str, Result<(), Miss>)>,
    /// What was tried, opened, closed and said since last looked at.
    did: Vec<String>,
    open: Vec<(PlaceId, Place)>,
}

impl Host {
    fn new(works: Works<'_>) -> Self {
        Self { places: Places::default(), works: works.to_vec(), did: Vec::new(), open: Vec::new() }
    }

    fn now_works(&mut self, address: &'static str, how: Result<(), Miss>) {
        self.works.retain(|(known, _)| *known != address);
        self.works.push((address, how));
    }

    fn step(&mut self, secs: u64, event: Event) -> Vec<String> {
        let mut events = vec![event];
        let mut todo = std::collections::VecDeque::new();
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.places.step(Moment::from_secs(secs), event, &mut out);
            for action in out.into_iter().rev() {
                todo.push_front(action);
            }
            while let Some(action) = todo.pop_front() {
                match action {
                    Action::Try(id, place) => {
                        events.push(self.attempt(id, &place));
                        break;
                    }
                    Action::Close(id) => self.open.retain(|(one, _)| *one != id),
                    Action::Say(note) => self.did.push(note.to_string()),
                }
            }
        }
        std::mem::take(&mut self.did)
    }

    /// As the kernel does: the address must be there; then every address, and one of its own, exclude each other.
    fn attempt(&mut self, id: PlaceId, place: &Place) -> Event {
        let overlaps = |one: &Place, other: &Place| {
            one.port == other.port
                && (one.address == other.address || one.how == How::Every || other.how == How::Every)
        };
        let works = self.works.iter().find(|(address, _)| *address == place.address);
        match works.map_or(&Ok(()), |(_, works)| works) {
            Ok(()) if self.open.iter().any(|(_, one)| overlaps(one, place)) => Event::Missed(id, Miss::Taken),
            Ok(()) => {
                self.did.push(format!("+{}", place.address));
                self.open.push((id, place.clone()));
                Event::Opened(id)
            }
            Err(miss) => Event::Missed(id, miss.clone()),
        }
    }

    fn start(&mut self, addresses: &[&str]) -> Vec<String> {
        self.step(0, Event::Wanted(wanted(&conf(addresses), Family::Both)))
    }

    fn tick_secs(&self) -> Option<u64> {
        self.places.wake_at().map(|at| at.since_start().as_secs())
    }

    fn open_at(&self) -> Vec<&str> {
        self.open.iter().map(|(_, place)| place.address.as_str()).collect()
    }
}

#[test]
fn without_listen_it_is_this_host_or_with_rules_every_address() {
    let shown = |conf: &UpsdConf, family| -> Vec<(String, u16)> {
        wanted(conf, family).into_iter().map(|place| (place.address, place.port)).collect()
    };
    let here = |address: &str| (address.to_owned(), 3493);
    assert_eq!(shown(&conf(&[]), Family::Both), [here("::1"), here("127.0.0.1")]);
    assert_eq!(shown(&conf(&[]), Family::V4), [here("127.0.0.1")]);
    assert_eq!(shown(&conf(&[]), Family::V6), [here("::1")]);
    let mut old = conf(&[]);
    old.access.push(AccessRule { verdict: Access::Accept, acl: "all".into() });
    assert_eq!(shown(&old, Family::Both), [here("*")]);
    let mut both = conf(&["127.0.0.1", "127.0.0.1"]);
    both.access = old.access;
    assert_eq!(shown(&both, Family::Both), [here("127.0.0.1")]);
}

#[test]
fn a_place_within_another_is_no_place_of_its_own() {
    for (addresses, expected) in [
        (&["127.0.0.1", "*", "::1", "name"][..], &["*"][..]),
        (&["0.0.0.0", "10.0.0.1", "::1"], &["0.0.0.0", "::1"]),
        (&["10.0.0.1", "::1", "::", "0.0.0.0"], &["::", "0.0.0.0"]),
        (&["::", "name", "0.0.0.0", "name"], &["::", "name", "0.0.0.0"]),
    ] {
        let places = wanted(&conf(addresses), Family::Both);
        let found: Vec<_> = places.iter().map(|place| place.address.as_str()).collect();
        assert_eq!(found, expected, "{addresses:?}");
    }
    let mut two = conf(&["*", "127.0.0.1"]);
    two.listen[1].port = 4000;
    assert_eq!(wanted(&two, Family::Both).len(), 2);
}

#[test]
fn an_address_that_is_not_there_yet_is_tried_again_until_it_is() {
    let mut host = Host::new(&[("10.0.0.1", Err(Miss::NoAddress))]);
    let said = host.start(&["127.0.0.1", "10.0.0.1"]);
    assert_eq!(said[0], "+127.0.0.1");
    assert!(
        said[1]
            .starts_with("not listening on 10.0.0.1 port 3493: this host has no such address; trying again")
    );
    assert_eq!(host.places.enough(None), Ok(()));
    assert_eq!(host.places.waiting_for().unwrap(), "waiting to listen on 10.0.0.1 port 3493");
    // Twice as long each time, and said once.
    let mut tries = Vec::new();
    while let Some(at) = host.tick_secs().filter(|at| *at < 60) {
        tries.push(at);
        assert!(host.step(at, Event::Tick).is_empty());
    }
    assert_eq!(tries, [1, 3, 7, 15, 25, 35, 45, 55]);
    host.now_works("10.0.0.1", Ok(()));
    let at = host.tick_secs().unwrap();
    assert_eq!(host.step(at, Event::Tick), ["+10.0.0.1"]);
    // Nothing is missing: nobody is woken.
    assert_eq!((host.places.wake_at(), host.places.waiting_for()), (None, None));
}

#[test]
fn another_reason_is_news() {
    let mut host = Host::new(&[("10.0.0.1", Err(Miss::NoAddress))]);
    host.start(&["127.0.0.1", "10.0.0.1"]);
    host.now_works("10.0.0.1", Err(Miss::Taken));
    let said = host.step(1, Event::Tick);
    assert!(said[0].contains("another program listens there; trying again"), "{said:?}");
    assert!(host.step(3, Event::Tick).is_empty());
}

#[test]
fn what_may_be_missing_at_the_start() {
    const OK: Result<(), Miss> = Ok(());
    let never = no_name(true);
    let unknown = no_name(false);
    let late = Miss::NoAddress;
    let taken = Miss::Taken;
    // What the two places lead to; enough if nothing is said, if ALLOW_NOT_ALL_LISTENERS is true, if it is false.
    let all = NotEnough::NotAll;
    let none = NotEnough::Nothing;
    let table: [(Works, [Result<(), NotEnough>; 3]); 10] = [
        (&[("10.0.0.1", OK), ("10.0.0.2", OK)], [Ok(()), Ok(()), Ok(())]),
        (&[("10.0.0.1", OK), ("10.0.0.2", Err(late.clone()))], [Ok(()), Ok(()), Err(all)]),
        (&[("10.0.0.1", OK), ("a.example", Err(unknown.clone()))], [Ok(()), Ok(()), Err(all)]),
        (&[("10.0.0.1", OK), ("a.example", Err(never.clone()))], [Ok(()), Ok(()), Err(all)]),
        (&[("10.0.0.1", OK), ("10.0.0.2", Err(taken.clone()))], [Err(all), Ok(()), Err(all)]),
        (&[("10.0.0.1", OK), ("10.0.0.2", Err(Miss::Denied))], [Err(all), Ok(()), Err(all)]),
        // Of localhost's kind.
        (&[("10.0.0.1", OK), ("127.0.0.1", Err(taken.clone()))], [Ok(()), Ok(()), Ok(())]),
        // Nobody can reach us: only if the network may bring an address.
        (&[("10.0.0.1", Err(late.clone())), ("a.example", Err(unknown))], [Ok(()), Ok(()), Err(none)]),
        (&[("10.0.0.1", Err(late.clone())), ("127.0.0.1", Err(taken))], [Err(none); 3]),
        (&[("10.0.0.1", Err(late)), ("a.example", Err(never))], [Err(none); 3]),
    ];
    for (works, expected) in table {
        let mut host = Host::new(works);
        host.start(&[works[0].0, works[1].0]);
        let found = [None, Some(true), Some(false)].map(|allow| host.places.enough(allow));
        assert_eq!(found, expected, "{works:?}");
    }
}

#[test]
fn what_nobody_asked_for_is_not_waited_for() {
    let mut host = Host::new(&[("::1", Err(Miss::NoAddress))]);
    let said = host.start(&[]);
    assert!(
        said.iter().any(|line| line.ends_with("this host has no such address (LISTEN in upsd.conf)")),
        "{said:?}"
    );
    assert_eq!((host.open_at(), host.places.wake_at()), (vec!["127.0.0.1"], None));
    // Without the other one it is.
    let mut host = Host::new(&[("::1", Err(Miss::NoAddress)), ("127.0.0.1", Err(Miss::NoAddress))]);
    host.start(&[]);
    assert_eq!((host.places.enough(None), host.tick_secs()), (Ok(()), Some(1)));
}

#[test]
fn what_cannot_change_is_not_tried_again() {
    let mut host = Host::new(&[("10.0.0.1", Err(Miss::Denied)), ("fe80::1", Err(Miss::WrongFamily))]);
    host.start(&["127.0.0.1", "10.0.0.1", "fe80::1"]);
    assert_eq!(host.places.wake_at(), None);
}

#[test]
fn a_reload_opens_what_is_new_and_closes_what_is_gone() {
    let mut host = Host::new(&[]);
    host.start(&["127.0.0.1", "10.0.0.1"]);
    assert_eq!(
        host.start(&["127.0.0.1", "10.0.0.2"]),
        ["no longer listening on 10.0.0.1 port 3493", "+10.0.0.2"]
    );
    assert_eq!(host.open_at(), ["127.0.0.1", "10.0.0.2"]);
    assert!(host.start(&["127.0.0.1", "10.0.0.2"]).is_empty());
    // Without LISTEN it is this host, where we are already.
    assert_eq!(host.start(&[]), ["no longer listening on 10.0.0.2 port 3493", "+::1"]);
    assert_eq!(host.open_at(), ["127.0.0.1", "::1"]);
}

#[test]
fn a_reload_that_leads_nowhere_leaves_the_old_listeners_until_it_leads_somewhere() {
    let mut host = Host::new(&[("10.0.0.9", Err(Miss::NoAddress))]);
    host.start(&["10.0.0.1"]);
    let said = host.start(&["10.0.0.9"]);
    assert!(said[0].starts_with("not listening on 10.0.0.9"), "{said:?}");
    assert!(said[1].contains("still listening where the old one said"), "{said:?}");
    assert_eq!(host.open_at(), ["10.0.0.1"]);
    assert!(host.step(1, Event::Tick).is_empty());
    host.now_works("10.0.0.9", Ok(()));
    assert_eq!(host.step(3, Event::Tick), ["+10.0.0.9", "no longer listening on 10.0.0.1 port 3493"]);
    assert_eq!((host.open_at(), host.places.wake_at()), (vec!["10.0.0.9"], None));
    // And back, before it came.
    host.now_works("10.0.0.7", Err(Miss::NoAddress));
    host.start(&["10.0.0.7"]);
    assert!(host.start(&["10.0.0.9"]).is_empty());
    assert_eq!((host.open_at(), host.places.wake_at()), (vec!["10.0.0.9"], None));
}

#[test]
fn our_own_old_listener_makes_room_for_the_new_one() {
    let mut host = Host::new(&[]);
    host.start(&["*"]);
    assert_eq!(
        host.start(&["127.0.0.1", "10.0.0.1"]),
        ["no longer listening on * port 3493", "+127.0.0.1", "+10.0.0.1"]
    );
    assert_eq!(
        host.start(&["*"]),
        ["no longer listening on 127.0.0.1 port 3493", "no longer listening on 10.0.0.1 port 3493", "+*"]
    );
    assert_eq!(host.open_at(), ["*"]);
}

#[test]
fn a_missing_one_is_tried_and_told_at_once_when_the_file_is_read_again() {
    let mut host = Host::new(&[("10.0.0.1", Err(Miss::NoAddress))]);
    host.start(&["127.0.0.1", "10.0.0.1"]);
    for at in [1, 3, 7] {
        host.step(at, Event::Tick);
    }
    let said = host.start(&["127.0.0.1", "10.0.0.1"]);
    assert!(said[0].starts_with("not listening on 10.0.0.1 port 3493"), "{said:?}");
    assert_eq!(host.tick_secs(), Some(1));
}

#[test]
fn a_name_that_is_no_longer_wanted_may_still_be_found() {
    let mut places = Places::default();
    let mut out = Vec::new();
    places.step(Moment::START, Event::Wanted(wanted(&conf(&["a.example"]), Family::Both)), &mut out);
    let Some(Action::Try(id, _)) = out.pop() else { panic!("it is tried") };
    places.step(Moment::START, Event::Wanted(Vec::new()), &mut out);
    places.step(Moment::START, Event::Opened(id), &mut out);
    assert_eq!(out, [Action::Close(id)]);
    out.clear();
    places.step(Moment::START, Event::Missed(id, Miss::NoAddress), &mut out);
    assert!(out.is_empty() && places.wake_at().is_none());
}

proptest! {
    /// Whatever is written into the file and whatever the network does: who could reach us can reach us, what is
    /// missing is tried again, and nothing is open that nobody asked for.
    #[test]
    fn no_reload_makes_us_unreachable(
        steps in prop::collection::vec((prop::collection::vec(0usize..5, 0..4), 0usize..5, any::<bool>()), 1..30)
    ) {
        const ADDRESSES: [&str; 5] = ["*", "127.0.0.1", "10.0.0.1", "10.0.0.2", "0.0.0.0"];
        let mut host = Host::new(&[]);
        host.start(&["127.0.0.1"]);
        for (secs, (listen, changed, works)) in (0..).map(|nth| nth * 10).zip(steps) {
            host.now_works(ADDRESSES[changed], if works { Ok(()) } else { Err(Miss::NoAddress) });
            let listen: Vec<&str> = listen.into_iter().map(|nth| ADDRESSES[nth]).collect();
            host.step(secs, Event::Wanted(wanted(&conf(&listen), Family::Both)));
            host.step(secs + 9, Event::Tick);
            prop_assert!(!host.open.is_empty());
            prop_assert!(host.places.is_any_open() && host.places.being_tried().is_empty());
            let places = wanted(&conf(&listen), Family::Both);
            let is_wanted = |address: &str| places.iter().any(|place| place.address == address);
            let open = host.open_at();
            if open.iter().any(|address| is_wanted(address)) {
                prop_assert!(open.iter().all(|address| is_wanted(address)), "{:?} {:?}", open, listen);
            }
            let is_missing = places.iter().any(|place| !open.contains(&place.address.as_str()) && !place.is_implied);
            prop_assert!(!is_missing || host.places.wake_at().is_some(), "{:?} {:?}", open, listen);
        }
    }
}
