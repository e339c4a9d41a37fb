//! A connection: authenticates its requests and decides whether it may stay open.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{AUTHORIZATION, HeaderMap};
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::server_state::ServerState;
use crate::guard::rpc::{
    audit::record::Transport,
    decide::{
        identity::{Denied, Known},
        rejection::Rejection,
        rules::Rules,
    },
    limits::deadlines::Deadlines,
    serve::connection_slots::ConnectionSlot,
};

/// A connection after its handshake.
pub struct Connection {
    /// State shared by all connections.
    pub server_state: Arc<ServerState>,
    /// Number since the process began.
    pub number: u64,
    /// Address of the peer.
    pub from: IpAddr,
    /// The protocol.
    pub transport: Transport,
    /// Deadlines of the connection.
    pub deadlines: Arc<Deadlines>,
    /// Notified when the connection must end as soon as nothing is under way.
    pub ends: Notify,
    certificates: Vec<CertificateDer<'static>>,
    seen: Mutex<Seen>,
    place: ConnectionSlot,
    /// Task of the WebSocket that the connection was upgraded to.
    socket: Mutex<Option<JoinHandle<()>>>,
    /// Requests without a known caller.
    strange: AtomicU32,
}

/// Callers seen on the connection.
#[derive(Default)]
struct Seen {
    /// The last caller, with the rules and the token that identified it.
    last: Option<(Known, Arc<Rules>, Option<String>)>,
    /// All callers of the connection; it counts as a connection of each.
    callers: Vec<(Arc<Rules>, usize)>,
}

/// Result of the handshake.
pub struct Handshake {
    /// Its connection slot.
    pub place: ConnectionSlot,
    /// The negotiated protocol.
    pub transport: Transport,
    /// The client's certificates, verified against the CAs of all callers.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Requests allowed before the caller is known, for a browser's preflights.
const STRANGE: u32 = 16;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Connection {
    /// Creates a connection without a known caller.
    #[must_use]
    pub fn new(handshake: Handshake, deadlines: Arc<Deadlines>) -> Arc<Self> {
        let Handshake { place, transport, certificates } = handshake;
        let (number, server_state) = (NUMBERS.fetch_add(1, Ordering::Relaxed), place.server_state().clone());
        let (from, seen) = (place.from(), Mutex::default());
        let (ends, socket, strange) = (Notify::new(), Mutex::default(), AtomicU32::new(0));
        Arc::new(Self {
            server_state,
            number,
            from,
            transport,
            deadlines,
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

    /// Authenticates a request by its token or, without one, by the certificate of the connection.
    ///
    /// # Errors
    /// If the caller is not known or has too many connections.
    pub fn who(&self, rules: &Arc<Rules>, headers: &HeaderMap) -> Result<Known, Rejection> {
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
        let known = self.shown(rules, token, now).map_err(|denied| Rejection::identity(&denied))?;
        seen.counted(rules, known.caller)?;
        seen.last = Some((known.clone(), rules.clone(), token.map(str::to_owned)));
        drop(seen);
        self.place.known();
        self.deadlines.known_until(Instant::now() + Duration::from_secs(known.until).saturating_sub(now));
        Ok(known)
    }

    /// Charges a request that could not be read to the last caller.
    pub fn pays(&self) {
        if let Some((known, rules, _)) = &self.seen().last {
            let (account, caller) = (rules.account(known.caller), rules.caller(known.caller));
            let _ = account.take(caller, 1, self.server_state.since.elapsed());
        }
    }

    /// Stores the task of the WebSocket that the connection was upgraded to.
    pub fn lasts_as_long_as(&self, socket: JoinHandle<()>) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    /// Waits until the WebSocket, if there is one, has ended.
    pub async fn ended(&self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(socket) = socket {
            let _ = socket.await;
        }
    }

    /// Whether the last token or certificate still belongs to this caller under other rules. A key or CA may have been
    /// withdrawn.
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

    /// Whether the connection may continue after an answer. Without a known caller it ends after a rejection or after
    /// 16 requests.
    pub fn goes_on(&self, is_refused: bool) -> bool {
        let is_known = self.place.is_known();
        let goes_on = is_known || !is_refused && self.strange.fetch_add(1, Ordering::Relaxed) < STRANGE;
        if !goes_on {
            self.ends.notify_one();
        }
        goes_on
    }

    /// Whether all callers of the connection still exist with the same identity.
    #[must_use]
    pub fn may_stay(&self, rules: &Rules) -> bool {
        self.seen().callers.iter().all(|(by, at)| {
            let caller = by.caller(*at);
            rules.position(&caller.name).is_some_and(|at| rules.caller(at).identity == caller.identity)
        })
    }
}

impl Seen {
    fn counted(&mut self, rules: &Arc<Rules>, caller: usize) -> Result<(), Rejection> {
        let (most, account) = (rules.caller(caller).connections, rules.account(caller));
        let now = (rules.clone(), caller);
        match self.callers.iter_mut().find(|(by, at)| Arc::ptr_eq(by.account(*at), account)) {
            Some(known) => *known = now,
            None if account.connect(most) => {
                self.callers.reserve_exact(1);
                self.callers.push(now);
            }
            None => return Err(Rejection::connections(most)),
        }
        Ok(())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.callers.iter().for_each(|(by, at)| by.account(*at).disconnect());
    }
}

/// Returns the token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejection> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wanted =
        || Rejection::identity(&Denied::Malformed("one Authorization header: Bearer, a space and the token"));
    if given.next().is_some() {
        return Err(wanted());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wanted)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token)) } else { Err(wanted()) }
}
