//! Which database a node's private state is in: pinned when it is first in use, and never another one without a
//! person's word.

use kube::ResourceExt as _;

use super::{
    fault::{Fault, Reason},
    names::{self, Component},
    observed::Observed,
};
use crate::{
    api::{
        status::DatabaseStatus,
        transaction_manager::{self, ManagedDatabase},
    },
    database::{Report, SystemIdentifier, Verdict},
};

/// The init container that makes the managed database, or refuses the one that is there.
pub const INITIALISE: &str = "initialise";
/// The init container that waits for an external database, or refuses it.
pub const EXTERNAL_DATABASE: &str = "external-database";

/// The field that names the database.
const FIELD: &str = "spec.transactionManager.database";

/// What follows from the pinned database and from the one that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// What the status is to say of it.
    pub recorded: Option<DatabaseStatus>,
    /// The only one that may start; none where any will do.
    pub expected: Option<SystemIdentifier>,
    /// What only a person can mend.
    pub faults: Vec<Fault>,
}

/// Compares the database that was found with the one that the status pins.
#[must_use]
pub fn pin(observed: &Observed) -> Pin {
    let before = observed.node.status.as_ref().and_then(|status| status.database.clone());
    let found = found(observed);
    let faults: Vec<Fault> = found.and_then(other_major).into_iter().collect();
    let Some(recorded) = before else {
        let recorded = found.filter(|report| report.verdict == Verdict::InUse).and_then(status);
        return Pin { expected: recorded.as_ref().and_then(identifier), recorded, faults };
    };
    let accepted = is_loss_accepted(observed, &recorded);
    let expected = identifier(&recorded).filter(|_| !accepted);
    let Some(report) = found else { return Pin { recorded: Some(recorded), expected, faults } };
    if report.system_identifier.is_some() && report.system_identifier == identifier(&recorded) {
        // its version may not have been known when it was pinned
        let major_version = status(report).and_then(|found| found.major_version).or(recorded.major_version);
        return Pin { recorded: Some(DatabaseStatus { major_version, ..recorded }), expected, faults };
    }
    if accepted {
        // an empty volume has no identifier until a database is made in it
        let recorded = status(report).or(Some(recorded));
        return Pin { recorded, expected: report.system_identifier, faults };
    }
    let faults = [vec![replaced(observed, report, &recorded)], faults].concat();
    Pin { recorded: Some(recorded), expected, faults }
}

/// A fault where the spec names another major version than the one that made the data directory.
#[must_use]
pub fn major_change(observed: &Observed) -> Option<Fault> {
    let managed = managed(observed)?;
    let recorded = pin(observed).recorded?;
    let made = recorded.major_version?;
    let named = managed.version.split('.').next()?.parse::<i32>().ok()?;
    // what is given up is not read any more, once it is gone
    let is_there = found(observed).is_some_and(|report| report.system_identifier == identifier(&recorded));
    let is_lost = is_loss_accepted(observed, &recorded) && !is_there;
    (named != made && !is_lost).then(|| {
        Fault::new(
            Reason::DatabaseMajorChanged,
            format!("{FIELD}.managed.version"),
            &managed.version,
            format!(
                "PostgreSQL {made} made the database, and PostgreSQL {named} cannot read it: name an image and a \
                 version of {made}; to move to {named}, dump the database and restore it into a new one, as \
                 docs/operations.md says",
            ),
        )
    })
}

fn managed(observed: &Observed) -> Option<&ManagedDatabase> {
    database(observed)?.managed.as_ref()
}

fn database(observed: &Observed) -> Option<&transaction_manager::Database> {
    observed.node.spec.transaction_manager.as_ref().map(|manager| &manager.database)
}

/// What the pod that looks at the database has told last.
fn found(observed: &Observed) -> Option<&Report> {
    let part = match database(observed)?.managed {
        Some(_) => Component::Database,
        None => Component::TransactionManager,
    };
    observed.pods.get(&part)?.database.as_ref()
}

fn status(report: &Report) -> Option<DatabaseStatus> {
    Some(DatabaseStatus {
        system_identifier: report.system_identifier?.to_string(),
        major_version: report.major_version.and_then(|major| i32::try_from(major).ok()),
    })
}

fn identifier(recorded: &DatabaseStatus) -> Option<SystemIdentifier> {
    recorded.system_identifier.parse().ok()
}

/// Whoever accepts a loss names what is lost, so that the next loss needs another word.
fn is_loss_accepted(observed: &Observed, recorded: &DatabaseStatus) -> bool {
    observed.node.annotations().get(names::ACCEPT_DATABASE_LOSS) == Some(&recorded.system_identifier)
}

fn replaced(observed: &Observed, report: &Report, recorded: &DatabaseStatus) -> Fault {
    let pinned = &recorded.system_identifier;
    let (value, restore) = match (report.system_identifier, managed(observed)) {
        (None, _) => ("an empty volume".to_owned(), "restore its volume"),
        (Some(found), Some(_)) => (format!("system identifier {found}"), "restore its volume"),
        (Some(found), None) => (format!("system identifier {found}"), "name the server that has it"),
    };
    Fault::new(
        Reason::DatabaseReplaced,
        FIELD,
        value,
        format!(
            "the node's private state is in the database with system identifier {pinned}: {restore}, and delete the \
             pod; or give that state up with kubectl -n {} annotate qn {} --overwrite {}={pinned}",
            observed.node.namespace().unwrap_or_default(),
            observed.node.name_any(),
            names::ACCEPT_DATABASE_LOSS,
        ),
    )
}

fn other_major(report: &Report) -> Option<Fault> {
    let (made, image) = (report.major_version?, report.image_major_version?);
    (report.verdict == Verdict::OtherMajor).then(|| {
        Fault::new(
            Reason::DatabaseMajorChanged,
            format!("{FIELD}.managed.image"),
            format!("PostgreSQL {image}"),
            format!(
                "PostgreSQL {made} made the database, which {image} cannot read: name an image of {made}; to move to \
                 {image}, dump the database and restore it into a new one, as docs/operations.md says",
            ),
        )
    })
}

#[cfg(test)]
mod tests;
