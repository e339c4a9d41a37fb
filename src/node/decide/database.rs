//! Pins the database that holds a node's private state when it is first in use. The node uses another database only
//! after a user accepts the loss of the first.

use kube::ResourceExt as _;

use crate::{
    api::{
        status::DatabaseStatus,
        transaction_manager::{self, ManagedDatabase},
    },
    model::{
        fault::{Fault, Reason},
        names::{self, Component},
    },
    node::observed::Observed,
    protocol::database::{Report, SystemIdentifier, Verdict},
};

/// The init container that creates the managed database, or rejects the existing one.
pub const INITIALISE: &str = "initialise";
/// The init container that waits for an external database, or rejects it.
pub const EXTERNAL_DATABASE: &str = "external-database";

/// The field that names the database.
const FIELD: &str = "spec.transactionManager.database";

/// Result of comparing the pinned database with the one that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The database to record in the status.
    pub recorded: Option<DatabaseStatus>,
    /// The only database that may start; `None` where any may.
    pub expected: Option<SystemIdentifier>,
    /// Faults that only a user can correct.
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
        // the version may have been unknown when the database was pinned
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

/// The fault of a spec that names another major version than the one that created the data directory.
#[must_use]
pub fn major_change(observed: &Observed) -> Option<Fault> {
    let managed = managed(observed)?;
    let recorded = pin(observed).recorded?;
    let made = recorded.major_version?;
    let named = managed.version.split('.').next()?.parse::<i32>().ok()?;
    // a database whose loss was accepted and that is gone is never read again
    let is_there = found(observed).is_some_and(|report| report.system_identifier == identifier(&recorded));
    let is_lost = is_loss_accepted(observed, &recorded) && !is_there;
    (named != made && !is_lost).then(|| {
        Fault::new(
            Reason::DatabaseMajorChanged,
            format!("{FIELD}.managed.version"),
            &managed.version,
            format!(
                "PostgreSQL {made} created the database, and PostgreSQL {named} cannot read that database. Set image \
                 and version to PostgreSQL {made}. To move to PostgreSQL {named}, dump the database and restore the \
                 dump into a new database, see docs/operations.md",
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

/// The last report of the pod that inspects the database.
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

/// Whether the annotation accepts the loss of this very database. Another loss needs another value.
fn is_loss_accepted(observed: &Observed, recorded: &DatabaseStatus) -> bool {
    observed.node.annotations().get(names::ACCEPT_DATABASE_LOSS) == Some(&recorded.system_identifier)
}

fn replaced(observed: &Observed, report: &Report, recorded: &DatabaseStatus) -> Fault {
    const RESTORE: &str = "restore the volume of that database, then delete the database's pod";
    let pinned = &recorded.system_identifier;
    let (value, restore) = match (report.system_identifier, managed(observed)) {
        (None, _) => ("an empty volume".to_owned(), RESTORE),
        (Some(found), Some(_)) => (format!("system identifier {found}"), RESTORE),
        (Some(found), None) => (
            format!("system identifier {found}"),
            "set external to the server with that database, then delete the transaction manager's pod",
        ),
    };
    Fault::new(
        Reason::DatabaseReplaced,
        FIELD,
        value,
        format!(
            "the node's private state is in a different database, with system identifier {pinned}. Either {restore}; \
             or give up the private state with kubectl -n {} annotate qn {} --overwrite {}={pinned}",
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
                "PostgreSQL {made} created the database, and PostgreSQL {image} cannot read that database. Set an image \
                 of PostgreSQL {made}. To move to PostgreSQL {image}, dump the database and restore the dump into a \
                 new database, see docs/operations.md",
            ),
        )
    })
}

#[cfg(test)]
mod tests;
