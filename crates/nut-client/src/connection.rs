//! A connection to `upsd`: TCP, deadlines, logging in, saying goodbye.

mod lookup;
mod stream;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use nut_os::clock::{self, Alarm};
use nut_proto::Moment;
use nut_proto::names::{Secret, Server};
pub use nut_proto::net::Role;
use nut_proto::net::{ErrCode, Request};
use tokio::net::TcpStream;
use tracing::{debug, trace};

use crate::dialog::{Answer, Dialog, Refusal, Standing};
use crate::error::ClientError;
use crate::security::Security;
pub use lookup::Lookup;
pub use stream::Stream;

/// How long to look up a name and to try its addresses, all together. NUT 2.8.3's default.
pub const CONNECT: Duration = Duration::from_secs(10);

/// How long to wait for the next piece of an answer. NUT's, and not configurable there.
pub const READ: Duration = Duration::from_secs(5);

/// How long an answer may take as a whole: a server that sends one byte every four seconds is as good as silent.
pub const ANSWER: Duration = Duration::from_secs(30);

/// How long [`Connection::close`] waits for the server's goodbye.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes read at once.
const CHUNK: usize = 4096;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking up the name and trying its addresses, all together; default [`CONNECT`]. Without one the kernel decides
    /// (some two minutes an address).
    pub connect: Option<Duration>,
    /// The next piece of an answer, and sending a question; default [`READ`].
    pub read: Duration,
    /// One answer as a whole; default [`ANSWER`].
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Some(CONNECT), read: READ, answer: ANSWER }
    }
}

/// Which addresses of a host to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// All, in the order the resolver gives them.
    #[default]
    Any,
    /// IPv4 alone (`-4`).
    V4,
    /// IPv6 alone (`-6`).
    V6,
}

impl Family {
    fn admits(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// The steps of logging in, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `USERNAME`.
    Username,
    /// `PASSWORD`.
    Password,
    /// `LOGIN`. A wrong name or password shows only here.
    Login,
    /// `PRIMARY`, or `MASTER` if the server does not know that word. When this fails, the login before it stands.
    Primary,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "USERNAME",
            Self::Password => "PASSWORD",
            Self::Login => "LOGIN",
            Self::Primary => "PRIMARY",
        })
    }
}

/// How logging in ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// All that was asked for.
    Granted,
    /// The server said no at this step; the connection is still good for questions.
    Refused {
        /// Where it ended.
        step: Step,
        /// What the server said.
        refusal: Refusal,
    },
}

/// A connection to one server, with at most one caller at a time.
///
/// Dropping a future of it (as in `select!`) drops the connection: what would come back could no longer be told apart.
/// The next question then fails as [`ClientError::Disconnected`]. Dropping the connection closes it without a word.
pub struct Connection {
    server: Server,
    address: SocketAddr,
    /// Nothing while a question is out, and after any error.
    stream: Option<Stream>,
    dialog: Dialog,
    deadlines: Deadlines,
    alarm: Alarm,
    chunk: Box<[u8]>,
}

impl Connection {
    /// Looks up the host and connects to the first of its addresses that answers.
    ///
    /// A resolver that cannot say now (`EAI_AGAIN`) is a failure like any other; NUT asks it again forever. A look-up
    /// that outlives the deadline goes on in a thread: who ends a runtime should not wait for it
    /// (`Runtime::shutdown_background`), and who tries again should [keep](Self::open_again) the [`Lookup`].
    ///
    /// Each address gets an even share of the time that is left, so that one that swallows packets does not use it up.
    /// Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`ClientError::NoSuchHost`] without an address, [`ClientError::Connect`] with the last address's reason.
    pub async fn open(server: &Server, deadlines: Deadlines, family: Family) -> Result<Self, ClientError> {
        Self::open_again(server, deadlines, family, &mut Lookup::new()).await
    }

    /// As [`open`](Self::open), for who does so again and again.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_again(
        server: &Server,
        deadlines: Deadlines,
        family: Family,
        lookup: &mut Lookup,
    ) -> Result<Self, ClientError> {
        let mut alarm = Alarm::new().map_err(|error| ClientError::connect(&error))?;
        let end = deadlines.connect.map(|wait| clock::now() + wait);
        let mut addresses = lookup.addresses(server, &mut alarm, end).await;
        addresses.retain(|address| family.admits(address));
        let mut failure = ClientError::NoSuchHost;
        for (nth, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - nth).unwrap_or(u32::MAX);
            let now = clock::now();
            let share = end.map(|end| now + end.since(now) / left);
            match by(&mut alarm, share, TcpStream::connect(address)).await {
                Some(Ok(stream)) => {
                    // Without it a question waits for the acknowledgement of the one before; it works all the same.
                    let _ = stream.set_nodelay(true);
                    debug!(%server, %address, "connected");
                    return Ok(Self {
                        server: server.clone(),
                        address: *address,
                        stream: Some(Stream::Clear(stream)),
                        dialog: Dialog::new(),
                        deadlines,
                        alarm,
                        chunk: vec![0; CHUNK].into(),
                    });
                }
                Some(Err(error)) => failure = ClientError::connect(&error),
                None => failure = ClientError::connect(&std::io::ErrorKind::TimedOut.into()),
            }
            debug!(%server, %address, %failure, "not connected");
        }
        Err(failure)
    }

    /// Connects as NUT's tools do: to any address, by TLS if the server speaks it, whatever its certificate.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`secure`](Self::secure).
    pub async fn reach(server: &Server, deadlines: Deadlines) -> Result<Self, ClientError> {
        let mut connection = Self::open(server, deadlines, Family::Any).await?;
        connection.secure(&Security::attempt()?).await?;
        Ok(connection)
    }

    /// Goes on encrypted, if the server can; says whether it does. To be called first of all: what was said before is
    /// forgotten.
    ///
    /// # Errors
    /// [`ClientError::NoTls`] if it must and cannot, [`ClientError::Tls`] if the handshake fails (there is no way back
    /// to clear text), and as [`ask`](Self::ask).
    pub async fn secure(&mut self, security: &Security) -> Result<bool, ClientError> {
        match self.ask(Request::StartTls).await? {
            Answer::Ok => {}
            _ if security.is_demanded => {
                self.stream = None;
                return Err(ClientError::NoTls);
            }
            _ => return Ok(false),
        }
        let Some(Stream::Clear(stream)) = self.stream.take() else { return Err(ClientError::Disconnected) };
        let by_then = Some(clock::now() + self.deadlines.read);
        let shaking = Stream::encrypted(stream, security.config.clone());
        match by(&mut self.alarm, by_then, shaking).await {
            Some(Ok(stream)) => {
                debug!(server = %self.server, "encrypted");
                // What came in clear behind the answer may be somebody else's.
                self.dialog = Dialog::new();
                self.stream = Some(stream);
                Ok(true)
            }
            Some(Err(error)) => Err(ClientError::tls(&error)),
            None => Err(ClientError::tls(&std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Asks one question and waits for its answer.
    ///
    /// # Errors
    /// [`ClientError`]; afterwards the connection is closed. `ERR …` is an answer: [`Answer::Refused`].
    pub async fn ask(&mut self, request: Request<'_>) -> Result<Answer, ClientError> {
        let mut answers = self.ask_all(&[request]).await?;
        answers.pop().ok_or(ClientError::Disconnected)
    }

    /// Asks several questions at once, in one write, and waits for their answers, which come in the same order.
    ///
    /// Meant for a handful: nothing is read before all is sent.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); then no answer is given, not even those that had come.
    pub async fn ask_all(&mut self, requests: &[Request<'_>]) -> Result<Vec<Answer>, ClientError> {
        let mut stream = self.stream.take().ok_or(ClientError::Disconnected)?;
        self.expect_silence(&mut stream)?;
        let mut question = Vec::new();
        for request in requests {
            trace!(server = %self.server, question = request.verb().as_str(), "asked");
            question.extend(self.dialog.ask(request));
        }
        let start = clock::now();
        let end = start + self.deadlines.answer;
        match by(&mut self.alarm, Some(start + self.deadlines.read), stream.write_all(&question)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(ClientError::write(&error)),
            None => return Err(ClientError::Disconnected),
        }
        let mut answers = Vec::with_capacity(requests.len());
        let mut received = 0;
        while answers.len() < requests.len() {
            match self.dialog.take(self.chunk.get(..received).unwrap_or_default())? {
                Some(answer) => {
                    received = 0;
                    answers.push(answer);
                    continue;
                }
                None => {
                    let patience = end.min(clock::now() + self.deadlines.read);
                    received = self.read(&mut stream, patience).await?;
                }
            }
        }
        self.stream = Some(stream);
        Ok(answers)
    }

    /// Gives name and password, as far as they have not been taken yet. `upsd` says `OK` to any; a wrong pair shows at the
    /// first order that needs it.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn authenticate(&mut self, user: &str, password: &Secret) -> Result<Login, ClientError> {
        let standing = self.dialog.standing();
        let steps = [
            (Step::Username, Request::Username(user), standing.user.is_some()),
            (Step::Password, Request::Password(password.reveal()), standing.has_password),
        ];
        for (step, request, is_taken) in steps {
            if !is_taken && let Some(refusal) = self.order(request).await? {
                return Ok(Login::Refused { step, refusal });
            }
        }
        Ok(Login::Granted)
    }

    /// Gives name and password and logs in to a UPS; a primary also asks for the right to command its shutdown.
    ///
    /// What has been granted on this connection before is not asked for again, so that a login that ended half-way can
    /// be tried again.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn login(
        &mut self,
        user: &str,
        password: &Secret,
        ups: &str,
        role: Role,
    ) -> Result<Login, ClientError> {
        let login = self.authenticate(user, password).await?;
        if login != Login::Granted {
            return Ok(login);
        }
        if self.dialog.standing().logged_in_to.is_none()
            && let Some(refusal) = self.order(Request::Login(ups)).await?
        {
            return Ok(Login::Refused { step: Step::Login, refusal });
        }
        if role == Role::Secondary || self.dialog.standing().primary_of.is_some() {
            return Ok(Login::Granted);
        }
        let Some(first) = self.order(Request::Primary(ups)).await? else {
            return Ok(Login::Granted);
        };
        // A server before 2.8 knows only this word for it.
        let Some(second) = self.order(Request::Master(ups)).await? else {
            return Ok(Login::Granted);
        };
        let refusal = if second.is(ErrCode::UnknownCommand) { first } else { second };
        Ok(Login::Refused { step: Step::Primary, refusal })
    }

    /// The bytes alone, for who holds the [`Dialog`] himself; nothing if the connection is closed. To be taken before
    /// anything but [`secure`](Self::secure) was asked.
    #[must_use]
    pub fn into_stream(self) -> Option<Stream> {
        self.stream
    }

    /// Whether the next question can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Who we are to the server; nobody once the connection is closed.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.is_open() { self.dialog.standing().clone() } else { Standing::default() }
    }

    /// The server as it was named.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The address that took the connection.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What had come of a list when the connection broke.
    pub fn unfinished(&mut self) -> Option<Answer> {
        self.dialog.unfinished()
    }

    /// Says `LOGOUT`, waits at most [`GOODBYE`] for the answer, and closes.
    pub async fn close(mut self) {
        self.deadlines = Deadlines { connect: None, read: GOODBYE, answer: GOODBYE };
        // Whatever comes back, or nothing: the connection is over.
        let _ = self.ask(Request::Logout).await;
    }

    /// Sends an order; gives the refusal, if it was refused.
    async fn order(&mut self, request: Request<'_>) -> Result<Option<Refusal>, ClientError> {
        match self.ask(request).await? {
            Answer::Refused(refusal) => Ok(Some(refusal)),
            _ => Ok(None),
        }
    }

    /// Notices a server that has hung up since, or that speaks unasked, before a question is wasted on it.
    fn expect_silence(&mut self, stream: &mut Stream) -> Result<(), ClientError> {
        match stream.try_read(&mut self.chunk) {
            Ok(0) => Err(ClientError::Disconnected),
            Ok(count) => {
                let said = self.chunk.get(..count).unwrap_or_default();
                self.dialog.take(said)?;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(ClientError::read(&error)),
        }
    }

    async fn read(&mut self, stream: &mut Stream, patience: Moment) -> Result<usize, ClientError> {
        match by(&mut self.alarm, Some(patience), stream.read(&mut self.chunk)).await {
            Some(Ok(0)) | None => Err(ClientError::Disconnected),
            Some(Ok(count)) => Ok(count),
            Some(Err(error)) => Err(ClientError::read(&error)),
        }
    }
}

/// Without what was said: answers may be long.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server)
            .field("address", &self.address)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// The work's result, or nothing if it is not there by this moment.
async fn by<T>(alarm: &mut Alarm, moment: Option<Moment>, work: impl Future<Output = T>) -> Option<T> {
    alarm.set(moment);
    tokio::select! {
        biased;
        done = work => Some(done),
        () = alarm.fired() => None,
    }
}

#[cfg(test)]
mod tests;
