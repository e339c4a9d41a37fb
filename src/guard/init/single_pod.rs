//! `quorum-guard init pod`: lets only one named pod start. A user who scales a StatefulSet up creates more pods than
//! the operator allows, even while the operator is away.

use anyhow::{Result, bail};
use tracing::info;

/// Which pod may go on, and which one this is.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Only {
    /// Name of the only pod that may start. In any other pod this command fails before it does anything else
    #[arg(long, value_name = "NAME")]
    pub only_pod: Option<String>,

    /// Name of this pod, from the downward API
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

/// Fails in every pod but one, and does nothing else.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The only pod that may start
    #[command(flatten)]
    pub only: Only,
}

/// Succeeds if this pod may start.
pub fn run(args: &Args) -> Result<()> {
    args.only.check()?;
    info!(pod = args.only.pod_name, "this pod may start");
    Ok(())
}

impl Only {
    /// Fails if only another pod may start.
    ///
    /// # Errors
    /// Says why this pod may not start and what to do.
    pub fn check(&self) -> Result<()> {
        let Some(only) = &self.only_pod else { return Ok(()) };
        match &self.pod_name {
            Some(name) if name == only => Ok(()),
            Some(name) => bail!(
                "--only-pod {only}: this pod is {name}, and it does not start: beside {only} it would work with the same \
                 key, or with data of its own behind the same Service. Scale its StatefulSet back to 1 replica; this \
                 pod's claim, if it has one (data-{name}), may then be deleted"
            ),
            None => bail!(
                "--only-pod {only}: this pod's own name is not known; set the environment variable POD_NAME from the \
                 field metadata.name, or give --pod-name"
            ),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The flags of a pod `name`, if only `alice-client-0` may start.
    pub(in super::super) fn told(name: &str) -> Only {
        Only { only_pod: Some("alice-client-0".into()), pod_name: Some(name.into()) }
    }

    #[test]
    fn one_pod_starts_and_every_other_is_told_why_not() {
        run(&Args { only: told("alice-client-0") }).unwrap();
        run(&Args { only: Only::default() }).unwrap();
        for name in ["alice-client-1", "alice-client-00", "", "alice-client-0.copy"] {
            let error = run(&Args { only: told(name) }).unwrap_err().to_string();
            assert!(error.contains(&format!("this pod is {name}, and it does not start")), "{error}");
            assert!(error.contains("back to 1 replica") && error.contains("may then be deleted"), "{error}");
        }
    }

    #[test]
    fn a_pod_that_does_not_know_its_name_does_not_start() {
        let error = Only { pod_name: None, ..told("") }.check().unwrap_err().to_string();
        assert!(error.contains("POD_NAME") && error.contains("metadata.name"), "{error}");
    }
}
