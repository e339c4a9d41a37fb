//! Checks the licences and cryptography providers of all dependencies.

use std::{collections::BTreeSet, process::Command};

use spdx::{Expression, LicenseReq};

/// Licences whose only condition is that their text is included.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Zlib",
];

/// A package that cargo resolves.
struct Package {
    name: String,
    licence: String,
}

/// All packages that any feature, build script or test needs on x86_64 Linux.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--all-features", "--target=x86_64-unknown-linux-gnu"])
        .args(["--edges=normal,build,dev", "--prefix=none", "--no-dedupe", "--format={p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: BTreeSet<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let package = |line: &String| {
        let (package, licence) = line.split_once('|')?;
        Some(Package { name: package.split(' ').next()?.to_owned(), licence: licence.to_owned() })
    };
    lines.iter().filter_map(package).collect()
}

fn allowed(licence: &str) -> bool {
    let is_listed = |wanted: &LicenseReq| ALLOWED.contains(&wanted.to_string().as_str());
    // cargo still accepts `/`, the old way to write "or"
    Expression::parse(&licence.replace('/', " OR ")).is_ok_and(|licence| licence.evaluate(is_listed))
}

#[test]
fn every_licence_is_one_of_those_we_may_ship() {
    let packages = packages();
    assert!(packages.len() > 200, "{}", packages.len());
    for package in packages {
        assert!(allowed(&package.licence), "{}: {:?}", package.name, package.licence);
    }
}

#[test]
fn a_licence_that_asks_for_more_is_refused() {
    for licence in ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "", "Proprietary"] {
        assert!(!allowed(licence), "{licence}");
    }
    assert!(allowed("MIT/Apache-2.0") && allowed("GPL-2.0-only OR MIT"));
}

#[test]
fn there_is_one_provider_of_cryptography() {
    let packages = packages();
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    assert!(names.contains(&"aws-lc-rs") && names.contains(&"kube"));
    for refused in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!names.contains(&refused), "{refused} is among the dependencies");
    }
}
