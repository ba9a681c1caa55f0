//! One client: who it says it is, what it may, what it asked, and what it has not been answered yet.
//!
//! Pure: the server feeds it bytes; answers go straight into the buffer that is written to the socket.

use crate::answers;
use crate::common::Common;
use crate::events::{Action, ClientId, Outputs, UpsId};
use crate::notes::{Asker, Note};
use crate::old;
use crate::orders::{self, By, Halt, Pending};
use crate::proofs::Check;
use crate::throttle::Source;
use crate::upses::Login;
use crate::users::{Claim, Deed, Proof, Weighed};
use core::net::IpAddr;
use nut_proto::Moment;
use nut_proto::names::{Secret, UserName};
use nut_proto::net::old::{Of, OldRequest};
use nut_proto::net::{BadRequest, ErrCode, Request, Response};
use nut_proto::words::{Outcome, Tokenizer, Words, WordsError};
use std::time::Duration;

/// How long a client may say nothing: NUT's limit. Half lines do not count.
pub const IDLE: Duration = Duration::from_secs(60);

/// How much is answered at a stretch, in bytes, before the client must have taken it. One answer may go beyond.
pub const MAX_STRETCH: usize = 64 * 1024;

/// Most bytes of a client that wait to be read as requests. The shell stops reading long before.
pub const MAX_BACKLOG: usize = 256 * 1024;

/// Memory that each client may take for what it has said and is not answered, in bytes, without being counted
/// ([`Client::kept`]). A client's line is some 30 bytes long, and hardly ever cut in the middle.
pub const FREE: usize = 1024;

/// One client. An idle one is small: there may be tens of thousands.
#[derive(Debug)]
pub struct Client {
    id: ClientId,
    address: IpAddr,
    /// Counts the connections since the start; gives `LIST CLIENT` its order.
    number: u64,
    /// When the last whole line came.
    heard: Moment,
    /// Under which rules the address was last let in.
    admitted: u32,
    user: Option<UserName>,
    password: Option<Secret>,
    proof: Proof,
    login: Option<UpsId>,
    tracks: bool,
    encrypted: bool,
    /// It has asked in the words of NUT before 1.5.
    is_old: bool,
    half: Half,
    /// What came behind the last request that was worked on.
    backlog: Vec<u8>,
    pending: Option<Pending>,
    unproven: Option<Box<Unproven>>,
    leaving: bool,
}

/// A request that waits for the client's password to be checked.
#[derive(Debug)]
struct Unproven {
    request: Words,
    /// Among whom it waits.
    source: Source,
}

/// The line that has begun and is not whole yet.
#[derive(Debug)]
enum Half {
    None,
    /// Its words so far.
    Words(Box<Tokenizer>),
    /// It is broken: what follows up to the line feed is dropped.
    Broken,
}

/// How it goes on behind a request.
enum Flow {
    /// With the next one.
    On,
    /// When the driver has got the order.
    Wait(Pending),
    /// Encrypted: what came in clear behind the request is dropped, for it may be somebody else's.
    Encrypt,
    /// When the password has been checked.
    Prove,
    /// Not at all.
    Leave,
}

impl Client {
    /// A client that has just come in.
    #[must_use]
    pub fn new(id: ClientId, address: IpAddr, number: u64, now: Moment, admitted: u32) -> Self {
        Self {
            id,
            address,
            number,
            heard: now,
            admitted,
            user: None,
            password: None,
            proof: Proof::None,
            login: None,
            tracks: false,
            encrypted: false,
            is_old: false,
            half: Half::None,
            backlog: Vec::new(),
            pending: None,
            unproven: None,
            leaving: false,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// When it has been silent for too long, if it says nothing from now on.
    #[must_use]
    pub fn idle_at(&self) -> Moment {
        // NUT counts whole seconds and wants more than 60 of them; many clients poll once a minute.
        crate::deadlines::on_the_second(self.heard.after(IDLE + Duration::from_secs(1)))
    }

    /// Takes bytes as they came, and answers what can be answered.
    pub fn take(&mut self, now: Moment, bytes: &[u8], common: &mut Common, out: &mut Outputs) {
        if self.leaving {
            return;
        }
        if !self.waits() && self.backlog.is_empty() {
            return self.work(now, bytes, common, out);
        }
        if self.backlog.len() + bytes.len() > MAX_BACKLOG {
            out.notes.push(Note::TooSlow { from: self.address, untold: 0 });
            return self.leave(common, out);
        }
        self.backlog.extend_from_slice(bytes);
    }

    /// Everything that was answered so far has been taken: goes on with what waits.
    pub fn resume(&mut self, now: Moment, common: &mut Common, out: &mut Outputs) {
        if self.leaving || self.waits() || self.backlog.is_empty() {
            return;
        }
        let backlog = std::mem::take(&mut self.backlog);
        self.work(now, &backlog, common, out);
    }

    /// Memory that its half line and its waiting requests take, in bytes, beyond the [`FREE`] that everybody may have.
    #[must_use]
    pub fn kept(&self) -> usize {
        let half = match &self.half {
            Half::None | Half::Broken => 0,
            Half::Words(tokenizer) => size_of::<Tokenizer>() + tokenizer.memory(),
        };
        let waits = self.unproven.as_ref().map_or(0, |unproven| unproven.request.memory());
        half.saturating_add(waits).saturating_add(self.backlog.capacity()).saturating_sub(FREE)
    }

    /// The order it gave has reached the driver, or not: answers it, and goes on.
    pub fn sent(&mut self, now: Moment, sent: bool, common: &mut Common, out: &mut Outputs) {
        let Some(pending) = self.pending.take() else { return };
        let start = out.bytes.len();
        orders::answer(pending, sent, common, out);
        out.write(self.id, start);
        self.resume(now, common, out);
    }

    /// Whether a request is being worked on.
    fn waits(&self) -> bool {
        self.pending.is_some() || self.unproven.is_some()
    }

    /// What can be said of its password at once; nothing if it has not given both.
    #[must_use]
    pub fn weigh(&self, common: &Common) -> Option<Weighed> {
        Some(common.users.weigh(self.user.as_ref()?, self.password.as_ref()?))
    }

    /// What must be known to judge it when its password has been checked elsewhere.
    #[must_use]
    pub fn check(&self, common: &Common) -> Option<Check> {
        let (user, password) = (self.user.clone()?, self.password.clone()?);
        let source = self.unproven.as_ref()?.source.clone();
        let (stamp, is_known) = (common.users.stamp(&user), common.users.knows(&user));
        Some(Check { client: self.id, source, user, password, stamp, is_known })
    }

    /// Whether what is found out by the check holds for this client, too: it says it is the same user, with the same
    /// password.
    #[must_use]
    pub fn is_in_question(&self, check: &Check) -> bool {
        let same_user = self.user.as_ref() == Some(&check.user);
        same_user && self.password.as_ref().is_some_and(|password| password.is(check.password.reveal()))
    }

    /// Its password has been checked, with this outcome: goes on with the request that waits for it. If a reload has
    /// changed the user meanwhile, the request waits again.
    pub fn judged(&mut self, now: Moment, proof: Proof, common: &mut Common, out: &mut Outputs) {
        let Some(unproven) = self.unproven.take() else { return };
        common.proofs.leave(self.id, &unproven.source);
        self.believe(now, proof, &unproven.source, common, out);
        out.actions.push(Action::Release { client: self.id });
        let start = out.bytes.len();
        let flow = self.answer(now, &unproven.request, common, out);
        if matches!(flow, Flow::On | Flow::Leave | Flow::Encrypt) {
            out.write(self.id, start);
        }
        let rest = std::mem::take(&mut self.backlog);
        self.follow(flow, &rest, common, out);
    }

    /// Its password cannot be checked. It is not told that it is wrong: NUT's upsmon would not try again.
    pub fn unjudged(
        &mut self,
        note: impl FnOnce(Asker) -> Option<Note>,
        common: &mut Common,
        out: &mut Outputs,
    ) {
        if self.unproven.is_some() {
            out.notes.extend(note(self.asker()));
            self.leave(common, out);
        }
    }

    /// It is gone: nobody is logged in by it any more.
    pub fn gone(&mut self, common: &mut Common) {
        self.leaving = true;
        if let Some(unproven) = self.unproven.take() {
            common.proofs.leave(self.id, &unproven.source);
        }
        let ups = self.login.take().and_then(|ups| common.upses.get_mut(ups));
        if let Some(ups) = ups {
            ups.logins.remove(&self.number);
        }
    }

    fn leave(&mut self, common: &mut Common, out: &mut Outputs) {
        self.gone(common);
        self.backlog = Vec::new();
        self.half = Half::None;
        out.actions.push(Action::Finish { client: self.id });
    }

    fn work(&mut self, now: Moment, bytes: &[u8], common: &mut Common, out: &mut Outputs) {
        let mut tokenizer = match std::mem::replace(&mut self.half, Half::None) {
            Half::None => std::mem::take(&mut common.tokenizer),
            Half::Words(tokenizer) => *tokenizer,
            Half::Broken => {
                self.half = Half::Broken;
                std::mem::take(&mut common.tokenizer)
            }
        };
        let start = out.bytes.len();
        // How many bytes were written when it was last certain that they are for the client.
        let mut written = start;
        let mut done = 0;
        let mut flow = Flow::On;
        for byte in bytes {
            if !self.may_go_on(written - start, common) {
                break;
            }
            done += 1;
            if matches!(self.half, Half::Broken) {
                if *byte == b'\n' {
                    self.half = Half::None;
                }
                continue;
            }
            match tokenizer.push(*byte) {
                None => continue,
                Some(Outcome::Line) => {
                    self.heard = now;
                    flow = self.line(now, tokenizer.words(), common, out);
                }
                Some(Outcome::Broken(error)) => {
                    self.heard = now;
                    flow = self.broken(now, error, common, out);
                }
            }
            if !matches!(flow, Flow::On) {
                break;
            }
            written = out.bytes.len();
        }
        if matches!(flow, Flow::Leave | Flow::Encrypt) {
            written = out.bytes.len();
        }
        if written > start {
            out.actions.push(Action::Write { client: self.id, bytes: start..written });
        }
        if tokenizer.is_half() {
            // It may wait for its other half for a minute, and there may be tens of thousands.
            tokenizer.shrink();
            self.half = Half::Words(Box::new(tokenizer));
        } else {
            common.tokenizer = tokenizer;
        }
        self.follow(flow, bytes.get(done..).unwrap_or_default(), common, out);
    }

    /// Goes on as the last request says; `rest` came behind it.
    fn follow(&mut self, flow: Flow, rest: &[u8], common: &mut Common, out: &mut Outputs) {
        match flow {
            Flow::Leave => self.leave(common, out),
            Flow::Encrypt => {
                self.encrypted = true;
                out.actions.push(Action::Encrypt { client: self.id });
            }
            Flow::Wait(pending) => {
                self.pending = Some(pending);
                self.backlog = rest.to_vec();
            }
            Flow::Prove => {
                self.backlog = rest.to_vec();
                out.actions.push(Action::Hold { client: self.id });
            }
            Flow::On if rest.is_empty() => {}
            Flow::On => {
                self.backlog = rest.to_vec();
                out.actions.push(Action::Unfinished { client: self.id });
            }
        }
    }

    /// Whether another request may be worked on: the last answers must not be too much to write at once, and if it may
    /// need the id of an order, one must be at hand.
    fn may_go_on(&self, written: usize, common: &Common) -> bool {
        written < MAX_STRETCH && (!self.tracks || common.tracking.can_begin())
    }

    /// A line that is no words. One that is merely broken is not answered, as in NUT; one without end is the end.
    fn broken(&mut self, now: Moment, error: WordsError, common: &mut Common, out: &mut Outputs) -> Flow {
        if let Some(untold) = common.nonsense.count(now, self.address) {
            let reason = error.to_string();
            out.notes.push(Note::ClientNonsense { from: self.address, reason, untold });
        }
        match error {
            WordsError::BareHash => {
                self.half = Half::Broken;
                Flow::On
            }
            WordsError::TooLong => Flow::Leave,
        }
    }

    fn line(&mut self, now: Moment, words: &Words, common: &mut Common, out: &mut Outputs) -> Flow {
        if self.admitted != common.access_revision {
            if !common.access.admits(self.address) {
                out.notes.push(Note::Rejected { from: self.address, untold: 0 });
                Response::Err(ErrCode::AccessDenied).encode(&mut out.bytes);
                return Flow::Leave;
            }
            self.admitted = common.access_revision;
        }
        self.answer(now, words, common, out)
    }

    fn answer(&mut self, now: Moment, words: &Words, common: &mut Common, out: &mut Outputs) -> Flow {
        match self.request(now, words, common, out) {
            Ok(flow) => flow,
            Err(Halt::Answer(code)) => {
                Response::Err(code).encode(&mut out.bytes);
                Flow::On
            }
            Err(Halt::Unproven) => self.prove(now, words, common, out),
        }
    }

    /// Has the password checked, at once if it can be, and works on the request then from its beginning.
    fn prove(&mut self, now: Moment, request: &Words, common: &mut Common, out: &mut Outputs) -> Flow {
        let Some(user) = &self.user else { return Flow::On };
        let source = Source::new(self.address, common.users.knows(user).then_some(user));
        if common.proofs.is_open(now, &source)
            && let Some(Weighed::Known(right)) = self.weigh(common)
        {
            let stamp = common.users.stamp(user);
            let proof = if right { Proof::Right(stamp) } else { Proof::Wrong(stamp) };
            self.believe(now, proof, &source, common, out);
            return self.answer(now, request, common, out);
        }
        if common.proofs.wait(now, self.id, &source) {
            self.unproven = Some(Box::new(Unproven { request: request.clone(), source }));
            return Flow::Prove;
        }
        if let Some(untold) = common.proofs.turned_away.count(now, self.address) {
            out.notes.push(Note::TurnedAway { asker: self.asker(), untold });
        }
        Flow::Leave
    }

    fn believe(
        &mut self,
        now: Moment,
        proof: Proof,
        source: &Source,
        common: &mut Common,
        out: &mut Outputs,
    ) {
        self.proof = proof;
        if matches!(proof, Proof::Wrong(_))
            && let Some(untold) = common.proofs.failed(now, source, self.address)
        {
            out.notes.push(Note::Throttled { asker: self.asker(), untold });
        }
    }

    /// Works on one request. Whether a user is needed is asked before anything else, even before the number of words.
    fn request(
        &mut self,
        now: Moment,
        words: &Words,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<Flow, Halt> {
        let request = match Request::parse(words) {
            Ok(request) => request,
            Err(bad) => {
                if let BadRequest::Arguments(verb) = bad
                    && verb.needs_login()
                {
                    self.claim()?;
                }
                return match OldRequest::parse(words) {
                    Some(old) => self.old_request(old, bad.code(), now, common, out),
                    None => Err(bad.code().into()),
                };
            }
        };
        self.carry_out(request, now, common, out)
    }

    /// A request in the words of NUT before 1.5. Those that need a user are today's requests in other words.
    fn old_request(
        &mut self,
        old: OldRequest<'_>,
        today: ErrCode,
        now: Moment,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<Flow, Halt> {
        let first = old::first_ups(common);
        let ups = |of: &Of<'_>| of.ups.map_or_else(|| first.clone(), str::to_owned);
        match &old {
            OldRequest::Set { of, value } => {
                let var = nut_proto::net::old::variable(of.name).ok_or(today)?;
                self.is_old = true;
                self.carry_out(Request::SetVar { ups: &ups(of), var, value }, now, common, out)
            }
            OldRequest::InstCmd(of) => {
                let cmd = nut_proto::net::old::command(of.name).ok_or(today)?;
                self.is_old = true;
                self.carry_out(Request::InstCmd { ups: &ups(of), cmd, param: None }, now, common, out)
            }
            OldRequest::Login => {
                self.is_old = true;
                self.carry_out(Request::Login(&first), now, common, out)
            }
            OldRequest::Master => {
                self.is_old = true;
                self.carry_out(Request::Master(&first), now, common, out)
            }
            // A client of today that lost the name on the way must not stop the hosts of some other UPS.
            OldRequest::Fsd if !self.is_old => Err(today.into()),
            OldRequest::Fsd => self.carry_out(Request::Fsd(&first), now, common, out),
            asked => {
                self.is_old = true;
                if let Err(refusal) = old::answer(asked, common, &mut out.bytes) {
                    refusal.encode(&mut out.bytes);
                }
                Ok(Flow::On)
            }
        }
    }

    fn carry_out(
        &mut self,
        request: Request<'_>,
        now: Moment,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<Flow, Halt> {
        match request {
            Request::Get(get) => answers::get(get, self.tracks, now, common, &mut out.bytes)?,
            Request::List(list) => answers::list(list, common, &mut out.bytes)?,
            Request::Ver => answers::ver(&mut out.bytes),
            Request::NetVer | Request::ProtVer => answers::net_ver(&mut out.bytes),
            Request::Help => answers::help(&mut out.bytes),
            Request::StartTls => return Ok(self.start_tls(common, out)?),
            Request::Username(name) => self.set_user(name, now, common, out)?,
            Request::Password(password) => self.set_password(password, now, common, out)?,
            Request::Logout => {
                self.logout(common, out);
                return Ok(Flow::Leave);
            }
            Request::Login(ups) => self.log_in(ups, now, common, out)?,
            Request::Primary(ups) => {
                orders::primary(&self.by()?, ups, Response::OkPrimary, now, common, out)?;
            }
            Request::Master(ups) => {
                orders::primary(&self.by()?, ups, Response::OkMaster, now, common, out)?;
            }
            Request::Fsd(ups) => orders::fsd(&self.by()?, ups, now, common, out)?,
            Request::SetTracking(on) => {
                self.claim()?;
                self.tracks = on;
                Response::Ok.encode(&mut out.bytes);
            }
            Request::SetVar { ups, var, value } => {
                let pending = orders::set_var(&self.by()?, (ups, var, value), now, common, out)?;
                return Ok(Flow::Wait(pending));
            }
            Request::InstCmd { ups, cmd, param } => {
                let pending = orders::command(&self.by()?, (ups, cmd, param), now, common, out)?;
                return Ok(Flow::Wait(pending));
            }
        }
        Ok(Flow::On)
    }

    /// `STARTTLS`: the answer is the last that goes out in clear. Needs no user, and what was said before stays said.
    fn start_tls(&self, common: &Common, out: &mut Outputs) -> Result<Flow, ErrCode> {
        if self.encrypted {
            return Err(ErrCode::AlreadySslMode);
        }
        if !common.speaks_tls {
            return Err(ErrCode::FeatureNotConfigured);
        }
        Response::OkStartTls.encode(&mut out.bytes);
        Ok(Flow::Encrypt)
    }

    /// Who he says he is.
    fn claim(&self) -> Result<Claim<'_>, ErrCode> {
        let user = self.user.as_ref().ok_or(ErrCode::UsernameRequired)?;
        self.password.as_ref().ok_or(ErrCode::PasswordRequired)?;
        Ok(Claim { user, proof: self.proof, from: self.address })
    }

    fn by(&self) -> Result<By<'_>, ErrCode> {
        Ok(By { client: self.id, claim: self.claim()?, tracks: self.tracks })
    }

    fn asker(&self) -> Asker {
        Asker { user: self.user.clone(), from: self.address }
    }

    /// `USERNAME`: any text; judged when something is wanted that needs it.
    fn set_user(
        &mut self,
        name: &str,
        now: Moment,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<(), ErrCode> {
        if self.user.is_some() {
            if let Some(untold) = common.twice.username.count(now, self.address) {
                out.notes.push(Note::UsernameTwice(self.asker(), untold));
            }
            return Err(ErrCode::AlreadySetUsername);
        }
        self.user = Some(UserName::new(name));
        Response::Ok.encode(&mut out.bytes);
        Ok(())
    }

    /// `PASSWORD`: any text; judged when something is wanted that needs it.
    fn set_password(
        &mut self,
        password: &str,
        now: Moment,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<(), ErrCode> {
        if self.password.is_some() {
            if let Some(untold) = common.twice.password.count(now, self.address) {
                out.notes.push(Note::PasswordTwice(self.asker(), untold));
            }
            return Err(ErrCode::AlreadySetPassword);
        }
        self.password = Some(Secret::new(password));
        Response::Ok.encode(&mut out.bytes);
        Ok(())
    }

    /// `LOGIN`: from now on this connection counts as a host that the UPS feeds. The driver need not be there.
    fn log_in(
        &mut self,
        name: &str,
        now: Moment,
        common: &mut Common,
        out: &mut Outputs,
    ) -> Result<(), Halt> {
        let by = self.by()?;
        if self.login.is_some() {
            if let Some(untold) = common.twice.login.count(now, self.address) {
                out.notes.push(Note::LoginTwice(self.asker(), untold));
            }
            return Err(ErrCode::AlreadyLoggedIn.into());
        }
        let found = common.upses.find(name).ok_or(ErrCode::UnknownUps)?;
        orders::check(&by, Deed::Login, &|| format!("LOGIN {name}"), now, common, out)?;
        let ups = common.upses.get_mut(found).ok_or(ErrCode::UnknownUps)?;
        ups.logins.insert(self.number, Login { client: self.id, from: self.address });
        let (asker, encrypted) = (self.asker(), self.encrypted);
        out.notes.push(Note::LoggedIn { asker, ups: ups.name.clone(), encrypted });
        self.login = Some(found);
        Response::Ok.encode(&mut out.bytes);
        Ok(())
    }

    /// `LOGOUT` is final: what comes behind it is not read. (NUT, by a quirk, goes on if there is something.)
    fn logout(&self, common: &Common, out: &mut Outputs) {
        if let Some(ups) = self.login.and_then(|ups| common.upses.get(ups)) {
            let (asker, encrypted) = (self.asker(), self.encrypted);
            out.notes.push(Note::LoggedOut { asker, ups: ups.name.clone(), encrypted });
        }
        Response::OkGoodbye.encode(&mut out.bytes);
    }
}
