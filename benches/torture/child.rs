//! The server under torture: the real binary in a process of its own, over a directory that outlives it.
//!
//! Invariant: only the process started here is ever signalled, by its own handle or number.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tonic::transport::{Channel, Endpoint};

/// Connections that the callers share.
const CONNECTIONS: usize = 4;

/// Where servers run one after the other.
#[derive(Clone, Debug)]
pub struct Place {
    /// The binary.
    pub binary: PathBuf,
    /// Holds the data directory, or the mount point of one, and the servers' log.
    pub directory: PathBuf,
    /// Further `--set KEY=VALUE` settings.
    pub settings: Vec<String>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
}

/// A server process.
pub struct Child {
    process: Process,
    output: Option<BufReader<ChildStdout>>,
    /// Where it serves gRPC, once it said so.
    pub address: String,
    /// Where its pages are.
    pub operations: String,
}

// === impl Place ===

impl Place {
    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The log of all servers that ran here.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Starts a process and does not wait for it.
    pub fn spawn(&self, fold_interval_ms: u64) -> Result<Child, String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .map_err(|error| format!("{}: {error}", self.log().display()))?;
        let mut command = Command::new(&self.binary);
        let settings = [
            "server.grpc_listen=127.0.0.1:0".to_owned(),
            "server.operations_listen=127.0.0.1:0".to_owned(),
            format!("store.path={}", self.data().display()),
            "store.partitions=8".to_owned(),
            "store.cache_bytes=8388608".to_owned(),
            format!("store.fold_interval={fold_interval_ms}ms"),
        ];
        command.arg("serve");
        for setting in settings.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let mut process = command
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        let output = process.stdout.take().map(BufReader::new);
        Ok(Child {
            process,
            output,
            address: String::new(),
            operations: String::new(),
        })
    }

    /// Starts a process and waits until it serves.
    pub fn start(&self, fold_interval_ms: u64) -> Result<Child, String> {
        let mut child = self.spawn(fold_interval_ms)?;
        child.wait_until_serving()?;
        Ok(child)
    }

    /// Lines of the log that tell of a defect.
    pub fn defects(&self) -> Vec<String> {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let tells = |line: &&str| line.contains("panicked at") || line.contains("defect");
        text.lines().filter(tells).map(str::to_owned).collect()
    }
}

// === impl Child ===

impl Child {
    /// Reads what it announces; an error when it ends without.
    pub fn wait_until_serving(&mut self) -> Result<(), String> {
        let Some(output) = self.output.as_mut() else {
            return Err("its output was taken".into());
        };
        let mut seen = String::new();
        for line in output.by_ref_lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("gRPC"), Some(address)) => self.address = address.to_owned(),
                (Some("operations"), Some(address)) => {
                    let address = address.trim_start_matches("http://");
                    self.operations = address.trim_end_matches("/metrics,").to_owned();
                }
                (Some("try"), _) => return Ok(()),
                _ => {}
            }
            seen.push_str(&line);
        }
        let ended = self.process.wait().map(|status| status.to_string());
        Err(format!("the server did not start: {ended:?} {seen}"))
    }

    /// Becomes true once it serves or has ended; what it announces is read on a thread from now on.
    pub fn has_started(&mut self) -> Arc<AtomicBool> {
        let has_started = Arc::new(AtomicBool::new(self.output.is_none()));
        if let Some(mut output) = self.output.take() {
            let told = Arc::clone(&has_started);
            std::thread::spawn(move || {
                let is_last = |line: &String| line.split_whitespace().next() == Some("try");
                output.by_ref_lines().find(is_last);
                told.store(true, Ordering::SeqCst);
            });
        }
        has_started
    }

    /// Bytes it has read so far, as the kernel counts them; 0 where the kernel does not say.
    pub fn bytes_read(&self) -> u64 {
        self.told_by_kernel("io", "rchar:")
    }

    /// The number in a line of a file that the kernel has of it; 0 where there is none.
    pub fn told_by_kernel(&self, file: &str, line: &str) -> u64 {
        let path = format!("/proc/{}/{file}", self.process.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find_map(|told| told.strip_prefix(line));
        let number = found.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// `kill -9`, and its end.
    pub fn kill(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to stop in order.
    pub fn tell_to_stop(&self) -> Result<(), String> {
        let number = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &number]).status();
        told.map(|_| ()).map_err(|error| format!("kill: {error}"))
    }

    /// Waits for its end in order.
    pub fn stopped(&mut self) -> Result<(), String> {
        match self.process.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("told to stop, it ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Connections to it.
    pub async fn connect(&self) -> Result<Vec<Channel>, String> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.address))
                .map_err(|error| error.to_string())?;
            let channel = endpoint.connect().await;
            channels.push(channel.map_err(|error| error.to_string())?);
        }
        Ok(channels)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

trait Lines {
    fn by_ref_lines(&mut self) -> impl Iterator<Item = String>;
}

impl Lines for BufReader<ChildStdout> {
    fn by_ref_lines(&mut self) -> impl Iterator<Item = String> {
        std::iter::from_fn(move || {
            let mut line = String::new();
            match self.read_line(&mut line) {
                Ok(0) | Err(_) => None,
                Ok(_) => Some(line),
            }
        })
    }
}
