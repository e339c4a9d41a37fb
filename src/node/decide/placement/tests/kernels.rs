//! Tests of hosts that share a kernel, as on a laptop.

use super::*;
use crate::api::node::Profile;

/// A node on a laptop, whose hosts are containers with one kernel and separate machine ids.
fn laptop(profile: Profile) -> Observed {
    let mut observed = three();
    spec(&mut observed).profile = profile;
    observed.hosts.values_mut().for_each(|host| host.boot_id = "boot-of-the-laptop".into());
    observed
}

#[test]
fn hosts_that_share_a_kernel_are_told_for_development_and_refused_for_every_other_profile() {
    let Isolation::SharedKernel(told) = judged(&laptop(Profile::Development)) else { panic!("it stalls") };
    for part in ["client on host-a", "host-a and host-b share a kernel", "boot id boot-of-the-laptop"] {
        assert!(told.contains(part), "{told}");
    }
    for profile in [Profile::Production, Profile::Consortium] {
        assert!(shared_by(&laptop(profile)).contains("boot id boot-of-the-laptop"));
    }
}

#[test]
fn hosts_that_report_nothing_are_told_for_development() {
    for forget in [
        (|host: &mut Host| host.machine_id.clear()) as fn(&mut Host),
        |host| host.boot_id.clear(),
        |host| *host = Host::default(),
    ] {
        let mut observed = laptop(Profile::Development);
        observed.hosts.values_mut().for_each(|host| host.boot_id = format!("boot of {}", host.machine_id));
        forget(host(&mut observed, "host-b"));
        let Isolation::SharedKernel(told) = judged(&observed) else { panic!("it stalls") };
        assert!(told.contains("host host-b reports no machine id or boot id"), "{told}");
    }
}

#[test]
fn one_host_or_one_machine_is_refused_for_development_too() {
    let mut observed = laptop(Profile::Development);
    host(&mut observed, "host-b").machine_id = "machine-of-host-a".into();
    assert!(shared_by(&observed).contains("machine id machine-of-host-a"));
    let mut observed = laptop(Profile::Development);
    pod(&mut observed, Component::Database).host = Some("host-a".into());
    assert!(shared_by(&observed).contains("both run on one host"));
}

#[test]
fn machines_of_their_own_are_isolated_for_development_as_for_production() {
    let mut observed = three();
    spec(&mut observed).profile = Profile::Development;
    assert!(matches!(judged(&observed), Isolation::Isolated(_)));
}

#[test]
fn hosts_of_one_kernel_are_counted_each_for_development() {
    let on = |profile| {
        let twin = Host { boot_id: "boot-of-host-a".into(), ..machine("host-c") };
        let hosts = [("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", twin)];
        let mut observed = homeless(hosts);
        spec(&mut observed).profile = profile;
        capacity(&observed)
    };
    assert!(on(Profile::Development).contains("3 machines can be used, but none has room"));
    assert!(on(Profile::Production).contains("but only 2 can be used: add 1 more"));
}
