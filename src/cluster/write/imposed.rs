//! What others make of every write: an admission webhook, or a default of the server that is not known here. It is told,
//! and no reason to write again and again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::cluster::{
    contests::Object,
    drift::{Content, Rendered, allowed},
};

/// What others make of every write of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imposed {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Fields that differ from what was sent.
    pub fields: Vec<String>,
    /// Whether that weakens the node.
    pub weakens: bool,
}

#[derive(Debug)]
struct Stored {
    /// What was sent.
    sent: Rendered,
    /// What the server stored.
    stored: Content,
    imposed: Imposed,
}

/// All of them. In memory: it decides whether something is written once more, and never what.
#[derive(Debug, Default)]
pub(super) struct All {
    state: Mutex<HashMap<Object, Stored>>,
}

impl All {
    /// Notes what the server has stored of what was sent. Whether it is news.
    pub(super) fn note(&self, object: &Object, sent: Rendered, stored: Content) -> Option<Imposed> {
        let (kind, _, name) = object.clone();
        let fields = stored.differs(&sent);
        let weakens = fields.iter().any(|field| allowed::weakens(&kind, field));
        let imposed = Imposed { kind, name, fields, weakens };
        let before = self.lock().insert(object.clone(), Stored { sent, stored, imposed: imposed.clone() });
        before.is_none_or(|before| before.imposed != imposed).then_some(imposed)
    }

    /// What was sent is what is there.
    pub(super) fn forget(&self, object: &Object) {
        self.lock().remove(object);
    }

    /// Whether an object is what the server made of the very same when it was written last.
    pub(super) fn explains(&self, object: &Object, content: &Content, rendered: &Rendered) -> bool {
        let known = self.lock();
        known.get(object).is_some_and(|known| known.sent.is_same(rendered) && known.stored.is_same(content))
    }

    /// What others make of an object.
    pub(super) fn on(&self, object: &Object) -> Option<Imposed> {
        self.lock().get(object).map(|known| known.imposed.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, Stored>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
