//! Results on the wire.
use jiff::Timestamp;

use crate::app::{
    HalfLife, HoldoutResults, RatioCheck, Results, UpliftScope, VariantPart, VariantResults,
};
use crate::domain::change_point::ChangePoint;
use crate::domain::delay::learning::LearnedDelay;
use crate::domain::event::EventKind;
use crate::domain::shadow::ShadowComparison;
use crate::domain::timeline::HourCounts;
use crate::domain::uplift::{Detectable, Uplift};

use super::check::{duration_ms, timestamp};
use super::experiments::{objective_wire, state_wire, variant_state_wire};
use super::wire;

/// What an experiment shows.
pub fn results(results: &Results) -> wire::ExperimentResults {
    let Results {
        experiment,
        as_of,
        variants,
        leader,
        relative_loss,
        safe_to_conclude,
        holdout,
        ratio,
        delay,
        shadow,
        half_lives,
        changes,
        competing: _,
    } = results;
    let leader = leader
        .and_then(|at| experiment.variants.get(at))
        .map(|variant| variant.id.to_string());
    let RatioCheck {
        evidence: _,
        p_value,
        alarm,
    } = *ratio;
    wire::ExperimentResults {
        name: format!("experiments/{}", experiment.id),
        state: state_wire(experiment.state).into(),
        objective: objective_wire(experiment.settings.objective).into(),
        as_of_time: Some(timestamp(*as_of)),
        variants: variants
            .iter()
            .map(|variant| variant_wire(results, variant))
            .collect(),
        leader: leader.unwrap_or_default(),
        leader_relative_expected_loss: *relative_loss,
        safe_to_conclude: *safe_to_conclude,
        holdout: Some(holdout_wire(holdout, experiment.settings.holdout_share)),
        sample_ratio_check: Some(wire::SampleRatioCheck { p_value, alarm }),
        delay_curve: Some(delay_wire(delay)),
        shadow: shadow.as_ref().map(shadow_wire),
        half_lives: half_lives.iter().map(half_life_wire).collect(),
        change_points: changes
            .iter()
            .map(|change| change_wire(results, change))
            .collect(),
        value_remaining: results.value_remaining(),
    }
}

fn delay_wire(delay: &LearnedDelay) -> wire::DelayCurve {
    let by = |age_hours| delay.curve.arrived_share(age_hours);
    wire::DelayCurve {
        arrived_by_1_hour: by(1.0),
        arrived_by_6_hours: by(6.0),
        arrived_by_24_hours: by(24.0),
        arrived_by_72_hours: by(72.0),
        delays: delay.delays,
    }
}

fn shadow_wire(shadow: &ShadowComparison) -> wire::ShadowResults {
    let ShadowComparison {
        sends,
        agreement,
        platform,
        hermod,
        overlap,
        effective_sends,
        is_identified,
    } = *shadow;
    wire::ShadowResults {
        sends,
        agreement,
        platform_rate: platform.mean,
        platform_rate_low: platform.low,
        platform_rate_high: platform.high,
        policy_rate: hermod.mean,
        policy_rate_low: hermod.low,
        policy_rate_high: hermod.high,
        overlap,
        effective_sends,
        identified: is_identified,
    }
}

fn half_life_wire(shown: &HalfLife) -> wire::HalfLifeWeight {
    let HalfLife {
        hours,
        weight,
        score,
    } = *shown;
    wire::HalfLifeWeight {
        half_life: hours.map(|hours| duration_ms((hours * 3_600_000.0) as i64)),
        weight,
        score,
    }
}

fn change_wire(results: &Results, change: &ChangePoint) -> wire::ChangePoint {
    let ChangePoint {
        variant,
        changed_at_ms,
        noticed_at_ms,
        rate_before,
        rate_after,
    } = *change;
    let variant = variant.and_then(|index| results.experiment.variant(index));
    let instant = |ms| Timestamp::from_millisecond(ms).ok().map(timestamp);
    wire::ChangePoint {
        variant_id: variant.map(|of| of.id.to_string()).unwrap_or_default(),
        change_time: instant(changed_at_ms),
        notice_time: instant(noticed_at_ms),
        rate_before,
        rate_after,
    }
}

fn variant_wire(results: &Results, shown: &VariantResults) -> wire::VariantResults {
    let VariantResults {
        variant,
        mean,
        interval,
        probability_best,
        expected_loss,
        share,
        trials,
        effective_trials,
        planned_trials,
        successes,
        counts,
    } = shown;
    let variant = results.experiment.variant(*variant);
    // A success may be known before its mail was to leave; over the trials due alone it could make a rate above 1.
    let all_trials = trials + planned_trials;
    wire::VariantResults {
        variant_id: variant
            .map(|variant| variant.id.to_string())
            .unwrap_or_default(),
        display_name: variant
            .map(|variant| variant.display_name.clone())
            .unwrap_or_default(),
        state: variant
            .map_or(wire::VariantState::Unspecified, |variant| {
                variant_state_wire(variant.state)
            })
            .into(),
        mean: *mean,
        interval_low: interval.low,
        interval_high: interval.high,
        probability_best: *probability_best,
        expected_loss: *expected_loss,
        share: *share,
        trials: all_trials,
        effective_trials: *effective_trials,
        pending_trials: (all_trials - effective_trials).max(0.0),
        successes: *successes,
        raw_rate: if all_trials > 0.0 {
            successes / all_trials
        } else {
            0.0
        },
        counts: Some(counts_wire(counts)),
    }
}

/// Counts on the wire.
pub fn counts_wire(counts: &HourCounts) -> wire::EventCounts {
    let of = |kind| counts.of(kind) as f64;
    wire::EventCounts {
        decided: counts.decided as f64,
        sent: of(EventKind::Sent),
        delivered: of(EventKind::Delivered),
        bounced: of(EventKind::Bounced),
        opened: of(EventKind::Opened),
        clicked: of(EventKind::Clicked),
        converted: of(EventKind::Converted),
        unsubscribed: of(EventKind::Unsubscribed),
        complained: of(EventKind::Complained),
        replied: of(EventKind::Replied),
        replied_negative: counts.replied_negative as f64,
        value: counts.value,
    }
}

fn holdout_wire(holdout: &HoldoutResults, share: f64) -> wire::HoldoutResults {
    let HoldoutResults {
        trials,
        effective_trials,
        successes,
        observed,
        policy,
        scope,
        uplift,
        variant_part,
        detectable_now,
        detectable_planned,
    } = *holdout;
    wire::HoldoutResults {
        share,
        trials,
        effective_trials,
        successes,
        rate: observed.mean,
        policy_rate: policy.mean,
        uplift_scope: scope_wire(scope).into(),
        uplift: uplift.map(uplift_wire),
        variant_part: variant_part.map(part_wire),
        detectable_now: detectable_now.map(detectable_wire),
        detectable_planned: detectable_planned.map(detectable_wire),
    }
}

fn scope_wire(scope: UpliftScope) -> wire::UpliftScope {
    match scope {
        UpliftScope::VariantAndTime => wire::UpliftScope::VariantAndTime,
        UpliftScope::Variant => wire::UpliftScope::Variant,
        UpliftScope::Time => wire::UpliftScope::Time,
    }
}

fn uplift_wire(uplift: Uplift) -> wire::Uplift {
    let Uplift {
        absolute,
        absolute_interval,
        relative,
        relative_low,
        relative_high,
        is_significant,
    } = uplift;
    wire::Uplift {
        absolute,
        absolute_low: absolute_interval.low,
        absolute_high: absolute_interval.high,
        relative,
        relative_low,
        relative_high,
        significant: is_significant,
    }
}

fn part_wire(part: VariantPart) -> wire::VariantPart {
    let VariantPart {
        difference,
        interval,
    } = part;
    wire::VariantPart {
        difference,
        interval_low: interval.low,
        interval_high: interval.high,
    }
}

fn detectable_wire(detectable: Detectable) -> wire::DetectableUplift {
    let Detectable { absolute, relative } = detectable;
    wire::DetectableUplift { absolute, relative }
}
