//! Tests on small made-up data in which the right answer is known.
use super::*;
use std::io::Write;

/// Sixty people with 160 events: a third is active at six and seven in the evening, the others at nine and ten in the morning.
fn file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "person,day,local_hour_of_week").unwrap();
    for person in 0..60 {
        for event in 0..160 {
            let hour = if person % 3 == 0 { 18 } else { 9 } + (event * 7 + person) % 2;
            // Now and then at any hour.
            let hour = if event % 5 == 4 {
                (event * 11 + person) % 24
            } else {
                hour
            };
            writeln!(file, "p{person:02},{event},{}", event % 7 * 24 + hour).unwrap();
        }
    }
    file
}

fn measured(seed: u64, shuffle_hours: bool) -> Report {
    let options = Options {
        seed,
        shuffle_hours,
    };
    run(file().path(), &options, &()).unwrap()
}

#[test]
fn habits_are_found_and_never_below_everybodys_hour() {
    let report = measured(1, false);
    assert_eq!((report.people, report.events), (60, 9_600));
    assert_eq!(report.rows.len(), HISTORIES.len());
    for row in &report.rows {
        assert_eq!(row.people, 60);
        assert!(row.hermod >= row.everybody - 1e-9, "{row:?}");
    }
    let last = report.rows.last().unwrap();
    assert!(last.lift.low.unwrap() > 10.0, "{last:?}");
    assert!(last.share_of_room.unwrap().mean > 90.0, "{last:?}");
}

#[test]
fn without_habits_no_gain_is_claimed() {
    for row in measured(1, true).rows {
        assert!(row.lift.low.unwrap() <= 0.0, "{row:?}");
    }
}

#[test]
fn a_seed_fixes_every_number() {
    assert_eq!(measured(2, false), measured(2, false));
}

/// The file of real data, or none, said aloud: it is not part of the project.
fn real(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("HERMOD_EVALUATION_DATA")
        .map(|folder| Path::new(&folder).join(name))
        .filter(|path| path.exists());
    if path.is_none() {
        eprintln!("SKIPPED: set HERMOD_EVALUATION_DATA to a folder with {name}");
    }
    path
}

#[test]
fn on_real_activity_nobody_is_worse_off_and_those_who_are_known_are_better_off() {
    let Some(path) = real("activity.csv.gz") else {
        return;
    };
    let options = Options {
        seed: 1,
        shuffle_hours: false,
    };
    for row in run(&path, &options, &()).unwrap().rows {
        assert!(row.lift.mean > -0.25, "{row:?}");
        assert!(row.history < 10 || row.lift.low.unwrap() > 0.0, "{row:?}");
    }
}
