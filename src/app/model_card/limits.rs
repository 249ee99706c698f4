//! What an experiment's answers assume and do not know, said in sentences.
//!
//! Invariant: a sentence is there exactly when it applies to this experiment as it stands.
use crate::app::results::{Results, SAFE_TRIALS, UpliftScope};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{ExperimentKind, Objective};

/// Less than this share of the trials answered, and the numbers rest on the delay curve.
const MATURED_SHARE: f64 = 0.5;
/// Age of a mail at which most answers should be in, hours.
const DAY_HOURS: f64 = 24.0;

/// The sentences that apply.
pub fn limits(results: &Results, curve: &DelayCurve) -> Vec<String> {
    let settings = &results.experiment.settings;
    let mut limits = vec![
        format!(
            "How late answers come is taken from a curve by which {:.0} % are in after a day; where it is wrong, rates of young mails are too, of all variants alike.",
            100.0 * curve.arrived_share(DAY_HOURS)
        ),
        "An open or click counts with the probability that a person made it, from what the caller reports; what is not reported is not known.".to_owned(),
    ];
    let mut add = |applies: bool, sentence: String| {
        if applies {
            limits.push(sentence);
        }
    };
    for (applies, sentence) in of_data(results) {
        add(applies, sentence);
    }
    add(
        settings.planned_sends == 0 && settings.kind == ExperimentKind::Campaign,
        "planned_sends is not set: the policy does not know where the campaign ends and explores to the last mail.".to_owned(),
    );
    add(
        settings.holdout_share == 0.0,
        "There is no holdout: what the policy gains cannot be proved, only estimated.".to_owned(),
    );
    add(
        settings.holdout_share > 0.0 && results.holdout.scope == UpliftScope::VariantAndTime,
        "The uplift is of variants and times together; the part of the variants is estimated as if the two acted apart.".to_owned(),
    );
    add(
        settings.kind == ExperimentKind::Flow,
        "Evidence fades, so the uplift is that of recent sends, and its confidence sequence holds over a few half-lives, not for ever.".to_owned(),
    );
    add(
        settings.objective == Objective::Open,
        "Opens are partly made by machines; a text that is opened more need not be clicked more."
            .to_owned(),
    );
    add(
        results.ratio.alarm,
        "The mails of some variants leave less often than decided: find out why before trusting anything here.".to_owned(),
    );
    limits
}

fn of_data(results: &Results) -> [(bool, String); 2] {
    let variants = || results.variants.iter();
    let trials: f64 = variants().map(|variant| variant.trials).sum();
    let effective: f64 = variants().map(|variant| variant.effective_trials).sum();
    let thin = variants()
        .filter(|variant| variant.effective_trials < SAFE_TRIALS)
        .count();
    [
        (
            trials > 0.0 && effective < MATURED_SHARE * trials,
            format!(
                "Most answers are still to come: {effective:.0} of {trials:.0} trials count so far."
            ),
        ),
        (
            thin > 0,
            format!(
                "{thin} of the variants have fewer than {SAFE_TRIALS} effective trials; their rates are mostly prior."
            ),
        ),
    ]
}
