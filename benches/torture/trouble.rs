//! A disk that refuses for a while: full for real, or said to be full, read-only or broken by a library loaded into the server.
//!
//! Invariant: while it lasts, changes are refused with a time to try again, reads and decisions go on and health says so; afterwards
//! everything works again without anybody's help, and nothing acknowledged is missing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;

use super::admin;
use super::campaign::Plan;
use super::child::Place;
use super::company::Company;
use super::probes;
use super::report::Report;

/// What ails the disk.
pub trait Trouble: Send + 'static {
    /// It begins.
    fn begin(&mut self) -> Result<(), String>;
    /// It is over.
    fn end(&mut self) -> Result<(), String>;
}

/// A file that takes all the space there is.
pub struct Ballast(pub PathBuf);

impl Trouble for Ballast {
    fn begin(&mut self) -> Result<(), String> {
        let mut file = File::create(&self.0).map_err(|error| error.to_string())?;
        let mut piece = vec![0x5A_u8; 1 << 20];
        // Down to the last block: a megabyte at a time, then less and less.
        while !piece.is_empty() {
            if file
                .write_all(&piece)
                .and_then(|()| file.sync_data())
                .is_err()
            {
                piece.truncate(piece.len() / 16);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        fs::remove_file(&self.0).map_err(|error| error.to_string())
    }
}

/// A library that lets every write fail with an error of the operating system.
pub struct Refusals {
    switch: PathBuf,
    error: i32,
}

impl Refusals {
    /// Compiles the library and tells the place to load it; writes succeed until the trouble begins.
    ///
    /// # Errors
    /// When there is no C compiler, or it fails.
    pub fn install(place: &mut Place, error: i32) -> Result<Self, String> {
        let library = place.directory.join("refusals.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/torture/refusals.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let switch = place.directory.join("switch");
        let text = |path: &Path| path.display().to_string();
        place.environment = vec![
            ("LD_PRELOAD".into(), text(&library)),
            ("TORTURE_SWITCH".into(), text(&switch)),
            ("TORTURE_DIRECTORY".into(), text(&place.data())),
        ];
        Ok(Self { switch, error })
    }

    /// Syncs from now on say that they did and do nothing, so that a power cut has something to take.
    pub fn without_syncing(place: &mut Place) -> Result<(), String> {
        Self::install(place, 0)?;
        let lies = ("TORTURE_NO_SYNC".to_owned(), "1".to_owned());
        place.environment.push(lies);
        Ok(())
    }
}

impl Trouble for Refusals {
    fn begin(&mut self) -> Result<(), String> {
        fs::write(&self.switch, self.error.to_string()).map_err(|error| error.to_string())
    }

    fn end(&mut self) -> Result<(), String> {
        fs::remove_file(&self.switch).map_err(|error| error.to_string())
    }
}

/// Rounds of trouble under load, each followed by a kill and a comparison.
///
/// # Errors
/// What kept it from going on.
pub async fn run<T: Trouble>(place: &Place, plan: Plan, trouble: T) -> Result<Report, String> {
    let started = Instant::now();
    let trouble = Arc::new(Mutex::new(trouble));
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut company = Company::new(&plan);
    let meter = company.meter.clone();
    for round in 0..plan.faults {
        let mut child = place.start(50)?;
        let channels = child.connect().await?;
        meter.begin(u64::MAX);
        if round == 0 {
            let made = admin::prepare(&channels[0]).await;
            made.map_err(|status| status.to_string())?;
        }
        settled(&mut company, &channels, Some(4)).await?;
        let acknowledgements = rng.random_range(1..=plan.acknowledgements_max);
        company.work_for(&channels, acknowledgements).await;
        // It begins while everybody is at work, and they go on: decisions are still answered.
        let begins = Arc::clone(&trouble);
        let begun = tokio::task::spawn_blocking(move || lock(&begins).begin());
        company.work_for(&channels, acknowledgements).await;
        begun.await.map_err(|error| error.to_string())??;
        probes::while_refusing(&child, &channels, &meter).await?;
        company.work_for(&channels, plan.callers as u64 * 4).await;
        lock(&trouble).end()?;
        probes::until_well(&child, &channels, &meter).await?;
        settled(&mut company, &channels, Some(4)).await?;
        meter.taking_down();
        child.kill();
    }
    let mut child = place.start(1_000)?;
    let channels = child.connect().await?;
    settled(&mut company, &channels, None).await?;
    meter.taking_down();
    child.tell_to_stop()?;
    child.stopped()?;
    for defect in place.defects() {
        meter.violation(defect);
    }
    let faults = [("rounds of trouble", plan.faults)];
    Ok(Report::new(&plan, &faults, &meter, started.elapsed()))
}

fn lock<T>(trouble: &Mutex<T>) -> MutexGuard<'_, T> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn settled(
    company: &mut Company,
    channels: &[Channel],
    some: Option<usize>,
) -> Result<(), String> {
    company.meter.begin(u64::MAX);
    company.settle(channels).await?;
    company.compare(channels, some).await
}
