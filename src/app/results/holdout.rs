//! What the holdout proves: the uplift of variant and time together, what of it the variants explain, and what this list could show.
//!
//! Invariant: nothing here reaches a decision. Counting is left to the cells, the statistics to `domain::uplift`.
use crate::domain::cell::Cell;
use crate::domain::experiment::Experiment;
use crate::domain::posterior::{CellCounts, Posterior};
use crate::domain::shape::Interval;
use crate::domain::standing::{Observed, Terms};
use crate::domain::uplift::{Detectable, EFFECT_SD_RELATIVE, Plan, Side, Sides, Uplift};

/// Standard normal quantile of a 95 % interval.
const TWO_SIDED_95: f64 = 1.959_963_984_540_054;

/// What the holdout shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldoutResults {
    /// Trials in it.
    pub trials: f64,
    /// Trials corrected for answers still to come.
    pub effective_trials: f64,
    /// Successes in it.
    pub successes: f64,
    /// What its mails brought on average: the objective's rate, value or utility.
    pub observed: Observed,
    /// The same of the mails under the policy.
    pub policy: Observed,
    /// What the uplift is of.
    pub scope: UpliftScope,
    /// Uplift of the policy over the holdout; none before there is enough on both sides.
    pub uplift: Option<Uplift>,
    /// The part of the absolute uplift that the choice of variants explains; none where it is not of both.
    pub variant_part: Option<VariantPart>,
    /// The smallest gain that the sends so far find; none before there is enough on both sides.
    pub detectable_now: Option<Detectable>,
    /// The smallest gain that can be found once all planned sends are answered; none when their number is unknown or too small.
    pub detectable_planned: Option<Detectable>,
}

/// What an uplift over the holdout is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpliftScope {
    /// Of the choice of variants and of times, together.
    #[default]
    VariantAndTime,
    /// Of variants: the experiment's mails are transactional, so no time is chosen.
    Variant,
    /// Of times: there is one variant.
    Time,
}

/// The part of an uplift that the mix of variants explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariantPart {
    /// Rate under the policy's mix of variants less rate under the holdout's, both at the policy's rates.
    pub difference: f64,
    /// Its 95 % interval, which holds for one look only.
    pub interval: Interval,
}

/// One variant on both sides.
#[derive(Clone, Debug)]
pub(super) struct VariantSides {
    pub policy: Cell,
    pub holdout: Cell,
    pub posterior: Posterior,
}

// === impl HoldoutResults ===

impl HoldoutResults {
    /// What both sides of these variants show.
    pub(super) fn of(
        terms: &Terms<'_>,
        experiment: &Experiment,
        variants: &[VariantSides],
    ) -> Self {
        let (mut policy, mut held) = (Cell::default(), Cell::default());
        for variant in variants {
            policy.merge(&variant.policy);
            held.merge(&variant.holdout);
        }
        let plan = plan_of(experiment);
        let expected = expected_side(terms);
        let sides = Sides {
            policy: side(terms, &policy),
            holdout: side(terms, &held),
            // What the sequence looks for follows from the plan and from what was expected, never from what came.
            effect_sd_relative: plan
                .zip(expected)
                .map_or(EFFECT_SD_RELATIVE, |(plan, side)| {
                    plan.effect_sd_relative(side)
                }),
        };
        let scope = UpliftScope::of(experiment);
        let uplift = sides.uplift();
        let counted = held.objective(terms.settings.objective);
        let counts = CellCounts::of(counted, &terms.belief().curve);
        let typical = uplift.map(|_| sides.policy).or(expected);
        Self {
            trials: counted.trials.max(0.0),
            effective_trials: counts.trials,
            successes: counts.successes,
            observed: terms.observed(&held),
            policy: terms.observed(&policy),
            scope,
            variant_part: uplift
                .filter(|_| scope == UpliftScope::VariantAndTime)
                .and_then(|_| VariantPart::of(terms, variants)),
            uplift,
            detectable_now: sides.detectable(),
            detectable_planned: plan
                .zip(typical)
                .and_then(|(plan, side)| plan.detectable(side)),
        }
    }
}

/// One side: a rate with its waiting answers, or an amount as observed.
fn side(terms: &Terms<'_>, cell: &Cell) -> Side {
    let objective = terms.settings.objective;
    if objective.is_rate() {
        return Side::of_rate(cell.objective(objective), &terms.belief().curve);
    }
    let Observed {
        trials,
        mean,
        variance,
    } = terms.observed(cell);
    Side {
        effective_trials: trials,
        mean,
        unit_variance: variance,
    }
}

/// What one mail was expected to bring before any was sent; not known of amounts.
fn expected_side(terms: &Terms<'_>) -> Option<Side> {
    let rate = terms.belief().prior.mean;
    terms
        .settings
        .objective
        .is_rate()
        .then(|| Side::expected(1.0, rate))
}

/// The list as it was planned; none when its size is unknown.
fn plan_of(experiment: &Experiment) -> Option<Plan> {
    let settings = &experiment.settings;
    (settings.planned_sends > 0).then_some(Plan {
        mails: settings.planned_sends as f64,
        holdout_share: settings.holdout_share,
    })
}

// === impl UpliftScope ===

impl UpliftScope {
    fn of(experiment: &Experiment) -> Self {
        if experiment.settings.send_defaults.transactional {
            Self::Variant
        } else if experiment.variants.len() == 1 {
            Self::Time
        } else {
            Self::VariantAndTime
        }
    }
}

// === impl VariantPart ===

impl VariantPart {
    /// Direct standardisation: `sum_k (share_k under the policy - share_k in the holdout) m_k` with the policy's posterior means m, which
    /// is the uplift if time and variant act apart. What is left of the uplift is the time's.
    fn of(terms: &Terms<'_>, variants: &[VariantSides]) -> Option<Self> {
        let trials = |cell: &Cell| terms.observed(cell).trials;
        let policy: f64 = variants.iter().map(|one| trials(&one.policy)).sum();
        let held: f64 = variants.iter().map(|one| trials(&one.holdout)).sum();
        if !(policy > 0.0 && held > 0.0) {
            return None;
        }
        let (mut difference, mut variance) = (0.0, 0.0);
        for one in variants {
            let weight = trials(&one.policy) / policy - trials(&one.holdout) / held;
            difference += weight * one.posterior.mean();
            variance += weight * weight * one.posterior.variance();
        }
        let half = TWO_SIDED_95 * variance.sqrt();
        Some(Self {
            difference,
            interval: Interval {
                low: difference - half,
                high: difference + half,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::beliefs::{Belief, Beliefs};
    use crate::domain::delay::DelayCurve;
    use crate::domain::experiment::Objective;
    use crate::domain::experiment::tests::campaign;
    use crate::domain::exposure::Exposure;
    use crate::domain::posterior::Prior;
    use crate::domain::shape::BetaShape;
    use crate::domain::standing::Purpose;

    fn answered(trials: f64, successes: f64) -> Cell {
        Cell {
            as_of_ms: 1,
            click: Exposure {
                trials,
                pending: [0.0; 5],
                successes,
            },
            ..Cell::default()
        }
    }

    fn both_sides() -> Vec<VariantSides> {
        // The policy sends the better variant four times as often, and its times add a tenth.
        let one = |policy: f64, rate: f64| VariantSides {
            policy: answered(policy, policy * rate * 1.1),
            holdout: answered(50_000.0, 50_000.0 * rate),
            posterior: BetaShape::clamped(1e7 * rate * 1.1, 1e7 * (1.0 - rate * 1.1)).into(),
        };
        vec![one(200_000.0, 0.10), one(800_000.0, 0.20)]
    }

    fn shown(experiment: &Experiment, variants: &[VariantSides]) -> HoldoutResults {
        let prior = Prior {
            mean: 0.02,
            weight: 12.5,
        };
        let beliefs = Beliefs::alike(Belief {
            prior,
            curve: DelayCurve::default_click(),
        });
        let terms = Terms {
            settings: &experiment.settings,
            beliefs: &beliefs,
            purpose: Purpose::Reporting,
        };
        HoldoutResults::of(&terms, experiment, variants)
    }

    #[test]
    fn an_uplift_falls_into_the_part_of_the_variants_and_the_rest() {
        let shown = shown(&campaign(2), &both_sides());
        let uplift = shown.uplift.unwrap();
        assert!(uplift.is_significant);
        assert!((uplift.absolute - (0.198 - 0.15)).abs() < 1e-9);
        // Eight tenths instead of half of the better one, which is better by 0.11 at the policy's times.
        let part = shown.variant_part.unwrap();
        assert!((part.difference - 0.3 * 0.11).abs() < 1e-9);
        assert!(part.interval.contains(part.difference));
        assert!(uplift.absolute > part.difference);
    }

    #[test]
    fn an_uplift_of_value_is_one_of_amounts() {
        let mut experiment = campaign(1);
        experiment.settings.objective = Objective::Value;
        let valued = |mails: f64, orders: f64| Cell {
            as_of_ms: 1,
            conversion: Exposure {
                trials: mails,
                pending: [0.0; 5],
                successes: orders,
            },
            value_sum: 50.0 * orders,
            value_square_sum: 3_000.0 * orders,
            ..Cell::default()
        };
        let variants = [VariantSides {
            policy: valued(100_000.0, 2_000.0),
            holdout: valued(50_000.0, 500.0),
            posterior: BetaShape::clamped(1.0, 1.0).into(),
        }];
        let uplift = shown(&experiment, &variants).uplift.unwrap();
        assert!((uplift.absolute - 0.5).abs() < 1e-9, "{uplift:?}");
        assert!((uplift.relative.unwrap() - 1.0).abs() < 1e-9 && uplift.is_significant);
    }

    #[test]
    fn what_is_chosen_is_what_the_uplift_is_of() {
        let mut experiment = campaign(2);
        assert_eq!(UpliftScope::of(&experiment), UpliftScope::VariantAndTime);
        experiment.variants.truncate(1);
        assert_eq!(UpliftScope::of(&experiment), UpliftScope::Time);
        experiment.settings.send_defaults.transactional = true;
        assert_eq!(UpliftScope::of(&experiment), UpliftScope::Variant);
    }

    #[test]
    fn a_planned_list_knows_what_it_can_show_before_the_first_send() {
        let mut experiment = campaign(2);
        assert_eq!(shown(&experiment, &[]).detectable_planned, None);
        experiment.settings.planned_sends = 1_000_000;
        experiment.settings.holdout_share = 0.05;
        let shown = shown(&experiment, &[]);
        assert!(shown.detectable_now.is_none() && shown.uplift.is_none());
        let detectable = shown.detectable_planned.unwrap();
        assert!(
            (0.09..0.15).contains(&detectable.relative),
            "{detectable:?}"
        );
    }
}
