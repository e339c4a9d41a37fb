//! Tests of the guard's dependency tree, and that it resolves no name with the C library.

use std::process::Command;

fn tree() -> String {
    let out = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--no-default-features",
            "--features",
            "guard",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_guard_holds_no_kubernetes_client_and_one_provider_of_cryptography() {
    let tree = tree();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(
        names.contains(&"rustls") && names.contains(&"aws-lc-rs"),
        "the dependency tree is not empty: {tree}"
    );
    for name in names {
        let kubernetes = name.starts_with("kube") || name.starts_with("k8s");
        assert!(
            !kubernetes && !["ring", "openssl", "native-tls"].contains(&name),
            "{name} is in the guard's tree"
        );
    }
}

#[test]
fn no_name_is_given_to_the_c_library() {
    // split in two, because this file is searched as well
    let calls =
        [["lookup", "_host"], ["to_socket", "_addrs"], ["getaddr", "info("]].map(|halves| halves.concat());
    let mut dirs = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guard")];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for call in &calls {
                assert!(!text.contains(call), "{} calls {call}", path.display());
            }
        }
    }
    assert!(files > 20, "the files were found");
}
