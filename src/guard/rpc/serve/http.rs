//! Handles an HTTP request: checks and authorizes it, forwards its calls and answers it.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::{
    answers::{self, Answers, Asker},
    connection::Connection,
    response_body::Answer,
    ws,
};
use crate::guard::rpc::{
    audit::{
        audit_scope::Ledger,
        record::{Transport, Way},
    },
    decide::{
        authorize::{Authorized, SLOT, Slot, authorize},
        identity::Known,
        rejection::Rejection,
        rules::Rules,
    },
    limits::{caller_state::Take, deadlines::Busy, memory_budget::Charge, request_body},
};

/// Time for which a browser may cache the answer to a preflight, in seconds.
const PREFLIGHT: &str = "600";
/// Content types that the client accepts and libraries send.
const TYPES: [&str; 3] = ["application/json", "application/json-rpc", "application/jsonrequest"];

/// Answers a request.
pub async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Response<Answer> {
    let busy = connection.deadlines.begin();
    let rules = connection.server_state.rules();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut ledger = ledger(&connection);
    let asked = Asked { connection: &connection, rules: &rules, busy: Some(busy) };
    let mut response = match asked.answer(request, &mut ledger).await {
        Ok(response) => {
            connection.goes_on(false);
            response
        }
        Err(Stop { rejection, id, recorded, busy }) => {
            if !recorded {
                ledger.refused(&rejection, 0);
            }
            let rejection = if connection.goes_on(true) { rejection } else { rejection.and_closes() };
            refused(&rejection, id.as_deref(), busy, connection.transport)
        }
    };
    if let Some(origin) = origin.filter(|origin| origin.to_str().is_ok_and(|origin| rules.has_origin(origin)))
    {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Returns the ledger of a connection without a known caller.
#[must_use]
pub fn ledger(connection: &Connection) -> Ledger {
    Ledger {
        counts: connection.server_state.counts.clone(),
        way: Way { connection: connection.number, from: connection.from, transport: connection.transport },
        account: None,
        who: None,
        since: Instant::now(),
    }
}

/// Why a request ends early.
struct Stop {
    rejection: Rejection,
    /// Id of the call, if there is one.
    id: Option<String>,
    /// Whether an audit record exists already.
    recorded: bool,
    busy: Option<Busy>,
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, id: None, recorded: false, busy: None }
    }
}

/// A request being handled.
struct Asked<'a> {
    connection: &'a Arc<Connection>,
    rules: &'a Arc<Rules>,
    busy: Option<Busy>,
}

impl Asked<'_> {
    async fn answer(
        mut self,
        request: Request<Incoming>,
        ledger: &mut Ledger,
    ) -> Result<Response<Answer>, Stop> {
        self.place(&request)?;
        if request.method() == Method::OPTIONS {
            return Ok(self.preflight(request.headers())?);
        }
        // RFC 9110 section 7.8: HTTP/1.0 has no upgrade
        let is_upgrade = request.method() == Method::GET && request.version() == Version::HTTP_11;
        if !is_upgrade && request.method() != Method::POST {
            return Err(Rejection::verb().into());
        }
        let known = self.connection.who(self.rules, request.headers())?;
        ledger.account = Some(self.rules.account(known.caller).clone());
        ledger.who = Some(known.who.clone());
        let caller = known.caller;
        // a rejection costs as much as a call
        let costs = |rejection: Rejection| {
            let _ = self.rate(caller, 1);
            rejection
        };
        self.origin(request.headers(), caller).map_err(costs)?;
        if is_upgrade {
            let socket = ws::Socket {
                connection: self.connection.clone(),
                rules: self.rules.clone(),
                known,
                ledger: ledger.clone(),
            };
            return Ok(socket.accept(request).map_err(costs)?.map(|()| Answer::text("", None)));
        }
        content(request.headers()).map_err(costs)?;
        let server_state = &self.connection.server_state;
        let account = self.rules.account(known.caller);
        let held =
            request_body::read(request.into_body(), &self.rules.policy.limits, &server_state.budget, account);
        let mut held = held.await.map_err(costs)?;
        // rights may have been withdrawn while the body arrived
        let rules = server_state.rules();
        if !rules.still_knows(self.rules, &known) {
            return Err(Rejection::revoked().into());
        }
        let judged = authorize(self.rules, known.caller, &held.body);
        let calls = judged.as_ref().map_or(1, Authorized::number);
        self.rate(known.caller, calls)?;
        let judged = judged.map_err(|rejection| {
            ledger.refused(&rejection, held.body.len() as u64);
            Stop { recorded: true, ..rejection.into() }
        })?;
        ledger.judged(&judged);
        if !held.charge.grow(judged.calls.len() * SLOT) {
            return Err(Rejection::memory().into());
        }
        let (slots, is_batch) = (judged.plan(&held.body), judged.is_batch);
        self.pass(known, (slots, is_batch), held.charge, ledger).await
    }

    /// Checks host and path.
    fn place(&self, request: &Request<Incoming>) -> Result<(), Rejection> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
        let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
        let is_https = request.uri().scheme() == Some(&Scheme::HTTPS);
        let is_right = match (self.connection.transport, target, host) {
            (Transport::Http2, Some(target), None) => self.rules.serves(target),
            (Transport::Http2, Some(target), Some(host)) => target == host && self.rules.serves(target),
            (Transport::Http1, None, Some(host)) => self.rules.serves(host),
            // RFC 9112 section 3.2.2: the host in the target counts, whatever the header says
            (Transport::Http1, Some(target), Some(_)) => is_https && self.rules.serves(target),
            // HTTP/1.0 does not require a host
            (Transport::Http1, None, None) => request.version() == Version::HTTP_10,
            _ => false,
        };
        if !is_right || hosts.next().is_some() {
            return Err(Rejection::host());
        }
        if request.uri().path() != "/" || request.uri().query().is_some() {
            return Err(Rejection::path());
        }
        Ok(())
    }

    /// Answers a browser's preflight, which does not say which caller it is for.
    fn preflight(&mut self, headers: &HeaderMap) -> Result<Response<Answer>, Rejection> {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin else { return Err(Rejection::verb()) };
        if headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).is_none_or(|method| method != "POST") {
            return Err(Rejection::verb());
        }
        if !self.rules.has_origin(origin) {
            return Err(Rejection::origin());
        }
        let mut response = Response::new(Answer::text("", self.busy.take()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    /// Checks the origin that browsers send. Other programs send none.
    fn origin(&self, headers: &HeaderMap, caller: usize) -> Result<(), Rejection> {
        let listed = &self.rules.caller(caller).origins;
        let is_listed = |origin: &HeaderValue| listed.iter().any(|one| origin == one.as_str());
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if is_listed(origin) => Ok(()),
            _ => Err(Rejection::origin()),
        }
    }

    fn rate(&self, caller: usize, calls: u32) -> Result<(), Rejection> {
        let (account, caller) = (self.rules.account(caller), self.rules.caller(caller));
        match account.take(caller, calls, self.connection.server_state.since.elapsed()) {
            Take::Taken => Ok(()),
            Take::Later(seconds) => Err(Rejection::rate(seconds)),
            Take::Never => Err(Rejection::over_burst(caller.burst)),
        }
    }

    /// Forwards the granted calls and starts the answer.
    async fn pass(
        mut self,
        known: Known,
        plan: (Vec<Slot>, bool),
        charge: Charge,
        ledger: &Ledger,
    ) -> Result<Response<Answer>, Stop> {
        let busy = self.busy.take();
        let asker = Asker {
            connection: self.connection.clone(),
            rules: self.rules.clone(),
            known,
            ledger: ledger.clone(),
            subscriptions: None,
            charge,
        };
        let mut answers = Answers::new(asker, plan.0, plan.1);
        match std::future::poll_fn(|cx| answers.poll(cx)).await {
            None => Ok(json(StatusCode::OK, Answer::text("", busy))),
            Some(Ok(first)) if answers.has_ended() => Ok(json(StatusCode::OK, Answer::text(first, busy))),
            Some(Ok(first)) => Ok(json(StatusCode::OK, Answer::passed(first, answers, busy))),
            Some(Err(answers::Stop::Refused(rejection, id))) => {
                let id = String::from_utf8(id.to_vec()).ok();
                Err(Stop { rejection, id, recorded: true, busy })
            }
            Some(Err(answers::Stop::Broken(rejection))) => {
                Err(Stop { rejection, id: None, recorded: true, busy })
            }
        }
    }
}

/// Checks that the content type is one that the client accepts, in UTF-8 and without encoding.
fn content(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(given), None) = (types.next(), types.next()) else { return Err(Rejection::content_type()) };
    let (kind, rest) = match given.to_str().map(|text| text.split_once(';').unwrap_or((text, ""))) {
        Ok((kind, rest)) => (kind.trim(), rest.trim()),
        Err(_) => return Err(Rejection::content_type()),
    };
    let is_utf8 = ["", "charset=utf-8", "charset=\"utf-8\""].iter().any(|one| rest.eq_ignore_ascii_case(one));
    if !TYPES.iter().any(|one| kind.eq_ignore_ascii_case(one)) || !is_utf8 {
        return Err(Rejection::content_type());
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Rejection::encoding());
    }
    Ok(())
}

fn json(status: StatusCode, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refused(
    rejection: &Rejection,
    id: Option<&str>,
    busy: Option<Busy>,
    transport: Transport,
) -> Response<Answer> {
    let mut text = rejection.text(id);
    text.push(b'\n');
    let mut response = json(rejection.status, Answer::text(text, busy));
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(seconds) = rejection.retry_after {
        set(header::RETRY_AFTER, &seconds.to_string());
    }
    match rejection.status {
        StatusCode::UNAUTHORIZED => set(header::WWW_AUTHENTICATE, "Bearer"),
        StatusCode::METHOD_NOT_ALLOWED => set(header::ALLOW, "POST, OPTIONS"),
        _ => {}
    }
    // HTTP/2 has no such header, and other requests of the connection may be under way
    if rejection.closes && transport == Transport::Http1 {
        set(header::CONNECTION, "close");
    }
    response
}
