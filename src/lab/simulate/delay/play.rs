//! One campaign played under one rule.
//!
//! Invariant: a rule sees only what had arrived by the look. Instants, answers and delays are drawn once for all rules.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::domain::arrivals::{DELAY_BINS, bin_of};
use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::{DelayEvidence, learn};
use crate::domain::experiment::{Experiment, Objective, Settings, VariantState};
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};
use crate::lab::LabError;
use crate::lab::campaign::{campaign, campaign_settings};
use crate::lab::rig::{after_hours, start};
use crate::lab::streams::{Stream, StreamName};

use super::{Case, Options, Rule, delays, prior};

/// Share of the time that test-then-winner tests, and how long it waits then; mails that leave meanwhile go on as in the test.
const TEST_SHARE: f64 = 0.2;
const WAIT_HOURS: f64 = 4.0;

/// The mails of one campaign.
pub struct Campaign<'a> {
    options: &'a Options,
    case: &'a Case,
    experiments: [Arc<Experiment>; 2],
    mails: Vec<Mail>,
    seed: u64,
}

#[derive(Clone, Copy)]
struct Mail {
    sent_hours: f64,
    /// Opened if below the rate of its variant.
    luck: f64,
    delay_hours: f64,
}

/// What a rule knows.
struct Knowledge {
    cells: Vec<Exposure>,
    arrived: [f64; DELAY_BINS],
    as_of_hours: f64,
    /// Things to be counted, by when: the mail, its variant, and whether it is the answer.
    coming: BinaryHeap<Reverse<(u64, usize, usize, bool)>>,
}

fn microseconds(hours: f64) -> u64 {
    (hours * 3.6e9) as u64
}

// === impl Campaign ===

impl<'a> Campaign<'a> {
    /// Draws the campaign of a seed.
    pub fn new(
        options: &'a Options,
        case: &'a Case,
        policy: &Policy,
        seed: u64,
    ) -> Result<Self, LabError> {
        let stream = |purpose| {
            Stream::new(StreamName {
                seed,
                world: case.name,
                purpose,
            })
        };
        let (mut luck, mut late) = (stream("answers"), stream("delays"));
        let delay = delays(options)?;
        let mails = (0..case.mails)
            .map(|number| Mail {
                sent_hours: case.hours * (f64::from(number) + 0.5) / f64::from(case.mails),
                luck: luck.unit(),
                delay_hours: delay(&mut late),
            })
            .collect();
        let planned_sends = if case.is_planned {
            u64::from(case.mails)
        } else {
            0
        };
        let settings = Settings {
            policy: policy.clone(),
            floor: options.floor,
            ..campaign_settings(Objective::Open, planned_sends)
        };
        let whole = campaign(case.rates.len(), settings)?;
        let mut before = whole.clone();
        if let Some(last) = before
            .variants
            .last_mut()
            .filter(|_| case.last_joins_hours > 0.0)
        {
            last.state = VariantState::Paused;
        }
        Ok(Self {
            options,
            case,
            experiments: [Arc::new(before), Arc::new(whole)],
            mails,
            seed,
        })
    }

    /// Opens lost under a rule.
    pub fn play(&self, rule: Rule, known: DelayCurve) -> Result<f64, LabError> {
        let mut choices = Stream::new(StreamName {
            seed: self.seed,
            world: self.case.name,
            purpose: "choices",
        });
        let mut knowledge = Knowledge::new(self.case.rates.len());
        let best = self.case.rates.iter().copied().fold(0.0, f64::max);
        let mut snapshot = None;
        let (mut lost, mut next_look_hours, mut winner) = (0.0, 0.0, None);
        for (number, mail) in self.mails.iter().enumerate() {
            if mail.sent_hours >= next_look_hours {
                knowledge.look(next_look_hours, &self.mails);
                snapshot = Some(self.snapshot(rule, &knowledge, known));
                next_look_hours += self.case.look_hours;
            }
            let live = self.live(mail.sent_hours);
            let is_decided = mail.sent_hours >= TEST_SHARE * self.case.hours + WAIT_HOURS;
            let arm = match rule {
                Rule::Uniform => choices.below(live),
                Rule::TestThenWinner if !is_decided => choices.below(live),
                Rule::TestThenWinner => *winner.get_or_insert_with(|| knowledge.leader()),
                _ => {
                    let table = snapshot.as_ref().and_then(Snapshot::everyone);
                    let table = table.ok_or(LabError::Defect("a snapshot has no table"))?;
                    table.allocation.draw(choices.bits())
                }
            };
            let rate = self.case.rates.get(arm).copied().unwrap_or(0.0);
            lost += best - rate;
            knowledge.sent(rule, number, arm, mail, mail.luck < rate);
        }
        Ok(lost)
    }

    fn live(&self, now_hours: f64) -> usize {
        let late = usize::from(now_hours < self.case.last_joins_hours);
        self.case.rates.len() - late
    }

    fn snapshot(&self, rule: Rule, knowledge: &Knowledge, known: DelayCurve) -> Snapshot {
        let window_hours = self.options.attribution_hours;
        let curve = match rule {
            Rule::Known => known,
            Rule::Published => DelayCurve::default_open().within(window_hours),
            Rule::Learned => learn(&prior(), &[knowledge.evidence(window_hours)])
                .curve
                .within(window_hours),
            _ => DelayCurve::instant(),
        };
        let beliefs = Beliefs::alike(Belief {
            prior: Prior {
                mean: 0.2,
                weight: 10.0,
            },
            curve,
        });
        let all = self.live(knowledge.as_of_hours) == self.case.rates.len();
        let [before, whole] = &self.experiments;
        let experiment = if all { whole } else { before };
        let now = after_hours(start(), knowledge.as_of_hours);
        let cell = |(arm, open): (u16, &Exposure)| {
            let id = CellId {
                experiment: experiment.uid,
                variant: VariantIndex(arm),
                context: Context::default(),
                lane: Lane::Policy,
                track: Track::CONFIGURED,
            };
            let cell = Cell {
                open: open.clone(),
                ..Cell::empty(now, None)
            };
            (id, cell)
        };
        let cells: BTreeMap<CellId, Cell> = (0..).zip(&knowledge.cells).map(cell).collect();
        Snapshot::build(experiment.clone(), &cells, &beliefs, 1, now)
    }
}

// === impl Knowledge ===

impl Knowledge {
    fn new(arms: usize) -> Self {
        Self {
            cells: vec![Exposure::default(); arms],
            arrived: [0.0; DELAY_BINS],
            as_of_hours: 0.0,
            coming: BinaryHeap::new(),
        }
    }

    /// A mail leaves: it counts from its age on, its answer when it has come as well.
    fn sent(&mut self, rule: Rule, number: usize, arm: usize, mail: &Mail, opened: bool) {
        let counts_hours = mail.sent_hours + rule.counts_from_hours();
        let delay_hours = if rule == Rule::Instant {
            0.0
        } else {
            mail.delay_hours
        };
        let answer_hours = counts_hours.max(mail.sent_hours + delay_hours);
        let mut push = |hours, answer| {
            self.coming
                .push(Reverse((microseconds(hours), number, arm, answer)));
        };
        push(counts_hours, false);
        if opened {
            push(answer_hours, true);
        }
    }

    /// Takes in what has happened by now.
    fn look(&mut self, now_hours: f64, mails: &[Mail]) {
        for cell in &mut self.cells {
            cell.advance(now_hours - self.as_of_hours, None);
        }
        self.as_of_hours = now_hours;
        while let Some(Reverse((at, number, arm, answer))) = self.coming.peek().copied() {
            if at > microseconds(now_hours) {
                break;
            }
            self.coming.pop();
            let (Some(cell), Some(mail)) = (self.cells.get_mut(arm), mails.get(number)) else {
                continue;
            };
            if answer {
                cell.add(&Exposure::success(1.0));
                if let Some(weight) = self.arrived.get_mut(bin_of(mail.delay_hours)) {
                    *weight += 1.0;
                }
            } else {
                cell.add(&Exposure::trial(1.0, now_hours - mail.sent_hours));
            }
        }
    }

    /// The variant with the most answers per mail as of the last look.
    fn leader(&self) -> usize {
        let rate = |cell: &Exposure| cell.successes / cell.trials.max(1.0);
        let arms = self.cells.iter().enumerate();
        arms.max_by(|(_, one), (_, other)| rate(one).total_cmp(&rate(other)))
            .map_or(0, |(arm, _)| arm)
    }

    fn evidence(&self, window_hours: f64) -> DelayEvidence {
        let mut sum = Exposure::default();
        self.cells.iter().for_each(|cell| sum.add(cell));
        DelayEvidence {
            arrived: self.arrived,
            trials: sum.trials,
            pending: sum.pending,
            successes: sum.successes,
            window_hours,
            importance: 1.0,
        }
    }
}
