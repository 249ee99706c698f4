//! `hermod inspect`: what a store holds, while no server runs on it: experiments, posteriors, one recipient, every record's health.
//!
//! Invariant: nothing is changed but what opening a store itself does (its journal is replayed), and an id of a recipient is
//! never printed. What the numbers mean is decided by the use cases.

mod experiment;
mod layout;
mod overview;
mod recipient;
mod week;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{App, AppError, Kind, SystemClock};
use crate::domain::name::{IDENTIFIER_BYTES_MAX, Slug, TenantId};
use crate::ops::compose::{self, OpenError, Opened};
use crate::ops::config::{Config, Engine};
use crate::store::StoreError;

use layout::Ink;

/// Whose experiments and recipients a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TenantArgs {
    /// The tenant, as its API keys name it
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) tenant: String,
}

impl TenantArgs {
    /// The tenant's number.
    pub(super) fn find(&self, app: &App) -> Result<TenantId, AppError> {
        tenant_named(app, &self.tenant)
    }
}

/// The number of a tenant; none is given out to a name that has none.
pub(super) fn tenant_named(app: &App, wanted: &str) -> Result<TenantId, AppError> {
    let all = app.tenants();
    let found = all.iter().find(|(name, _)| name.as_str() == wanted);
    found.map(|(_, tenant)| *tenant).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!(
            "there is no tenant {wanted:?} in this store; it has {}",
            names.join(", ")
        );
        AppError::new(Kind::NotFound, "TENANT_NOT_FOUND", message)
    })
}

/// Show what a stopped server's store holds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to show; without it an overview
    #[arg(value_enum)]
    what: Option<What>,
    /// The experiment's name, or the recipient's id (- reads it from standard input)
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// All experiments
    Experiments,
    /// One experiment: posteriors, holdout, whether it may be concluded
    Experiment,
    /// One recipient: zone, consent, segments, touches, hours of activity
    Recipient,
    /// Every record: how many of each kind, and whether they can be read
    Store,
}

/// A question whose arguments fit together.
enum Question {
    Overview,
    Experiments,
    Experiment(Slug),
    Recipient(String),
    Store,
}

/// One answer, for people and for machines.
struct Page {
    text: String,
    json: serde_json::Value,
}

/// Opens the store and prints the answer.
///
/// # Errors
/// A refused configuration, arguments that do not fit together, no store, a store in use, and names that are not there.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let question = Question::of(args.what, args.name)?;
    let config = args.settings.load()?.config;
    refuse_missing(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failure(error.to_string()))?;
    let page = runtime.block_on(answer(&config, &question, &args.tenant))?;
    if args.json {
        let text = serde_json::to_string_pretty(&page.json)
            .map_err(|error| CliError::Failure(error.to_string()))?;
        print(&format!("{text}\n"))
    } else {
        print(&page.text)
    }
}

/// The engine is dropped without closing it, which would fold the journal: looking at a store should not rewrite it.
async fn answer(
    config: &Config,
    question: &Question,
    tenant: &TenantArgs,
) -> Result<Page, CliError> {
    let opened = compose::open_app(config, Arc::new(SystemClock))
        .await
        .map_err(not_opened)?;
    let ink = Ink {
        colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let tenant = tenant.find(&opened.app).map_err(failed)?;
    question.answer(&opened, tenant, ink).await.map_err(failed)
}

pub(super) fn refuse_missing(config: &Config) -> Result<(), CliError> {
    let refuse = |why: String| Err(CliError::Usage(why));
    if config.store.engine == Engine::Memory {
        refuse("the engine in memory keeps nothing that could be inspected".to_owned())
    } else if !compose::holds_store(config) {
        refuse(format!(
            "there is no store in {}; --data-dir says where it is",
            config.store.path.display()
        ))
    } else {
        Ok(())
    }
}

pub(super) fn not_opened(error: OpenError) -> CliError {
    match error {
        OpenError::Store(error @ StoreError::Unavailable { .. }) => CliError::Failure(format!(
            "{error}\nIf a server runs on it, stop the server, or ask it instead: GetResults and GetRecipient"
        )),
        other => CliError::Failure(other.to_string()),
    }
}

pub(super) fn failed(error: AppError) -> CliError {
    CliError::Failure(error.message)
}

/// What an app knows of all experiments of a tenant, page by page.
fn all_experiments(app: &App, tenant: TenantId) -> Vec<Arc<crate::domain::experiment::Experiment>> {
    let mut found = Vec::new();
    loop {
        let last: Option<&Arc<crate::domain::experiment::Experiment>> = found.last();
        let page = app.list_experiments(&crate::app::ListRequest {
            tenant,
            after: last.map(|experiment| experiment.id.clone()),
            state: None,
            size: usize::MAX,
        });
        found.extend(page.experiments);
        if !page.more {
            return found;
        }
    }
}

// === impl Question ===

impl Question {
    fn of(what: Option<What>, name: Option<String>) -> Result<Self, CliError> {
        let usage = |text: &str| CliError::Usage(text.to_owned());
        match (what, name) {
            (None, _) => Ok(Self::Overview),
            (Some(What::Experiments), None) => Ok(Self::Experiments),
            (Some(What::Store), None) => Ok(Self::Store),
            (Some(What::Experiment), Some(name)) => Slug::parse(&name)
                .map(Self::Experiment)
                .map_err(|error| CliError::Usage(format!("the experiment's name {error}"))),
            (Some(What::Recipient), Some(id)) => recipient_id(id).map(Self::Recipient),
            (Some(What::Experiment), None) => Err(usage("write: hermod inspect experiment NAME")),
            (Some(What::Recipient), None) => Err(usage("write: hermod inspect recipient ID")),
            (Some(What::Experiments | What::Store), Some(_)) => {
                Err(usage("experiments and store take no name"))
            }
        }
    }

    async fn answer(&self, opened: &Opened, tenant: TenantId, ink: Ink) -> Result<Page, AppError> {
        let app = &opened.app;
        match self {
            Self::Overview => overview::overview(opened, tenant).await,
            Self::Experiments => Ok(overview::experiments(app, tenant)),
            Self::Experiment(id) => Ok(experiment::page(&app.results(tenant, id)?)),
            Self::Recipient(id) => {
                let view = app.recipient(tenant, id).await?;
                Ok(recipient::page(&view, ink))
            }
            Self::Store => overview::store(opened).await,
        }
    }
}

/// The id as given, or from standard input, where neither the shell's history nor the list of processes shows it.
fn recipient_id(id: String) -> Result<String, CliError> {
    let id = match id.as_str() {
        "-" => {
            let mut line = String::new();
            io::stdin()
                .read_line(&mut line)
                .map_err(|error| CliError::Failure(format!("standard input: {error}")))?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
        _ => id,
    };
    if id.is_empty() || id.len() > IDENTIFIER_BYTES_MAX {
        return Err(CliError::Usage(format!(
            "an id of a recipient has 1 to {IDENTIFIER_BYTES_MAX} bytes"
        )));
    }
    Ok(id)
}
