//! Real headline tests: how often each headline was shown, and clicked.
//!
//! Invariant: every test that is kept has two or more headlines that were shown. What is left out is counted, what is odd is refused.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::lab::LabError;
use crate::lab::reading::{Row, Table};

const COLUMNS: [&str; 5] = [
    "experiment_id",
    "impressions",
    "clicks",
    "randomization_risk",
    "kind",
];

/// One headline of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// How often it was shown.
    pub impressions: u64,
    /// How often it was clicked.
    pub clicks: u64,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadlineTest {
    /// Its name in the file.
    pub id: String,
    /// Its headlines, in the order of the file.
    pub headlines: Vec<Counts>,
}

/// What was left out of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Tests of something else than headlines.
    pub of_another_kind: usize,
    /// Tests from weeks in which the archive's own randomisation was faulty.
    pub at_risk: usize,
    /// Tests with fewer than two headlines that were shown.
    pub too_few_headlines: usize,
}

/// The tests of a file, by name, and what was left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The tests.
    pub tests: Vec<HeadlineTest>,
    /// What is not among them.
    pub left_out: LeftOut,
}

#[derive(Default)]
struct Draft {
    headlines: Vec<Counts>,
    of_another_kind: bool,
    at_risk: bool,
}

/// Reads an archive; `with_risky` keeps the tests whose own randomisation is in doubt.
///
/// # Errors
/// The file, its columns, or the line that is wrong; or no test is left.
pub fn load(path: &Path, with_risky: bool) -> Result<Archive, LabError> {
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    Table::open(path, &COLUMNS)?.each(|row| {
        let counts = counts(&row)?;
        let draft = drafts.entry(id(&row)?).or_default();
        draft.of_another_kind |= !matches!(row.text("kind"), "headline" | "both");
        draft.at_risk |= at_risk(&row)?;
        if counts.impressions > 0 {
            draft.headlines.push(counts);
        }
        Ok(())
    })?;
    let archive = sorted_out(drafts, with_risky);
    if archive.tests.is_empty() {
        return Err(LabError::Nothing(format!(
            "{}: no test can be used; it takes kind headline or both, randomization_risk 0 and two headlines that were shown",
            path.display()
        )));
    }
    Ok(archive)
}

fn id(row: &Row<'_>) -> Result<String, LabError> {
    match row.text("experiment_id") {
        "" => Err(row.problem("experiment_id is empty".to_owned())),
        id => Ok(id.to_owned()),
    }
}

fn counts(row: &Row<'_>) -> Result<Counts, LabError> {
    let counts = Counts {
        impressions: row.number("impressions")?,
        clicks: row.number("clicks")?,
    };
    if counts.clicks > counts.impressions {
        return Err(row.problem(format!(
            "{} clicks on {} impressions",
            counts.clicks, counts.impressions
        )));
    }
    Ok(counts)
}

fn at_risk(row: &Row<'_>) -> Result<bool, LabError> {
    match row.text("randomization_risk") {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(row.problem(format!("randomization_risk is {other:?}, not 0 or 1"))),
    }
}

fn sorted_out(drafts: BTreeMap<String, Draft>, with_risky: bool) -> Archive {
    let mut archive = Archive {
        tests: Vec::new(),
        left_out: LeftOut::default(),
    };
    let left_out = &mut archive.left_out;
    for (id, draft) in drafts {
        let Draft {
            headlines,
            of_another_kind,
            at_risk,
        } = draft;
        if of_another_kind {
            left_out.of_another_kind += 1;
        } else if at_risk && !with_risky {
            left_out.at_risk += 1;
        } else if headlines.len() < 2 {
            left_out.too_few_headlines += 1;
        } else {
            archive.tests.push(HeadlineTest { id, headlines });
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const HEADER: &str = "experiment_id,story,impressions,clicks,randomization_risk,kind\n";

    fn loaded(rows: &str, with_risky: bool) -> Result<Archive, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{HEADER}{rows}").unwrap();
        load(file.path(), with_risky).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let rows = "a,1,100,5,0,headline\na,1,0,0,0,headline\na,1,90,4,0,headline\nb,1,9,1,0,image\nc,1,9,1,1,both\n\
                    c,1,9,1,1,both\nd,1,9,1,0,both\n";
        let archive = loaded(rows, false).unwrap();
        assert_eq!(archive.tests.len(), 1);
        assert_eq!(archive.tests[0].headlines.len(), 2);
        let expected = LeftOut {
            of_another_kind: 1,
            at_risk: 1,
            too_few_headlines: 1,
        };
        assert_eq!(archive.left_out, expected);
        assert_eq!(loaded(rows, true).unwrap().tests.len(), 2);
    }

    #[test]
    fn odd_rows_are_refused_with_their_line() {
        for (rows, told) in [
            ("a,1,10,11,0,both\n", "line 2: 11 clicks on 10 impressions"),
            (
                "a,1,10,1,0,both\na,1,ten,1,0,both\n",
                "line 3: impressions is \"ten\"",
            ),
            ("a,1,10,1,maybe,both\n", "randomization_risk is \"maybe\""),
            (",1,10,1,0,both\n", "experiment_id is empty"),
            ("b,1,10,1,0,image\n", "no test can be used"),
        ] {
            let error = loaded(rows, false).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
