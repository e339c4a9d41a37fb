//! Disables core dumps: the memory of these programs contains keys.

use anyhow::Context as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From now on this process writes no core dump, and other processes of its user cannot read its memory.
///
/// # Errors
/// If the kernel refuses.
pub fn refuse() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("limit of core dumps")?;
    // the limit does not apply to a collector that the kernel pipes dumps into
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("core dumps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_refuses_them_has_no_core_dumps() {
        refuse().unwrap();
        let limits = std::fs::read_to_string("/proc/thread-self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn both_programs_begin_with_it() {
        for program in [include_str!("main.rs"), include_str!("bin/quorum-guard.rs")] {
            let (_, main) = program.split_once("fn main()").unwrap();
            let first = main.lines().nth(1).unwrap();
            assert!(first.contains("dumps::refuse()"), "{first}");
        }
    }
}
