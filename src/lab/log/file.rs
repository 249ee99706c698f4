//! A log in the form of the Open Bandit data (Saito, Aihara, Matsutani and Narita 2021): one line per choice with its propensity.
//!
//! Invariant: campaigns are kept apart, since they have items of their own, and so are the policies that made the log.
use std::collections::BTreeMap;
use std::path::Path;

use crate::domain::off_policy::{Evaluation, Sample};
use crate::lab::LabError;
use crate::lab::reading::{Row as Line, Table};

use super::Row;

const COLUMNS: [&str; 7] = [
    "campaign",
    "policy",
    "timestamp",
    "item_id",
    "position",
    "click",
    "propensity_score",
];

/// What is asked of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileQuestion {
    /// Policies to evaluate: `log`, `uniform`, `variant:ITEM`, or one named in the file, whose shares by position are taken.
    pub policies: Vec<String>,
    /// Evaluate on the choices of this policy only; none for each policy in the file.
    pub logged_by: Option<String>,
    /// Weights above this are cut.
    pub weight_max: f64,
}

/// One choice.
struct Choice {
    timestamp: String,
    item: usize,
    position: String,
    click: f64,
    propensity: f64,
}

/// Choices by campaign and by the policy that made them.
#[derive(Default)]
struct Log {
    items: BTreeMap<String, Vec<String>>,
    choices: BTreeMap<(String, String), Vec<Choice>>,
}

/// Evaluates every policy on every log in the file.
///
/// # Errors
/// The file cannot be read, holds no such log, or a policy is neither known nor named in the file.
pub fn evaluate_file(path: &Path, question: &FileQuestion) -> Result<Vec<Row>, LabError> {
    let log = Log::read(path)?;
    let mut rows = Vec::new();
    for ((campaign, logged_by), choices) in &log.choices {
        if question
            .logged_by
            .as_ref()
            .is_some_and(|only| only != logged_by)
        {
            continue;
        }
        for policy in &question.policies {
            let target = log.shares(campaign, policy, choices)?;
            let samples: Vec<Sample> = choices
                .iter()
                .map(|choice| Sample {
                    action: choice.item,
                    reward: choice.click,
                    propensity: choice.propensity,
                    logged: Vec::new(),
                    target: target.at(choice),
                })
                .collect();
            let name = format!("{campaign}, logged by {logged_by}");
            let row = Row::of(name, policy.clone(), &samples, question.weight_max);
            rows.push(Row {
                on_policy: log.on_policy(campaign, policy),
                ..row
            });
        }
    }
    if rows.is_empty() {
        let held: Vec<&str> = log
            .choices
            .keys()
            .map(|(_, policy)| policy.as_str())
            .collect();
        let text = format!(
            "{}: no choices of the policy asked for; it holds {}",
            path.display(),
            held.join(", ")
        );
        return Err(LabError::Nothing(text));
    }
    Ok(rows)
}

/// A policy's probabilities of the items.
enum Shares {
    /// Those of the log itself: the propensity of the item chosen, and nothing known of the others.
    Own { items: usize },
    /// The same at every choice.
    Fixed(Vec<f64>),
    /// By position.
    ByPosition(BTreeMap<String, Vec<f64>>),
}

// === impl Shares ===

impl Shares {
    fn at(&self, choice: &Choice) -> Vec<f64> {
        match self {
            Self::Own { items } => {
                let mut own = vec![0.0; *items];
                if let Some(slot) = own.get_mut(choice.item) {
                    *slot = choice.propensity;
                }
                own
            }
            Self::Fixed(shares) => shares.clone(),
            Self::ByPosition(shares) => shares.get(&choice.position).cloned().unwrap_or_default(),
        }
    }
}

// === impl Log ===

impl Log {
    fn read(path: &Path) -> Result<Self, LabError> {
        let mut log = Self::default();
        Table::open(path, &COLUMNS)?.each(|line| log.take(&line))?;
        for choices in log.choices.values_mut() {
            choices.sort_by(|one, other| one.timestamp.cmp(&other.timestamp));
        }
        Ok(log)
    }

    fn take(&mut self, line: &Line<'_>) -> Result<(), LabError> {
        let campaign = line.text("campaign").to_owned();
        let text = line.text("propensity_score").trim();
        let propensity: f64 = text.parse().unwrap_or(f64::NAN);
        if !(propensity > 0.0 && propensity <= 1.0) {
            return Err(line.problem(format!(
                "propensity_score is {text:?}, not a number above 0 and at most 1"
            )));
        }
        let items = self.items.entry(campaign.clone()).or_default();
        let item_id = line.text("item_id");
        let item = items
            .iter()
            .position(|item| item == item_id)
            .unwrap_or_else(|| {
                items.push(item_id.to_owned());
                items.len() - 1
            });
        let click: u8 = line.number("click")?;
        let choice = Choice {
            timestamp: line.text("timestamp").to_owned(),
            item,
            position: line.text("position").to_owned(),
            click: f64::from(click),
            propensity,
        };
        let policy = line.text("policy").to_owned();
        self.choices
            .entry((campaign, policy))
            .or_default()
            .push(choice);
        Ok(())
    }

    fn shares(&self, campaign: &str, policy: &str, log: &[Choice]) -> Result<Shares, LabError> {
        let items = self
            .items
            .get(campaign)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if policy == "log" {
            return Ok(Shares::Own { items: items.len() });
        }
        if policy == "uniform" {
            return Ok(Shares::Fixed(vec![1.0 / items.len() as f64; items.len()]));
        }
        if let Some(wanted) = policy.strip_prefix("variant:") {
            return Ok(Shares::Fixed(
                items
                    .iter()
                    .map(|item| f64::from(u8::from(item == wanted)))
                    .collect(),
            ));
        }
        let key = (campaign.to_owned(), policy.to_owned());
        let choices = self.choices.get(&key).ok_or_else(|| {
            LabError::Nothing(format!(
                "no policy {policy} in campaign {campaign}; known are log, uniform, variant:ITEM and those that the file names"
            ))
        })?;
        let mut counts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for choice in log.iter().chain(choices) {
            counts
                .entry(choice.position.clone())
                .or_insert_with(|| vec![0.0; items.len()]);
        }
        for choice in choices {
            let slot = counts
                .get_mut(&choice.position)
                .and_then(|counts| counts.get_mut(choice.item));
            if let Some(slot) = slot {
                *slot += 1.0;
            }
        }
        for counts in counts.values_mut() {
            let sum: f64 = counts.iter().sum();
            counts.iter_mut().for_each(|count| *count /= sum.max(1.0));
        }
        Ok(Shares::ByPosition(counts))
    }

    /// What a policy's own choices got.
    fn on_policy(&self, campaign: &str, policy: &str) -> Option<crate::domain::off_policy::Value> {
        let named = match policy {
            "uniform" => "random",
            other => other,
        };
        let key = (campaign.to_owned(), named.to_owned());
        let own = self.choices.get(&key)?;
        let choices: Vec<crate::domain::off_policy::Choice> = own
            .iter()
            .map(|choice| crate::domain::off_policy::Choice {
                reward: choice.click,
                logged: 1.0,
                target: 1.0,
                predicted: 0.0,
                predicted_value: 0.0,
                mean_square_weight: None,
            })
            .collect();
        Some(Evaluation::of(&choices, 1.0).logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const HEADER: &str = "row,campaign,policy,timestamp,item_id,position,click,propensity_score\n";

    fn rows(lines: &str, policy: &str) -> Result<Vec<Row>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all((HEADER.to_owned() + lines).as_bytes())
            .unwrap();
        let question = FileQuestion {
            policies: vec![policy.to_owned()],
            logged_by: Some("random".to_owned()),
            weight_max: 1_000.0,
        };
        evaluate_file(file.path(), &question).map_err(|error| error.to_string())
    }

    const LINES: &str = "1,men,random,2019-11-24 00:00:01,a,1,1,0.5\n\
                         2,men,random,2019-11-24 00:00:02,b,1,0,0.5\n\
                         3,men,bts,2019-11-24 00:00:03,a,1,1,0.9\n\
                         4,men,bts,2019-11-24 00:00:04,a,1,0,0.9\n\
                         5,men,bts,2019-11-24 00:00:05,a,1,1,0.9\n\
                         6,men,bts,2019-11-24 00:00:06,b,1,0,0.1\n";

    #[test]
    fn policies_of_a_file_are_evaluated_by_their_shares() {
        let value = |policy: &str| rows(LINES, policy).unwrap()[0].clone();
        assert_eq!(value("log").evaluation.ips.mean, 0.5);
        assert_eq!(value("uniform").evaluation.ips.mean, 0.5);
        assert_eq!(value("variant:a").evaluation.ips.mean, 1.0);
        assert_eq!(value("variant:b").evaluation.ips.mean, 0.0);
        // Shares 3/4 and 1/4: weights 1.5 and 0.5.
        let bts = value("bts");
        assert_eq!(bts.evaluation.ips.mean, 0.75);
        assert_eq!(bts.on_policy.unwrap().mean, 0.5);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let bad = rows("1,men,random,x,a,1,1,0\n", "uniform").unwrap_err();
        assert!(
            bad.contains("line 2") && bad.contains("propensity_score"),
            "{bad}"
        );
        assert!(
            rows(LINES, "nobody")
                .unwrap_err()
                .contains("no policy nobody")
        );
        assert!(rows("", "uniform").unwrap_err().contains("no choices"));
    }
}
