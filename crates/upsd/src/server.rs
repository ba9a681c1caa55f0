//! The server: what happened goes in, what is to be done comes out.
//!
//! Pure: no I/O, no clock, no log. [`crate::shell`] feeds it and carries out what it asks. One step touches whom it is
//! about and nobody else; what is due later waits in one heap, whatever the number of clients and UPSes.

use crate::access::Access;
use crate::client::Client;
use crate::common::{Common, Twice};
use crate::deadlines::{Deadlines, Due};
use crate::descriptions::Descriptions;
use crate::events::{Action, ClientId, Event, Outputs, UpsId};
use crate::hashing::Finding;
use crate::notes::Note;
use crate::proofs::Proofs;
use crate::repeats::Repeats;
use crate::settings::{Section, Settings, sections};
use crate::slab::Table;
use crate::tracking::Tracking;
use crate::upses::{Ups, Upses};
use crate::upstream::{Said, Turned};
use crate::users::{Proof, Users, Weighed};
use core::net::IpAddr;
use nut_proto::Moment;
use nut_proto::driver::ToDriver;
use nut_proto::names::UpsName;
use nut_proto::words::Tokenizer;
use std::collections::HashMap;
use std::time::Duration;

/// Connections kept free for this host itself when the others have taken all: its own upsmon must get through.
pub const RESERVED_FOR_LOCALHOST: usize = 16;

/// Most memory of all clients together for half lines and requests that wait, in bytes, beyond what each may have
/// ([`crate::client::FREE`]). Beyond this, whoever takes most of it is cut off.
pub const MAX_KEPT_OF_ALL: usize = 16 * 1024 * 1024;

/// All clients, all UPSes, and what connects them.
#[derive(Debug)]
pub struct Server {
    clients: Table<Client>,
    common: Common,
    deadlines: Deadlines,
    max_age: Duration,
    most_clients: usize,
    rejections: Repeats,
    /// Memory that clients take for what is not answered yet.
    kept: usize,
    /// Clients cut off because of that, to be logged.
    hoarders: Repeats,
    /// Connections so far.
    count: u64,
    said: Vec<Said>,
}

impl Server {
    /// A server with these settings. Its first [`Event::Tick`] is due at once: it connects the drivers.
    #[must_use]
    pub fn new(settings: Settings, now: Moment, out: &mut Outputs) -> Self {
        let common = Common {
            upses: Upses::default(),
            access: Access::default(),
            access_revision: 0,
            users: Users::default(),
            proofs: Proofs::default(),
            tracking: Tracking::default(),
            tracking_delay: Duration::ZERO,
            descriptions: Descriptions::default(),
            speaks_tls: false,
            twice: Twice::default(),
            denials: Repeats::default(),
            nonsense: Repeats::default(),
            tokenizer: Tokenizer::default(),
        };
        let mut server = Self {
            clients: Table::default(),
            common,
            deadlines: Deadlines::default(),
            max_age: Duration::ZERO,
            most_clients: 0,
            rejections: Repeats::default(),
            kept: 0,
            hoarders: Repeats::default(),
            count: 0,
            said: Vec::new(),
        };
        server.apply(now, settings, out);
        server
    }

    /// When the next [`Event::Tick`] is wanted.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        self.deadlines.next()
    }

    /// How many random bytes are wanted by [`Event::Random`]; 0 most of the time.
    #[must_use]
    pub fn wants_random(&self) -> usize {
        self.common.tracking.wants_random()
    }

    /// How many UPSes there are.
    #[must_use]
    pub fn ups_count(&self) -> usize {
        self.common.upses.len()
    }

    /// How many clients there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How much memory clients take for half lines and requests that wait: never more than [`MAX_KEPT_OF_ALL`].
    #[must_use]
    pub fn kept_of_clients(&self) -> usize {
        self.kept
    }

    /// Takes one event and appends what must now be done.
    pub fn step(&mut self, now: Moment, event: Event<'_>, out: &mut Outputs) {
        match event {
            Event::ClientBytes { client, bytes } => {
                self.with_client(now, client, out, |client, common, out| {
                    client.take(now, bytes, common, out);
                });
            }
            Event::DriverBytes { ups, bytes } => self.driver_said(now, ups, bytes, out),
            Event::ClientConnected { client, address } => self.admit(now, client, address, out),
            Event::ClientDrained { client } => {
                self.with_client(now, client, out, |client, common, out| client.resume(now, common, out));
            }
            Event::ClientGone { client } => self.forget(client),
            Event::OrderSent { client, sent } => {
                self.with_client(now, client, out, |client, common, out| client.sent(now, sent, common, out));
            }
            Event::DriverConnected { ups } => self.driver_connected(now, ups, out),
            Event::DriverGone { ups } => self.driver_gone(now, ups, out),
            Event::ConnectFailed { ups, path, error } => self.connect_failed(now, ups, (path, error), out),
            Event::Verified { client, finding } => self.verified(now, client, finding, out),
            Event::Tick => self.tick(now, out),
            Event::Random(bytes) => self.common.tracking.add_random(bytes),
            Event::Reload(settings) => self.apply(now, *settings, out),
        }
        if self.common.proofs.is_stirred() {
            self.check_passwords(now, out);
        }
    }

    /// Has the passwords checked whose turn it is: plain ones here and now, hashed ones one by one elsewhere.
    fn check_passwords(&mut self, now: Moment, out: &mut Outputs) {
        while let Some(id) = self.common.proofs.next(now) {
            let Some(client) = self.clients.get(id.0) else { continue };
            let (Some(check), Some(weighed)) = (client.check(&self.common), client.weigh(&self.common))
            else {
                continue;
            };
            match weighed {
                Weighed::Known(true) => self.judged(now, id, Proof::Right(check.stamp), out),
                Weighed::Known(false) => self.judged(now, id, Proof::Wrong(check.stamp), out),
                Weighed::Ask(hash) => {
                    let password = check.password.clone();
                    out.actions.push(Action::Verify { client: id, password, hash });
                    self.common.proofs.begin(check);
                }
            }
        }
        if let Some(at) = self.common.proofs.arm(now) {
            self.deadlines.set(at, Due::Proofs);
        }
    }

    /// A hash has been calculated: what came of it holds for all who gave the same name and password and wait.
    fn verified(&mut self, now: Moment, id: ClientId, finding: Finding, out: &mut Outputs) {
        let Some(check) = self.common.proofs.end(id) else { return };
        let proof = match finding {
            Finding::Right if check.is_known => Proof::Right(check.stamp),
            Finding::Right | Finding::Wrong => Proof::Wrong(check.stamp),
            Finding::Unable => {
                let untold = self.clients.get(id.0).map(Client::address);
                let untold = untold.and_then(|from| self.common.proofs.unable.count(now, from));
                let note = |asker| untold.map(|untold| Note::CannotCheck { asker, untold });
                self.with_client(now, id, out, |client, common, out| client.unjudged(note, common, out));
                return;
            }
        };
        if self.clients.get(id.0).is_none() && matches!(proof, Proof::Wrong(_)) {
            // Gone before the answer: it was a guess all the same.
            self.common.proofs.gone(now, &check.source);
        }
        let alike = self.common.proofs.waiting().filter(|one| {
            let client = self.clients.get(one.0);
            client.is_some_and(|client| client.is_in_question(&check))
        });
        let judged: Vec<ClientId> = std::iter::once(id).chain(alike).collect();
        for one in judged {
            self.judged(now, one, proof, out);
        }
        for one in self.common.proofs.trim(now, &check.source) {
            let Some(client) = self.clients.get(one.0) else { continue };
            let untold = self.common.proofs.turned_away.count(now, client.address());
            let note = |asker| untold.map(|untold| Note::TurnedAway { asker, untold });
            self.with_client(now, one, out, |client, common, out| client.unjudged(note, common, out));
        }
    }

    fn judged(&mut self, now: Moment, id: ClientId, proof: Proof, out: &mut Outputs) {
        self.with_client(now, id, out, |client, common, out| client.judged(now, proof, common, out));
    }

    /// Does something with a client, and counts what it keeps.
    fn with_client(
        &mut self,
        now: Moment,
        id: ClientId,
        out: &mut Outputs,
        work: impl FnOnce(&mut Client, &mut Common, &mut Outputs),
    ) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let before = client.kept();
        work(client, &mut self.common, out);
        self.kept = self.kept.saturating_sub(before).saturating_add(client.kept());
        while self.kept > MAX_KEPT_OF_ALL {
            self.cut_off_whoever_keeps_most(now, out);
        }
    }

    /// Each client is cut off once: whoever makes us look through all of them here pays for it with a connection.
    fn cut_off_whoever_keeps_most(&mut self, now: Moment, out: &mut Outputs) {
        let most = self.clients.iter().max_by_key(|(_, client)| client.kept());
        let Some((key, from)) = most.map(|(key, client)| (key, client.address())) else {
            self.kept = 0;
            return;
        };
        if let Some(untold) = self.hoarders.count(now, from) {
            out.notes.push(Note::Hoards { from, untold });
        }
        self.forget(ClientId(key));
        out.actions.push(Action::Close { client: ClientId(key) });
    }

    /// Lets a client in, or not.
    fn admit(&mut self, now: Moment, id: ClientId, address: IpAddr, out: &mut Outputs) {
        let clients = self.clients.len();
        let most = match address.to_canonical().is_loopback() {
            true => self.most_clients.saturating_add(RESERVED_FOR_LOCALHOST),
            false => self.most_clients,
        };
        let admitted = self.common.access.admits(address);
        if !admitted || clients >= most {
            out.actions.push(Action::Close { client: id });
            if let Some(untold) = self.rejections.count(now, address) {
                out.notes.push(match admitted {
                    false => Note::Rejected { from: address, untold },
                    true => Note::Full { from: address, clients, untold },
                });
            }
            return;
        }
        self.count += 1;
        let client = Client::new(id, address, self.count, now, self.common.access_revision);
        self.deadlines.set(client.idle_at(), Due::Client(id));
        if self.deadlines.len() > self.deadlines_kept() {
            self.deadlines.retain(|due| match due {
                Due::Client(one) => one == id || self.clients.get(one.0).is_some(),
                Due::Ups(_) | Due::Proofs => true,
            });
        }
        if let Some(mut stranger) = self.clients.insert(id.0, client) {
            // The shell gave its number away again without a word.
            self.kept = self.kept.saturating_sub(stranger.kept());
            stranger.gone(&mut self.common);
        }
    }

    /// How many deadlines are kept before those of clients that are gone are cleared away: clearing must be rare.
    fn deadlines_kept(&self) -> usize {
        let alive = self.clients.len().saturating_add(self.common.upses.len());
        alive.saturating_mul(2).saturating_add(1_000)
    }

    fn forget(&mut self, id: ClientId) {
        if let Some(mut client) = self.clients.remove(id.0) {
            self.kept = self.kept.saturating_sub(client.kept());
            client.gone(&mut self.common);
        }
    }

    fn driver_connected(&mut self, now: Moment, id: UpsId, out: &mut Outputs) {
        let Some(ups) = self.common.upses.get_mut(id) else {
            // Deleted while the shell was connecting.
            out.actions.push(Action::Disconnect { ups: id });
            return;
        };
        ups.upstream.connected(now);
        out.notes.push(Note::Connected { ups: ups.name.clone(), socket: ups.socket.clone() });
        out.tell(id, &ToDriver::DumpAll, None);
        self.arm(id);
    }

    fn driver_gone(&mut self, now: Moment, id: UpsId, out: &mut Outputs) {
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        if ups.upstream.is_up() {
            out.notes.push(Note::Disconnected { ups: ups.name.clone() });
        }
        ups.upstream.lost(now);
        self.arm(id);
    }

    fn connect_failed(&mut self, now: Moment, id: UpsId, (path, error): (&str, &str), out: &mut Outputs) {
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        if ups.upstream.refused(now) {
            out.notes.push(Note::CannotConnect {
                ups: ups.name.clone(),
                socket: path.to_owned(),
                error: error.to_owned(),
            });
        }
        self.arm(id);
    }

    fn driver_said(&mut self, now: Moment, id: UpsId, bytes: &[u8], out: &mut Outputs) {
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        let mut said = std::mem::take(&mut self.said);
        ups.upstream.take(now, bytes, &mut said);
        let name = &ups.name;
        for one in said.drain(..) {
            match one {
                Said::Broken { reason, count } => {
                    out.notes.push(Note::DriverNonsense { ups: name.clone(), reason, count });
                }
                Said::Judged { id: text, judgement } => {
                    if let Some(order) = self.common.tracking.ended(id, &text, judgement) {
                        let mut result = Vec::new();
                        crate::answers::end_of_order(judgement).encode(&mut result);
                        let result = String::from_utf8_lossy(result.trim_ascii()).into_owned();
                        out.notes.push(Note::Ended { id: order.to_string(), result });
                    }
                }
            }
        }
        self.said = said;
        note_turn(ups.upstream.judge(now, self.max_age), &ups.name, out);
        self.arm(id);
    }

    fn tick(&mut self, now: Moment, out: &mut Outputs) {
        while let Some((at, due)) = self.deadlines.pop(now) {
            match due {
                Due::Client(id) => self.look_at_client(now, id, out),
                Due::Ups(id) => self.look_at_ups(now, at, id, out),
                Due::Proofs => self.common.proofs.woken(at),
            }
        }
    }

    fn look_at_client(&mut self, now: Moment, id: ClientId, out: &mut Outputs) {
        let Some(idle_at) = self.clients.get(id.0).map(Client::idle_at) else { return };
        if idle_at > now {
            self.deadlines.set(idle_at, Due::Client(id));
            return;
        }
        self.forget(id);
        out.actions.push(Action::Close { client: id });
    }

    fn look_at_ups(&mut self, now: Moment, at: Moment, id: UpsId, out: &mut Outputs) {
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        if ups.armed != Some(at) {
            // An earlier deadline has taken this one's place.
            return;
        }
        ups.armed = None;
        let wanted = ups.upstream.tick(now, self.max_age);
        note_turn(wanted.turned, &ups.name, out);
        if wanted.connect {
            out.actions.push(Action::Connect { ups: id, socket: ups.socket.clone() });
        }
        if wanted.ping {
            out.tell(id, &ToDriver::Ping, None);
        }
        self.arm(id);
    }

    /// Sets the UPS' next deadline, unless an earlier one is set: then that one sets the next.
    fn arm(&mut self, id: UpsId) {
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        let Some(next) = ups.upstream.next_deadline(self.max_age) else { return };
        if ups.armed.is_none_or(|armed| next < armed) {
            ups.armed = Some(next);
            self.deadlines.set(next, Due::Ups(id));
        }
    }

    /// Puts settings in force: at the start and at each reload (upsd §10).
    fn apply(&mut self, now: Moment, settings: Settings, out: &mut Outputs) {
        let Settings { upsd, ups, users, descriptions, speaks_tls, most_clients } = settings;
        self.max_age = upsd.max_age;
        self.most_clients = most_clients;
        self.common.tracking_delay = upsd.tracking_delay;
        self.common.access = Access::new(&upsd);
        self.common.access_revision = self.common.access_revision.wrapping_add(1);
        self.common.users = self.common.users.followed_by(&users);
        self.common.descriptions = descriptions;
        self.common.speaks_tls = speaks_tls;

        let wanted = sections(&ups, out);
        let mut new = Vec::new();
        for one in &wanted {
            match self.common.upses.find(one.name.as_str()) {
                None => {
                    let (name, socket) = (one.name.clone(), one.socket.clone());
                    new.push(Ups::new(name, one.description.clone(), socket, now));
                }
                Some(id) => self.redefine(now, id, one, out),
            }
        }
        self.common.upses.add_in_front(new);
        let named: HashMap<String, ()> =
            wanted.iter().map(|one| (one.name.as_str().to_ascii_lowercase(), ())).collect();
        let gone: Vec<UpsId> = self
            .common
            .upses
            .ids()
            .iter()
            .copied()
            .filter(|id| {
                let name = self.common.upses.get(*id).map(|ups| ups.name.as_str().to_ascii_lowercase());
                name.is_some_and(|name| !named.contains_key(&name))
            })
            .collect();
        let had_some = !gone.is_empty();
        for id in gone {
            self.delete(id, out);
        }
        if had_some && self.common.upses.is_empty() {
            out.notes.push(Note::NoUps);
        }
        for id in self.common.upses.ids().to_vec() {
            self.arm(id);
        }
    }

    fn redefine(&mut self, now: Moment, id: UpsId, wanted: &Section, out: &mut Outputs) {
        self.common.upses.describe(id, wanted.description.as_deref());
        let Some(ups) = self.common.upses.get_mut(id) else { return };
        if ups.socket == wanted.socket {
            return;
        }
        ups.redefine(&wanted.socket, now);
        out.notes.push(Note::Redefined { ups: ups.name.clone() });
        out.actions.push(Action::Disconnect { ups: id });
    }

    fn delete(&mut self, id: UpsId, out: &mut Outputs) {
        let Some(ups) = self.common.upses.remove(id) else { return };
        out.notes.push(Note::Deleting { ups: ups.name.clone() });
        out.actions.push(Action::Disconnect { ups: id });
        for login in ups.logins.values() {
            out.notes.push(Note::Kicking { from: login.from, ups: ups.name.clone() });
            out.actions.push(Action::Close { client: login.client });
            self.forget(login.client);
        }
    }
}

fn note_turn(turned: Option<Turned>, ups: &UpsName, out: &mut Outputs) {
    match turned {
        Some(Turned::Stale) => out.notes.push(Note::Stale { ups: ups.clone() }),
        Some(Turned::Fresh) => out.notes.push(Note::Fresh { ups: ups.clone() }),
        None => {}
    }
}

#[cfg(test)]
mod tests;
