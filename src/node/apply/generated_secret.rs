//! Configuration Secrets with a password, which is filled in only when they are written.

use anyhow::Context as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;

use super::{Applier, Left};
use crate::{
    cluster::{
        drift::Drift,
        secret_facts::{self, Fact, Question, read_secret},
        write::Seen,
    },
    model::secrets::{self, Data},
    node::desired::SecretTemplate,
};

impl Applier<'_> {
    /// Writes the Secret if it differs. Reads the password only for a write, or if one of the two Secrets has changed.
    pub(super) async fn secret_templates(&mut self, secret_templates: &SecretTemplate) -> anyhow::Result<()> {
        let namespace = secret_templates.secret.namespace().unwrap_or_default();
        let live = self.caches.secret(&namespace, &secret_templates.secret.name_any()).map(Seen::from);
        let drift = match &live {
            Some(live) if self.writer.is_settled(Some(live), &secret_templates.secret)? => {
                self.drift(live, secret_templates).await?
            }
            _ => None,
        };
        if self.frozen {
            let Some(drift) = drift else { return self.leave(live.as_ref(), &secret_templates.secret) };
            let name = secret_templates.secret.name_any();
            self.applied.left.push(Left { kind: "Secret".into(), name, drift, ..Left::default() });
            return Ok(());
        }
        let filled = async {
            let name = &secret_templates.password.name;
            let gone = || format!("Secret {name} is gone");
            let data = read_secret(self.client, &namespace, name).await?.with_context(gone)?;
            let password = secret_facts::text(&data, &secret_templates.password.key).with_context(|| {
                format!("Secret {name} has no text under key {}", secret_templates.password.key)
            })?;
            Ok(unseal(&secret_templates.secret, &password))
        };
        let outcome =
            self.writer.ensure_filled((live.as_ref(), drift), &secret_templates.secret, filled).await?;
        self.count(&secret_templates.secret, outcome);
        Ok(())
    }

    /// Drift of the content that the managed fields do not show, because the writer used the operator's field manager
    /// name.
    async fn drift(&self, live: &Seen, secret_templates: &SecretTemplate) -> anyhow::Result<Option<Drift>> {
        let namespace = secret_templates.secret.namespace().unwrap_or_default();
        let there = self.facts.secret(self.client, &live.meta, Question::Content).await?;
        let Some(password) = self.caches.secret(&namespace, &secret_templates.password.name) else {
            return Ok(None);
        };
        let question =
            Question::Filled(secret_templates.password.key.clone(), digest_of(&secret_templates.secret));
        let fill = |data: &Data| {
            let password = secret_facts::text(data, &secret_templates.password.key).unwrap_or_default();
            Fact::Content(digest_of(&unseal(&secret_templates.secret, &password)))
        };
        let wanted = self.facts.secret_as(self.client, &password, question, fill).await?;
        Ok(match (there, wanted) {
            (Some(Fact::Content(there)), Some(Fact::Content(wanted))) if there != wanted => {
                Some(Drift { fields: vec!["data".into()], managers: vec![] })
            }
            _ => None,
        })
    }
}

fn digest_of(secret: &Secret) -> [u8; 32] {
    secrets::digest(secret.data.as_ref().unwrap_or(&Data::default()))
}

/// Replaces the placeholder by the password, as a JSON string.
fn unseal(secret: &Secret, password: &str) -> Secret {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let fill = |ByteString(bytes): &ByteString| {
        let text = String::from_utf8_lossy(bytes).replace(&quoted(SecretTemplate::PLACE), &quoted(password));
        ByteString(text.into_bytes())
    };
    let data = secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), fill(bytes))).collect();
    Secret { data: Some(data), ..secret.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_put_in_as_a_json_string() {
        let template = serde_json::json!({"jdbc": {"password": SecretTemplate::PLACE}}).to_string();
        let secret = Secret {
            data: Some([("c".to_owned(), ByteString(template.into_bytes()))].into()),
            ..Secret::default()
        };
        let filled = unseal(&secret, "a\"b\\c");
        let text = String::from_utf8(filled.data.unwrap()["c"].0.clone()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["jdbc"]["password"], "a\"b\\c");
    }
}
