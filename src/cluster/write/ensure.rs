//! Makes sure of an object: that it is there, as a whole, as it was rendered.

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Secret};
use kube::{
    Resource as _, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, Request},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Kind, Outcome, Seen, Writer, forced,
    live::{self, foreign},
    place,
};
use crate::{
    cluster::drift::{Content, Drift, Rendered, allowed},
    node::names,
};

impl Writer {
    /// Applies `desired`, unless the object that lives under its name is the same already, and takes away what others
    /// have added to it. With the object as the server holds it, where it was written.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn ensure<K: Kind>(
        &self,
        seen: Option<&Seen>,
        desired: &K,
    ) -> anyhow::Result<(Outcome, Option<Value>)> {
        // most objects are as they are wanted, most of the time
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

    /// As [`Self::ensure`], for a Secret whose content differs from `desired` by something that is fetched only when it is
    /// sent; `content` is what is known to be wrong with it beside what the server's bookkeeping shows.
    ///
    /// # Errors
    /// Where the server refuses, or `filled` fails.
    pub async fn ensure_filled(
        &self,
        (seen, content): (Option<&Seen>, Option<Drift>),
        desired: &Secret,
        filled: impl Future<Output = anyhow::Result<Secret>>,
    ) -> anyhow::Result<Outcome> {
        let rendered = Rendered::of(desired)?;
        match content {
            Some(drift) if !self.may_repair(desired, drift.clone()) => return Ok(Outcome::Held),
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

    /// Whether an object is there as it is wanted, as far as the server and those who stand before it allow.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn is_settled<K: Kind>(&self, seen: Option<&Seen>, desired: &K) -> anyhow::Result<bool> {
        let rendered = Rendered::of(desired)?;
        Ok(seen.is_some_and(|seen| self.is_current(seen, desired, &rendered)))
    }

    /// Whether what differs of an object cannot be changed.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn is_fixed<K: Kind>(&self, seen: &Seen, desired: &K) -> anyhow::Result<bool> {
        let (kind, rendered) = (K::kind(&()), Rendered::of(desired)?);
        let fields = seen.content.as_ref().map(|content| content.differs(&rendered)).unwrap_or_default();
        Ok(fields.iter().any(|field| allowed::is_fixed(&kind, field)))
    }

    /// What is not as it is wanted of an object that is left as it is, and who wrote that.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn difference<K: Kind>(&self, seen: Option<&Seen>, desired: &K) -> anyhow::Result<Option<Drift>> {
        let rendered = Rendered::of(desired)?;
        Ok(match seen {
            Some(seen) if self.is_current(seen, desired, &rendered) => None,
            Some(seen) => Some(drift(seen, &rendered).unwrap_or_default()),
            None => Some(Drift::default()),
        })
    }

    /// Why nothing is sent, if nothing is.
    fn due<K: Kind>(
        &self,
        seen: Option<&Seen>,
        desired: &K,
        rendered: &Rendered,
    ) -> anyhow::Result<Option<Outcome>> {
        let Some(seen) = seen else { return Ok(None) };
        if let Some(fault) = foreign::<K>(seen, desired) {
            return Ok(Some(Outcome::Refused(fault)));
        }
        if self.is_current(seen, desired, rendered) {
            return Ok(Some(Outcome::Unchanged));
        }
        let limited = drift(seen, rendered).is_some_and(|drift| !self.may_repair(desired, drift));
        Ok(limited.then_some(Outcome::Held))
    }

    fn is_current<K: Kind>(&self, seen: &Seen, desired: &K, rendered: &Rendered) -> bool {
        match &seen.content {
            Some(content) => {
                content.is(rendered) || self.imposed.explains(&place(desired), content, rendered)
            }
            None => live::is_current(&seen.meta, rendered),
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
            tracing::info!(kind, name = place.2, "made again: what differs of it cannot be changed");
            return Ok((self.make_room::<K>(&seen.meta).await?, None));
        }
        let applied = self.patch(desired, &forced(), &Patch::Apply(&rendered.body)).await;
        let mut answer = match applied? {
            Err(kube::Error::Api(status)) if is_frozen(&status) && seen.is_some() => {
                let meta = seen.map(|seen| seen.meta.clone()).unwrap_or_default();
                return Ok((self.make_room::<K>(&meta).await?, None));
            }
            // what others wrote may not go together with what is applied: both are changed in one request then
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
            self.imposed.forget(&place);
            return Ok((Outcome::Written, Some(answer)));
        }
        // what others have added is theirs to the server, and an apply leaves it
        let fields = stored.differs(&rendered);
        if fields.iter().any(|field| allowed::is_fixed(&kind, field)) {
            return Ok((self.make_room::<K>(&metadata(&answer)).await?, Some(answer)));
        }
        if let Some(patch) = stored.repair(&metadata(&answer), &rendered) {
            answer = match self.patch(desired, &merging(), &Patch::Merge(&patch)).await? {
                Ok(answer) => answer,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return Ok((Outcome::Again, Some(answer)));
                }
                Err(error) => return Err(error).with_context(|| format!("{kind} {}", place.2)),
            };
            tracing::info!(kind, namespace = place.1, name = place.2, ?fields, "additions removed");
            stored = Content::of(&kind, answer.clone());
            self.wrote(&place, &answer, &stored);
        }
        if stored.has(&rendered) {
            self.imposed.forget(&place);
        } else if let Some(imposed) = self.imposed.note(&place, rendered, stored) {
            let (fields, weakens) = (imposed.fields, imposed.weakens);
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

    /// Deletes an object whose difference cannot be mended, exactly as it was seen: it is made again when it is gone. A
    /// workload's pod goes on meanwhile, and is replaced in its turn where it was made from something else.
    pub(super) async fn make_room<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<Outcome> {
        if K::kind(&()) == StatefulSet::kind(&()) {
            self.orphan(seen).await?;
        } else {
            self.delete::<K>(seen).await?;
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let place = (K::kind(&()).into_owned(), text(&seen.namespace), text(&seen.name));
        self.contests.done(&place, Instant::now());
        Ok(Outcome::Again)
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
        None => live::drift(&seen.meta, rendered),
    }
}

/// Whether somebody has made a Secret or ConfigMap immutable: it can only be deleted then.
pub(super) fn is_frozen(status: &kube::core::Status) -> bool {
    status.code == 422 && status.message.contains("immutable when `immutable` is set")
}

fn metadata(answer: &Value) -> ObjectMeta {
    serde_json::from_value(answer["metadata"].clone()).unwrap_or_default()
}
