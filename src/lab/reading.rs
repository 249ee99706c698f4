//! Reads CSV files, plain or compressed, by the names of their columns.
//!
//! Invariant: whatever is wrong is answered with the file and the line. What the columns mean is left to the callers.
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;

use flate2::read::MultiGzDecoder;

use super::LabError;

/// The rows of a CSV file.
pub struct Table<'a> {
    path: &'a Path,
    reader: csv::Reader<Box<dyn Read>>,
    positions: Vec<(&'static str, usize)>,
}

/// One row.
pub struct Row<'a> {
    path: &'a Path,
    positions: &'a [(&'static str, usize)],
    record: &'a csv::StringRecord,
}

impl<'a> Table<'a> {
    /// Opens a file, compressed with gzip or not, whose first line names these columns and perhaps others.
    pub fn open(path: &'a Path, columns: &[&'static str]) -> Result<Self, LabError> {
        let unreadable = |error| LabError::File {
            path: path.to_owned(),
            error,
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let compressed = file
            .fill_buf()
            .map_err(unreadable)?
            .starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn Read> = if compressed {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut reader = csv::Reader::from_reader(input);
        let header = reader.headers().map_err(|error| line_error(path, &error))?;
        let find = |column: &&'static str| match header.iter().position(|name| name == *column) {
            Some(at) => Ok((*column, at)),
            None => Err(LabError::Column {
                path: path.to_owned(),
                column,
                needed: columns.join(", "),
            }),
        };
        let positions = columns.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self {
            path,
            reader,
            positions,
        })
    }

    /// Calls `take` with every row.
    pub fn each(
        mut self,
        mut take: impl FnMut(Row<'_>) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let mut record = csv::StringRecord::new();
        loop {
            match self.reader.read_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => take(Row {
                    path: self.path,
                    positions: &self.positions,
                    record: &record,
                })?,
                Err(error) => return Err(line_error(self.path, &error)),
            }
        }
    }
}

fn line_error(path: &Path, error: &csv::Error) -> LabError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("has {len} fields, the first line has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    LabError::Line {
        path: path.to_owned(),
        line,
        problem,
    }
}

impl Row<'_> {
    /// The text in a column, which must be one the table was opened with.
    pub fn text(&self, column: &'static str) -> &str {
        self.positions
            .iter()
            .find(|(name, _)| *name == column)
            .and_then(|(_, at)| self.record.get(*at))
            .unwrap_or("")
    }

    /// The number in a column.
    pub fn number<N: FromStr>(&self, column: &'static str) -> Result<N, LabError> {
        let text = self.text(column);
        text.trim()
            .parse()
            .map_err(|_| self.problem(format!("{column} is {text:?}, not a whole number in range")))
    }

    /// Something is wrong with this row.
    pub fn problem(&self, problem: String) -> LabError {
        LabError::Line {
            path: self.path.to_owned(),
            line: self.record.position().map_or(0, csv::Position::line),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn sum(content: &[u8]) -> Result<u64, String> {
        let file = file(content);
        let mut sum = 0;
        Table::open(file.path(), &["a", "b"])
            .and_then(|table| {
                table.each(|row| {
                    sum += row.number::<u64>("b")?;
                    Ok(())
                })
            })
            .map(|()| sum)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plain_and_compressed_files_read_alike() {
        let plain = b"b,x,a\n1,,q\n2,,r\n";
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        assert_eq!(sum(plain), Ok(3));
        assert_eq!(sum(&encoder.finish().unwrap()), Ok(3));
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        assert!(
            sum(b"a,b\n1,2\n1,-2\n")
                .unwrap_err()
                .contains("line 3: b is \"-2\"")
        );
        assert!(
            sum(b"a,b\n1,2,3\n")
                .unwrap_err()
                .contains("line 2: has 3 fields")
        );
        assert!(sum(b"a,c\n1,2\n").unwrap_err().contains("no column b"));
        assert!(
            Table::open(Path::new("/nowhere.csv"), &[])
                .err()
                .is_some_and(|error| error.to_string().contains("/nowhere.csv"))
        );
    }
}
