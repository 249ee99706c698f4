//! A store moved elsewhere: checked, exported and imported, backed up and restored, repaired; it answers as it did.
//!
//! Invariant: every kind of record lies in the store, so that none can be forgotten on any of these ways.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hermod::ops::compose::open_engine;
use hermod::store::records::kinds::KINDS;
use serde_json::Value;

use super::lived_in::{Seen, config, live, rows, seen};

pub fn hermod(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hermod"))
        .args(arguments)
        .env_remove("HERMOD_CONFIG")
        .output()
        .unwrap()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs it and expects it to find nothing wrong.
fn well(arguments: &[&str]) -> String {
    let output = hermod(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

struct Moves {
    directory: tempfile::TempDir,
    data: PathBuf,
}

impl Moves {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        live(&data).await;
        Self { directory, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The new directory, with the keys of the old one.
    fn keyed(&self, name: &str) -> PathBuf {
        let target = self.path(name);
        std::fs::copy(self.data.join("hermod.keys"), target.join("hermod.keys")).unwrap();
        target
    }
}

/// Everything is answered, and alike.
fn assert_alike(was: &Seen, is: &Seen, moved: &str) {
    assert!(was.len() > 250, "{}", was.len());
    for (what, answer) in was {
        assert_eq!(is.get(what), Some(answer), "{what} after {moved}");
    }
    assert_eq!(was.len(), is.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lived_in_store_is_sound_and_answers_alike_wherever_it_is_moved() {
    let moves = Moves::new().await;
    let data = utf8(&moves.data);
    let page: Value =
        serde_json::from_str(&well(&["check", "--json", "--data-dir", data])).unwrap();
    let held: BTreeSet<&str> = page["records"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let all: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(
        held, all,
        "every kind of record is in the store, and counted"
    );

    let (export, again) = (moves.path("all.jsonl.gz"), moves.path("again.jsonl"));
    well(&["export", "--output", utf8(&export), "--data-dir", data]);
    let imported = moves.path("imported");
    let partitions = "store.partitions=5";
    well(&[
        "import",
        utf8(&export),
        "--data-dir",
        utf8(&imported),
        "--set",
        partitions,
    ]);
    let backup = moves.path("backup");
    well(&["backup", "--output", utf8(&backup), "--data-dir", data]);
    let restored = moves.path("restored");
    well(&["restore", utf8(&backup), "--data-dir", utf8(&restored)]);
    let repaired = moves.path("repaired");
    well(&["repair", "--output", utf8(&repaired), "--data-dir", data]);

    let (was, unreadable) = seen(&moves.data, 4).await.unwrap();
    assert_eq!(unreadable, [""; 0]);
    for name in ["imported", "restored", "repaired"] {
        let target = moves.keyed(name);
        let page = well(&["check", "--json", "--data-dir", utf8(&target)]);
        let again: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(kinds_of(&again), all, "{name}");
        let (is, unreadable) = seen(&target, 5).await.unwrap();
        assert_eq!(unreadable, [""; 0]);
        assert_alike(&was, &is, name);
    }
    // Exported again, the lines are the same but for their order: nothing is lost on a second way either.
    well(&[
        "export",
        "--output",
        utf8(&again),
        "--data-dir",
        utf8(&imported),
    ]);
    let plain = moves.path("all.jsonl");
    well(&["export", "--output", utf8(&plain), "--data-dir", data]);
    let (was, is) = (lines(&plain), lines(&again));
    let apart: Vec<&String> = was.symmetric_difference(&is).collect();
    assert!(apart.is_empty(), "{apart:#?}");
}

fn kinds_of(page: &Value) -> BTreeSet<&str> {
    page["records"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// The records of an export.
fn lines(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_and_a_repaired_store_hold_the_same_bytes_under_the_same_keys() {
    let moves = Moves::new().await;
    let data = utf8(&moves.data);
    let (backup, restored) = (moves.path("backup"), moves.path("restored"));
    well(&["backup", "--output", utf8(&backup), "--data-dir", data]);
    well(&["restore", utf8(&backup), "--data-dir", utf8(&restored)]);
    let repaired = moves.path("repaired");
    let told = well(&["repair", "--output", utf8(&repaired), "--data-dir", data]);
    assert!(told.contains("0 things lost"), "{told}");
    let of = async |path: &Path| rows(open_engine(&config(path, 4)).unwrap().as_ref()).await;
    let was = of(&moves.data).await;
    assert!(was.len() > 500, "{}", was.len());
    assert_eq!(of(&restored).await, was);
    assert_eq!(of(&repaired).await, was);
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_and_replay_are_about_the_tenant_that_is_named() {
    let moves = Moves::new().await;
    let data = utf8(&moves.data);
    let of = |tenant: &str, what: &[&str]| {
        let arguments = [what, &["--tenant", tenant, "--data-dir", data]].concat();
        hermod(&arguments)
    };
    let inspect = ["inspect", "recipient", "person-1", "--json"];
    let [first, second] = ["default", "globex"].map(|tenant| of(tenant, &inspect));
    assert!(first.status.success() && second.status.success());
    assert_ne!(first.stdout, second.stdout, "two people of the same name");
    let nobody = of("nobody", &["inspect", "experiments"]);
    let told = said(&nobody);
    assert!(
        !nobody.status.success() && told.contains("default, globex"),
        "{told}"
    );
    let replayed = |arguments: &[&str]| {
        let page: Value = serde_json::from_str(&well(arguments)).unwrap();
        page["replayed"].as_u64().unwrap()
    };
    let everything = ["replay", "--all", "--json", "--data-dir", data];
    let all = replayed(&everything);
    let parts = ["default", "globex"].map(|tenant| {
        let arguments = [&everything[..], &["--tenant", tenant]].concat();
        replayed(&arguments)
    });
    assert!(parts.iter().all(|part| *part > 100), "{parts:?}");
    assert_eq!(all, parts.iter().sum::<u64>());
}
