//! All experiments at a glance, and the health of the store: records by kind, what cannot be read, the engine's counters.

use std::sync::Arc;

use serde_json::json;

use super::layout::{amount, count, name, table, word};
use super::{Page, all_experiments};
use crate::app::{App, AppError, Survey};
use crate::domain::experiment::Experiment;
use crate::domain::name::TenantId;
use crate::ops::compose::Opened;
use crate::store::EngineStatistics;

/// Most unreadable records listed for people; machines get all.
const LISTED_MAX: usize = 20;

/// Experiments and store together.
pub(super) async fn overview(opened: &Opened, tenant: TenantId) -> Result<Page, AppError> {
    let (experiments, store) = (experiments(&opened.app, tenant), store(opened).await?);
    Ok(Page {
        text: format!("{}\n{}", experiments.text, store.text),
        json: json!({ "experiments": experiments.json, "store": store.json }),
    })
}

/// One line per experiment.
pub(super) fn experiments(app: &App, tenant: TenantId) -> Page {
    let all = all_experiments(app, tenant);
    let with_trials: Vec<(Arc<Experiment>, f64)> = all
        .into_iter()
        .map(|experiment| {
            let trials = app.results(tenant, &experiment.id).map_or(0.0, |results| {
                let policy: f64 = results.variants.iter().map(|variant| variant.trials).sum();
                policy + results.holdout.trials
            });
            (experiment, trials)
        })
        .collect();
    let rows: Vec<[String; 6]> = with_trials
        .iter()
        .map(|(experiment, trials)| {
            [
                name(experiment.id.as_str()),
                word(&experiment.state),
                word(&experiment.settings.objective),
                count(experiment.variants.len() as u64),
                amount(*trials),
                experiment.updated_at.strftime("%Y-%m-%d").to_string(),
            ]
        })
        .collect();
    let head = [
        "experiment",
        "state",
        "objective",
        "variants",
        "trials",
        "changed",
    ];
    Page {
        text: if rows.is_empty() {
            "no experiments\n".to_owned()
        } else {
            table(3, head, &rows)
        },
        json: with_trials
            .iter()
            .map(|(experiment, trials)| experiment_json(experiment, *trials))
            .collect(),
    }
}

fn experiment_json(experiment: &Experiment, trials: f64) -> serde_json::Value {
    json!({
        "experiment": experiment.id.as_str(),
        "display_name": experiment.display_name,
        "state": word(&experiment.state),
        "objective": word(&experiment.settings.objective),
        "variants": experiment.variants.len(),
        "trials": trials,
        "updated_at": experiment.updated_at.to_string(),
    })
}

/// Every record, read once, and the engine's counters.
pub(super) async fn store(opened: &Opened) -> Result<Page, AppError> {
    let survey = opened.app.survey().await?;
    let engine = opened.app.engine_statistics();
    let partitions = opened.engine.partitions();
    Ok(Page {
        text: store_text(&survey, &engine, partitions),
        json: store_json(&survey, &engine, partitions),
    })
}

fn store_text(survey: &Survey, engine: &EngineStatistics, partitions: u16) -> String {
    let mut text = format!(
        "{} recipients, {} erased\n\n",
        count(survey.recipients),
        count(survey.erased)
    );
    let mut rows: Vec<[String; 2]> = survey
        .records
        .iter()
        .map(|(kind, records)| [format!("records: {kind}"), count(*records)])
        .collect();
    rows.extend(
        [
            ("partitions", u64::from(partitions)),
            ("bytes on disk", engine.stored_bytes),
            ("journal rows to replay", engine.journal_rows),
            ("bytes of those", engine.journal_bytes),
            ("keys not yet folded", engine.unfolded_keys),
        ]
        .map(|(label, number)| [label.to_owned(), count(number)]),
    );
    text += &table(1, ["store", ""], &rows);
    if survey.unreadable.is_empty() {
        return text + "\nevery record can be read\n";
    }
    text += &format!(
        "\n{} records CANNOT be read; everything else is served. Erase the recipient, delete the experiment, or restore a backup:\n",
        survey.unreadable.len()
    );
    for place in survey.unreadable.iter().take(LISTED_MAX) {
        text += &format!("  {place}\n");
    }
    let rest = survey.unreadable.len().saturating_sub(LISTED_MAX);
    if rest > 0 {
        text += &format!("  and {rest} more; --json lists all\n");
    }
    text
}

fn store_json(survey: &Survey, engine: &EngineStatistics, partitions: u16) -> serde_json::Value {
    json!({
        "recipients": survey.recipients,
        "erased": survey.erased,
        "records": survey.records,
        "unreadable": survey.unreadable,
        "engine": {
            "partitions": partitions,
            "stored_bytes": engine.stored_bytes,
            "journal_rows": engine.journal_rows,
            "journal_bytes": engine.journal_bytes,
            "unfolded_keys": engine.unfolded_keys,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_records_are_named_and_a_long_list_is_cut() {
        let survey = Survey {
            unreadable: (0..30).map(|at| format!("partition {at} key ff")).collect(),
            ..Survey::default()
        };
        let text = store_text(&survey, &EngineStatistics::default(), 4);
        assert!(text.contains("30 records CANNOT be read"), "{text}");
        assert!(text.contains("partition 19 ") && !text.contains("partition 20 "));
        assert!(text.contains("and 10 more"));
        let healthy = store_text(&Survey::default(), &EngineStatistics::default(), 4);
        assert!(healthy.contains("every record can be read"));
    }
}
