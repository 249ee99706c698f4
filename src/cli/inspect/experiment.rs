//! One experiment: what is believed of each variant, what was counted, the holdout, and whether it may be concluded.

use serde_json::json;

use super::Page;
use super::layout::{Whisker, amount, bar, name, per_cent, rate, table, word};
use crate::app::{Results, SAFE_RELATIVE_LOSS, SAFE_TRIALS, VariantResults};
use crate::domain::experiment::ExperimentState;
use crate::domain::shape::Interval;

/// Shows the results.
pub(super) fn page(results: &Results) -> Page {
    Page {
        text: text(results),
        json: json(results),
    }
}

fn text(results: &Results) -> String {
    let experiment = &results.experiment;
    [
        format!(
            "{}: {}, objective {}, as of {}\n",
            name(experiment.id.as_str()),
            word(&experiment.state),
            word(&experiment.settings.objective),
            results.as_of.strftime("%Y-%m-%d %H:%M UTC")
        ),
        beliefs(results),
        counted(results),
        format!(
            "{}\n{}\n{}\n{}{}\n",
            delays(results),
            holdout(results),
            ratio(results),
            remaining(results),
            advice(results)
        ),
    ]
    .join("\n")
}

/// Rates of mails are small, so the picture spans what the intervals span.
fn beliefs(results: &Results) -> String {
    let variants = &results.variants;
    let whisker = Whisker {
        from: variants
            .iter()
            .map(|variant| variant.interval.low)
            .fold(f64::INFINITY, f64::min),
        to: variants
            .iter()
            .map(|variant| variant.interval.high)
            .fold(f64::NEG_INFINITY, f64::max),
        characters: 20,
    };
    let rows: Vec<[String; 5]> = variants
        .iter()
        .map(|variant| {
            let (low, high) = (variant.interval.low, variant.interval.high);
            [
                variant_name(results, variant),
                whisker.draw([low, variant.mean, high]),
                per_mail(results, variant.mean),
                span(results, low, high),
                format!(
                    "{:>6} {:<8}",
                    per_cent(variant.probability_best),
                    bar(variant.probability_best, 8)
                ),
            ]
        })
        .collect();
    table(2, ["variant", "95 % interval", "mean", "", "best"], &rows)
}

/// What one mail brings: a rate as per cent, a value or utility as it is.
fn per_mail(results: &Results, mean: f64) -> String {
    if results.experiment.settings.objective.is_rate() {
        rate(mean)
    } else {
        format!("{mean:.4}")
    }
}

fn span(results: &Results, low: f64, high: f64) -> String {
    if results.experiment.settings.objective.is_rate() {
        format!("{:.2}-{}", low * 100.0, rate(high))
    } else {
        format!("{low:.4} to {high:.4}")
    }
}

fn counted(results: &Results) -> String {
    let rows: Vec<[String; 7]> = results
        .variants
        .iter()
        .map(|variant| {
            [
                variant_name(results, variant),
                variant_state(results, variant),
                per_cent(variant.share),
                amount(variant.trials),
                amount(variant.effective_trials),
                amount(variant.successes),
                amount(variant.planned_trials),
            ]
        })
        .collect();
    let head = [
        "variant",
        "state",
        "share",
        "trials",
        "effective",
        "successes",
        "planned",
    ];
    table(2, head, &rows)
}

fn delays(results: &Results) -> String {
    let delay = &results.delay;
    let by = |age_hours| per_cent(delay.curve.arrived_share(age_hours));
    format!(
        "answers in by 1 h {}, 6 h {}, 24 h {}, 72 h {}; delays seen: {}",
        by(1.0),
        by(6.0),
        by(24.0),
        by(72.0),
        amount(delay.delays)
    )
}

fn holdout(results: &Results) -> String {
    let held = &results.holdout;
    if held.effective_trials < 1.0 {
        return "holdout: nothing counted yet".to_owned();
    }
    format!(
        "holdout: {} of {} trials ({} effective) against {} under the policy{}",
        per_mail(results, held.observed.mean),
        amount(held.trials),
        amount(held.effective_trials),
        per_mail(results, held.policy.mean),
        uplift(results)
    )
}

/// What the holdout proves so far; the interval may be watched at every moment.
fn uplift(results: &Results) -> String {
    let held = &results.holdout;
    let Some(uplift) = held.uplift else {
        return "; too little for an uplift".to_owned();
    };
    let Interval { low, high } = uplift.absolute_interval;
    let verdict = if uplift.is_significant {
        "significant"
    } else {
        "not significant"
    };
    let detectable = held.detectable_now.map_or_else(String::new, |detectable| {
        let gain = per_cent(detectable.relative);
        format!("; a gain of {gain} would be found in four of five cases")
    });
    format!(
        "\nuplift: {:+.3} points, at any time {:+.3} to {:+.3}: {verdict}{detectable}",
        100.0 * uplift.absolute,
        100.0 * low,
        100.0 * high
    )
}

fn ratio(results: &Results) -> String {
    if results.ratio.alarm {
        format!(
            "ALARM: the mails of some variants leave less often than decided (p = {:.1e});\nfind out why before trusting anything here",
            results.ratio.p_value
        )
    } else {
        format!("sent as decided (p = {:.3})", results.ratio.p_value)
    }
}

/// How much better the best variant may still be, as a line of its own; nothing where there is no such number.
fn remaining(results: &Results) -> String {
    results.value_remaining().map_or_else(String::new, |gain| {
        format!(
            "value remaining: {} over the leader, or more with 5 % probability\n",
            per_cent(gain)
        )
    })
}

/// What the stopping rule says, and if it is not met, what is missing.
fn advice(results: &Results) -> String {
    let leader = results.leader.and_then(|at| results.variants.get(at));
    let Some(leader) = leader else {
        return "no variant is live".to_owned();
    };
    let (leader_name, loss) = (
        variant_name(results, leader),
        per_cent(results.relative_loss),
    );
    let live = |variant: &&VariantResults| {
        let state = results.experiment.variant(variant.variant);
        state.is_some_and(|variant| variant.state.is_eligible())
    };
    let fewest = results
        .variants
        .iter()
        .filter(live)
        .map(|variant| variant.effective_trials)
        .fold(f64::INFINITY, f64::min);
    if results.experiment.state == ExperimentState::Concluded {
        "concluded".to_owned()
    } else if results.safe_to_conclude {
        format!("safe to conclude: with {leader_name} an expected {loss} of what it brings is lost")
    } else if fewest < SAFE_TRIALS {
        format!(
            "not yet: every live variant needs {SAFE_TRIALS} effective trials, one has {}",
            amount(fewest)
        )
    } else {
        format!(
            "not yet: with {leader_name}, which leads, an expected {loss} of what it brings would be\nlost; below {} it is safe",
            per_cent(SAFE_RELATIVE_LOSS)
        )
    }
}

fn variant_name(results: &Results, variant: &VariantResults) -> String {
    let found = results.experiment.variant(variant.variant);
    found.map_or_else(|| "?".to_owned(), |variant| name(variant.id.as_str()))
}

fn variant_state(results: &Results, variant: &VariantResults) -> String {
    let found = results.experiment.variant(variant.variant);
    found.map_or_else(|| "?".to_owned(), |variant| word(&variant.state))
}

fn json(results: &Results) -> serde_json::Value {
    let variant_json = |variant: &VariantResults| {
        json!({
            "variant": results.experiment.variant(variant.variant).map(|found| found.id.as_str()),
            "state": variant_state(results, variant),
            "mean": variant.mean,
            "interval": [variant.interval.low, variant.interval.high],
            "probability_best": variant.probability_best,
            "expected_loss": variant.expected_loss,
            "share": variant.share,
            "trials": variant.trials,
            "effective_trials": variant.effective_trials,
            "planned_trials": variant.planned_trials,
            "successes": variant.successes,
        })
    };
    let held = &results.holdout;
    json!({
        "experiment": results.experiment.id.as_str(),
        "display_name": results.experiment.display_name,
        "state": word(&results.experiment.state),
        "objective": word(&results.experiment.settings.objective),
        "as_of": results.as_of.to_string(),
        "variants": results.variants.iter().map(variant_json).collect::<Vec<_>>(),
        "holdout": {
            "trials": held.trials,
            "effective_trials": held.effective_trials,
            "successes": held.successes,
            "rate": held.observed.mean,
            "policy_rate": held.policy.mean,
            "uplift": held.uplift.map(|uplift| json!({
                "absolute": uplift.absolute,
                "interval": [uplift.absolute_interval.low, uplift.absolute_interval.high],
                "relative": uplift.relative,
                "significant": uplift.is_significant,
            })),
        },
        "delay_curve": {
            "arrived_by_1_hour": results.delay.curve.arrived_share(1.0),
            "arrived_by_6_hours": results.delay.curve.arrived_share(6.0),
            "arrived_by_24_hours": results.delay.curve.arrived_share(24.0),
            "arrived_by_72_hours": results.delay.curve.arrived_share(72.0),
            "delays": results.delay.delays,
        },
        "sample_ratio": { "p_value": results.ratio.p_value, "alarm": results.ratio.alarm },
        "relative_loss": results.relative_loss,
        "value_remaining": results.value_remaining(),
        "safe_to_conclude": results.safe_to_conclude,
        "advice": advice(results),
    })
}
