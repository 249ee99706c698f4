//! The documents keep up with the tree: links lead somewhere, every dependency is explained, the table of human weights is the
//! program's. Configuration keys and metrics are compared beside their code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hermod::domain::event::EventKind;
use hermod::domain::human::{Evidence, human_weight};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut found: Vec<PathBuf> = docs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.extend(
        [root().join("README.md")]
            .into_iter()
            .filter(|path| path.exists()),
    );
    found
}

/// The targets of `[text](target)` outside code blocks.
fn link_targets(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            let after = line.split("](").skip(1);
            targets.extend(after.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
    }
    targets
}

/// The anchors that a forge gives the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// What is wrong with a link in a document.
fn broken(document: &Path, target: &str) -> Option<String> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => document.to_owned(),
        _ => document.parent().unwrap_or(document).join(file),
    };
    if !path.exists() {
        return Some(format!("{}: {target} leads nowhere", document.display()));
    }
    let lacks =
        !anchor.is_empty() && !anchors(&fs::read_to_string(&path).unwrap()).contains(anchor);
    lacks.then(|| format!("{}: {target} has no such heading", document.display()))
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() >= 4, "{documents:?}");
    let broken: Vec<String> = documents
        .iter()
        .flat_map(|document| {
            let targets = link_targets(&fs::read_to_string(document).unwrap());
            targets
                .into_iter()
                .filter_map(|target| broken(document, &target))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let document = root().join("docs/configuration.md");
    assert_eq!(
        link_targets("see [a](b.md), [c](#d)\n```\n[e](f)\n```"),
        ["b.md", "#d"]
    );
    assert!(broken(&document, "nowhere.md").is_some());
    assert!(broken(&document, "#no-such-heading").is_some());
    assert_eq!(broken(&document, "#the-keys-file"), None);
}

#[test]
fn every_dependency_is_explained_and_nothing_else_is() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let tables = ["dependencies", "build-dependencies", "dev-dependencies"];
    let used: BTreeSet<String> = tables
        .iter()
        .filter_map(|name| manifest.get(*name)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect();
    let text = read("docs/dependencies.md");
    let explained: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let missing: Vec<_> = used.difference(&explained).collect();
    let surplus: Vec<_> = explained.difference(&used).collect();
    assert!(
        missing.is_empty(),
        "docs/dependencies.md does not explain {missing:?}"
    );
    assert!(
        surplus.is_empty(),
        "docs/dependencies.md explains {surplus:?}, which are not used"
    );
}

/// Evidence that exactly one rule fits, in the order of the table.
fn evidence_of_each_rule() -> Vec<Evidence> {
    use hermod::domain::human::NetworkKind::{Corporate, Hosting, PrivacyProxy};
    let after = |seconds| Some(jiff::SignedDuration::from_secs(seconds));
    let plain = Evidence::default;
    vec![
        Evidence {
            provider_machine_flag: Some(true),
            ..plain()
        },
        Evidence {
            user_agent: "curl/8".into(),
            ..plain()
        },
        Evidence {
            links_within_10_seconds: 3,
            ..plain()
        },
        Evidence {
            since_delivery: after(1),
            ..plain()
        },
        Evidence {
            network: PrivacyProxy,
            ..plain()
        },
        Evidence {
            network: Hosting,
            ..plain()
        },
        Evidence {
            links_within_10_seconds: 2,
            ..plain()
        },
        Evidence {
            network: Corporate,
            since_delivery: after(5),
            ..plain()
        },
        Evidence {
            provider_machine_flag: Some(false),
            ..plain()
        },
        plain(),
    ]
}

#[test]
fn the_table_of_human_weights_is_the_programs() {
    let text = read("docs/events.md");
    let rows: Vec<(&str, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter_map(|(name, rest)| {
            let weight = rest.split(" | ").nth(1)?.parse().ok()?;
            Some((name, weight))
        })
        .collect();
    let cases = evidence_of_each_rule();
    assert_eq!(rows.len(), cases.len(), "{rows:?}");
    for ((name, weight), evidence) in rows.iter().zip(&cases) {
        let kinds = [EventKind::Opened, EventKind::Clicked];
        let by_kind = kinds.map(|kind| human_weight(kind, evidence));
        let found = by_kind.iter().find(|(_, rule)| rule == name);
        let (given, _) = found.unwrap_or_else(|| panic!("{name}: {by_kind:?}"));
        assert!(
            (given.get() - weight).abs() < 1.0 / 256.0,
            "{name}: {given:?} is not {weight}"
        );
    }
}

#[test]
fn every_benchmark_runs_its_own_main() {
    // Without `harness = false` cargo builds a bench as tests, of which there are none, and says that all is well.
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let declared: BTreeSet<&str> = manifest["bench"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|bench| bench.get("harness").and_then(toml::Value::as_bool) == Some(false))
        .map(|bench| bench["name"].as_str().unwrap())
        .collect();
    let present = fs::read_dir(root().join("benches")).unwrap();
    let present: BTreeSet<String> = present
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|name| name == "rs") || path.is_dir())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
    assert_eq!(declared, present);
    assert!(!present.is_empty());
}
