//! When real people were active: one event per person and local hour, in the order it happened.
//!
//! Invariant: an event keeps its local hour and weekday. Days are counted from each person's first event, so their dates mean nothing.
use std::collections::BTreeMap;
use std::path::Path;

use crate::lab::LabError;
use crate::lab::reading::{Row, Table};
use crate::lab::streams::{Stream, StreamName};

const COLUMNS: [&str; 3] = ["person", "day", "local_hour_of_week"];
/// A century; more is a mistake.
const DAYS_MAX: u32 = 36_500;

/// One person's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name in the file.
    pub id: String,
    /// Local hours since a Monday midnight, in the order of the file; the first lies in the first week.
    pub hours: Vec<i64>,
}

#[derive(Clone, Copy)]
struct Seen {
    day: u32,
    hour_of_week: u8,
}

// === impl Person ===

impl Person {
    /// The local hours of day, in the order of the events.
    pub fn hours_of_day(&self) -> impl Iterator<Item = usize> {
        self.hours.iter().map(|hour| hour.rem_euclid(24) as usize)
    }
}

/// Reads a file, people in the order of their names.
///
/// # Errors
/// The file, its columns, or the line that is wrong; or nobody is in it.
pub fn load(path: &Path) -> Result<Vec<Person>, LabError> {
    let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    Table::open(path, &COLUMNS)?.each(|row| {
        let person = row.text("person");
        if person.is_empty() {
            return Err(row.problem("person is empty".to_owned()));
        }
        let events = seen.entry(person.to_owned()).or_default();
        events.push(event(&row)?);
        Ok(())
    })?;
    if seen.is_empty() {
        return Err(LabError::Nothing(format!(
            "{}: nobody is in it",
            path.display()
        )));
    }
    let person = |(id, events): (String, Vec<Seen>)| Person {
        id,
        hours: placed(&events),
    };
    Ok(seen.into_iter().map(person).collect())
}

fn event(row: &Row<'_>) -> Result<Seen, LabError> {
    let seen = Seen {
        day: row.number("day")?,
        hour_of_week: row.number("local_hour_of_week")?,
    };
    if seen.hour_of_week >= 168 {
        return Err(row.problem(format!(
            "local_hour_of_week is {}, not 0 to 167",
            seen.hour_of_week
        )));
    }
    if seen.day > DAYS_MAX {
        return Err(row.problem(format!("day is {}, more than a century", seen.day)));
    }
    Ok(seen)
}

/// Puts every event at its hour on the nearest local day with its weekday: days are counted elsewhere than where the hour is read, so they
/// may be off by one or two.
fn placed(events: &[Seen]) -> Vec<i64> {
    let first_weekday = events
        .first()
        .map_or(0, |first| i64::from(first.hour_of_week / 24));
    let place = |seen: &Seen| {
        let date = first_weekday + i64::from(seen.day);
        let weekday = i64::from(seen.hour_of_week / 24);
        let off = (weekday - date + 3).rem_euclid(7) - 3;
        (date + off) * 24 + i64::from(seen.hour_of_week % 24)
    };
    events.iter().map(place).collect()
}

/// Deals the hours of day of all events to all people at random, so that nobody has a habit of their own; days stay.
pub fn shuffle_hours(people: &mut [Person], seed: u64) {
    let mut dealt: Vec<i64> = people
        .iter()
        .flat_map(|person| person.hours_of_day().map(|hour| hour as i64))
        .collect();
    Stream::new(StreamName {
        seed,
        world: "people",
        purpose: "hours",
    })
    .shuffle(&mut dealt);
    let events = people.iter_mut().flat_map(|person| &mut person.hours);
    for (event, hour) in events.zip(dealt) {
        *event = event.div_euclid(24) * 24 + hour;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn loaded(rows: &str) -> Result<Vec<Person>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "person,day,local_hour_of_week\n{rows}").unwrap();
        load(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn events_keep_their_hour_and_weekday_and_lie_near_their_day() {
        let people = loaded("a,0,85\na,12,57\na,18,15\na,18,31\n").unwrap();
        assert_eq!(people.len(), 1);
        let hours = &people[0].hours;
        let of_week: Vec<i64> = hours.iter().map(|hour| hour.rem_euclid(168)).collect();
        assert_eq!(of_week, [85, 57, 15, 31]);
        let days: Vec<i64> = hours.iter().map(|hour| hour / 24 - 3).collect();
        assert_eq!(days, [0, 13, 18, 19]);
    }

    #[test]
    fn odd_rows_are_refused_with_their_line() {
        for (rows, told) in [
            ("a,0,168\n", "line 2: local_hour_of_week is 168"),
            ("a,0,5\na,-1,5\n", "line 3: day is \"-1\""),
            (",0,5\n", "person is empty"),
            ("a,40000,5\n", "more than a century"),
            ("", "nobody"),
        ] {
            let error = loaded(rows).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn shuffling_keeps_everybodys_hours_but_nobodys() {
        let person = |hour: i64| Person {
            id: hour.to_string(),
            hours: (0..200).map(|day| day * 24 + hour).collect(),
        };
        let mut people = vec![person(3), person(15)];
        shuffle_hours(&mut people, 1);
        let count = |person: &Person| person.hours_of_day().filter(|hour| *hour == 3).count();
        assert_eq!(count(&people[0]) + count(&people[1]), 200);
        assert!((70..130).contains(&count(&people[0])));
        assert!(
            people[1]
                .hours
                .iter()
                .enumerate()
                .all(|(at, hour)| hour / 24 == at as i64)
        );
    }
}
