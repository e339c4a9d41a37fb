//! Checks the direction of imports: a module imports only itself and modules of a lower layer.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Layers of top-level modules, lowest first. Modules of one layer do not import each other.
const LAYERS: [&[&str]; 9] = [
    &["core_dumps", "dns", "listen", "logs", "protocol"],
    &["api"],
    &["model"],
    &["cluster"],
    &["settings"],
    &["node"],
    &["serve"],
    &["control"],
    &["guard"],
];

/// The only modules that `guard` may import: it is a separate program from the operator.
const OF_GUARD: [&str; 4] = ["core_dumps", "dns", "listen", "protocol"];

/// Layers of modules in `guard/rpc`, lowest first.
const RPC_LAYERS: [&[&str]; 3] = [&["decide", "limits"], &["audit"], &["serve"]];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = std::fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// Index of the module's layer; `None` if no layer lists it.
fn layer(layers: &[&[&str]], module: &str) -> Option<usize> {
    layers.iter().position(|layer| layer.contains(&module))
}

/// Source text without inline tests and without lines that are comments.
fn program(text: &str) -> String {
    let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    program.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// First path segments after `from`, such as `model` and `api` after `crate::` in `crate::model::x` and `crate::{api}`.
fn imported(program: &str, from: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in program.match_indices(from) {
        let rest = &program[at + from.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_segments(group)),
            None => found.push(identifier(rest).to_owned()),
        }
    }
    found
}

fn identifier(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// First segment of each entry of a `use` group. `group` starts after the opening brace.
fn first_segments(group: &str) -> Vec<String> {
    let (mut depth, mut begins, mut found) = (0, true, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            letter if begins && !letter.is_whitespace() => {
                found.push(identifier(&group[at..]).to_owned());
                begins = false;
            }
            _ => {}
        }
    }
    found
}

/// Names that `program`, the file of the module `own`, imports from the module `base`: by an absolute path, or by as many
/// `super::` as lead from `own` to `base`.
fn imported_from(program: &str, own: &[String], base: &[&str]) -> Vec<String> {
    let absolute: String = ["crate"].iter().chain(base).map(|part| format!("{part}::")).collect();
    let mut found = imported(program, &absolute);
    let is_inside = base.len() < own.len() && base.iter().zip(own).all(|(base, own)| base == own);
    if is_inside {
        // `super` of other lengths leads elsewhere
        let marked = program.replace("super::", "^");
        let chain = "^".repeat(own.len() - base.len());
        let others = marked.replace(&format!("{chain}^"), "");
        found.extend(imported(&others.replace(&format!("^{chain}"), ""), &chain));
    }
    found
}

/// Path of a file's module.
fn module_of(file: &Path) -> Vec<String> {
    let path = file.strip_prefix(source()).unwrap_or(file).with_extension("");
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.filter(|part| part != "mod").collect()
}

/// Modules that `text`, the file of the module `own`, must not import.
fn upwards(text: &str, own: &[String]) -> Vec<String> {
    let of = own[0].as_str();
    let layer_of = layer(&LAYERS, of);
    let runs_up = |to: &String| match layer(&LAYERS, to) {
        _ if to == of => false,
        Some(_) if of == "guard" => !OF_GUARD.contains(&to.as_str()),
        Some(layer) => layer_of.is_none_or(|own| layer >= own),
        None => false,
    };
    imported_from(&program(text), own, &[]).into_iter().filter(runs_up).collect()
}

/// Modules of `guard/rpc` that `text`, the file of the module `own`, must not import.
fn rpc_upwards(text: &str, own: &[String]) -> Vec<String> {
    let text = program(text);
    let of = layer(&RPC_LAYERS, &own[2]);
    let all = imported_from(&text, own, &["guard", "rpc"]).into_iter().chain(imported(&text, "rpc::"));
    let found: BTreeSet<_> = all.filter(|to| layer(&RPC_LAYERS, to) > of).collect();
    found.into_iter().collect()
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str().to_str().is_some_and(|part| part.starts_with("tests")))
        || file.file_name().is_some_and(|name| name == "samples.rs" || name == "testing.rs")
        || file.components().any(|part| part.as_os_str() == "testing")
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn every_module_imports_lower_layers_only() {
    let mut read = 0;
    for place in std::fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path()) {
        let module = name_of(&place);
        if ["lib", "main", "bin", "testing", "conventions"].contains(&module.as_str()) {
            continue;
        }
        assert!(layer(&LAYERS, &module).is_some(), "{module} has no layer: give it one");
        for file in files(&place).into_iter().filter(|file| !is_test(file)) {
            read += 1;
            let found = upwards(&std::fs::read_to_string(&file).unwrap(), &module_of(&file));
            assert!(found.is_empty(), "{} imports {found:?}", file.display());
        }
    }
    assert!(read > 200, "{read} files were read");
}

#[test]
fn what_decides_about_calls_imports_nothing_that_serves_them() {
    let mut read = 0;
    for file in files(&source().join("guard/rpc")).into_iter().filter(|file| !is_test(file)) {
        let own = module_of(&file);
        if own.get(2).is_some_and(|module| layer(&RPC_LAYERS, module).is_some()) {
            read += 1;
            let found = rpc_upwards(&std::fs::read_to_string(&file).unwrap(), &own);
            assert!(found.is_empty(), "{} imports {found:?}", file.display());
        }
    }
    assert!(read > 30, "{read} files were read");
}

#[test]
fn an_import_in_the_wrong_direction_is_found() {
    let own = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let wrong = [
        ("cluster/write", "use crate::{\n    api::QuorumNode,\n    node::{apply, observe},\n};", "node"),
        ("cluster/write", "fn f() { crate::node::apply::f() }", "node"),
        ("cluster/write/fence", "use super::super::super::node::apply;", "node"),
        ("cluster", "use super::node;", "node"),
        ("model/names", "pub(crate) use crate::cluster::Writer;", "cluster"),
        ("node/requeue", "use crate::control::related_nodes;", "control"),
        ("guard/dial", "use crate::api::QuorumNode;", "api"),
    ];
    for (of, text, to) in wrong {
        assert_eq!(upwards(text, &own(of)), [to], "{of}: {text}");
    }
    let right = [
        ("node/requeue", "use crate::{cluster::{node, Writer}, model::names};"),
        ("cluster/write", "// see crate::node"),
        ("cluster/write", "use crate::cluster::write;"),
        ("cluster/write/fence", "use super::super::node;"),
        ("guard/dial", "use crate::{guard::flags, protocol::policy};"),
    ];
    for (of, text) in right {
        assert_eq!(upwards(text, &own(of)), [""; 0], "{of}: {text}");
    }
    let of_rpc = [
        ("guard/rpc/decide/rules", "use crate::guard::rpc::serve::http;", "serve"),
        ("guard/rpc/limits/filters", "use super::super::audit::record;", "audit"),
        ("guard/rpc/audit", "use super::{metrics, serve::http};", "serve"),
    ];
    for (of, text, to) in of_rpc {
        assert_eq!(rpc_upwards(text, &own(of)), [to], "{of}: {text}");
    }
    assert_eq!(rpc_upwards("use super::super::limits::filters;", &own("guard/rpc/serve/http")), [""; 0]);
}
