//! Fetching a backup from a running server: what breaks off is gone on with, also by a later process, and the whole is checked at the end.
//!
//! Invariant: the output file appears only once its every byte was verified; until then there is a partial file beside it, which names
//! its backup in its own manifest.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::grpc::wire;
use crate::grpc::wire::operations_service_client::OperationsServiceClient;
use crate::store::backup::{BackupError, BackupReader, Manifest, Totals};

/// Tries in a row without a single byte before giving up, and the longest pause between two.
const TRIES_MAX: u32 = 8;
const PAUSE_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a server that sends progress every second.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What to fetch, and where to.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The server, such as `http://127.0.0.1:50051`.
    pub address: String,
    /// The bearer token, if the server asks for one.
    pub token: Option<String>,
    /// The file to write; it must not exist.
    pub output: PathBuf,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be one.
    #[error("{0} is no address of a server; write http://HOST:PORT")]
    Address(String),
    /// The token holds what a header cannot.
    #[error("the token cannot be sent: it has characters that no token has")]
    Token,
    /// The file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The server refuses, or stays away.
    #[error("the server answered {code:?}: {message}")]
    Refused {
        /// Its status.
        code: Code,
        /// Its message.
        message: String,
    },
    /// What came is not a whole backup.
    #[error("what the server sent cannot be used: {0}")]
    Damaged(#[from] BackupError),
}

/// How a fetch is going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchProgress {
    /// The server is writing the backup: records so far.
    Preparing(i64),
    /// Bytes fetched, and how many there are.
    Fetched(u64, u64),
    /// The connection broke; what is tried next.
    Again(String),
}

/// The fetch while it goes on.
struct Session<'a> {
    fetch: &'a Fetch,
    token: Option<MetadataValue<Ascii>>,
    partial: PathBuf,
    name: String,
    offset: u64,
    total: u64,
}

/// Fetches a backup and verifies it.
///
/// # Errors
/// As listed in [`FetchError`]. What was fetched stays in the partial file, and the same call goes on with it.
pub async fn fetch(
    fetch: &Fetch,
    mut progress: impl FnMut(FetchProgress),
) -> Result<(Manifest, Totals), FetchError> {
    let mut session = Session::new(fetch)?;
    let mut tries = 0;
    loop {
        let before = session.offset;
        let Err(error) = session.attempt(&mut progress).await else {
            break;
        };
        tries = if session.offset > before {
            1
        } else {
            tries + 1
        };
        session.recover(error, tries)?;
        let pause = Duration::from_millis(250 << tries.min(6)).min(PAUSE_MAX);
        progress(FetchProgress::Again(format!(
            "the connection broke off after {} bytes; going on in {pause:?}",
            session.offset
        )));
        tokio::time::sleep(pause).await;
    }
    session.finish()
}

/// The file in which a fetch is gathered.
pub fn partial_path(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    output.with_file_name(name)
}

impl Fetch {
    fn file_error(path: &Path) -> impl Fn(io::Error) -> FetchError {
        let path = path.to_owned();
        move |source| FetchError::File {
            path: path.clone(),
            source,
        }
    }
}

// === impl Session ===

impl<'a> Session<'a> {
    fn new(fetch: &'a Fetch) -> Result<Self, FetchError> {
        if fetch.output.exists() {
            let exists = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Fetch::file_error(&fetch.output)(exists));
        }
        let token = fetch.token.as_ref().map(|token| {
            let mut value = format!("Bearer {token}")
                .parse::<MetadataValue<Ascii>>()
                .map_err(|_| FetchError::Token)?;
            value.set_sensitive(true);
            Ok::<_, FetchError>(value)
        });
        let partial = partial_path(&fetch.output);
        let (name, offset) = begun(&partial);
        Ok(Session {
            fetch,
            token: token.transpose()?,
            partial,
            name,
            offset,
            total: 0,
        })
    }

    /// One connection, until the last byte or a failure.
    async fn attempt(&mut self, progress: &mut impl FnMut(FetchProgress)) -> Result<(), Status> {
        let endpoint = Endpoint::from_shared(self.fetch.address.clone())
            .map_err(|error| Status::invalid_argument(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Status::unavailable(format!("{error}: {}", self.fetch.address)))?;
        let mut request = Request::new(wire::BackupRequest {
            name: self.name.clone(),
            offset: i64::try_from(self.offset).unwrap_or(i64::MAX),
        });
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        let mut client = OperationsServiceClient::new(channel);
        let mut stream = client.backup(request).await?.into_inner();
        let mut file = self.open()?;
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, stream.message()).await;
            let silent = |_| Status::unavailable("the server fell silent");
            match message.map_err(silent)?? {
                Some(message) => self.take(message, &mut file, progress)?,
                None if self.total > 0 && self.offset == self.total => break,
                None => return Err(Status::unavailable("the stream ended too early")),
            }
        }
        file.sync_all().map_err(local)
    }

    fn open(&self) -> Result<File, Status> {
        let mut options = File::options();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.partial).map_err(local)
    }

    fn take(
        &mut self,
        message: wire::BackupResponse,
        file: &mut File,
        progress: &mut impl FnMut(FetchProgress),
    ) -> Result<(), Status> {
        let wire::BackupResponse {
            backup,
            offset,
            data,
        } = message;
        if let Some(backup) = backup {
            self.name = backup.name;
            self.total = u64::try_from(backup.size_bytes).unwrap_or(0);
            progress(FetchProgress::Preparing(backup.prepared_records));
        }
        if data.is_empty() {
            return Ok(());
        }
        if u64::try_from(offset) != Ok(self.offset) {
            return Err(Status::data_loss(
                "the server sent bytes out of their order",
            ));
        }
        file.write_all(&data).map_err(local)?;
        self.offset += data.len() as u64;
        progress(FetchProgress::Fetched(self.offset, self.total));
        Ok(())
    }

    /// Whether to try again, and with what.
    fn recover(&mut self, error: Status, tries: u32) -> Result<(), FetchError> {
        let refused = FetchError::Refused {
            code: error.code(),
            message: error.message().to_owned(),
        };
        match error.code() {
            // Expired or deleted on the server, or not this server's: what was fetched of it is of no use.
            Code::NotFound | Code::InvalidArgument if !self.name.is_empty() => {
                fs::remove_file(&self.partial)
                    .or_else(|error| match error.kind() {
                        io::ErrorKind::NotFound => Ok(()),
                        _ => Err(error),
                    })
                    .map_err(Fetch::file_error(&self.partial))?;
                self.name = String::new();
                self.offset = 0;
                Ok(())
            }
            Code::InvalidArgument => Err(FetchError::Address(self.fetch.address.clone())),
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
                if tries < TRIES_MAX =>
            {
                // Bytes may have been written that were not counted.
                self.offset = fs::metadata(&self.partial).map_or(0, |data| data.len());
                Ok(())
            }
            _ => Err(refused),
        }
    }

    fn finish(self) -> Result<(Manifest, Totals), FetchError> {
        let file = File::open(&self.partial).map_err(Fetch::file_error(&self.partial))?;
        let verified = BackupReader::open(BufReader::new(file)).and_then(BackupReader::verify);
        if verified.is_err() {
            // Going on with a damaged file would never end.
            let _ = fs::remove_file(&self.partial);
        }
        let verified = verified?;
        fs::rename(&self.partial, &self.fetch.output)
            .map_err(Fetch::file_error(&self.fetch.output))?;
        Ok(verified)
    }
}

/// The backup that a partial file belongs to, and how much of it is there; nothing for one that does not say.
fn begun(partial: &Path) -> (String, u64) {
    let manifest = File::open(partial)
        .map_err(BackupError::from)
        .and_then(|file| BackupReader::open(BufReader::new(file)));
    match manifest {
        Ok(reader) => {
            let bytes = fs::metadata(partial).map_or(0, |data| data.len());
            (format!("backups/{}", reader.manifest().name), bytes)
        }
        Err(_) => {
            let _ = fs::remove_file(partial);
            (String::new(), 0)
        }
    }
}

/// A failure of this machine's files; trying again does not mend it.
fn local(error: io::Error) -> Status {
    Status::failed_precondition(format!("the output cannot be written: {error}"))
}
