//! The UPSes upsd serves: found by name without case, listed in NUT's order, each with its driver and who depends on
//! it.

use crate::events::{ClientId, UpsId};
use crate::slab::Slab;
use crate::upstream::Upstream;
use core::net::IpAddr;
use nut_proto::Moment;
use nut_proto::names::UpsName;
use std::collections::{BTreeMap, HashMap};

/// One UPS.
#[derive(Debug)]
pub struct Ups {
    /// Its name, as first spelled.
    pub name: UpsName,
    /// `desc` in ups.conf.
    pub description: Option<String>,
    /// The file name of its driver's socket.
    pub socket: String,
    /// Its driver.
    pub upstream: Upstream,
    /// Somebody said `FSD`. Stays until the UPS is taken out of ups.conf, or upsd ends.
    pub forced: bool,
    /// The connections that stand for a host it feeds, by the order they came in.
    pub logins: BTreeMap<u64, Login>,
    /// The deadline that is set for it.
    pub armed: Option<Moment>,
    /// `LIST VAR` as last written.
    listed: Option<Listed>,
}

/// A connection that stands for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Which.
    pub client: ClientId,
    /// Where the host is.
    pub from: IpAddr,
}

#[derive(Debug)]
struct Listed {
    revision: u64,
    forced: bool,
    spelling: Box<str>,
    text: Vec<u8>,
}

/// Longest `LIST VAR` of a UPS that is kept, and longest `LIST UPS`, in bytes.
const KEEP_LISTED: usize = 65_536;

impl Ups {
    /// A UPS nothing is known of yet.
    #[must_use]
    pub fn new(name: UpsName, description: Option<String>, socket: String, now: Moment) -> Self {
        Self {
            name,
            description,
            socket,
            upstream: Upstream::new(now),
            forced: false,
            logins: BTreeMap::new(),
            armed: None,
            listed: None,
        }
    }

    /// Another driver serves it from now on: nothing of what the former told counts.
    pub fn redefine(&mut self, socket: &str, now: Moment) {
        socket.clone_into(&mut self.socket);
        self.upstream = Upstream::new(now);
        // The new driver's revisions begin at 0 again, and must not meet a list of the former's.
        self.listed = None;
    }

    /// What `render` last wrote for this spelling of the name, if nothing has changed since; else what it writes now.
    pub fn listed(&mut self, spelling: &str, out: &mut Vec<u8>, render: impl FnOnce(&Self, &mut Vec<u8>)) {
        let revision = self.upstream.revision();
        let kept = self.listed.as_ref().filter(|kept| {
            kept.revision == revision && kept.forced == self.forced && *kept.spelling == *spelling
        });
        if let Some(kept) = kept {
            out.extend_from_slice(&kept.text);
            return;
        }
        let start = out.len();
        render(self, out);
        let Some(text) = out.get(start..).filter(|text| text.len() <= KEEP_LISTED) else {
            self.listed = None;
            return;
        };
        let forced = self.forced;
        match &mut self.listed {
            Some(kept) if *kept.spelling == *spelling => {
                kept.text.clear();
                kept.text.extend_from_slice(text);
                (kept.revision, kept.forced) = (revision, forced);
            }
            kept => {
                *kept = Some(Listed { revision, forced, spelling: spelling.into(), text: text.to_vec() });
            }
        }
    }
}

/// All UPSes.
#[derive(Debug, Default)]
pub struct Upses {
    slab: Slab<Ups>,
    /// By name in lower case.
    by_name: HashMap<Box<str>, UpsId>,
    order: Vec<UpsId>,
    /// `LIST UPS` as last written; empty if something has changed since.
    listed: Vec<u8>,
}

impl Upses {
    /// The UPS of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<UpsId> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_name.get(name.to_ascii_lowercase().as_str()).copied()
        } else {
            self.by_name.get(name).copied()
        }
    }

    /// The UPS of this id.
    #[must_use]
    pub fn get(&self, id: UpsId) -> Option<&Ups> {
        self.slab.get(id.0)
    }

    /// The UPS of this id.
    pub fn get_mut(&mut self, id: UpsId) -> Option<&mut Ups> {
        self.slab.get_mut(id.0)
    }

    /// What ups.conf says of it now.
    pub fn describe(&mut self, id: UpsId, description: Option<&str>) {
        self.listed = Vec::new();
        if let Some(ups) = self.get_mut(id) {
            ups.description = description.map(str::to_owned);
        }
    }

    /// What `render` last wrote, if no UPS has come, gone or been described anew since; else what it writes now.
    pub fn listed(&mut self, out: &mut Vec<u8>, render: impl FnOnce(&Self, &mut Vec<u8>)) {
        if !self.listed.is_empty() {
            out.extend_from_slice(&self.listed);
            return;
        }
        let start = out.len();
        render(self, out);
        if let Some(text) = out.get(start..).filter(|text| text.len() <= KEEP_LISTED) {
            self.listed = text.to_vec();
        }
    }

    /// Adds UPSes whose names are new: before those that are there, in this order.
    pub fn add_in_front(&mut self, upses: Vec<Ups>) -> Vec<UpsId> {
        self.listed = Vec::new();
        let mut added = Vec::with_capacity(upses.len());
        for ups in upses {
            let name = ups.name.as_str().to_ascii_lowercase().into_boxed_str();
            let id = UpsId(self.slab.insert(ups));
            self.by_name.insert(name, id);
            added.push(id);
        }
        self.order.splice(0..0, added.iter().copied());
        added
    }

    /// Takes a UPS out.
    pub fn remove(&mut self, id: UpsId) -> Option<Ups> {
        let ups = self.slab.remove(id.0)?;
        self.listed = Vec::new();
        self.by_name.remove(ups.name.as_str().to_ascii_lowercase().as_str());
        self.order.retain(|one| *one != id);
        Some(ups)
    }

    /// The ids in the order of `LIST UPS`.
    #[must_use]
    pub fn ids(&self) -> &[UpsId] {
        &self.order
    }

    /// All, in the order of `LIST UPS`.
    pub fn iter(&self) -> impl Iterator<Item = &Ups> {
        self.order.iter().filter_map(|id| self.get(*id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ups(name: &str) -> Ups {
        Ups::new(name.parse().unwrap(), None, format!("dummy-{name}"), Moment::START)
    }

    fn names(upses: &Upses) -> Vec<&str> {
        upses.iter().map(|ups| ups.name.as_str()).collect()
    }

    #[test]
    fn names_have_no_case_and_new_ones_come_first() {
        let mut upses = Upses::default();
        upses.add_in_front(vec![ups("Apc1"), ups("b")]);
        let new = upses.add_in_front(vec![ups("x"), ups("y")]);
        assert_eq!(names(&upses), ["x", "y", "Apc1", "b"]);
        assert_eq!(upses.find("X"), Some(new[0]));
        assert!(upses.find("aPC1").is_some() && upses.find("apc1").is_some() && upses.find("apc").is_none());
        upses.remove(new[0]);
        assert_eq!((names(&upses), upses.find("x"), upses.len()), (vec!["y", "Apc1", "b"], None, 3));
        assert!(upses.get(new[0]).is_none());
    }

    #[test]
    fn the_list_of_all_is_kept_until_one_comes_goes_or_is_described_anew() {
        let mut upses = Upses::default();
        let asked = |upses: &mut Upses, text: &str| {
            let mut out = b"before ".to_vec();
            upses.listed(&mut out, |_, out| out.extend_from_slice(text.as_bytes()));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(asked(&mut upses, "first"), "before first");
        assert_eq!(asked(&mut upses, "second"), "before first");
        let id = upses.add_in_front(vec![ups("a")])[0];
        assert_eq!(asked(&mut upses, "third"), "before third");
        upses.describe(id, Some("in the cellar"));
        assert_eq!(asked(&mut upses, "fourth"), "before fourth");
        assert_eq!(upses.get(id).unwrap().description.as_deref(), Some("in the cellar"));
        upses.remove(id);
        assert_eq!(asked(&mut upses, "fifth"), "before fifth");
        assert_eq!(asked(&mut upses, "sixth"), "before fifth");
        upses.add_in_front(vec![ups("b")]);
        let long = "x".repeat(KEEP_LISTED + 1);
        assert_eq!(asked(&mut upses, &long), format!("before {long}"));
        assert_eq!(asked(&mut upses, "seventh"), "before seventh");
    }

    #[test]
    fn a_list_is_kept_until_something_changes() {
        let mut one = ups("a");
        one.upstream.connected(Moment::START);
        let asked = |one: &mut Ups, spelling: &str, text: &str| {
            let mut out = b"before ".to_vec();
            one.listed(spelling, &mut out, |_, out| out.extend_from_slice(text.as_bytes()));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(asked(&mut one, "a", "first"), "before first");
        assert_eq!(asked(&mut one, "a", "second"), "before first");
        assert_eq!(asked(&mut one, "A", "third"), "before third");
        assert_eq!(asked(&mut one, "a", "fourth"), "before fourth");
        one.upstream.take(Moment::START, b"SETINFO ups.status \"OL\"\n", &mut Vec::new());
        assert_eq!(asked(&mut one, "a", "fifth"), "before fifth");
        one.upstream.take(Moment::START, b"SETINFO ups.status \"ol\"\nPONG\n", &mut Vec::new());
        assert_eq!(asked(&mut one, "a", "sixth"), "before fifth", "nothing has changed");
        one.forced = true;
        assert_eq!(asked(&mut one, "a", "seventh"), "before seventh");
        one.upstream.lost(Moment::START);
        assert_eq!(asked(&mut one, "a", "eighth"), "before eighth");
        let long = "x".repeat(KEEP_LISTED + 1);
        assert_eq!(asked(&mut one, "A", &long), format!("before {long}"));
        assert_eq!(asked(&mut one, "A", "ninth"), "before ninth");
    }
}
