//! The rules of the house, checked on the sources: imports point inwards, one folder names the engine's library, files open with
//! their purpose, and neither files nor functions grow past what can be read at once.
//!
//! Every rule is also tried on a sample that breaks it, so that a checker gone blind is noticed.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, identifiers_after};

/// A layer and those it may import from.
const LAYERS: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("store", &["domain"]),
    ("app", &["domain", "store"]),
    ("lab", &["app", "store", "domain"]),
    ("grpc", &["app", "domain"]),
    ("ops", &["app", "grpc", "store", "domain"]),
    ("bench", &["app", "grpc", "lab", "ops", "store", "domain"]),
    ("cli", &["app", "bench", "domain", "lab", "ops", "store"]),
];
/// The one file outside the store and the lab that names engines.
const COMPOSITION_ROOT: &str = "src/ops/compose.rs";
/// What opens an engine.
const ENGINES: [&str; 2] = ["SledEngine", "MemoryEngine"];
/// What the domain must not reach for: clocks, IO, randomness of its own, async, logging.
const IMPURE: [&str; 13] = [
    "tokio::",
    "tracing::",
    "log::",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "async fn",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "SysRng",
];
/// Longest file, in lines before its tests.
const FILE_LINES_MAX: usize = 400;
/// A function has fewer lines than this, signature included.
const FUNCTION_LINES_END: usize = 60;

/// Everything that is wrong with one source file.
fn violations(source: &Source) -> Vec<String> {
    let mut found = imports(source);
    found.extend(impurities(source));
    found.extend(engines(source));
    found.extend(engine_library(source));
    found.extend(shape(source));
    found
}

fn imports(source: &Source) -> Vec<String> {
    let Some((layer, allowed)) = LAYERS.iter().find(|(name, _)| source.layer() == *name) else {
        return Vec::new();
    };
    let is_allowed = |name: &str| name == *layer || allowed.contains(&name);
    let mut roots = identifiers_after(&source.code, "crate::");
    roots.extend(identifiers_after(
        &source.code,
        &"super::".repeat(source.depth()),
    ));
    roots
        .into_iter()
        .filter(|name| LAYERS.iter().any(|(layer, _)| layer == name) && !is_allowed(name))
        .map(|name| format!("{}: {layer} imports from {name}", source.path))
        .collect()
}

fn impurities(source: &Source) -> Vec<String> {
    let words = IMPURE.iter().filter(|_| source.layer() == "domain");
    words
        .filter(|word| names(&source.code, word))
        .map(|word| format!("{}: the domain is pure, and names {word}", source.path))
        .collect()
}

/// Whether a word stands in the code by itself, and not at the end of a longer name: `log::`, not `decision_log::`.
fn names(code: &str, word: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(continues))
}

fn engines(source: &Source) -> Option<String> {
    let exempt = ["store", "lab", ""].contains(&source.layer()) || source.path == COMPOSITION_ROOT;
    let named = ENGINES.iter().any(|engine| source.code.contains(engine));
    (!exempt && named).then(|| format!("{}: only {COMPOSITION_ROOT} opens engines", source.path))
}

/// `src/store.rs` is exempt: there, `sled::` is the folder.
fn engine_library(source: &Source) -> Option<String> {
    let exempt = source.path.starts_with("src/store/sled") || source.path == "src/store.rs";
    let named = source.code.contains("sled::") || source.code.contains("extern crate sled");
    (!exempt && named).then(|| format!("{}: only src/store/sled names sled", source.path))
}

fn shape(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(format!("{path}: does not open with its purpose (//!)"));
    }
    if path.ends_with("/mod.rs") {
        found.push(format!("{path}: is a mod.rs; write it beside its folder"));
    }
    let lines = source.lines_before_tests();
    if lines > FILE_LINES_MAX {
        found.push(format!(
            "{path}: {lines} lines before its tests, more than {FILE_LINES_MAX}"
        ));
    }
    // A table of cases is as long as there are cases.
    let is_test = source.path.starts_with("tests/");
    let long = source
        .functions()
        .into_iter()
        .filter(|function| function.lines >= FUNCTION_LINES_END && !is_test);
    found.extend(long.map(|function| {
        format!(
            "{path}:{}: fn {} has {} lines, {FUNCTION_LINES_END} or more",
            function.line, function.name, function.lines
        )
    }));
    found
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("build.rs")];
    rust_files(&root.join("src"), &mut files);
    rust_files(&root.join("tests"), &mut files);
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap();
            Source::new(path, &fs::read_to_string(file).unwrap())
        })
        .collect()
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let sources = sources();
    assert!(
        sources.len() > 100,
        "only {} files were found",
        sources.len()
    );
    let found: Vec<String> = sources.iter().flat_map(violations).collect();
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_layer_of_the_crate_has_its_rule() {
    let library = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let library = library.unwrap();
    let declared = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    for name in declared.map(|line| line.trim_end_matches(';')) {
        assert!(
            LAYERS.iter().any(|(layer, _)| *layer == name),
            "{name} has no rule"
        );
    }
}

/// The violations of a sample at a path, as one text.
fn judged(path: &str, text: &str) -> String {
    violations(&Source::new(path, text)).join("\n")
}

#[test]
fn an_import_that_points_outwards_is_found_however_it_is_written() {
    for import in [
        "use crate::app::App;",
        "use crate::{app::App, domain::name};",
        "use crate::{\n    domain::name,\n    app::{App, Clock},\n};",
        "use super::super::app::App;",
        "fn f() { crate::app::run() }",
    ] {
        let verdict = judged("src/domain/cell.rs", &format!("//! x\n{import}\n"));
        assert!(
            verdict.contains("domain imports from app"),
            "{import}: {verdict}"
        );
    }
}

#[test]
fn an_import_that_points_inwards_and_a_name_in_a_comment_or_text_are_no_violations() {
    let text = "//! x\n// crate::cli\nuse crate::store::Engine;\nuse super::app;\nconst A: &str = \"crate::cli\";\n";
    assert_eq!(judged("src/app/load.rs", text), "");
    let tests = "//! x\n#[cfg(test)]\nmod tests {\n    use crate::cli::main;\n}\n";
    assert_eq!(judged("src/app/load.rs", tests), "");
}

#[test]
fn only_the_composition_root_of_operations_opens_engines() {
    let text = "//! x\nuse crate::store::SledEngine;\n";
    assert_eq!(judged(COMPOSITION_ROOT, text), "");
    assert!(judged("src/ops/port.rs", text).contains("opens engines"));
}

#[test]
fn a_clock_in_the_domain_and_the_engines_library_elsewhere_are_found() {
    let verdict = judged(
        "src/domain/cell.rs",
        "//! x\nfn f() { Timestamp::now(); }\n",
    );
    assert!(verdict.contains("the domain is pure"), "{verdict}");
    let verdict = judged("src/domain/cell.rs", "//! x\nfn f() { log::warn!(); }\n");
    assert!(verdict.contains("names log::"), "{verdict}");
    let own = "//! x\nuse crate::domain::decision_log::LoggedOutcome;\n";
    assert_eq!(judged("src/domain/cell.rs", own), "");
    let text = "//! x\nuse sled::Db;\n";
    assert!(judged("src/store/memory.rs", text).contains("names sled"));
    assert_eq!(judged("src/store/sled/disk.rs", text), "");
}

#[test]
fn a_file_without_purpose_a_mod_rs_and_too_long_a_file_are_found() {
    assert!(judged("src/app/x.rs", "fn f() {}\n").contains("its purpose"));
    assert!(judged("src/app/mod.rs", "//! x\n").contains("mod.rs"));
    let long = format!("//! x\n{}", "// y\n".repeat(FILE_LINES_MAX));
    assert!(judged("src/app/x.rs", &long).contains("401 lines before its tests"));
    let tests = format!(
        "//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n",
        "// y\n".repeat(FILE_LINES_MAX)
    );
    assert_eq!(judged("src/app/x.rs", &tests), "");
}

#[test]
fn a_function_of_sixty_lines_is_found_and_one_of_59_is_not() {
    let function = |lines: usize| {
        let body = "        let a = \"{\"; // }\n".repeat(lines - 2);
        format!("//! x\nimpl A {{\n    pub async fn long<T>(\n{body}    }}\n}}\n")
            .replace("long<T>(\n", "long() {\n")
    };
    assert!(judged("src/app/x.rs", &function(60)).contains("src/app/x.rs:3: fn long has 60 lines"));
    assert_eq!(judged("src/app/x.rs", &function(59)), "");
}
