//! The log: readable lines for people, JSON lines on request, filtered by level and target.
//!
//! Lines go to standard error, so that standard output stays free for what a command prints.

use std::io;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::config::{LogConfig, LogFormat, targets};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be parsed; a loaded configuration holds none such.
    #[error("log.filter is neither a level nor levels by part of the program")]
    Filter,
    /// This process has a log already.
    #[error("the log is set up already: {0}")]
    Installed(#[from] SetGlobalDefaultError),
}

/// Sets up the log of this process. Call it once, before anything is logged.
///
/// # Errors
/// See [`TelemetryError`].
pub fn install(config: &LogConfig) -> Result<(), TelemetryError> {
    let subscriber = subscriber(config, io::stderr)?;
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// The subscriber that [`install`] makes global, writing to `writer`.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn subscriber<W>(
    config: &LogConfig,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = targets(&config.filter).ok_or(TelemetryError::Filter)?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed(),
    };
    Ok(Registry::default().with(lines).with(filter))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = LogConfig {
            format,
            filter: filter.into(),
        };
        let subscriber = subscriber(&config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(partitions = 32, "store opened");
            tracing::debug!("hidden");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_is_one_line_per_event_without_colour_codes() {
        let text = logged(LogFormat::Text, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("store opened partitions=32"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn json_is_one_object_per_line_with_fields_as_values() {
        let text = logged(LogFormat::Json, "debug");
        let events: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(events.len(), 2, "{text}");
        assert_eq!(events[0]["partitions"], 32);
        assert_eq!(events[0]["message"], "store opened");
        assert_eq!(events[0]["level"], "INFO");
    }

    #[test]
    fn the_filter_silences_a_level() {
        assert_eq!(logged(LogFormat::Text, "error"), "");
    }
}
