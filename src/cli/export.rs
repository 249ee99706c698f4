//! `hermod export` and `hermod import`: everything as lines of JSON, out of any store and into any new one.
//!
//! Exit code 1 when records could not be read and are therefore missing. The file and the imported store appear only once they are whole.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::backup::{ServerArgs, failure, offline, online};
use super::inspect::refuse_missing;
use super::restore::{filled, keys_text, refuse_occupied};
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{self, Exported};
use crate::store::backup::BackupReader;

/// Write everything as lines of JSON that other programs can read
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// File to write; it must not exist; compressed if it ends in .gz
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Export this backup instead of a store
    #[arg(long, value_name = "FILE", conflicts_with_all = ["address", "data_dir"])]
    backup: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Make a data directory out of an export; store.partitions may be another than before
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The export, compressed or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Takes a backup first, so that the export is of one moment, and turns it into lines.
///
/// # Errors
/// A refused configuration, an output that exists, a store in use, a server that refuses.
pub fn run_export(args: ExportArgs) -> Result<ExitCode, CliError> {
    if args.output.exists() {
        return Err(CliError::Usage(format!(
            "{} exists already",
            args.output.display()
        )));
    }
    let taken = match &args.backup {
        Some(_) => None,
        None => Some(take(&args)?),
    };
    let source = taken.as_deref().or(args.backup.as_deref());
    let exported = source.map(|source| convert(source, &args.output));
    if let Some(taken) = &taken {
        std::fs::remove_file(taken).map_err(failure)?;
    }
    let Some(exported) = exported.transpose()? else {
        return Ok(ExitCode::FAILURE);
    };
    told(&args.output, &exported)
}

/// A backup beside the output, of the running server or of the directory.
fn take(args: &ExportArgs) -> Result<PathBuf, CliError> {
    let mut name = args.output.file_name().unwrap_or_default().to_owned();
    name.push(".backup");
    let path = args.output.with_file_name(name);
    match &args.server.address {
        Some(address) => online(address, &args.server, &path)?,
        None => {
            let config = args.settings.clone().load()?.config;
            refuse_missing(&config)?;
            offline(&config, &path)?
        }
    };
    Ok(path)
}

fn convert(source: &Path, output: &Path) -> Result<Exported, CliError> {
    let file = File::open(source).map_err(failure)?;
    let mut reader =
        BackupReader::open(BufReader::with_capacity(1 << 20, file)).map_err(failure)?;
    let manifest = reader.manifest().clone();
    let draft = crate::ops::fetch::partial_path(output);
    let mut next = || loop {
        match reader.next_block()? {
            // An empty answer means the end.
            Some(rows) if rows.is_empty() => {}
            Some(rows) => return Ok(rows),
            None => return Ok(Vec::new()),
        }
    };
    let sink = BufWriter::with_capacity(1 << 20, private(&draft).map_err(failure)?);
    let is_compressed = output.extension().is_some_and(|ending| ending == "gz");
    let written = if is_compressed {
        let mut sink = GzEncoder::new(sink, Compression::default());
        app::export(&manifest, &mut next, &mut sink)
            .and_then(|exported| Ok((exported, sink.finish()?)))
    } else {
        let mut sink = sink;
        app::export(&manifest, &mut next, &mut sink).map(|exported| (exported, sink))
    };
    let durable = written.and_then(|(exported, mut sink)| {
        sink.flush()?;
        sink.get_ref().sync_all()?;
        std::fs::rename(&draft, output)?;
        Ok(exported)
    });
    durable.map_err(|error| {
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_file(&draft);
        failure(error)
    })
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn told(output: &Path, exported: &Exported) -> Result<ExitCode, CliError> {
    let mut text = counted(&exported.records);
    for place in &exported.unreadable {
        text += &format!("CANNOT be read and is missing: {place}\n");
    }
    text += &format!("{} is written\n", output.display());
    print(&text)?;
    Ok(if exported.unreadable.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn counted(records: &BTreeMap<&'static str, u64>) -> String {
    let line = |(kind, count): (&&str, &u64)| format!("{count:>10}  {kind}\n");
    records.iter().map(line).collect()
}

/// Imports into a new data directory.
///
/// # Errors
/// A file that was cut or changed, a directory that is not empty, keys of another store.
pub fn run_import(args: ImportArgs) -> Result<ExitCode, CliError> {
    let config = args.settings.load()?.config;
    refuse_occupied(&config)?;
    let file = File::open(&args.file)
        .map_err(|error| CliError::Failure(format!("{}: {error}", args.file.display())))?;
    // The configuration allows at most 4,096 of them.
    let partitions = u16::try_from(config.store.partitions).unwrap_or(u16::MAX);
    let source = plain(file).map_err(failure)?;
    let (imported, keys) = filled(&config, partitions, |engine| {
        let imported = app::import(source, engine)
            .map_err(|error| CliError::Failure(format!("{}: {error}", args.file.display())))?;
        let keys = keys_text(&config, &imported.header.recipient_key_fingerprint)?;
        Ok((imported, keys))
    })?;
    print(&format!(
        "{}imported into {} ({partitions} partitions, {} before)\n{keys}\n",
        counted(&imported.records),
        config.store.path.display(),
        imported.header.partitions,
    ))
}

/// The text of a file, compressed or not.
fn plain(file: File) -> std::io::Result<Box<dyn BufRead>> {
    let mut buffered = BufReader::with_capacity(1 << 20, file);
    let is_compressed = buffered.fill_buf()?.starts_with(&[0x1F, 0x8B]);
    Ok(if is_compressed {
        let text: Box<dyn Read> = Box::new(MultiGzDecoder::new(buffered));
        Box::new(BufReader::with_capacity(1 << 20, text))
    } else {
        Box::new(buffered)
    })
}
