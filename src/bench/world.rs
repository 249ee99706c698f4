//! The store that is measured on: running experiments with history, and as many people as wanted.
//!
//! A few hundred people get decisions and events over four weeks through the use cases, at a virtual clock; everybody else gets a copy of one of their
//! records under a key of its own, because a record holds nothing of whose it is. Sums are those of the few hundred.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::BenchError;
use super::method::Population;
use crate::app::{
    App, Clock, Constraints, DecideRequest, EventReport, Loader, NewExperiment, SystemClock,
    VirtualClock,
};
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::experiment::{
    ExperimentKind, Guardrails, Objective, Probation, SendDefaults, Settings, TrialOn, Utility,
};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::lab::Progress;
use crate::ops::compose::{Opened, open_app};
use crate::ops::config::Config;
use crate::store::records::{self, RecipientCount, key};
use crate::store::{Change, Engine, Partition, StoreError};

/// People who get a history of their own.
const TEMPLATES: u64 = 512;
/// Mails that each of them had.
const MAILS: i64 = 8;
/// Days between two mails; together less than a touch is kept.
const DAYS_BETWEEN: i64 = 3;
/// Segments of each experiment.
const SEGMENTS: u64 = 8;
/// Copies between two reports of progress.
const STRIDE: u64 = 10_000;

/// What a store is filled with.
#[derive(Clone, Debug)]
pub struct World {
    /// The data directory; must be empty or absent.
    pub directory: PathBuf,
    /// How many of what.
    pub population: Population,
    /// Variants of the first experiment and the last; the others lie between.
    pub variants: (u64, u64),
    /// Fixes everything.
    pub seed: u64,
}

// === impl World ===

impl World {
    /// Whether there is a store already.
    pub fn exists(&self) -> bool {
        self.directory.join("hermod.keys").exists()
    }

    /// The configuration it is filled under.
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.store.path = self.directory.clone();
        config.decisions.seed = Some(self.seed);
        config.decision_log.enabled = false;
        config
    }

    /// Fills an empty directory.
    ///
    /// # Errors
    /// It holds a store already, or the store refuses.
    pub fn fill(&self, progress: &impl Progress) -> Result<(), BenchError> {
        if self.exists() {
            let directory = self.directory.display();
            let what = format!("{directory} holds a store already; choose an empty directory");
            return Err(BenchError::Nonsense(what));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let now = SystemClock.now();
        let clock = Arc::new(VirtualClock::at(before(now, 24 * MAILS * DAYS_BETWEEN)));
        let opened = runtime.block_on(open_app(&self.config(), clock.clone()));
        let Opened { app, engine, .. } =
            opened.map_err(|error| BenchError::Nonsense(error.to_string()))?;
        progress.begin("experiments and their history", MAILS as u64);
        runtime.block_on(self.experiments(&app))?;
        runtime.block_on(self.history(&app, &clock, progress))?;
        let templates = templates(&app, engine.as_ref(), self.population)?;
        self.copies(&app, engine.as_ref(), &templates, progress)?;
        runtime.block_on(engine.close())?;
        Ok(())
    }

    async fn experiments(&self, app: &App) -> Result<(), BenchError> {
        for number in 0..self.population.experiments {
            let id = slug(&Population::experiment(number))?;
            let new = self.experiment(number, &id)?;
            app.create_experiment(new).await?;
            app.start_experiment(TenantId::DEFAULT, &id).await?;
        }
        app.refresh();
        Ok(())
    }

    fn experiment(&self, number: u64, id: &Slug) -> Result<NewExperiment, BenchError> {
        let (first, last) = self.variants;
        let steps = self.population.experiments.saturating_sub(1).max(1);
        let variants = first + last.saturating_sub(first) * number / steps;
        let named = |name: fn(u64) -> String, count: u64| {
            let slugs = (0..count).map(move |at| slug(&name(at)));
            slugs.collect::<Result<Vec<_>, _>>()
        };
        let mut new = campaign(id, &named(Population::variant, variants)?);
        new.settings.segments = named(Population::segment, SEGMENTS)?;
        new.settings.floor = 0.2 / variants.max(1) as f64;
        Ok(new)
    }

    /// Mails of the few hundred, with what became of them.
    async fn history(
        &self,
        app: &App,
        clock: &VirtualClock,
        progress: &impl Progress,
    ) -> Result<(), BenchError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let people = TEMPLATES.min(self.population.people);
        for mail in 0..MAILS {
            let sent = clock.now();
            let mut reports = Vec::new();
            for person in 0..people {
                let number = rng.random_range(0..self.population.experiments.max(1));
                let asked = DecideRequest {
                    recipient_id: Population::person(person),
                    occasion: format!("mail-{mail}"),
                    segment: Some(slug(&Population::segment(person % SEGMENTS))?),
                    ..request(&slug(&Population::experiment(number))?)
                };
                let decided = app.decide(&asked).await?;
                let Ok(answer) = decided.answer else { continue };
                let told = responses(&mut rng, &decided.decision_id, answer.send_at);
                reports.extend(told.into_iter().map(Ok));
            }
            clock.set(after(sent, 24 * DAYS_BETWEEN));
            for result in app.report(TenantId::DEFAULT, reports).await? {
                result?;
            }
            app.refresh();
            app.flush().await?;
            progress.advance(1);
        }
        Ok(())
    }

    /// Gives everybody else a copy.
    fn copies(
        &self,
        app: &App,
        engine: &dyn Engine,
        templates: &[Vec<u8>],
        progress: &impl Progress,
    ) -> Result<(), BenchError> {
        let people = self.population.people;
        progress.begin("people", people.saturating_sub(templates.len() as u64));
        let mut loader = Loader::new(engine);
        let mut counts = vec![0_i64; usize::from(engine.partitions())];
        let tenant = TenantId::DEFAULT;
        let others = templates.len() as u64..people;
        for (person, template) in others.zip(templates.iter().cycle()) {
            let recipient = app.recipient_key(tenant, &Population::person(person));
            let partition = recipient.partition(engine.partitions());
            let put = Change::Put {
                key: key::recipient(tenant, recipient),
                value: template.clone(),
                expected: None,
            };
            loader.push(Partition(partition), put)?;
            if let Some(count) = counts.get_mut(usize::from(partition)) {
                *count += 1;
            }
            if person % STRIDE == 0 {
                progress.advance(STRIDE);
            }
        }
        for (partition, count) in (0..).zip(counts) {
            let operand = records::encode(&RecipientCount(count))?;
            let key = key::recipient_count(tenant);
            loader.push(Partition(partition), Change::Merge { key, operand })?;
        }
        Ok(loader.finish()?)
    }
}

/// A campaign as it is by default, with these variants.
pub fn campaign(id: &Slug, variants: &[Slug]) -> NewExperiment {
    let variant = |id: &Slug| (id.clone(), String::new());
    NewExperiment {
        tenant: TenantId::DEFAULT,
        id: id.clone(),
        display_name: String::new(),
        variants: variants.iter().map(variant).collect(),
        settings: Settings {
            policy: Policy::default(),
            objective: Objective::Click,
            kind: ExperimentKind::Campaign,
            attribution_window_ms: 72 * 3_600_000,
            trial_on: TrialOn::Decision,
            holdout_share: 0.05,
            floor: 0.02,
            segments: Vec::new(),
            daypart_start_hours: Vec::new(),
            send_defaults: SendDefaults::default(),
            half_life_hours: 504.0,
            planned_sends: 0,
            guardrails: Guardrails::default(),
            probation: Probation::default(),
            utility: Utility::default(),
            open_proxy: false,
            exploration_share: 0.05,
            capacity: None,
            shadow: false,
        },
        request_id: String::new(),
        validate_only: false,
    }
}

/// A question about nobody yet: which variant, and when in the next day.
pub fn request(experiment: &Slug) -> DecideRequest {
    DecideRequest {
        tenant: TenantId::DEFAULT,
        experiment: experiment.clone(),
        recipient_id: String::new(),
        request_id: String::new(),
        occasion: String::new(),
        segment: None,
        zone: None,
        constraints: Constraints::default(),
        send_at: None,
        eligible: Vec::new(),
        platform: None,
        validate_only: false,
        full: false,
    }
}

/// What becomes of a mail: all are sent and delivered, a third is opened, a tenth clicked.
fn responses(rng: &mut ChaCha8Rng, token: &str, send_at: Timestamp) -> Vec<EventReport> {
    let mut kinds = vec![EventKind::Sent, EventKind::Delivered];
    let luck: f64 = rng.random();
    if luck < 0.33 {
        kinds.push(EventKind::Opened);
    }
    if luck < 0.1 {
        kinds.push(EventKind::Clicked);
    }
    let hours = rng.random_range(0..20);
    kinds
        .into_iter()
        .map(|kind| EventReport::Decision {
            token: token.to_owned(),
            event: DecisionEvent {
                kind,
                at: after(send_at, hours),
                weight: HumanWeight::CERTAIN,
                value: 0.0,
                sentiment: Sentiment::Neutral,
                permanent: false,
            },
        })
        .collect()
}

/// The records of those with a history.
fn templates(
    app: &App,
    engine: &dyn Engine,
    population: Population,
) -> Result<Vec<Vec<u8>>, BenchError> {
    let record = |person| {
        let recipient = app.recipient_key(TenantId::DEFAULT, &Population::person(person));
        let partition = Partition(recipient.partition(engine.partitions()));
        let key = key::recipient(TenantId::DEFAULT, recipient);
        let read = engine.read(partition, &key).wait()?;
        Ok(read.map(|stored| stored.value.to_vec()))
    };
    let read: Result<Vec<_>, StoreError> =
        (0..TEMPLATES.min(population.people)).map(record).collect();
    Ok(read?.into_iter().flatten().collect())
}

fn slug(text: &str) -> Result<Slug, BenchError> {
    Slug::parse(text).map_err(|error| BenchError::Nonsense(error.to_string()))
}

fn before(at: Timestamp, hours: i64) -> Timestamp {
    after(at, -hours)
}

fn after(at: Timestamp, hours: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_hours(hours))
        .unwrap_or(at)
}

/// Bytes of all files of a directory.
///
/// # Errors
/// It cannot be read.
pub fn bytes_of(directory: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() {
            bytes_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(sum)
}
