//! `hermod evaluate log`: what another policy would have got, from hermod's own decision log or from a file with propensities.
//!
//! Parses and prints; the estimates are the laboratory's. Nothing is written.
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use crate::app::SystemClock;
use crate::cli::CliError;
use crate::cli::inspect::{TenantArgs, failed, not_opened, refuse_missing};
use crate::cli::setting::SettingArgs;
use crate::cli::study::{OutputArgs, cli_error, table};
use crate::domain::experiment::Objective;
use crate::domain::name::Slug;
use crate::domain::off_policy::{Concern, EFFECTIVE_MIN, Value};
use crate::domain::policy::Policy;
use crate::lab::log::{FileQuestion, LeftOut, Question, Row, Target, evaluate_file, evaluate_own};
use crate::ops::compose;

/// What another policy would have got, from a log with propensities
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A log as CSV, plain or gzip (campaign, policy, timestamp, item_id, position, click, propensity_score)
    #[arg(conflicts_with = "experiment", required_unless_present = "experiment")]
    file: Option<PathBuf>,
    /// An experiment in the decision log of a stopped server (--data-dir)
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Policies to evaluate: log, uniform, variant:ID, thompson, horizon_thompson, top_two; for a file also those that it names
    #[arg(long, value_delimiter = ',', default_value = "log,uniform")]
    policy: Vec<String>,
    /// For a file: evaluate on the choices of this policy only
    #[arg(long, value_name = "POLICY", conflicts_with = "experiment")]
    logged_by: Option<String>,
    /// For an experiment: what counts as success [default: its objective]
    #[arg(long, value_enum, requires = "experiment")]
    objective: Option<Success>,
    /// Weights above this are cut
    #[arg(long, default_value_t = 1_000.0)]
    weight_max: f64,
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Success {
    Click,
    Open,
    Conversion,
    Value,
    Utility,
}

/// All that was estimated.
#[derive(Serialize)]
struct Report {
    rows: Vec<Row>,
    left_out: Option<LeftOut>,
}

/// Estimates and prints.
///
/// # Errors
/// The file or store cannot be read, or a policy is not known.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    if args.weight_max.is_nan() || args.weight_max <= 0.0 {
        return Err(CliError::Usage("--weight-max must be above 0".to_owned()));
    }
    let report = match (&args.file, &args.experiment) {
        (Some(file), _) => {
            let question = FileQuestion {
                policies: args.policy.clone(),
                logged_by: args.logged_by.clone(),
                weight_max: args.weight_max,
            };
            Report {
                rows: evaluate_file(file, &question).map_err(cli_error)?,
                left_out: None,
            }
        }
        (None, Some(experiment)) => own(&args, experiment)?,
        (None, None) => return Err(CliError::Usage("name a file or an experiment".to_owned())),
    };
    args.output.show(&report, &text(&report))
}

fn own(args: &Args, experiment: &str) -> Result<Report, CliError> {
    let experiment = Slug::parse(experiment)
        .map_err(|error| CliError::Usage(format!("the experiment's name {error}")))?;
    let targets = args
        .policy
        .iter()
        .map(|name| target(name))
        .collect::<Result<Vec<_>, _>>()?;
    let config = args.settings.clone().load()?.config;
    refuse_missing(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failure(error.to_string()))?;
    runtime.block_on(async {
        let opened = compose::open_app(&config, Arc::new(SystemClock))
            .await
            .map_err(not_opened)?;
        let tenant = args.tenant.find(&opened.app).map_err(failed)?;
        let mut report = Report {
            rows: Vec::new(),
            left_out: None,
        };
        for target in targets {
            let question = Question {
                tenant,
                experiment: experiment.clone(),
                target,
                objective: args.objective.map(objective),
                as_of: opened.app.now(),
            };
            let (row, left_out) = evaluate_own(&opened.app, &question, args.weight_max)
                .await
                .map_err(failed)?;
            report.rows.push(row);
            report.left_out = Some(left_out);
        }
        Ok(report)
    })
}

fn objective(success: Success) -> Objective {
    match success {
        Success::Click => Objective::Click,
        Success::Open => Objective::Open,
        Success::Conversion => Objective::Conversion,
        Success::Value => Objective::Value,
        Success::Utility => Objective::Utility,
    }
}

fn target(name: &str) -> Result<Target, CliError> {
    let unknown = || {
        CliError::Usage(format!(
            "no policy {name}; there are log, uniform, variant:ID, thompson, horizon_thompson, top_two"
        ))
    };
    Ok(match name {
        "log" => Target::Log,
        "uniform" => Target::Uniform,
        "thompson" => Target::Policy(Policy::Thompson),
        "horizon_thompson" => Target::Policy(Policy::HorizonThompson),
        "top_two" => Target::Policy(Policy::TopTwo { beta: 0.5 }),
        _ => {
            let id = name.strip_prefix("variant:").ok_or_else(unknown)?;
            Target::Variant(Slug::parse(id).map_err(|_| unknown())?)
        }
    })
}

fn text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        let evaluation = &row.evaluation;
        vec![
            row.log.clone(),
            row.policy.clone(),
            evaluation.choices.to_string(),
            value(&evaluation.logged),
            value(&evaluation.ips),
            value(&evaluation.snips),
            value(&evaluation.doubly_robust),
            value(&evaluation.adaptive),
            format!("{:.0}", evaluation.effective_choices),
            format!("{:.2}", evaluation.mean_weight.mean),
            format!("{:.1}", evaluation.clipped_share * 100.0),
            row.on_policy.map_or("-".to_owned(), |own| value(&own)),
        ]
    });
    let headings = [
        "log",
        "policy",
        "choices",
        "the log itself, %",
        "IPS, %",
        "SNIPS, %",
        "DR, %",
        "adaptive DR, %",
        "effective",
        "mean weight",
        "cut, %",
        "its own choices, %",
    ];
    let mut text = format!(
        "successes per 100 sends with 95 % intervals; trust the adaptive one where the log was made by a policy that learned\n{}",
        table(&headings, rows.collect())
    );
    text.push_str(&warnings(&report.rows));
    if let Some(left_out) = &report.left_out {
        text.push_str(&format!(
            "left out: {} not matured, {} in the holdout, {} not sent, {} with the variant not eligible, {} in shadow mode, {} cannot be read\n",
            left_out.not_matured,
            left_out.holdout,
            left_out.not_sent,
            left_out.not_eligible,
            left_out.shadow,
            left_out.unreadable
        ));
    }
    text
}

fn value(value: &Value) -> String {
    format!(
        "{:.2} ({:.2} to {:.2})",
        100.0 * value.mean,
        100.0 * value.low,
        100.0 * value.high
    )
}

/// Each concern once, with the policies it holds for.
fn warnings(rows: &[Row]) -> String {
    let all = [
        Concern::StaticPolicy,
        Concern::SmallSample,
        Concern::Clipped,
        Concern::NoOverlap,
    ];
    let mut text = String::new();
    for concern in all {
        let of: Vec<String> = rows
            .iter()
            .filter(|row| row.concerns.contains(&concern))
            .map(|row| format!("{} ({})", row.policy, row.log))
            .collect();
        if of.is_empty() {
            continue;
        }
        let line = match concern {
            Concern::StaticPolicy => {
                "note: policies are taken as they stand; one that learns from its own choices would have learned something else".to_owned()
            }
            Concern::SmallSample => format!(
                "warning: fewer than {EFFECTIVE_MIN} effective choices, too few to decide anything: {}",
                of.join(", ")
            ),
            Concern::Clipped => format!("warning: weights were cut, which draws the estimate towards the log: {}", of.join(", ")),
            Concern::NoOverlap => format!(
                "warning: the mean weight is far from 1: the log never chose what the policy wants, or propensities are wrong: {}",
                of.join(", ")
            ),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}
