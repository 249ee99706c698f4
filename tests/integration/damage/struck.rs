//! The files of a stopped server, struck in many places: whatever a server over them answers is what it answered before, or an error.
//!
//! Invariant: a store that does not open says which files, and what to do next; `hermod check` and `hermod repair` see what a server sees.
use std::fs;
use std::path::{Path, PathBuf};

use hermod::app::{AppError, Kind};

use super::lived_in::{STRANGER, Seen, copy, live, seen};
use super::moved::{hermod, said, utf8};

const STRIKES: usize = 64;

/// What became of the strikes.
#[derive(Debug, Default)]
struct Ends {
    refused: usize,
    told: usize,
    alike: usize,
}

/// A small generator, so that the places are the same every time.
struct Places(u64);

impl Places {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
}

/// Strikes one file: a flipped bit, zeroes, or the end cut off. Most of the large file's strikes hit what was written.
fn strike(path: &Path, places: &mut Places) -> String {
    let mut bytes = fs::read(path).unwrap();
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(1, |at| at + 1);
    let at = places.below(used as u64) as usize;
    let done = match places.below(4) {
        0 => {
            bytes.truncate(at);
            "cut"
        }
        1 => {
            let end = (at + 1 + places.below(700) as usize).min(bytes.len());
            bytes[at..end].fill(0);
            "zeroed"
        }
        _ => {
            bytes[at] ^= 1 << places.below(8);
            "flipped"
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{} {done} at {at}", path.display())
}

/// Compares what is seen; how many answers are errors that say so. Where the start named records that it could not read, sums may be among
/// them, and what rests on sums may be answered otherwise.
fn told(was: &Seen, is: &Seen, is_named: bool, place: &str) -> usize {
    let mut told = 0;
    for (what, before) in was {
        match is.get(what) {
            Some(now) if now == before => {}
            Some(Ok(_)) if is_named => told += 1,
            Some(Err(error)) if error.kind == Kind::DataLoss => told += 1,
            // Somebody whose record cannot be read is decided about as a stranger, and the answer says so.
            Some(Ok(text)) if what.ends_with("decision") && text.contains("Fallback") => told += 1,
            // Where strangers are refused, so is whoever has to be taken for one.
            Some(Err(error)) if is_taken_for_stranger(is, what, error) => told += 1,
            now => panic!("{place}: {what}\nwas {before:?}\nis  {now:?}"),
        }
    }
    told
}

/// Whether an error is what a stranger is told as well, to a question about somebody whose record cannot be read.
fn is_taken_for_stranger(is: &Seen, what: &str, error: &AppError) -> bool {
    let mut words = what.split(' ');
    let (Some(tenant), Some(person), Some("decision")) = (words.next(), words.next(), words.next())
    else {
        return false;
    };
    let record = is.get(&format!("{tenant} {person} record"));
    let stranger = is.get(&format!("{tenant} {STRANGER} decision"));
    matches!(record, Some(Err(lost)) if lost.kind == Kind::DataLoss)
        && matches!(stranger, Some(Err(same)) if same == error)
}

/// The command as an operator runs it: nothing of a panic in what it says.
fn operated(arguments: &[&str], place: &str) -> (bool, String) {
    let output = hermod(arguments);
    let text = said(&output);
    assert!(!text.contains("panicked"), "{place}: {text}");
    (output.status.success(), text)
}

/// What can be saved is saved, or it is said that nothing can; what is saved answers no differently without having said so.
async fn repaired(data: &Path, was: &Seen, place: &str) {
    let target = data.with_file_name("repaired");
    let arguments = [
        "repair",
        "--output",
        utf8(&target),
        "--data-dir",
        utf8(data),
    ];
    let (is_whole, text) = operated(&arguments, place);
    if !target.join("store").exists() {
        assert!(text.contains("hermod restore"), "{place}: {text}");
        return;
    }
    let keys = data.join("hermod.keys");
    fs::copy(keys, target.join("hermod.keys")).unwrap();
    match seen(&target, 4).await {
        Ok((is, _)) if is_whole => assert_eq!(told(was, &is, false, place), 0, "{place}: {text}"),
        Ok(_) => assert!(
            text.contains("LOST") || text.contains("WRONG"),
            "{place}: {text}"
        ),
        Err(error) => assert!(text.contains("identity"), "{place}: {error}\n{text}"),
    }
}

/// Opens a struck store as a server does, and as the commands do with a copy of it: opening damaged files changes them.
async fn judge(data: &Path, was: &Seen, place: &str, ends: &mut Ends) {
    let for_commands = data.with_file_name("commands");
    copy(data, &for_commands);
    let opened = seen(data, 4).await;
    let (is_sound, checked) = operated(&["check", "--data-dir", utf8(&for_commands)], place);
    match opened {
        Err(error) => {
            let text = error.to_string();
            let says_what_to_do = text.contains(utf8(data)) && text.contains("hermod repair");
            assert!(
                says_what_to_do && !text.contains("panicked"),
                "{place}: {text}"
            );
            ends.refused += 1;
        }
        Ok((is, unreadable)) => {
            let is_named = !unreadable.is_empty();
            if told(was, &is, is_named, place) == 0 && !is_named {
                ends.alike += 1;
                return;
            }
            ends.told += 1;
        }
    }
    assert!(!is_sound, "{place}: {checked}");
    repaired(&for_commands, was, place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_struck_no_answer_changes_without_being_told() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    live(&whole).await;
    let (was, _) = seen(&whole, 4).await.unwrap();
    let mut targets = Vec::new();
    files(&whole.join("store"), &mut targets);
    let bytes = |path: &&PathBuf| fs::metadata(path).unwrap().len();
    let runs = targets
        .iter()
        .filter(|path| path.extension().is_some_and(|name| name == "run"));
    let everything = runs.max_by_key(bytes).unwrap();
    let (mut places, mut ends) = (Places(20_261_123), Ends::default());
    for number in 0..STRIKES {
        let struck = tempfile::tempdir_in(directory.path()).unwrap();
        let data = struck.path().join("data");
        copy(&whole, &data);
        // Every second strike is at the file that holds most of it.
        let target = match number % 2 {
            0 => everything,
            _ => &targets[(number / 2) % targets.len()],
        };
        let place = strike(
            &data.join(target.strip_prefix(&whole).unwrap()),
            &mut places,
        );
        judge(&data, &was, &place, &mut ends).await;
    }
    println!("{ends:?}");
    assert!(ends.refused > 0 && ends.alike > 0, "{ends:?}");
}
