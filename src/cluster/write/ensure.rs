//! Ensures that an object exists exactly as rendered.

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Secret};
use kube::{
    Resource as _, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, Request},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Kind, Outcome, Seen, Writer, forced, place,
    secret_drift::{self, foreign},
};
use crate::{
    cluster::drift::{Content, Drift, Rendered, allowed},
    model::names,
};

impl Writer {
    /// Applies `desired` unless the live object equals it, and removes what others added. Returns the object as stored
    /// if it was written.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
    pub async fn ensure<K: Kind>(
        &self,
        seen: Option<&Seen>,
        desired: &K,
    ) -> anyhow::Result<(Outcome, Option<Value>)> {
        // fast path: most objects are unchanged most of the time
        if let Some((seen, content)) = seen.and_then(|seen| Some((seen, seen.content.as_ref()?)))
            && foreign::<K>(seen, desired).is_none()
            && content.is_of(desired)?
        {
            return Ok((Outcome::Unchanged, None));
        }
        let rendered = Rendered::of(desired)?;
        match self.due(seen, desired, &rendered)? {
            Some(outcome) => Ok((outcome, None)),
            None => self.put(seen, desired, rendered).await,
        }
    }

    /// As [`Self::ensure`], for a Secret whose content `filled` completes only when it is sent. `content` is drift that
    /// the managed fields do not show.
    ///
    /// # Errors
    /// Fails if the server rejects a request, or `filled` fails.
    pub async fn ensure_filled(
        &self,
        (seen, content): (Option<&Seen>, Option<Drift>),
        desired: &Secret,
        filled: impl Future<Output = anyhow::Result<Secret>>,
    ) -> anyhow::Result<Outcome> {
        let rendered = Rendered::of(desired)?;
        match content {
            Some(drift) if !self.may_repair(desired, drift.clone()) => return Ok(Outcome::RateLimited),
            Some(_) => {}
            None => {
                if let Some(outcome) = self.due(seen, desired, &rendered)? {
                    return Ok(outcome);
                }
            }
        }
        let filled = rendered.filled(&filled.await?)?;
        Ok(self.put(seen, desired, filled).await?.0)
    }

    /// Whether the live object equals `desired`, apart from known changes by admission webhooks.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn is_settled<K: Kind>(&self, seen: Option<&Seen>, desired: &K) -> anyhow::Result<bool> {
        let rendered = Rendered::of(desired)?;
        Ok(seen.is_some_and(|seen| self.is_current(seen, desired, &rendered)))
    }

    /// Whether an object differs in an immutable field.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn is_fixed<K: Kind>(&self, seen: &Seen, desired: &K) -> anyhow::Result<bool> {
        let (kind, rendered) = (K::kind(&()), Rendered::of(desired)?);
        let fields = seen.content.as_ref().map(|content| content.differs(&rendered)).unwrap_or_default();
        Ok(fields.iter().any(|field| allowed::is_fixed(&kind, field)))
    }

    /// How an object that is not written differs from `desired`, and who changed it; `None` if it does not differ.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn difference<K: Kind>(&self, seen: Option<&Seen>, desired: &K) -> anyhow::Result<Option<Drift>> {
        let rendered = Rendered::of(desired)?;
        Ok(match seen {
            Some(seen) if self.is_current(seen, desired, &rendered) => None,
            Some(seen) => Some(drift(seen, &rendered).unwrap_or_default()),
            None => Some(Drift::default()),
        })
    }

    /// Outcome if nothing is sent; `None` if the object must be written.
    fn due<K: Kind>(
        &self,
        seen: Option<&Seen>,
        desired: &K,
        rendered: &Rendered,
    ) -> anyhow::Result<Option<Outcome>> {
        let Some(seen) = seen else { return Ok(None) };
        if let Some(fault) = foreign::<K>(seen, desired) {
            return Ok(Some(Outcome::NotOwned(fault)));
        }
        if self.is_current(seen, desired, rendered) {
            return Ok(Some(Outcome::Unchanged));
        }
        let limited = drift(seen, rendered).is_some_and(|drift| !self.may_repair(desired, drift));
        Ok(limited.then_some(Outcome::RateLimited))
    }

    fn is_current<K: Kind>(&self, seen: &Seen, desired: &K, rendered: &Rendered) -> bool {
        match &seen.content {
            Some(content) => {
                content.is(rendered) || self.admission_changes.explains(&place(desired), content, rendered)
            }
            None => secret_drift::is_current(&seen.meta, rendered),
        }
    }

    async fn put<K: Kind>(
        &self,
        seen: Option<&Seen>,
        desired: &K,
        rendered: Rendered,
    ) -> anyhow::Result<(Outcome, Option<Value>)> {
        let (kind, place) = (K::kind(&()).into_owned(), place(desired));
        let content = seen.and_then(|seen| Some((seen, seen.content.as_ref()?)));
        if let Some((seen, content)) = content
            && content.differs(&rendered).iter().any(|field| allowed::is_fixed(&kind, field))
        {
            tracing::info!(kind, name = place.2, "recreating the object: an immutable field differs");
            return Ok((self.make_room::<K>(&seen.meta).await?, None));
        }
        let applied = self.patch(desired, &forced(), &Patch::Apply(&rendered.body)).await;
        let mut answer = match applied? {
            Err(kube::Error::Api(status)) if is_frozen(&status) && seen.is_some() => {
                let meta = seen.map(|seen| seen.meta.clone()).unwrap_or_default();
                return Ok((self.make_room::<K>(&meta).await?, None));
            }
            // the applied fields may be invalid together with fields of others: one merge patch changes both
            Err(kube::Error::Api(status)) if status.code == 422 => {
                let refused = || format!("{kind} {}", place.2);
                let patch = content.and_then(|(seen, content)| content.repair(&seen.meta, &rendered));
                let patch = patch.ok_or(kube::Error::Api(status)).with_context(refused)?;
                self.patch(desired, &merging(), &Patch::Merge(&patch)).await?.with_context(refused)?
            }
            applied => applied.with_context(|| format!("{kind} {}", place.2))?,
        };
        tracing::info!(kind, namespace = place.1, name = place.2, "applied");
        let mut stored = Content::of(&kind, answer.clone());
        self.wrote(&place, &answer, &stored);
        if stored.has(&rendered) {
            self.admission_changes.forget(&place);
            return Ok((Outcome::Written, Some(answer)));
        }
        // an apply does not remove what others added: they own it
        let fields = stored.differs(&rendered);
        if fields.iter().any(|field| allowed::is_fixed(&kind, field)) {
            return Ok((self.make_room::<K>(&metadata(&answer)).await?, Some(answer)));
        }
        if let Some(patch) = stored.repair(&metadata(&answer), &rendered) {
            answer = match self.patch(desired, &merging(), &Patch::Merge(&patch)).await? {
                Ok(answer) => answer,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return Ok((Outcome::Requeue, Some(answer)));
                }
                Err(error) => return Err(error).with_context(|| format!("{kind} {}", place.2)),
            };
            tracing::info!(kind, namespace = place.1, name = place.2, ?fields, "removed additions of others");
            stored = Content::of(&kind, answer.clone());
            self.wrote(&place, &answer, &stored);
        }
        if stored.has(&rendered) {
            self.admission_changes.forget(&place);
        } else if let Some(admission_changes) = self.admission_changes.note(&place, rendered, stored) {
            let (fields, weakens) = (admission_changes.fields, admission_changes.weakens);
            tracing::warn!(
                kind,
                namespace = place.1,
                name = place.2,
                ?fields,
                weakens,
                "changed at every write"
            );
        }
        Ok((Outcome::Written, Some(answer)))
    }

    /// Deletes an object that differs in an immutable field, if it still has the version in `seen`. It is recreated
    /// once it is gone. A workload's pod keeps running, and the rollout replaces it later if its template differs.
    pub(super) async fn make_room<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<Outcome> {
        if K::kind(&()) == StatefulSet::kind(&()) {
            self.orphan(seen).await?;
        } else {
            self.delete::<K>(seen).await?;
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let place = (K::kind(&()).into_owned(), text(&seen.namespace), text(&seen.name));
        self.repair_limit.done(&place, Instant::now());
        Ok(Outcome::Requeue)
    }

    async fn patch<K: Kind>(
        &self,
        object: &K,
        parameters: &PatchParams,
        patch: &Patch<&Value>,
    ) -> anyhow::Result<kube::Result<Value>> {
        let url = K::url_path(&(), object.namespace().as_deref());
        let request = Request::new(url).patch(&object.name_any(), parameters, patch).context("request")?;
        self.send(self.client.request::<Value>(request)).await
    }
}

fn merging() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() }
}

fn drift(seen: &Seen, rendered: &Rendered) -> Option<Drift> {
    match &seen.content {
        Some(content) => content.drift(rendered),
        None => secret_drift::drift(&seen.meta, rendered),
    }
}

/// Whether the server rejected a write because the Secret or ConfigMap is immutable, so that it can only be deleted.
pub(super) fn is_frozen(status: &kube::core::Status) -> bool {
    status.code == 422 && status.message.contains("immutable when `immutable` is set")
}

fn metadata(answer: &Value) -> ObjectMeta {
    serde_json::from_value(answer["metadata"].clone()).unwrap_or_default()
}
