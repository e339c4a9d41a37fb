//! Changes that an admission webhook, or an unknown default of the server, makes to every write. The operator reports
//! them, and does not repeat the write.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::cluster::{
    drift::{Content, Rendered, allowed},
    write::repair_limit::Object,
};

/// Changes that are made to every write of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionChanges {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Fields that differ from what was sent.
    pub fields: Vec<String>,
    /// Whether the changes weaken the node.
    pub weakens: bool,
}

#[derive(Debug)]
struct Stored {
    /// What was sent.
    sent: Rendered,
    /// What the server stored.
    stored: Content,
    admission_changes: AdmissionChanges,
}

/// Known changes of all objects. Held in memory: it affects whether a write is repeated, not its content.
#[derive(Debug, Default)]
pub(super) struct All {
    state: Mutex<HashMap<Object, Stored>>,
}

impl All {
    /// Records what the server stored for what was sent. Returns the changes if they are new.
    pub(super) fn note(&self, object: &Object, sent: Rendered, stored: Content) -> Option<AdmissionChanges> {
        let (kind, _, name) = object.clone();
        let fields = stored.differs(&sent);
        let weakens = fields.iter().any(|field| allowed::weakens(&kind, field));
        let admission_changes = AdmissionChanges { kind, name, fields, weakens };
        let before = self
            .lock()
            .insert(object.clone(), Stored { sent, stored, admission_changes: admission_changes.clone() });
        before.is_none_or(|before| before.admission_changes != admission_changes).then_some(admission_changes)
    }

    /// Forgets an object that the server stored as sent.
    pub(super) fn forget(&self, object: &Object) {
        self.lock().remove(object);
    }

    /// Whether the object is what the server stored when the same content was last written.
    pub(super) fn explains(&self, object: &Object, content: &Content, rendered: &Rendered) -> bool {
        let known = self.lock();
        known.get(object).is_some_and(|known| known.sent.is_same(rendered) && known.stored.is_same(content))
    }

    /// Known changes of an object.
    pub(super) fn on(&self, object: &Object) -> Option<AdmissionChanges> {
        self.lock().get(object).map(|known| known.admission_changes.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, Stored>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
