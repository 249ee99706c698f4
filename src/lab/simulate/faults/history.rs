//! One history: calls in flight, a clock that jumps, faults, crashes at any step, and at the end a look at what is left.
//!
//! Invariant: everything follows from the seed, so a history that breaks a promise can be played again.
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};

use crate::app::{
    App, AppError, AppKeys, AppSettings, Clock, DecisionLogSettings, LimitSettings, NewExperiment,
    ReportOutcome, RetentionSettings, VirtualClock,
};
use crate::domain::civil::Zone;
use crate::domain::draws::Seed;
use crate::domain::event::EventKind;
use crate::domain::experiment::{Guardrails, Objective, Settings, TrialOn};
use crate::domain::name::{Slug, TenantId};
use crate::domain::recipient::ConsentLevel;
use crate::domain::token::{TokenKey, TokenKeys};
use crate::lab::LabError;
use crate::lab::campaign::{answered, campaign_settings};
use crate::lab::streams::{Stream, StreamName};

use super::Options;
use super::audit::audit;
use super::call::{Call, Came, Scene, experiment_name, reported};
use super::crew::Crew;
use super::engine::{Disk, Faults, FaultyEngine, Struck};
use super::witness::{Sent, Witness};

/// Most calls in flight.
const CREW_MAX: usize = 6;
/// Steps after which a call that has not ended hangs.
const STEPS_MAX: usize = 200_000;
/// Experiments: one that counts a trial on the decision, one on the sent event.
const EXPERIMENTS: usize = 2;
const PARTITIONS: u16 = 3;
/// Around changes of the clocks in Berlin and New York.
const STARTS: [&str; 4] = [
    "2026-03-27T20:00:00Z",
    "2026-03-07T20:00:00Z",
    "2026-10-24T12:00:00Z",
    "2026-10-31T12:00:00Z",
];

/// What one history came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lived {
    /// Its seed.
    pub seed: u64,
    /// Calls sent.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused, mostly for faults.
    pub refused: u64,
    /// Crashes.
    pub crashes: u64,
    /// Commits that crashes took.
    pub commits_lost: u64,
    /// Refused commits, made-up conflicts, failed flushes.
    pub struck: [u64; 3],
    /// Acknowledged events that were looked for at the end.
    pub promised: u64,
    /// Broken promises.
    pub violations: Vec<String>,
    /// Says whether two histories were the same.
    pub digest: u64,
}

struct History<'a> {
    options: &'a Options,
    seed: u64,
    luck: Stream,
    clock: Arc<VirtualClock>,
    disk: Arc<Disk>,
    struck: Arc<Struck>,
    witness: Witness,
    lived: Lived,
    hasher: blake3::Hasher,
    steps: u64,
}

/// An incarnation of the use cases and the engine they run on.
struct Incarnation {
    app: App,
    engine: Arc<FaultyEngine>,
}

/// Plays a history to its end.
///
/// # Errors
/// Something failed that no fault explains.
pub fn live(options: &Options, seed: u64) -> Result<Lived, LabError> {
    let mut history = History::new(options, seed)?;
    history.prepare()?;
    while history.steps < options.steps {
        history.until_crash()?;
    }
    history.conclude()
}

/// Runs a future to its end; nothing it waits for comes from elsewhere.
fn to_its_end<F: Future>(future: F) -> Result<F::Output, LabError> {
    let mut future = pin!(future);
    for _ in 0..STEPS_MAX {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return Ok(output);
        }
    }
    Err(LabError::Waited)
}

// === impl History ===

impl<'a> History<'a> {
    fn new(options: &'a Options, seed: u64) -> Result<Self, LabError> {
        let start = STARTS[(seed % STARTS.len() as u64) as usize];
        let start: Timestamp = start
            .parse()
            .map_err(|_| LabError::Defect("a start is no instant"))?;
        Ok(Self {
            options,
            seed,
            luck: stream(seed, "history"),
            clock: Arc::new(VirtualClock::at(start)),
            disk: Arc::default(),
            struck: Arc::default(),
            witness: Witness::default(),
            lived: Lived {
                seed,
                ..Lived::default()
            },
            hasher: blake3::Hasher::new(),
            steps: 0,
        })
    }

    fn faults(&self) -> Faults {
        Faults {
            refused: self.options.refused,
            conflict: self.options.conflict,
            flush_fails: self.options.flush_fails,
            turns_max: 3,
        }
    }

    fn open(&self, is_suffering: bool) -> Result<Result<Incarnation, AppError>, LabError> {
        let luck = stream(self.seed, &format!("engine {}", self.lived.crashes));
        let engine = FaultyEngine::open(self.disk.clone(), luck, self.struck.clone(), PARTITIONS)?;
        let engine = Arc::new(engine);
        if is_suffering {
            engine.suffer(self.faults());
        }
        let Seed(secret) = Seed::from_number(self.seed);
        let keys = AppKeys {
            recipient: secret,
            tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
        };
        let opened = App::open(
            engine.clone(),
            self.clock.clone(),
            keys,
            Seed(secret),
            settings(self.seed),
        );
        Ok(to_its_end(opened)?.map(|(app, _)| Incarnation { app, engine }))
    }

    /// The next incarnation, which a fault may keep from opening at first.
    fn reopen(&mut self) -> Result<Incarnation, LabError> {
        let incarnation = match self.open(true)? {
            Ok(incarnation) => incarnation,
            Err(_) => self.open(false)??,
        };
        incarnation.engine.suffer(self.faults());
        Ok(incarnation)
    }

    fn prepare(&mut self) -> Result<(), LabError> {
        let Incarnation { app, engine } = self.open(false)??;
        for experiment in 0..EXPERIMENTS {
            let new = experiment_of(experiment)?;
            let id = new.id.clone();
            to_its_end(app.create_experiment(new))??;
            to_its_end(app.start_experiment(TenantId::DEFAULT, &id))??;
        }
        to_its_end(app.flush())??;
        drop((app, engine));
        Ok(())
    }

    /// Lives until a crash or the end of the history.
    fn until_crash(&mut self) -> Result<(), LabError> {
        let incarnation = self.reopen()?;
        let mut crew = Crew::new();
        loop {
            self.steps += 1;
            if self.steps >= self.options.steps {
                self.finish(&mut crew);
                return Ok(());
            }
            match self.luck.below(1_000) {
                0..4 => {
                    for sent in crew.drop_all() {
                        self.witness.cut_off(&sent);
                    }
                    drop(incarnation);
                    self.crash();
                    return Ok(());
                }
                4..24 => self.move_clock(),
                24..60 => incarnation.app.refresh(),
                60..300 if crew.len() < CREW_MAX => {
                    self.advance(SignedDuration::from_millis(1));
                    let scene = Scene {
                        held: &self.witness.held,
                        told: &self.witness.told,
                        experiments: EXPERIMENTS,
                        now: self.clock.now(),
                    };
                    let call = Call::draw(scene, &mut self.luck);
                    self.lived.calls += 1;
                    let sent = self.witness.sent(call.clone(), self.clock.now());
                    crew.send(sent, call.make(&incarnation.app));
                }
                _ => {
                    let ended = crew.step(&mut self.luck);
                    self.note(ended);
                }
            }
        }
    }

    /// Lets every call come to its end.
    fn finish(&mut self, crew: &mut Crew<'_, Sent, Result<Came, AppError>>) {
        for _ in 0..STEPS_MAX {
            if crew.len() == 0 {
                return;
            }
            let ended = crew.step(&mut self.luck);
            self.note(ended);
        }
        self.witness.violated("a call never ended".to_owned());
    }

    fn note(&mut self, ended: Option<(Sent, Result<Came, AppError>)>) {
        let Some((sent, outcome)) = ended else { return };
        self.hasher
            .update(format!("{:?} {outcome:?}", sent.call).as_bytes());
        self.witness.ended(&sent, outcome, self.disk.commits());
    }

    fn crash(&mut self) {
        let before = self.disk.commits();
        let kept = self.disk.crash(&mut self.luck);
        self.witness.crashed(kept);
        self.lived.crashes += 1;
        self.lived.commits_lost += (before - kept) as u64;
    }

    /// Forwards by up to six hours, seldom backwards by up to three.
    fn move_clock(&mut self) {
        let minutes = if self.luck.below(5) == 0 {
            -(self.luck.below(180) as i64)
        } else {
            self.luck.below(360) as i64
        };
        self.advance(SignedDuration::from_mins(minutes));
    }

    fn advance(&self, by: SignedDuration) {
        let now = self.clock.now();
        self.clock.set(now.checked_add(by).unwrap_or(now));
    }

    /// Nothing decided before an acknowledged erasure may count any more.
    fn look_for_erased(&mut self, app: &App) -> Result<(), LabError> {
        let now = self.clock.now();
        for held in std::mem::take(&mut self.witness.erased) {
            let at = now.max(held.decided_at);
            let event = answered(held.id.clone(), EventKind::Clicked, at);
            let results = to_its_end(app.report(TenantId::DEFAULT, vec![Ok(event)]))??;
            if matches!(results.first(), Some(Ok(outcome)) if *outcome != ReportOutcome::NotAllowed)
            {
                self.witness.violated(format!(
                    "a decision from before an erasure is learned from: {held:?}, {results:?}"
                ));
            }
        }
        Ok(())
    }

    /// A last crash, then a look at everything without faults.
    fn conclude(mut self) -> Result<Lived, LabError> {
        self.crash();
        let Incarnation { app, engine } = self.open(false)??;
        let promised = self.witness.promised();
        self.lived.promised = promised.len() as u64;
        for (told, is_judged) in promised {
            let again = reported(told.clone());
            let results = to_its_end(app.report(TenantId::DEFAULT, vec![Ok(again)]))??;
            let holds = match results.first() {
                Some(Ok(ReportOutcome::Duplicate)) => true,
                Some(Ok(ReportOutcome::Upgraded)) => is_judged,
                _ => false,
            };
            if !holds {
                self.witness.violated(format!(
                    "an acknowledged event is not known any more: {told:?}, {results:?}"
                ));
            }
        }
        self.look_for_erased(&app)?;
        // Beyond every planned mail, whatever way the clock went.
        self.advance(SignedDuration::from_hours(14 * 24));
        app.refresh();
        for wrong in audit(engine.as_ref(), &app, EXPERIMENTS)? {
            self.witness.violated(wrong);
        }
        self.lived.struck = self.struck.counts();
        self.lived.answered = self.witness.answered;
        self.lived.refused = self.witness.refused;
        self.lived.violations = self.witness.violations;
        let digest = self.hasher.finalize();
        self.lived.digest = digest
            .as_bytes()
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(self.lived)
    }
}

fn stream(seed: u64, purpose: &str) -> Stream {
    Stream::new(StreamName {
        seed,
        world: "faults",
        purpose,
    })
}

fn settings(seed: u64) -> AppSettings {
    AppSettings {
        default_zone: Zone::utc(),
        default_consent: ConsentLevel::Individual,
        default_holdout_share: 0.0,
        default_floor: 0.02,
        default_exploration_share: 0.1,
        decision_log: DecisionLogSettings {
            enabled: seed.is_multiple_of(2),
            ..DecisionLogSettings::default()
        },
        limits: LimitSettings::default(),
        retention: RetentionSettings::default(),
    }
}

fn experiment_of(experiment: usize) -> Result<NewExperiment, LabError> {
    let name = |name: &str| Slug::parse(name).map_err(|_| LabError::Defect("a name is refused"));
    let settings = Settings {
        trial_on: [TrialOn::Decision, TrialOn::Sent][experiment % 2],
        holdout_share: 0.2,
        exploration_share: 0.1,
        daypart_start_hours: vec![6, 18],
        // A quarantined variant would be answered anew; harm is counted all the same.
        guardrails: Guardrails {
            complaint_rate_max: 1.0,
            unsubscribe_rate_max: 1.0,
            bounce_rate_max: 1.0,
            negative_reply_rate_max: 1.0,
        },
        ..campaign_settings(Objective::Click, 1_000)
    };
    Ok(NewExperiment {
        tenant: TenantId::DEFAULT,
        id: name(&experiment_name(experiment))?,
        display_name: String::new(),
        variants: ["a", "b", "c"]
            .into_iter()
            .map(|variant| Ok((name(variant)?, String::new())))
            .collect::<Result<_, LabError>>()?,
        settings,
        request_id: String::new(),
        validate_only: false,
    })
}
