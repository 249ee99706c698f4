//! A campaign: lives of the server under load, each ended by a fault, each followed by a comparison with the model.
//!
//! Invariant: nothing here depends on time; the seed decides how many acknowledgements each life has, how it ends and how often it folds.

use std::sync::atomic::Ordering;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;

use super::admin;
use super::child::{Child, Place};
use super::company::Company;
use super::report::Report;

/// Events confirmed and people compared per caller after each fault.
const SOME: usize = 8;
/// Most rounds of the callers between the acknowledgement that a fault is due and the fault.
const FURTHER_MAX: usize = 40;

/// How often a life folds: all the while, or hardly ever, so that faults fall within passes and on long journals.
const FOLD_INTERVALS_MS: [u64; 4] = [10, 50, 200, 2_000];

/// How long a campaign is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Concurrent callers.
    pub callers: usize,
    /// Faults in all.
    pub faults: u64,
    /// Of so many faults one is an orderly stop instead.
    pub stop_every: u64,
    /// Most acknowledgements from one fault to the next.
    pub acknowledgements_max: u64,
}

/// How a life ends by force.
pub trait Fault {
    /// Ends it, and makes the place ready for the next.
    fn strike(&mut self, child: &mut Child) -> Result<(), String>;
}

/// `kill -9`.
pub struct Kill;

impl Fault for Kill {
    fn strike(&mut self, child: &mut Child) -> Result<(), String> {
        child.kill();
        Ok(())
    }
}

/// How lives ended.
#[derive(Clone, Copy, Default)]
struct Ends {
    under_load: u64,
    while_settling: u64,
    while_starting: u64,
    stops: u64,
}

struct Campaign<'a, F> {
    place: &'a Place,
    plan: Plan,
    fault: &'a mut F,
    rng: ChaCha8Rng,
    company: Company,
    ends: Ends,
    startup_bytes: u64,
    prepared: bool,
}

/// Runs a campaign to its end, or to the first violation.
///
/// # Errors
/// What kept it from going on, a server that does not start first of all.
pub async fn run(place: &Place, plan: Plan, fault: &mut impl Fault) -> Result<Report, String> {
    let started = Instant::now();
    let mut campaign = Campaign {
        place,
        plan,
        fault,
        rng: ChaCha8Rng::seed_from_u64(plan.seed),
        company: Company::new(&plan),
        ends: Ends::default(),
        startup_bytes: 0,
        prepared: false,
    };
    let meter = campaign.company.meter.clone();
    while campaign.faults() < plan.faults && meter.violations().is_empty() {
        campaign.life().await?;
    }
    for _ in 0..2 {
        campaign.last().await?;
    }
    for defect in place.defects() {
        meter.violation(defect);
    }
    let ends = campaign.ends;
    let faults = [
        ("faults under load", ends.under_load),
        ("faults while settling after another", ends.while_settling),
        ("faults while starting and replaying", ends.while_starting),
        ("orderly stops between", ends.stops),
    ];
    Ok(Report::new(&plan, &faults, &meter, started.elapsed()))
}

impl<F: Fault> Campaign<'_, F> {
    fn faults(&self) -> u64 {
        self.ends.under_load + self.ends.while_settling + self.ends.while_starting
    }

    /// One life, from the start to its fault.
    async fn life(&mut self) -> Result<(), String> {
        let fold_interval_ms = FOLD_INTERVALS_MS[self.rng.random_range(0..FOLD_INTERVALS_MS.len())];
        if self.prepared && self.rng.random_bool(0.1) {
            return self.die_while_starting(fold_interval_ms);
        }
        let mut child = self.place.start(fold_interval_ms)?;
        self.startup_bytes = child.bytes_read();
        let channels = child.connect().await?;
        let soon = self.prepared && self.rng.random_bool(0.2);
        let settling_max = self.plan.callers as u64 * 4;
        self.company.meter.begin(match soon {
            true => self.rng.random_range(1..=settling_max),
            false => u64::MAX,
        });
        if !self.prepared {
            let made = admin::prepare(&channels[0]).await;
            made.map_err(|status| status.to_string())?;
            self.prepared = true;
        }
        if self.settle(&mut child, &channels).await? {
            self.company.compare(&channels, Some(SOME)).await?;
            self.load(&mut child, &channels).await?;
        }
        Ok(())
    }

    /// Kills a server somewhere between its first read and its last before it serves.
    fn die_while_starting(&mut self, fold_interval_ms: u64) -> Result<(), String> {
        let mut child = self.place.spawn(fold_interval_ms)?;
        // As many as the start before read; this one may need fewer, the journal having been folded since.
        let target = self.rng.random_range(0..=self.startup_bytes);
        let has_started = child.has_started();
        let is_starting =
            |child: &mut Child| child.is_running() && !has_started.load(Ordering::SeqCst);
        while is_starting(&mut child) && child.bytes_read() < target {
            std::thread::yield_now();
        }
        self.fault.strike(&mut child)?;
        self.ends.while_starting += 1;
        Ok(())
    }

    /// All callers repeat what was cut off. False when the fault came meanwhile.
    async fn settle(&mut self, child: &mut Child, channels: &[Channel]) -> Result<bool, String> {
        let meter = self.company.meter.clone();
        let all = self.company.settle(channels);
        tokio::pin!(all);
        tokio::select! {
            settled = &mut all => return settled,
            () = meter.fault_due() => {}
        }
        meter.taking_down();
        self.fault.strike(child)?;
        all.await?;
        self.ends.while_settling += 1;
        Ok(false)
    }

    /// All callers at work until the fault.
    async fn load(&mut self, child: &mut Child, channels: &[Channel]) -> Result<(), String> {
        let stop = self.faults() / self.plan.stop_every > self.ends.stops;
        let acknowledgements = self.rng.random_range(1..=self.plan.acknowledgements_max);
        let further = self.rng.random_range(0..FURTHER_MAX);
        let meter = self.company.meter.clone();
        meter.begin(acknowledgements);
        let all = self.company.work(channels);
        tokio::pin!(all);
        tokio::select! {
            () = &mut all => return Err("the callers ended before the fault".into()),
            () = meter.fault_due() => {}
        }
        // An acknowledgement follows a flush; the fault must not always.
        for _ in 0..further {
            tokio::select! {
                biased;
                () = &mut all => return Err("the callers ended before the fault".into()),
                () = tokio::task::yield_now() => {}
            }
        }
        meter.taking_down();
        if stop {
            self.ends.stops += 1;
            child.tell_to_stop()?;
            all.await;
            return child.stopped();
        }
        self.fault.strike(child)?;
        all.await;
        self.ends.under_load += 1;
        Ok(())
    }

    /// A life without a fault: everything is compared, and the stop is orderly.
    async fn last(&mut self) -> Result<(), String> {
        let mut child = self.place.start(1_000)?;
        let channels = child.connect().await?;
        self.company.meter.begin(u64::MAX);
        self.company.settle(&channels).await?;
        self.company.compare(&channels, None).await?;
        drop(channels);
        self.company.meter.taking_down();
        child.tell_to_stop()?;
        child.stopped()
    }
}
