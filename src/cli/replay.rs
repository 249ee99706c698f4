//! `hermod replay`: makes logged decisions of a stopped server's store again, and says whether they come out alike.
//!
//! Nothing is written. Exit code 1 when a decision comes out differently or cannot be read.
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::inspect::{failed, not_opened, refuse_missing, tenant_named};
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{App, AppError, ReplaySummary, ReplayTarget, Replayed, SystemClock};
use crate::domain::name::TenantId;
use crate::ops::compose;

/// Differing decisions shown in full; the others are counted.
const SHOWN_MAX: usize = 20;

/// Make logged decisions of a stopped server's store again, and compare them bit for bit
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The decision_id of one decision
    #[arg(value_name = "DECISION_ID", required_unless_present_any = ["all", "sample"])]
    decision: Option<String>,
    /// Replay everything in the log
    #[arg(long, conflicts_with_all = ["decision", "sample"])]
    all: bool,
    /// Replay so many decisions, chosen by hash: the same ones each time
    #[arg(long, value_name = "COUNT", conflicts_with = "decision", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
    /// Replay this tenant's decisions only; without it those of all, and a DECISION_ID is one of `default`
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// What is printed, and whether all came out alike.
struct Page {
    text: String,
    json: serde_json::Value,
    equal: bool,
}

/// Opens the store, replays and prints.
///
/// # Errors
/// A refused configuration, no store, a store in use, a decision that is not in the log.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = args.settings.clone().load()?.config;
    refuse_missing(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failure(error.to_string()))?;
    let page = runtime.block_on(async {
        let opened = compose::open_app(&config, Arc::new(SystemClock))
            .await
            .map_err(not_opened)?;
        page(&opened.app, &args).await.map_err(failed)
    })?;
    let text = if args.json {
        let text = serde_json::to_string_pretty(&page.json)
            .map_err(|error| CliError::Failure(error.to_string()))?;
        text + "\n"
    } else {
        page.text
    };
    print(&text)?;
    Ok(if page.equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn page(app: &App, args: &Args) -> Result<Page, AppError> {
    let named = args.tenant.as_deref().map(|name| tenant_named(app, name));
    let tenant = named.transpose()?;
    let target = match (&args.decision, args.sample) {
        (Some(id), _) => {
            return Ok(one(&app
                .replay(tenant.unwrap_or(TenantId::DEFAULT), id)
                .await?));
        }
        (None, Some(size)) => ReplayTarget::Sample(size as usize),
        (None, None) => ReplayTarget::All,
    };
    let mut different = Vec::new();
    let keep = |replayed: &Replayed| {
        if !replayed.is_equal() && different.len() < SHOWN_MAX {
            different.push(replayed.clone());
        }
    };
    let summary = app.replay_log(tenant, target, keep).await?;
    Ok(many(&summary, &different))
}

fn one(replayed: &Replayed) -> Page {
    Page {
        text: shown(replayed, true) + &code(replayed),
        json: as_json(replayed),
        equal: replayed.is_equal(),
    }
}

fn many(summary: &ReplaySummary, different: &[Replayed]) -> Page {
    let mut text: String = different
        .iter()
        .map(|replayed| shown(replayed, false) + "\n")
        .collect();
    for unreadable in summary.unreadable.iter().take(SHOWN_MAX) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "cannot be read: {unreadable}");
    }
    let _ = writeln!(
        text,
        "{} decisions replayed: {} alike to the last bit, {} different, {} cannot be read; {} were decided by another version than {}",
        summary.replayed,
        summary.equal,
        summary.replayed - summary.equal,
        summary.unreadable.len(),
        summary.other_code,
        env!("CARGO_PKG_VERSION"),
    );
    Page {
        text,
        json: json!({
            "replayed": summary.replayed,
            "equal": summary.equal,
            "different": different.iter().map(as_json).collect::<Vec<_>>(),
            "unreadable": summary.unreadable,
            "decided_by_other_version": summary.other_code,
        }),
        equal: summary.is_equal(),
    }
}

/// A decision, with all of its fields or with those that differ.
fn shown(replayed: &Replayed, all: bool) -> String {
    let verdict = if replayed.is_equal() {
        "alike to the last bit"
    } else {
        "DIFFERENT"
    };
    let mut text = format!(
        "decision {:016x} of {}, experiment {}: {verdict}\n",
        replayed.at.decision,
        instant(replayed.at.decided_at_ms),
        replayed.experiment
    );
    if !replayed.problem.is_empty() {
        let _ = writeln!(text, "  cannot be made again: {}", replayed.problem);
    }
    for comparison in &replayed.comparisons {
        if comparison.equal && all {
            let _ = writeln!(text, "  {:20} {}", comparison.field, comparison.logged);
        } else if !comparison.equal {
            let _ = writeln!(
                text,
                "  {:20} logged {}, now {}",
                comparison.field, comparison.logged, comparison.repeated
            );
        }
    }
    text
}

fn code(replayed: &Replayed) -> String {
    if replayed.code == replayed.code_now {
        format!("decided and replayed by hermod {}\n", replayed.code)
    } else {
        format!(
            "decided by hermod {}, replayed by {}\n",
            replayed.code, replayed.code_now
        )
    }
}

fn as_json(replayed: &Replayed) -> serde_json::Value {
    let field = |comparison: &crate::domain::decision_log::Comparison| {
        json!({
            "field": comparison.field,
            "logged": comparison.logged,
            "replayed": comparison.repeated,
            "equal": comparison.equal,
        })
    };
    json!({
        "decision": format!("{:016x}", replayed.at.decision),
        "decided_at": instant(replayed.at.decided_at_ms),
        "experiment": replayed.experiment,
        "equal": replayed.is_equal(),
        "problem": replayed.problem,
        "decided_by_version": replayed.code,
        "fields": replayed.comparisons.iter().map(field).collect::<Vec<_>>(),
    })
}

fn instant(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}
