//! Configuration that holds a password, which is put in only when it is written.

use anyhow::Context as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;

use super::{Applier, Left};
use crate::{
    cluster::{
        drift::Drift,
        facts::{self, Fact, Question, read_secret},
        write::Seen,
    },
    node::{
        desired::Sealed,
        secrets::{self, Data},
    },
};

impl Applier<'_> {
    /// Writes it where it differs. The password is read where it has to be written, or where one of the two Secrets is
    /// another one than before.
    pub(super) async fn sealed(&mut self, sealed: &Sealed) -> anyhow::Result<()> {
        let namespace = sealed.secret.namespace().unwrap_or_default();
        let live = self.caches.secret(&namespace, &sealed.secret.name_any()).map(Seen::from);
        let drift = match &live {
            Some(live) if self.writer.is_settled(Some(live), &sealed.secret)? => {
                self.drift(live, sealed).await?
            }
            _ => None,
        };
        if self.frozen {
            let Some(drift) = drift else { return self.leave(live.as_ref(), &sealed.secret) };
            let name = sealed.secret.name_any();
            self.applied.left.push(Left { kind: "Secret".into(), name, drift, ..Left::default() });
            return Ok(());
        }
        let filled = async {
            let name = &sealed.password.name;
            let gone = || format!("Secret {name} is gone");
            let data = read_secret(self.client, &namespace, name).await?.with_context(gone)?;
            let password = facts::text(&data, &sealed.password.key)
                .with_context(|| format!("Secret {name} has no text under {}", sealed.password.key))?;
            Ok(unseal(&sealed.secret, &password))
        };
        let outcome = self.writer.ensure_filled((live.as_ref(), drift), &sealed.secret, filled).await?;
        self.count(&sealed.secret, outcome);
        Ok(())
    }

    /// Whether its content is another one than it should be, although the server's bookkeeping shows no other writer: one
    /// that gives our name.
    async fn drift(&self, live: &Seen, sealed: &Sealed) -> anyhow::Result<Option<Drift>> {
        let namespace = sealed.secret.namespace().unwrap_or_default();
        let there = self.facts.secret(self.client, &live.meta, Question::Content).await?;
        let Some(password) = self.caches.secret(&namespace, &sealed.password.name) else {
            return Ok(None);
        };
        let question = Question::Filled(sealed.password.key.clone(), digest_of(&sealed.secret));
        let fill = |data: &Data| {
            let password = facts::text(data, &sealed.password.key).unwrap_or_default();
            Fact::Content(digest_of(&unseal(&sealed.secret, &password)))
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

/// Puts the password where it belongs, as a JSON string.
fn unseal(secret: &Secret, password: &str) -> Secret {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let fill = |ByteString(bytes): &ByteString| {
        let text = String::from_utf8_lossy(bytes).replace(&quoted(Sealed::PLACE), &quoted(password));
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
        let template = serde_json::json!({"jdbc": {"password": Sealed::PLACE}}).to_string();
        let secret = Secret {
            data: Some([("c".to_owned(), ByteString(template.into_bytes()))].into()),
            ..Secret::default()
        };
        let filled = unseal(&secret, "a\"b\\c");
        let text = String::from_utf8(filled.data.unwrap()["c"].0.clone()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["jdbc"]["password"], "a\"b\\c");
    }
}
