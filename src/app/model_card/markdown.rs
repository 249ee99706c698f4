//! The model card for people, as markdown.
//!
//! Invariant: says what the card holds and nothing else.
use std::fmt::Write;

use crate::app::results::{UpliftScope, VariantResults};
use crate::domain::snapshot::ChoiceLevel;

use super::{ModelCard, stopped};

/// The card.
pub fn markdown(card: &ModelCard) -> String {
    let experiment = &card.results.experiment;
    let title = if experiment.display_name.is_empty() {
        experiment.id.to_string()
    } else {
        format!("{} ({})", experiment.display_name, experiment.id)
    };
    [
        format!(
            "# Model card: {title}\n\n{:?}, objective {:?}, as of {}. Last changed {} (revision {}).\n",
            experiment.state,
            experiment.settings.objective,
            card.results.as_of.strftime("%Y-%m-%d %H:%M UTC"),
            experiment.updated_at.strftime("%Y-%m-%d %H:%M UTC"),
            experiment.revision,
        ),
        data(card),
        variants(card),
        models(card),
        holdout(card),
        guardrails(card),
        limits(card),
    ]
    .join("\n")
}

fn data(card: &ModelCard) -> String {
    let data = &card.data;
    let span = match (data.first_at, data.last_at) {
        (Some(first), Some(last)) => format!(
            "from {} to {}",
            first.strftime("%Y-%m-%d %H:00"),
            last.strftime("%Y-%m-%d %H:59 UTC")
        ),
        _ => "nothing yet".to_owned(),
    };
    format!(
        "## Data\n\n{} decisions, {span}. Under the policy {:.0} trials, {:.1} effective, {:.0} planned for later, {:.1} successes.\n",
        data.decided, data.trials, data.effective_trials, data.planned_trials, data.successes
    )
}

fn variants(card: &ModelCard) -> String {
    let mut text = "## Variants\n\n| variant | rate | 95 % interval | best | share | effective trials |\n|---|---|---|---|---|---|\n".to_owned();
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    for shown in &card.results.variants {
        let VariantResults {
            variant,
            mean,
            interval,
            probability_best,
            share,
            effective_trials,
            ..
        } = shown;
        let id = card.results.experiment.variant(*variant);
        let id = id.map_or("?", |variant| variant.id.as_str());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {id} | {} | {} to {} | {} | {} | {effective_trials:.1} |",
            percent(*mean),
            percent(interval.low),
            percent(interval.high),
            percent(*probability_best),
            percent(*share),
        );
    }
    for (level, contexts) in &card.levels {
        let level = match level {
            ChoiceLevel::Segment => "its own data",
            ChoiceLevel::Everyone => "data of all recipients",
            ChoiceLevel::Default => "the prior alone",
        };
        let _ = writeln!(text, "\n{contexts} context(s) answered from {level}.");
    }
    text
}

fn models(card: &ModelCard) -> String {
    let mut text = "## Models\n".to_owned();
    for model in &card.models {
        let parameters: Vec<String> = model
            .parameters
            .iter()
            .map(|(name, value)| format!("{name} {}", rounded(*value)))
            .collect();
        let _ = writeln!(
            text,
            "\n- **{}**: {} ({})",
            model.name,
            model.about,
            parameters.join(", ")
        );
    }
    text
}

/// Four significant digits.
fn rounded(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e9 {
        return format!("{value:.0}");
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 9) as usize)
}

fn holdout(card: &ModelCard) -> String {
    let held = &card.results.holdout;
    let scope = match held.scope {
        UpliftScope::VariantAndTime => "variants and times together",
        UpliftScope::Variant => "variants",
        UpliftScope::Time => "times",
    };
    let share = card.results.experiment.settings.holdout_share;
    let mut text = format!(
        "## Holdout\n\n{:.1} % of recipients, the same for both decisions; {:.0} trials. Uplift of {scope}: ",
        100.0 * share,
        held.trials
    );
    match held.uplift {
        None => text.push_str("too little data yet."),
        Some(uplift) => {
            let _ = write!(
                text,
                "{:+.3} points, at any time within {:+.3} to {:+.3}: {}.",
                100.0 * uplift.absolute,
                100.0 * uplift.absolute_interval.low,
                100.0 * uplift.absolute_interval.high,
                if uplift.is_significant {
                    "significant"
                } else {
                    "not significant"
                }
            );
        }
    }
    for (detectable, when) in [
        (held.detectable_now, "So far"),
        (held.detectable_planned, "Once all is sent and answered"),
    ] {
        if let Some(detectable) = detectable {
            let _ = write!(
                text,
                " {when} a relative gain of {:.1} % is found in four of five cases.",
                100.0 * detectable.relative
            );
        }
    }
    text.push('\n');
    text
}

fn guardrails(card: &ModelCard) -> String {
    let mut text = "## Guardrails\n".to_owned();
    for guardrail in &card.guardrails {
        let limit = if guardrail.rate_max >= 1.0 {
            "off".to_owned()
        } else {
            format!("at most {} %", rounded(100.0 * guardrail.rate_max))
        };
        let _ = writeln!(text, "\n- {}: {limit}", guardrail.name);
    }
    for (id, reason) in stopped(&card.results) {
        let _ = writeln!(text, "\n- **{id} was stopped**: {reason}");
    }
    text
}

fn limits(card: &ModelCard) -> String {
    let mut text = "## What is assumed, and not known\n".to_owned();
    for limit in &card.limits {
        let _ = writeln!(text, "\n- {limit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(rounded(0.02), "0.02000");
        assert_eq!(rounded(257.123), "257.1");
        assert_eq!(rounded(1_000_000.0), "1000000");
        assert_eq!(rounded(0.0), "0");
    }
}
