use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::api::ObjectMeta;

use super::*;

const PLACE: (&str, &str, &str) = ("Service", "ledger", "alice-p2p");

fn object() -> Object {
    (PLACE.0.into(), PLACE.1.into(), PLACE.2.into())
}

fn service(uid: &str, version: u64) -> Service {
    let labels = BTreeMap::from([(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())]);
    let metadata = ObjectMeta {
        namespace: Some(PLACE.1.into()),
        name: Some(PLACE.2.into()),
        uid: Some(uid.into()),
        resource_version: Some(version.to_string()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    Service { metadata, ..Service::default() }
}

fn seen(uid: &str, version: u64) -> Seen {
    Seen::from(service(uid, version).metadata)
}

struct Heard {
    pending_writes: PendingWrites,
    listing: Option<Instant>,
    now: Instant,
}

impl Heard {
    /// The Service was written: version 20 of `u2`.
    fn written() -> Self {
        let (pending_writes, now) = (PendingWrites::default(), Instant::now());
        pending_writes.wrote(object(), (seen("u2", 20), Some(Value::from("answer"))), now);
        Self { pending_writes, listing: None, now }
    }

    fn after(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn hear(&mut self, event: &Event<Service>) {
        self.pending_writes.hear(event, &mut self.listing, self.now);
    }

    /// The effective version while the cache shows `live`.
    fn newest(&self, live: Option<(&str, u64)>) -> Option<u64> {
        let live = live.map(|(uid, version)| seen(uid, version));
        self.pending_writes.newest(PLACE, live, self.now).and_then(|seen| version(&seen))
    }

    fn was_deleted(&self) -> bool {
        self.pending_writes.was_deleted(&object(), self.now)
    }
}

#[test]
fn what_was_written_counts_until_the_watch_shows_it_or_something_later() {
    let mut heard = Heard::written();
    assert_eq!(heard.newest(None), Some(20));
    assert_eq!(heard.newest(Some(("u1", 9))), Some(20), "the one before, which is gone");
    assert_eq!(heard.newest(Some(("u2", 19))), Some(20));
    assert_eq!(heard.newest(Some(("u2", 21))), Some(21), "somebody else's since");
    assert_eq!(heard.pending_writes.answer(&object(), heard.now), Some(Value::from("answer")));
    heard.hear(&Event::Apply(service("u2", 19)));
    assert_eq!(heard.newest(None), Some(20), "a late event of what was there before");
    heard.hear(&Event::Apply(service("u2", 20)));
    assert_eq!((heard.newest(None), heard.was_deleted()), (None, false));
}

#[test]
fn nothing_is_due_of_a_write_whose_event_came_before_its_answer() {
    let mut heard = Heard { pending_writes: PendingWrites::default(), listing: None, now: Instant::now() };
    heard.hear(&Event::Apply(service("u2", 19)));
    heard.pending_writes.wrote(object(), (seen("u2", 20), Some(Value::from("answer"))), heard.now);
    assert_eq!(heard.newest(Some(("u2", 19))), Some(20), "its event is still due");
    heard.hear(&Event::Apply(service("u2", 21)));
    heard.pending_writes.wrote(object(), (seen("u2", 21), Some(Value::from("answer"))), heard.now);
    assert_eq!((heard.newest(None), heard.pending_writes.answer(&object(), heard.now)), (None, None));
    // versions of another kind do not matter
    heard.pending_writes.wrote(
        ("Secret".into(), "ledger".into(), "x".into()),
        (seen("u9", 15), None),
        heard.now,
    );
    let secret = heard.pending_writes.newest(("Secret", "ledger", "x"), None, heard.now);
    assert_eq!(secret.and_then(|seen| version(&seen)), Some(15));
    // versions restart after a restore of the server
    heard.hear(&Event::Init);
    heard.hear(&Event::InitDone);
    heard.pending_writes.wrote(object(), (seen("u2", 12), None), heard.now);
    assert_eq!(heard.newest(Some(("u2", 11))), Some(12));
}

#[test]
fn an_event_that_is_lost_is_not_waited_for_longer_than_a_watch_may_be_silent() {
    let mut heard = Heard::written();
    heard.after(119);
    assert_eq!(heard.newest(None), Some(20));
    heard.after(1);
    assert_eq!((heard.newest(None), heard.newest(Some(("u2", 19)))), (None, Some(19)));
    assert!(!heard.was_deleted());
}

#[test]
fn what_somebody_deletes_is_deleted_until_it_is_there_again() {
    let mut heard = Heard::written();
    heard.hear(&Event::Delete(service("u1", 18)));
    assert_eq!((heard.newest(None), heard.was_deleted()), (Some(20), false), "the one before");
    heard.hear(&Event::Delete(service("u2", 22)));
    assert_eq!((heard.newest(None), heard.was_deleted()), (None, true));
    heard.hear(&Event::Apply(service("u3", 23)));
    assert!(!heard.was_deleted());
    // a deletion counts also for an object that the watch showed long ago
    heard.hear(&Event::Delete(service("u3", 24)));
    assert!(heard.was_deleted());
    heard.pending_writes.wrote(object(), (seen("u4", 25), None), heard.now);
    assert!(!heard.was_deleted());
}

#[test]
fn what_this_process_ends_or_never_had_is_not_deleted_by_somebody() {
    let mut heard = Heard::written();
    heard.pending_writes.ends("u2", heard.now);
    assert!(heard.pending_writes.has_ended("u2", heard.now));
    heard.hear(&Event::Delete(service("u2", 22)));
    assert_eq!((heard.newest(None), heard.was_deleted()), (None, false));
    let mut theirs = service("u9", 30);
    theirs.metadata.labels = None;
    heard.hear(&Event::Delete(theirs));
    assert!(!heard.was_deleted());
    heard.pending_writes.lives("u2");
    assert!(!heard.pending_writes.has_ended("u2", heard.now));
    heard.pending_writes.ends("u3", heard.now);
    heard.after(120);
    assert!(!heard.pending_writes.has_ended("u3", heard.now));
}

/// A list does not repeat missed events.
#[test]
fn what_a_later_list_does_not_show_is_gone_and_nobody_is_blamed() {
    let mut heard = Heard::written();
    heard.hear(&Event::InitDone);
    assert_eq!(heard.newest(None), Some(20), "no list began since");
    let mut early = Some(heard.now);
    heard.pending_writes.hear(&Event::<Service>::InitDone, &mut early, heard.now);
    assert_eq!(heard.newest(None), Some(20), "it may have been read before the write");
    heard.after(1);
    heard.hear(&Event::Init);
    assert_eq!(heard.newest(None), Some(20), "not before all of it was read");
    heard.hear(&Event::InitDone);
    assert_eq!((heard.newest(None), heard.was_deleted()), (None, false));
    assert_eq!(heard.newest(Some(("u2", 19))), Some(20), "a list may be older than the write");
}

#[test]
fn what_is_old_is_forgotten() {
    let mut heard = Heard::written();
    heard.pending_writes.ends("u1", heard.now);
    heard.after(300);
    heard.pending_writes.wrote(
        ("Secret".into(), "ledger".into(), "x".into()),
        (Seen::default(), None),
        heard.now,
    );
    let state = heard.pending_writes.lock();
    assert_eq!((state.objects.len(), state.ended.len()), (1, 0));
}
