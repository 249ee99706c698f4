//! A server in a process of its own: started, watched and ended.
//!
//! Invariant: only the process started here is ever signalled, and it never outlives what started it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::BenchError;

/// Clock ticks of proc(5) in a second; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Name of the threads that answer calls where there is one a core.
const ANSWERING: &str = crate::ops::cores::THREAD_NAME;
/// Bytes of a page as proc(5) counts resident ones.
const PAGE_BYTES: u64 = 4_096;

/// Share of a core below which a server has settled, how long each look at it lasts, and how many there are at most.
const SETTLED_SHARE: f64 = 0.2;
const SETTLING_PAUSE: Duration = Duration::from_millis(500);
const SETTLING_LOOKS_MAX: usize = 120;

/// A running server.
pub struct Process {
    child: Child,
    name: String,
    /// Where it serves gRPC.
    pub address: String,
    /// Time from its start until it said that it serves.
    pub started_in: Duration,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all its threads, microseconds.
    pub cpu_us: f64,
    /// CPU time of those of them that answer calls, by their name, microseconds; 0 where none has that name.
    pub answering_us: f64,
    /// Memory that it holds now, bytes.
    pub resident_bytes: u64,
}

// === impl Process ===

impl Process {
    /// Starts a program and waits until it prints the line that begins with `gRPC`.
    ///
    /// # Errors
    /// It does not start, or ends before it serves.
    pub fn start(program: &Path, name: &str, arguments: &[String]) -> Result<Self, BenchError> {
        let failed = |what: String| BenchError::Process {
            process: name.to_owned(),
            what,
        };
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", program.display())))?;
        let output = child.stdout.take().map(BufReader::new);
        let mut process = Self {
            child,
            name: name.to_owned(),
            address: String::new(),
            started_in: Duration::ZERO,
        };
        let mut lines = output.into_iter().flat_map(BufReader::lines);
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            let mut words = line.split_whitespace();
            let is_address = words.next() == Some("gRPC");
            is_address
                .then(|| words.next().map(str::to_owned))
                .flatten()
        });
        process.address = address.ok_or_else(|| failed("it ended before it served".to_owned()))?;
        process.started_in = begun.elapsed();
        // What it prints later is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(process)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It has ended, or there is no `/proc`.
    pub fn usage(&self) -> Result<Usage, BenchError> {
        usage_of(&self.id().to_string())
    }

    /// Waits, for a minute at most, until it has little to do: what a start leaves to be done is not part of what a call costs.
    ///
    /// # Errors
    /// It has ended, or there is no `/proc`.
    pub fn settle(&self) -> Result<(), BenchError> {
        for _ in 0..SETTLING_LOOKS_MAX {
            let before = self.usage()?;
            std::thread::sleep(SETTLING_PAUSE);
            let used_us = self.usage()?.cpu_us - before.cpu_us;
            if used_us < SETTLED_SHARE * SETTLING_PAUSE.as_secs_f64() * 1e6 {
                break;
            }
        }
        Ok(())
    }

    /// Ends it in order and waits for it.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop(mut self) -> Result<(), BenchError> {
        let id = i32::try_from(self.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .map_err(std::io::Error::from)?;
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(BenchError::Process {
            process: self.name.clone(),
            what: format!("it ended with {status}"),
        })
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn kill(mut self) -> Result<(), BenchError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process has used so far.
///
/// # Errors
/// There is no `/proc`.
pub fn own_usage() -> Result<Usage, BenchError> {
    usage_of("self")
}

fn usage_of(process: &str) -> Result<Usage, BenchError> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let nonsense = || BenchError::Nonsense("/proc/PID/stat has another form here".to_owned());
    Ok(Usage {
        answering_us: answering(process)?,
        ..parsed(&stat).ok_or_else(nonsense)?
    })
}

/// CPU time of the threads that answer calls, from their first fields of schedstat, nanoseconds.
fn answering(process: &str) -> Result<f64, BenchError> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = task?.path();
        // A thread may end between being listed and being read; those that answer do not.
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").trim_end() == ANSWERING {
            let nanoseconds = read("schedstat");
            let first = nanoseconds.split_whitespace().next();
            sum += first
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
                / 1e3;
        }
    }
    Ok(sum)
}

/// Fields 14, 15 and 24 of proc(5), counted from the name in brackets, which may hold anything.
fn parsed(stat: &str) -> Option<Usage> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let (user, system) = (number(14)?, number(15)?);
    Some(Usage {
        answering_us: 0.0,
        cpu_us: (user + system) / TICKS_PER_SECOND * 1e6,
        resident_bytes: number(24)? as u64 * PAGE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_that_looks_like_fields() {
        let rest: Vec<String> = (4..=30).map(|field| field.to_string()).collect();
        let stat = format!("77 (a ) b) S {}", rest.join(" "));
        let usage = parsed(&stat).unwrap();
        assert_eq!(usage.cpu_us, (14.0 + 15.0) * 1e4);
        assert_eq!(usage.resident_bytes, 24 * 4_096);
        assert_eq!(parsed("nothing"), None);
    }

    #[test]
    fn a_program_that_never_serves_is_an_error() {
        let error = Process::start(Path::new("/bin/true"), "true", &[]).err();
        assert!(
            matches!(error, Some(BenchError::Process { .. })),
            "{error:?}"
        );
    }
}
