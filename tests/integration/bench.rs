//! The measurements run to their end and count what was answered; how fast that was is nobody's business here.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hermod"))
        .arg("bench")
        .args(arguments)
        .env_remove("HERMOD_CONFIG")
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_way_of_asking_is_driven_against_all_servers() {
    let output = bench(&[
        "calls",
        "--people",
        "300",
        "--experiments",
        "3",
        "--turns",
        "1",
        "--seconds",
        "0.3",
        "--connections",
        "2",
        "--json",
        "-",
    ]);
    let compared = json(&output);
    let compared = compared.as_array().unwrap();
    assert_eq!(compared.len(), 8);
    for method in compared {
        let rows = method["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{method}");
        for row in rows {
            assert!(row["per_second"]["median"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["p99_us"]["median"].as_f64().unwrap() > 0.0, "{row}");
        }
        assert_eq!(rows[0]["side"], "hermod");
        assert_eq!(rows[0]["ratio"]["median"], 1.0, "hermod over itself");
    }
}

#[test]
fn growth_is_measured_on_stores_that_are_removed_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("growth");
    let output = bench(&[
        "growth",
        "--people",
        "50,600",
        "--experiments",
        "2",
        "--seconds",
        "0.2",
        "--connections",
        "2",
        "--dir",
        path.to_str().unwrap(),
        "--json",
        "-",
    ]);
    let sizes = json(&output);
    let people = |at: usize| sizes[at]["people"].as_u64().unwrap();
    assert_eq!((people(0), people(1)), (50, 600));
    for size in sizes.as_array().unwrap() {
        assert!(
            size["disk_bytes_per_person"].as_f64().unwrap() > 0.0,
            "{size}"
        );
        assert!(size["start_killed_ms"].as_f64().unwrap() > 0.0, "{size}");
        assert_eq!(size["costs"].as_array().unwrap().len(), 2);
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn a_start_is_measured_from_the_program_to_the_first_answer() {
    let starts = json(&bench(&["start", "--turns", "2", "--json", "-"]));
    assert!(starts["first_ms"].as_f64().unwrap() > 0.0);
    assert!(starts["again_ms"]["median"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_way_of_asking_that_does_not_exist_is_named_with_those_that_do() {
    let directory = tempfile::tempdir().unwrap();
    let refused = bench(&[
        "calls",
        "--methods",
        "guess",
        "--dir",
        directory.path().to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("predict, validate"), "{said}");
}
