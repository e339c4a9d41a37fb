//! Message about a failed reconcile, for the status.

use kube::core::Status;

use crate::model::redact::quoted;

/// Describes why a reconcile failed: what it was doing, and the server's message. A response that does not decode may
/// contain a Secret, so it is not quoted. A rejection may quote the request, so everything in it that may be a key is
/// redacted.
pub(super) fn words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain() {
        match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => words.push(said(status)),
            Some(kube::Error::SerdeError(_)) => words.push("the API server's answer does not decode".into()),
            Some(_) => words.push("the API server could not be reached".into()),
            None => {
                words.push(cause.to_string());
                continue;
            }
        }
        break;
    }
    words.join(": ")
}

fn said(status: &Status) -> String {
    if status.message.is_empty() {
        format!("{} {}", status.code, status.reason)
    } else {
        quoted(&status.message)
    }
}

/// Whether a reconcile failed because a permission is missing.
pub(super) fn is_forbidden(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<kube::Error>())
        .any(|cause| matches!(cause, kube::Error::Api(status) if status.code == 403))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "").with_code(code)))
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated() {
        let read = serde_json::from_str::<u8>("\"canary\"").expect_err("not a number");
        assert!(read.to_string().contains("canary"), "{read}");
        let error = anyhow::Error::from(kube::Error::SerdeError(read)).context("Secret qn-a-ca");
        assert_eq!(words(&error), "Secret qn-a-ca: the API server's answer does not decode");
    }

    /// A rejection by an admission policy whose message quotes the object.
    #[test]
    fn what_a_refusal_quotes_of_a_secret_is_not_repeated() {
        let key = "NGY5Yzg3ZTI0YjYxMGQzNWE4ZjA3YzFlOWI2ZDUyYTM=";
        let said = format!("Secret refused: qn-bob-nodekey nodekey: {key}, password: two words");
        let error = anyhow::Error::from(api(422, &said)).context("Secret qn-bob-nodekey");
        let words = words(&error);
        assert!(words.starts_with("Secret qn-bob-nodekey: Secret refused: qn-bob-nodekey"), "{words}");
        assert!(!words.contains(key) && !words.contains("two words"), "{words}");
        assert_eq!(super::super::Failure(error).to_string(), words, "nor in the log");
    }

    #[test]
    fn what_the_server_says_is_repeated() {
        let error =
            anyhow::Error::from(api(500, "etcd is away")).context("Service a-p2p").context("Apply failed");
        assert_eq!(words(&error), "Apply failed: Service a-p2p: etcd is away");
        assert!(!is_forbidden(&error));
        assert!(is_forbidden(&anyhow::Error::from(api(403, "no")).context("x")));
    }
}
