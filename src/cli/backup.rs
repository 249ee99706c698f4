//! `hermod backup`: one file with everything as of one moment, from a running server or from the directory of a stopped one.
//!
//! The output appears only once it is whole. A fetch that broke off is gone on with by running the same command again.
use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::inspect::refuse_missing;
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{Clock as _, SystemClock, backup_manifest};
use crate::ops::compose;
use crate::ops::config::Config;
use crate::ops::fetch::{self, Fetch, FetchProgress};
use crate::store::StoreError;
use crate::store::backup::{BackupError, Manifest, Totals, write_snapshot};

/// Environment variable with the bearer token.
const TOKEN_VARIABLE: &str = "HERMOD_TOKEN";

/// Write a backup: everything as of one moment, in one checked file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to write; it must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Flags that name a running server.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerArgs {
    /// Ask this running server, such as http://127.0.0.1:50051; without it the data directory of a stopped server is read
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub(super) address: Option<String>,
    /// File with the bearer token for the server [default: the environment variable HERMOD_TOKEN, if set]
    #[arg(long, value_name = "FILE", requires = "address")]
    pub(super) token_file: Option<PathBuf>,
}

/// Writes the backup and says what it holds.
///
/// # Errors
/// A refused configuration, an output that exists, a store in use, a server that refuses.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let (manifest, totals) = match &args.server.address {
        Some(address) => online(address, &args.server, &args.output)?,
        None => {
            let config = args.settings.load()?.config;
            refuse_missing(&config)?;
            offline(&config, &args.output)?
        }
    };
    print(&format!(
        "{}: {} records as of {}, verified\nIt does not hold the keys file: keep a copy of that apart (key fingerprint {})\n",
        args.output.display(),
        totals.rows,
        instant(manifest.created_at_ms),
        manifest.recipient_key_fingerprint,
    ))
}

/// Fetches from a running server.
pub(super) fn online(
    address: &str,
    server: &ServerArgs,
    output: &Path,
) -> Result<(Manifest, Totals), CliError> {
    let fetch = Fetch {
        address: address.to_owned(),
        token: server.token()?,
        output: output.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failure)?;
    let shows = std::io::stderr().is_terminal();
    let told = |progress: FetchProgress| match progress {
        FetchProgress::Again(text) => eprintln!("hermod: {text}"),
        FetchProgress::Preparing(records) if shows => {
            eprint!("\r{records} records prepared        ");
        }
        FetchProgress::Fetched(bytes, total) if shows => {
            eprint!("\r{bytes} of {total} bytes fetched    ");
        }
        _ => {}
    };
    let fetched = runtime.block_on(fetch::fetch(&fetch, told));
    if shows {
        eprintln!();
    }
    fetched.map_err(failure)
}

/// Reads the directory of a stopped server.
pub(super) fn offline(config: &Config, output: &Path) -> Result<(Manifest, Totals), CliError> {
    let engine = compose::open_engine(config).map_err(|error| match error {
        StoreError::Unavailable { .. } => CliError::Failure(format!(
            "{error}\nIf a server runs on it, ask the server: hermod backup --address http://HOST:PORT --output FILE"
        )),
        other => failure(other),
    })?;
    let now = SystemClock.now();
    let name = now.strftime("offline-%Y%m%d-%H%M%S").to_string();
    let manifest =
        backup_manifest(engine.as_ref(), &name, now.as_millisecond()).map_err(failure)?;
    let partial = fetch::partial_path(output);
    let written = new_file(output, &partial).and_then(|file| {
        let mut sink = BufWriter::with_capacity(1 << 20, file);
        let (manifest, totals, _) = write_snapshot(engine.as_ref(), manifest, &mut sink, |_| true)?;
        let file = sink.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        std::fs::rename(&partial, output)?;
        Ok((manifest, totals))
    });
    written.map_err(|error| {
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_file(&partial);
        CliError::Failure(format!("{}: {error}", output.display()))
    })
}

fn new_file(output: &Path, partial: &Path) -> Result<File, BackupError> {
    if output.exists() {
        return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists).into());
    }
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(partial)?)
}

pub(super) fn failure(error: impl std::fmt::Display) -> CliError {
    CliError::Failure(error.to_string())
}

pub(super) fn instant(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

// === impl ServerArgs ===

impl ServerArgs {
    /// The token from its file or the environment: never from the command line, which others can read.
    fn token(&self) -> Result<Option<String>, CliError> {
        let text = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| CliError::Failure(format!("{}: {error}", path.display())))?,
            ),
            None => std::env::var(TOKEN_VARIABLE).ok(),
        };
        Ok(text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }
}
