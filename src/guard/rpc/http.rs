//! A request of HTTP: judged, passed on, answered.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::account::Take;
use super::answers::{self, Answers, Asker};
use super::body::Answer;
use super::budget::Charge;
use super::connection::Connection;
use super::entry::Ledger;
use super::identity::Known;
use super::intake;
use super::judge::{Judged, SLOT, Slot, judge};
use super::patience::Busy;
use super::record::{Transport, Way};
use super::refusal::Refusal;
use super::rules::Rules;
use super::ws;

/// How long a browser may remember what a preflight was answered, in seconds.
const PREFLIGHT: &str = "600";
/// What the client takes, and so do libraries send.
const TYPES: [&str; 3] = ["application/json", "application/json-rpc", "application/jsonrequest"];

/// Answers a request, whatever it is.
pub async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Response<Answer> {
    let busy = connection.patience.begin();
    let rules = connection.shared.rules();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut ledger = ledger(&connection);
    let asked = Asked { connection: &connection, rules: &rules, busy: Some(busy) };
    let mut response = match asked.answer(request, &mut ledger).await {
        Ok(response) => {
            connection.goes_on(false);
            response
        }
        Err(Stop { refusal, id, recorded, busy }) => {
            if !recorded {
                ledger.refused(&refusal, 0);
            }
            let refusal = if connection.goes_on(true) { refusal } else { refusal.and_closes() };
            refused(&refusal, id.as_deref(), busy, connection.transport)
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

/// Where requests of a connection are put down while nobody is known.
#[must_use]
pub fn ledger(connection: &Connection) -> Ledger {
    Ledger {
        counts: connection.shared.counts.clone(),
        way: Way { connection: connection.number, from: connection.from, transport: connection.transport },
        account: None,
        who: None,
        since: Instant::now(),
    }
}

/// Why a request ends here.
struct Stop {
    refusal: Refusal,
    /// Of the call, where there is one.
    id: Option<String>,
    /// Whether it is put down already.
    recorded: bool,
    busy: Option<Busy>,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, id: None, recorded: false, busy: None }
    }
}

/// A request on its way.
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
        // RFC 9110 section 7.8: in HTTP/1.0 nothing is upgraded
        let is_upgrade = request.method() == Method::GET && request.version() == Version::HTTP_11;
        if !is_upgrade && request.method() != Method::POST {
            return Err(Refusal::verb().into());
        }
        let known = self.connection.who(self.rules, request.headers())?;
        ledger.account = Some(self.rules.account(known.caller).clone());
        ledger.who = Some(known.who.clone());
        let caller = known.caller;
        // a refusal costs as much as a call
        let costs = |refusal: Refusal| {
            let _ = self.rate(caller, 1);
            refusal
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
        let shared = &self.connection.shared;
        let account = self.rules.account(known.caller);
        let held = intake::read(request.into_body(), &self.rules.policy.limits, &shared.budget, account);
        let mut held = held.await.map_err(costs)?;
        // what was withdrawn while the body came does not count any more
        let rules = shared.rules();
        if !rules.still_knows(self.rules, &known) {
            return Err(Refusal::revoked().into());
        }
        let judged = judge(self.rules, known.caller, &held.body);
        let calls = judged.as_ref().map_or(1, Judged::number);
        self.rate(known.caller, calls)?;
        let judged = judged.map_err(|refusal| {
            ledger.refused(&refusal, held.body.len() as u64);
            Stop { recorded: true, ..refusal.into() }
        })?;
        ledger.judged(&judged);
        if !held.charge.grow(judged.calls.len() * SLOT) {
            return Err(Refusal::memory().into());
        }
        let (slots, is_batch) = (judged.plan(&held.body), judged.is_batch);
        self.pass(known, (slots, is_batch), held.charge, ledger).await
    }

    /// Where it was sent to.
    fn place(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
        let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
        let is_https = request.uri().scheme() == Some(&Scheme::HTTPS);
        let is_right = match (self.connection.transport, target, host) {
            (Transport::Http2, Some(target), None) => self.rules.serves(target),
            (Transport::Http2, Some(target), Some(host)) => target == host && self.rules.serves(target),
            (Transport::Http1, None, Some(host)) => self.rules.serves(host),
            // RFC 9112 section 3.2.2: what the target says counts, whatever the header does
            (Transport::Http1, Some(target), Some(_)) => is_https && self.rules.serves(target),
            // it need not say
            (Transport::Http1, None, None) => request.version() == Version::HTTP_10,
            _ => false,
        };
        if !is_right || hosts.next().is_some() {
            return Err(Refusal::host());
        }
        if request.uri().path() != "/" || request.uri().query().is_some() {
            return Err(Refusal::path());
        }
        Ok(())
    }

    /// A browser asks whether a page may call. It does not say in whose name.
    fn preflight(&mut self, headers: &HeaderMap) -> Result<Response<Answer>, Refusal> {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin else { return Err(Refusal::verb()) };
        if headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).is_none_or(|method| method != "POST") {
            return Err(Refusal::verb());
        }
        if !self.rules.has_origin(origin) {
            return Err(Refusal::origin());
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

    /// A browser says from which page it calls; whoever is none says nothing.
    fn origin(&self, headers: &HeaderMap, caller: usize) -> Result<(), Refusal> {
        let listed = &self.rules.caller(caller).origins;
        let is_listed = |origin: &HeaderValue| listed.iter().any(|one| origin == one.as_str());
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if is_listed(origin) => Ok(()),
            _ => Err(Refusal::origin()),
        }
    }

    fn rate(&self, caller: usize, calls: u32) -> Result<(), Refusal> {
        let (account, caller) = (self.rules.account(caller), self.rules.caller(caller));
        match account.take(caller, calls, self.connection.shared.since.elapsed()) {
            Take::Taken => Ok(()),
            Take::Later(seconds) => Err(Refusal::rate(seconds)),
            Take::Never => Err(Refusal::over_burst(caller.burst)),
        }
    }

    /// Asks what is granted, and begins to answer.
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
            Some(Err(answers::Stop::Refused(refusal, id))) => {
                let id = String::from_utf8(id.to_vec()).ok();
                Err(Stop { refusal, id, recorded: true, busy })
            }
            Some(Err(answers::Stop::Broken(refusal))) => {
                Err(Stop { refusal, id: None, recorded: true, busy })
            }
        }
    }
}

/// What a body must be: a type that the client takes, in UTF-8, as it is.
fn content(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(given), None) = (types.next(), types.next()) else { return Err(Refusal::content_type()) };
    let (kind, rest) = match given.to_str().map(|text| text.split_once(';').unwrap_or((text, ""))) {
        Ok((kind, rest)) => (kind.trim(), rest.trim()),
        Err(_) => return Err(Refusal::content_type()),
    };
    let is_utf8 = ["", "charset=utf-8", "charset=\"utf-8\""].iter().any(|one| rest.eq_ignore_ascii_case(one));
    if !TYPES.iter().any(|one| kind.eq_ignore_ascii_case(one)) || !is_utf8 {
        return Err(Refusal::content_type());
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::encoding());
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
    refusal: &Refusal,
    id: Option<&str>,
    busy: Option<Busy>,
    transport: Transport,
) -> Response<Answer> {
    let mut text = refusal.text(id);
    text.push(b'\n');
    let mut response = json(refusal.status, Answer::text(text, busy));
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(seconds) = refusal.retry_after {
        set(header::RETRY_AFTER, &seconds.to_string());
    }
    match refusal.status {
        StatusCode::UNAUTHORIZED => set(header::WWW_AUTHENTICATE, "Bearer"),
        StatusCode::METHOD_NOT_ALLOWED => set(header::ALLOW, "POST, OPTIONS"),
        _ => {}
    }
    // in HTTP/2 there is no such header, and other requests of the connection may be under way
    if refusal.closes && transport == Transport::Http1 {
        set(header::CONNECTION, "close");
    }
    response
}
