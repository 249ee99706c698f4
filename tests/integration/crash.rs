//! Faults against the real binary, a few of each; `cargo bench --bench torture` runs many. What was acknowledged is compared with a model.
//!
//! The moments of the faults are counted in acknowledgements and decided by a seed, which a failure names.

#[path = "../../benches/torture/harness.rs"]
mod torture;

mod losses;

use tempfile::TempDir;
use torture::campaign::{self, Kill, Plan};
use torture::child::Place;
use torture::image::Image;
use torture::report::Report;
use torture::trouble::{self, Ballast, Refusals};

const PLAN: Plan = Plan {
    seed: 7,
    callers: 16,
    faults: 10,
    stop_every: 5,
    acknowledgements_max: 600,
};

fn place(directory: &TempDir) -> Place {
    Place {
        binary: env!("CARGO_BIN_EXE_hermod").into(),
        directory: directory.path().to_owned(),
        settings: Vec::new(),
        environment: Vec::new(),
    }
}

/// The report says that nothing was lost; otherwise the directory is kept and named.
fn assert_nothing_lost(result: Result<Report, String>, directory: TempDir) {
    let report = match result {
        Ok(report) if report.violations.is_empty() => report,
        other => {
            let text = other.map_or_else(|error| error, |report| report.text());
            panic!("{text}\nkept: {}", directory.keep().display());
        }
    };
    let confirmed = |(name, count): &(String, u64)| name.contains("confirmed") && *count > 0;
    assert!(report.counts.iter().any(confirmed), "{}", report.text());
}

/// Says aloud that a fault cannot be made here.
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_under_load_lose_nothing_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let result = campaign::run(&place(&directory), PLAN, &mut Kill).await;
    assert_nothing_lost(result, directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let mut image = match Image::mounted(directory.path().join("image"), place.data(), 1 << 30) {
        Ok(image) => image,
        Err(why) => return skip(&why),
    };
    let plan = Plan { faults: 3, ..PLAN };
    let result = campaign::run(&place, plan, &mut image).await;
    drop(image);
    assert_nothing_lost(result, directory);
}

/// Several times what the same cuts take where everything is synced.
const NOTICED_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_would_be_noticed_if_nothing_were_synced() {
    let directory = tempfile::tempdir().unwrap();
    let mut place = place(&directory);
    let mut image = match Image::mounted(directory.path().join("image"), place.data(), 1 << 30) {
        Ok(image) => image,
        Err(why) => return skip(&why),
    };
    if let Err(why) = Refusals::without_syncing(&mut place) {
        return skip(&why);
    }
    let plan = Plan { faults: 3, ..PLAN };
    // Where nothing is left of what callers wait for, they wait for ever: that is noticing it, too.
    let run = campaign::run(&place, plan, &mut image);
    let result = tokio::time::timeout(NOTICED_WITHIN, run).await;
    assert!(
        !matches!(&result, Ok(Ok(report)) if report.violations.is_empty()),
        "nothing was synced, and nothing was missed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_refuses_changes_and_recovers_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut place = place(&directory);
    let image = match Image::mounted(directory.path().join("image"), place.data(), 256 << 20) {
        Ok(image) => image,
        Err(why) => return skip(&why),
    };
    place.settings = vec!["store.free_bytes_min=33554432".into()];
    let ballast = Ballast(place.data().join("ballast"));
    let plan = Plan { faults: 1, ..PLAN };
    let result = trouble::run(&place, plan, ballast).await;
    drop(image);
    assert_nothing_lost(result, directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_whose_writes_fail_refuses_changes_and_recovers_by_itself() {
    // Full, read-only, broken: what Linux calls ENOSPC, EROFS and EIO.
    for error in [28, 30, 5] {
        let directory = tempfile::tempdir().unwrap();
        let mut place = place(&directory);
        let refusals = match Refusals::install(&mut place, error) {
            Ok(refusals) => refusals,
            Err(why) => return skip(&why),
        };
        let plan = Plan {
            seed: error.unsigned_abs().into(),
            faults: 1,
            ..PLAN
        };
        let result = trouble::run(&place, plan, refusals).await;

        assert_nothing_lost(result, directory);
    }
}
