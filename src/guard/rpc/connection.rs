//! A connection: who is at its other end, and whether it may stay.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{AUTHORIZATION, HeaderMap};
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::identity::{Denied, Known};
use super::patience::Patience;
use super::place::Place;
use super::record::Transport;
use super::refusal::Refusal;
use super::rules::Rules;
use super::shared::Shared;

/// A connection whose handshake is done.
pub struct Connection {
    /// What all connections have in common.
    pub shared: Arc<Shared>,
    /// Number since the process began.
    pub number: u64,
    /// Who dialled.
    pub from: IpAddr,
    /// What is spoken.
    pub transport: Transport,
    /// How long it may do what it is doing.
    pub patience: Arc<Patience>,
    /// It is to end once nothing is under way.
    pub ends: Notify,
    certificates: Vec<CertificateDer<'static>>,
    seen: Mutex<Seen>,
    place: Place,
    /// The WebSocket that it has become.
    socket: Mutex<Option<JoinHandle<()>>>,
    /// Requests of nobody that is known.
    strange: AtomicU32,
}

/// What was seen of who is at the other end.
#[derive(Default)]
struct Seen {
    /// By whom the latest one is known, and by which rules and token.
    last: Option<(Known, Arc<Rules>, Option<String>)>,
    /// Everyone it has been, each counted as one of its connections.
    callers: Vec<(Arc<Rules>, usize)>,
}

/// What the handshake says of a connection.
pub struct Handshake {
    /// Its place among all connections.
    pub place: Place,
    /// What is spoken.
    pub transport: Transport,
    /// What was shown, verified against the authorities of all callers.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Requests of a connection before somebody is known: what a browser asks before it calls.
const STRANGE: u32 = 16;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Connection {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(handshake: Handshake, patience: Arc<Patience>) -> Arc<Self> {
        let Handshake { place, transport, certificates } = handshake;
        let (number, shared) = (NUMBERS.fetch_add(1, Ordering::Relaxed), place.shared().clone());
        let (from, seen) = (place.from(), Mutex::default());
        let (ends, socket, strange) = (Notify::new(), Mutex::default(), AtomicU32::new(0));
        Arc::new(Self {
            shared,
            number,
            from,
            transport,
            patience,
            ends,
            certificates,
            seen,
            place,
            socket,
            strange,
        })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks: whoever the token names if there is one, and else whoever the certificate names.
    ///
    /// # Errors
    /// Where nobody is known, or the caller has too many connections.
    pub fn who(&self, rules: &Arc<Rules>, headers: &HeaderMap) -> Result<Known, Refusal> {
        let token = bearer(headers)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut seen = self.seen();
        if let Some((known, by, with)) = &seen.last
            && Arc::ptr_eq(by, rules)
            && with.as_deref() == token
            && now.as_secs() < known.until
        {
            return Ok(known.clone());
        }
        let known = self.shown(rules, token, now).map_err(|denied| Refusal::identity(&denied))?;
        seen.counted(rules, known.caller)?;
        seen.last = Some((known.clone(), rules.clone(), token.map(str::to_owned)));
        drop(seen);
        self.place.known();
        self.patience.known_until(Instant::now() + Duration::from_secs(known.until).saturating_sub(now));
        Ok(known)
    }

    /// Whoever it was last pays for a request that could not be read.
    pub fn pays(&self) {
        if let Some((known, rules, _)) = &self.seen().last {
            let (account, caller) = (rules.account(known.caller), rules.caller(known.caller));
            let _ = account.take(caller, 1, self.shared.since.elapsed());
        }
    }

    /// It has become a WebSocket, which is served by a task of its own.
    pub fn lasts_as_long_as(&self, socket: JoinHandle<()>) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    /// Waits until the WebSocket that it has become has ended.
    pub async fn ended(&self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(socket) = socket {
            let _ = socket.await;
        }
    }

    /// Whether what was last shown is still a caller's by other rules: a key or an authority may be withdrawn.
    #[must_use]
    pub fn is_still(&self, rules: &Rules, name: &str) -> bool {
        let token = self.seen().last.as_ref().and_then(|last| last.2.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.shown(rules, token.as_deref(), now).is_ok_and(|known| rules.caller(known.caller).name == name)
    }

    fn shown(&self, rules: &Rules, token: Option<&str>, now: Duration) -> Result<Known, Denied> {
        match token {
            Some(token) => rules.identities.of_token(token, now.as_secs()),
            None => rules.identities.of_certificates(&self.certificates, UnixTime::since_unix_epoch(now)),
        }
    }

    /// Whether the connection goes on after an answer: nobody that is known has so many requests, and no refusal.
    pub fn goes_on(&self, is_refused: bool) -> bool {
        let is_known = self.place.is_known();
        let goes_on = is_known || !is_refused && self.strange.fetch_add(1, Ordering::Relaxed) < STRANGE;
        if !goes_on {
            self.ends.notify_one();
        }
        goes_on
    }

    /// Whether everyone it has been is still known in the same way.
    #[must_use]
    pub fn may_stay(&self, rules: &Rules) -> bool {
        self.seen().callers.iter().all(|(by, at)| {
            let caller = by.caller(*at);
            rules.position(&caller.name).is_some_and(|at| rules.caller(at).identity == caller.identity)
        })
    }
}

impl Seen {
    fn counted(&mut self, rules: &Arc<Rules>, caller: usize) -> Result<(), Refusal> {
        let (most, account) = (rules.caller(caller).connections, rules.account(caller));
        let now = (rules.clone(), caller);
        match self.callers.iter_mut().find(|(by, at)| Arc::ptr_eq(by.account(*at), account)) {
            Some(known) => *known = now,
            None if account.connect(most) => {
                self.callers.reserve_exact(1);
                self.callers.push(now);
            }
            None => return Err(Refusal::connections(most)),
        }
        Ok(())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.callers.iter().for_each(|(by, at)| by.account(*at).disconnect());
    }
}

/// The token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wanted =
        || Refusal::identity(&Denied::Malformed("one Authorization header: Bearer, a space and the token"));
    if given.next().is_some() {
        return Err(wanted());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wanted)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token)) } else { Err(wanted()) }
}
