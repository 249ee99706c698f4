//! What `evaluate` and `simulate` share: a progress bar for people, a table for people, JSON for programs.
//!
//! Results go to standard output, progress to standard error and only to a terminal, so output can be piped.
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{CliError, print};
use crate::lab::{Estimate, LabError, Progress};

/// Where results go besides the table.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Write the results as JSON to a file, or to standard output in place of the table with -
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A progress bar on standard error, hidden when that is no terminal.
#[derive(Debug)]
pub struct Bar(Mutex<ProgressBar>);

// === impl OutputArgs ===

impl OutputArgs {
    /// Prints the text, or the results as JSON, or both to where they belong.
    ///
    /// # Errors
    /// The file or standard output cannot be written.
    pub fn show<R: Serialize>(&self, results: &R, text: &str) -> Result<ExitCode, CliError> {
        let Some(path) = &self.json else {
            return print(text);
        };
        let mut json = serde_json::to_string_pretty(results)
            .map_err(|error| CliError::Failure(format!("the results as JSON: {error}")))?;
        json.push('\n');
        if path.as_os_str() == "-" {
            return print(&json);
        }
        fs::write(path, json)
            .map_err(|error| CliError::Failure(format!("{}: {error}", path.display())))?;
        print(text)
    }
}

// === impl Bar ===

impl Bar {
    /// A bar that has not begun.
    pub fn new() -> Self {
        Self(Mutex::new(ProgressBar::hidden()))
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, steps: u64) {
        let style = "{bar:30} {percent:>3} %  {human_pos} of {human_len} {msg}, {eta} left";
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr())
            .with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let mut current = self.bar();
        current.finish_and_clear();
        *current = bar;
    }

    fn advance(&self, steps: u64) {
        self.bar().inc(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar().finish_and_clear();
    }
}

/// What went wrong, for people: files and data are the caller's to mend, the rest is a failure.
pub fn cli_error(error: LabError) -> CliError {
    match error {
        LabError::File { .. }
        | LabError::Column { .. }
        | LabError::Line { .. }
        | LabError::Nothing(_) => CliError::Usage(error.to_string()),
        LabError::App(_) | LabError::Waited | LabError::Defect(_) => {
            CliError::Failure(error.to_string())
        }
    }
}

/// A table with these headings; the first column is text, the others are numbers.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(headings.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// An estimate with its interval, to so many places.
pub fn shown(estimate: &Estimate, places: usize) -> String {
    let Estimate { mean, low, high } = estimate;
    match (low, high) {
        (Some(low), Some(high)) => format!("{mean:.places$} [{low:.places$}, {high:.places$}]"),
        _ => format!("{mean:.places$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_shown_with_their_interval_if_they_have_one() {
        let estimate = Estimate {
            mean: 0.7654,
            low: Some(0.7),
            high: Some(0.8),
        };
        assert_eq!(shown(&estimate, 2), "0.77 [0.70, 0.80]");
        let alone = Estimate {
            low: None,
            ..estimate
        };
        assert_eq!(shown(&alone, 1), "0.8");
    }

    #[test]
    fn a_table_has_its_headings_and_rows() {
        let table = table(&["what", "n"], vec![vec!["a".into(), "1".into()]]);
        assert!(table.contains("what") && table.contains('1'), "{table}");
    }
}
