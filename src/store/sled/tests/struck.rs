//! Flipped bits in the middle of what a long run wrote: refused, told on reading, or without effect; never an older value.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::*;

const STRIKES: u64 = 64;
const KEYS: u64 = 3_000;
const ROUNDS: u64 = 9;

/// A small generator, so that the places are the same everywhere.
pub(super) fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn value(key: u64, round: u64) -> Vec<u8> {
    let mut state = (key + 1) * 1_000 + round;
    (0..1_000).map(|_| next(&mut state) as u8).collect()
}

/// Several segments of one run: everything rewritten again and again, folded in between, the last part only in the journal.
fn long_run(options: &SledOptions) {
    let engine = open(options);
    for round in 0..ROUNDS {
        for key in (0..KEYS).filter(|key| key.is_multiple_of(round + 1)) {
            let partition = Partition((key % 4) as u16);
            let change = Change::Put {
                key: key.to_be_bytes().to_vec(),
                value: value(key, round),
                expected: None,
            };
            let batch = Batch {
                changes: vec![change],
            };
            engine.commit(partition, batch).wait().unwrap();
        }
        engine.flush().wait().unwrap();
        if round + 1 < ROUNDS {
            folder::pass(&engine.shared).unwrap();
        }
    }
}

fn last_round(key: u64) -> u64 {
    (0..ROUNDS)
        .rev()
        .find(|round| key.is_multiple_of(round + 1))
        .unwrap()
}

#[derive(Debug, Default)]
struct Ends {
    refused: u64,
    told_on_reading: u64,
    without_effect: u64,
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The file of sled, those of the journal and those of the runs, with their bytes.
fn files(options: &SledOptions) -> Vec<(PathBuf, u64)> {
    let mut paths = run_files(options);
    paths.extend(segments::paths(&options.directory.join("journal")).unwrap());
    paths.insert(0, options.directory.join("sled/db"));
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    paths
        .into_iter()
        .map(|path| (path.clone(), bytes(&path)))
        .collect()
}

/// Flips a bit in one of the files, each being struck as often as another.
fn strike(options: &SledOptions, number: u64) {
    let files = files(options);
    let (path, bytes) = &files[number as usize % files.len()];
    let at = number / files.len() as u64 % bytes;
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    byte[0] ^= 1 << (at % 8);
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&byte).unwrap();
}

fn look(options: &SledOptions, ends: &mut Ends) {
    let engine = match SledEngine::open(options.clone(), Arc::new(Counting)) {
        Ok(engine) => engine,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("hermod repair"), "{text}");
            ends.refused += 1;
            return;
        }
    };
    let mut told = false;
    for key in 0..KEYS {
        let partition = Partition((key % 4) as u16);
        match engine.read(partition, &key.to_be_bytes()).wait() {
            Err(StoreError::Corrupt { .. }) => told = true,
            read => {
                let stored = read.unwrap().unwrap();
                assert!(
                    stored.value[..] == value(key, last_round(key))[..],
                    "key {key} is older"
                );
            }
        }
    }
    ends.told_on_reading += u64::from(told);
    ends.without_effect += u64::from(!told);
}

/// Strikes copies of a store; how they end.
fn strikes(whole: &SledOptions, seed: u64) -> Ends {
    let (mut state, mut ends) = (seed, Ends::default());
    for _ in 0..STRIKES {
        let copied = TempDir::new().unwrap();
        let options = unfolded(&copied);
        copy(&whole.directory, &options.directory);
        strike(&options, next(&mut state));
        look(&options, &mut ends);
    }
    ends
}

#[test]
fn no_flipped_bit_in_a_long_run_lets_an_older_value_show_through() {
    let directory = TempDir::new().unwrap();
    let whole = unfolded(&directory);
    long_run(&whole);
    let killed = strikes(&whole, 7);
    // Opened and closed once more, sled knows where everything lies, and finds damage when it reads a page.
    open(&whole).close().wait().unwrap();
    let stopped = strikes(&whole, 11);
    println!("killed: {killed:?}\nstopped: {stopped:?}");
    assert!(killed.told_on_reading > 0, "{killed:?}");
    assert!(stopped.told_on_reading > 0, "{stopped:?}");
}
