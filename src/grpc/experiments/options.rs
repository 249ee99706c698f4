//! The smaller groups of an experiment's settings, on the wire and checked.
use crate::domain::experiment::{Guardrails, Probation, SenderCapacity, Utility, WarmUp};
use crate::grpc::check::Checks;
use crate::grpc::wire;

const SENDS_PER_HOUR_MAX: i64 = 1_000_000_000;
const MATURED_TRIALS_MAX: i64 = 1_000_000;
const WORTH_MAX: f64 = 1e6;
const GROWTH_DEFAULT: f64 = 1.5;
const GROWTH_MAX: f64 = 10.0;

/// Harm limits, defaults filled in.
pub fn guardrails(checks: &mut Checks, wire: Option<wire::Guardrails>) -> Guardrails {
    let wire::Guardrails {
        complaint_rate_max,
        unsubscribe_rate_max,
        bounce_rate_max,
        negative_reply_rate_max,
    } = wire.unwrap_or_default();
    let default = Guardrails::default();
    let mut rate = |name, rate: Option<f64>, default| {
        rate.map_or(default, |rate| {
            above_zero(checks, &format!("experiment.guardrails.{name}"), rate)
        })
    };
    Guardrails {
        complaint_rate_max: rate(
            "complaint_rate_max",
            complaint_rate_max,
            default.complaint_rate_max,
        ),
        unsubscribe_rate_max: rate(
            "unsubscribe_rate_max",
            unsubscribe_rate_max,
            default.unsubscribe_rate_max,
        ),
        bounce_rate_max: rate("bounce_rate_max", bounce_rate_max, default.bounce_rate_max),
        negative_reply_rate_max: rate(
            "negative_reply_rate_max",
            negative_reply_rate_max,
            default.negative_reply_rate_max,
        ),
    }
}

/// How a variant is tried out, defaults filled in.
pub fn probation(checks: &mut Checks, wire: Option<wire::Probation>) -> Probation {
    let wire::Probation {
        share_max,
        matured_trials_min,
    } = wire.unwrap_or_default();
    let default = Probation::default();
    let trials = matured_trials_min.map_or(Some(default.matured_trials_min), |trials| {
        let within = (0..=MATURED_TRIALS_MAX).contains(&trials);
        within.then(|| trials.unsigned_abs())
    });
    if trials.is_none() {
        checks.wrong(
            "experiment.probation.matured_trials_min",
            format!("must be 0 to {MATURED_TRIALS_MAX}"),
        );
    }
    Probation {
        share_max: share_max.map_or(default.share_max, |share| {
            above_zero(checks, "experiment.probation.share_max", share)
        }),
        matured_trials_min: trials.unwrap_or(default.matured_trials_min),
    }
}

/// What responses are worth, defaults filled in.
pub fn utility(checks: &mut Checks, wire: Option<wire::Utility>) -> Utility {
    let wire::Utility {
        open_value,
        click_value,
        conversion_value,
        unsubscribe_cost,
        complaint_cost,
    } = wire.unwrap_or_default();
    let default = Utility::default();
    let mut worth = |name: &str, worth: Option<f64>, default| {
        let worth = worth.unwrap_or(default);
        if !(0.0..=WORTH_MAX).contains(&worth) {
            checks.wrong(
                format!("experiment.utility.{name}"),
                format!("must be a number from 0 to {WORTH_MAX}"),
            );
        }
        worth
    };
    let utility = Utility {
        open_value: worth("open_value", open_value, default.open_value),
        click_value: worth("click_value", click_value, default.click_value),
        conversion_value: worth(
            "conversion_value",
            conversion_value,
            default.conversion_value,
        ),
        unsubscribe_cost: worth(
            "unsubscribe_cost",
            unsubscribe_cost,
            default.unsubscribe_cost,
        ),
        complaint_cost: worth("complaint_cost", complaint_cost, default.complaint_cost),
    };
    if utility.open_value + utility.click_value + utility.conversion_value <= 0.0 {
        checks.wrong(
            "experiment.utility",
            "must give an open, a click or a conversion a value above 0",
        );
    }
    utility
}

/// Mails per hour.
pub fn capacity(checks: &mut Checks, wire: wire::SenderCapacity) -> SenderCapacity {
    let wire::SenderCapacity {
        sends_per_hour,
        warm_up,
    } = wire;
    let field = "experiment.sender_capacity.sends_per_hour";
    SenderCapacity {
        sends_per_hour: sends(checks, field, sends_per_hour),
        warm_up: warm_up.map(|warm_up| self::warm_up(checks, &warm_up)),
    }
}

fn warm_up(checks: &mut Checks, wire: &wire::WarmUp) -> WarmUp {
    let wire::WarmUp {
        initial_sends_per_hour,
        daily_growth,
    } = wire;
    let field = "experiment.sender_capacity.warm_up";
    let daily_growth = daily_growth.unwrap_or(GROWTH_DEFAULT);
    if !(daily_growth > 1.0 && daily_growth <= GROWTH_MAX) {
        checks.wrong(
            format!("{field}.daily_growth"),
            format!("must be above 1 and at most {GROWTH_MAX}"),
        );
    }
    WarmUp {
        initial_sends_per_hour: sends(
            checks,
            &format!("{field}.initial_sends_per_hour"),
            *initial_sends_per_hour,
        ),
        daily_growth,
    }
}

fn sends(checks: &mut Checks, field: &str, wire: i64) -> u64 {
    if !(1..=SENDS_PER_HOUR_MAX).contains(&wire) {
        checks.wrong(field, format!("must be 1 to {SENDS_PER_HOUR_MAX}"));
    }
    u64::try_from(wire).unwrap_or(1)
}

fn above_zero(checks: &mut Checks, field: &str, share: f64) -> f64 {
    if !(share > 0.0 && share <= 1.0) {
        checks.wrong(field, "must be above 0 and at most 1");
    }
    share
}

/// Harm limits on the wire.
pub fn guardrails_wire(guardrails: &Guardrails) -> wire::Guardrails {
    let Guardrails {
        complaint_rate_max,
        unsubscribe_rate_max,
        bounce_rate_max,
        negative_reply_rate_max,
    } = guardrails;
    wire::Guardrails {
        complaint_rate_max: Some(*complaint_rate_max),
        unsubscribe_rate_max: Some(*unsubscribe_rate_max),
        bounce_rate_max: Some(*bounce_rate_max),
        negative_reply_rate_max: Some(*negative_reply_rate_max),
    }
}

/// Probation on the wire.
pub fn probation_wire(probation: &Probation) -> wire::Probation {
    let Probation {
        share_max,
        matured_trials_min,
    } = probation;
    wire::Probation {
        share_max: Some(*share_max),
        matured_trials_min: i64::try_from(*matured_trials_min).ok(),
    }
}

/// Worths on the wire.
pub fn utility_wire(utility: &Utility) -> wire::Utility {
    let Utility {
        open_value,
        click_value,
        conversion_value,
        unsubscribe_cost,
        complaint_cost,
    } = utility;
    wire::Utility {
        open_value: Some(*open_value),
        click_value: Some(*click_value),
        conversion_value: Some(*conversion_value),
        unsubscribe_cost: Some(*unsubscribe_cost),
        complaint_cost: Some(*complaint_cost),
    }
}

/// Capacity on the wire.
pub fn capacity_wire(capacity: &SenderCapacity) -> wire::SenderCapacity {
    let SenderCapacity {
        sends_per_hour,
        warm_up,
    } = capacity;
    wire::SenderCapacity {
        sends_per_hour: i64::try_from(*sends_per_hour).unwrap_or(i64::MAX),
        warm_up: warm_up.map(|warm_up| wire::WarmUp {
            initial_sends_per_hour: i64::try_from(warm_up.initial_sends_per_hour)
                .unwrap_or(i64::MAX),
            daily_growth: Some(warm_up.daily_growth),
        }),
    }
}
