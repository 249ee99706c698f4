//! What `evaluate` and `simulate` share: a progress bar, tables and charts for people, JSON for programs.
//!
//! Results go to standard output, progress to standard error and only to a terminal, so output can be piped.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::chart::{Chart, svg};
use super::{CliError, print};
use crate::lab::{Estimate, LabError, Progress};

/// Where results go besides the table.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Write the results as JSON to a file, or to standard output in place of the table with -
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the results as SVG: all charts in one file, or each in a file of its own if this is a directory
    #[arg(long, value_name = "FILE|DIR")]
    pub svg: Option<PathBuf>,
}

/// A progress bar on standard error, hidden when that is no terminal.
#[derive(Debug)]
pub struct Bar(Mutex<ProgressBar>);

// === impl OutputArgs ===

impl OutputArgs {
    /// Prints the text, or the results as JSON, or both to where they belong.
    ///
    /// # Errors
    /// A file or standard output cannot be written, or a chart is asked for where there is none.
    pub fn show<R: Serialize>(&self, results: &R, text: &str) -> Result<ExitCode, CliError> {
        self.show_charted(results, text, &[])
    }

    /// The same with charts.
    ///
    /// # Errors
    /// A file or standard output cannot be written, or a chart is asked for where there is none.
    pub fn show_charted<R: Serialize>(
        &self,
        results: &R,
        text: &str,
        charts: &[Chart],
    ) -> Result<ExitCode, CliError> {
        let shown = self.written(results, text)?;
        match &self.svg {
            None => Ok(shown),
            Some(_) if charts.is_empty() => Err(CliError::Usage(
                "there is no chart of this: leave out --svg".to_owned(),
            )),
            Some(path) if path.is_dir() => {
                for chart in charts {
                    let file = path.join(format!("{}.svg", chart.name));
                    draw(&file, std::slice::from_ref(chart))?;
                }
                Ok(shown)
            }
            Some(path) => draw(path, charts).map(|()| shown),
        }
    }

    fn written<R: Serialize>(&self, results: &R, text: &str) -> Result<ExitCode, CliError> {
        let Some(path) = &self.json else {
            return print(text);
        };
        let mut json = serde_json::to_string_pretty(results)
            .map_err(|error| CliError::Failure(format!("the results as JSON: {error}")))?;
        json.push('\n');
        if path.as_os_str() == "-" {
            return print(&json);
        }
        write(path, &json)?;
        print(text)
    }
}

fn draw(path: &Path, charts: &[Chart]) -> Result<(), CliError> {
    let text = svg(charts).map_err(|error| CliError::Failure(format!("the chart: {error}")))?;
    write(path, &text)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|error| CliError::Failure(format!("{}: {error}", path.display())))
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
    use crate::cli::chart::{Axis, Series};

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

    fn a_chart(name: &'static str) -> Chart {
        Chart {
            name,
            title: name.to_owned(),
            x: Axis::linear("mails"),
            y: Axis::linear("opens"),
            series: vec![Series::reference("all", [(0.0, 1.0), (1.0, 2.0)])],
        }
    }

    fn charted(path: &Path, charts: &[Chart]) -> Result<ExitCode, CliError> {
        let output = OutputArgs {
            json: None,
            svg: Some(path.to_owned()),
        };
        output.show_charted(&0, "", charts)
    }

    #[test]
    fn charts_go_to_one_file_or_each_to_its_own_in_a_directory() {
        let place = tempfile::tempdir().unwrap();
        let charts = [a_chart("one"), a_chart("two")];
        charted(&place.path().join("both.svg"), &charts).unwrap();
        charted(place.path(), &charts).unwrap();
        for (file, titles) in [("both.svg", 2), ("one.svg", 1), ("two.svg", 1)] {
            let text = fs::read_to_string(place.path().join(file)).unwrap();
            let found = ["\none\n", "\ntwo\n"].map(|title| text.contains(title));
            assert_eq!(
                found.iter().filter(|found| **found).count(),
                titles,
                "{file}: {text}"
            );
        }
    }

    #[test]
    fn a_chart_where_there_is_none_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let refused = charted(&place.path().join("none.svg"), &[]).unwrap_err();
        assert!(refused.to_string().contains("--svg"), "{refused}");
    }

    #[test]
    fn a_table_has_its_headings_and_rows() {
        let table = table(&["what", "n"], vec![vec!["a".into(), "1".into()]]);
        assert!(table.contains("what") && table.contains('1'), "{table}");
    }
}
