//! Checking a store: every row is read, its key taken apart, its place compared with where it is looked for, and sums with what they are of.
//!
//! Invariant: nothing is changed, and what is reported is wrong for certain; what merely looks odd is not reported.
use std::collections::BTreeMap;

use crate::domain::cell::{Cell, CellId};
use crate::domain::content_id::ContentId;
use crate::domain::experiment::Experiment;
use crate::domain::exposure::Exposure;
use crate::domain::name::{ExperimentUid, TenantId};
use crate::store::records::kinds::{RecordKind, kind_of};
use crate::store::records::{self, LastUid, MergeRecords, Record, StoreIdentity, key};
use crate::store::{Merge as _, SnapshotRow, StoreError};

use super::exchange::{partition_of, place};

/// How far sums may lie beyond their bounds for rounding, as a share and as an amount.
const ROUNDING: f64 = 1e-6;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Readable records by the name of their kind.
    pub records: BTreeMap<&'static str, u64>,
    /// What is wrong: where, and what.
    pub problems: Vec<String>,
}

/// Takes rows, in any order, and at the end says what is wrong.
pub struct Checker {
    partitions: u16,
    checked: Checked,
    cells: BTreeMap<Vec<u8>, Vec<u8>>,
    experiments: BTreeMap<(TenantId, ExperimentUid), String>,
    last_uids: BTreeMap<Vec<u8>, u64>,
    has_identity: bool,
}

// === impl Checker ===

impl Checker {
    /// For a store of so many partitions.
    pub fn new(partitions: u16) -> Self {
        Self {
            partitions,
            checked: Checked::default(),
            cells: BTreeMap::new(),
            experiments: BTreeMap::new(),
            last_uids: BTreeMap::new(),
            has_identity: false,
        }
    }

    /// Looks at a row.
    pub fn take(&mut self, row: &SnapshotRow) {
        match self.examine(row) {
            Ok(kind) => *self.checked.records.entry(kind.name).or_default() += 1,
            Err(error) => {
                let key = hex(&row.key);
                let problem = format!("partition {} key {key}: {error}", row.partition.0);
                self.checked.problems.push(problem);
            }
        }
    }

    /// Notes what somebody else found.
    pub fn note(&mut self, problem: String) {
        self.checked.problems.push(problem);
    }

    /// Compares what belongs together; what all of it comes to.
    pub fn finish(mut self) -> Checked {
        if !self.has_identity && !self.checked.records.is_empty() {
            self.note("the store's identity is missing: no server would open it".to_owned());
        }
        self.compare_numbers();
        for (key, sum) in std::mem::take(&mut self.cells) {
            if let Some(problem) = impossible(&key, &sum) {
                self.note(problem);
            }
        }
        self.checked
    }

    fn examine(&mut self, row: &SnapshotRow) -> Result<RecordKind, StoreError> {
        let (key, stored) = (row.key.as_ref(), row.stored.value.as_ref());
        let kind = kind_of(stored)?;
        kind.check(stored)?;
        let wrong = |what: String| StoreError::Corrupt {
            what,
            place: kind.name.to_owned(),
        };
        if place(key).is_none() {
            return Err(wrong("its key is none that a record has".to_owned()));
        }
        if !kind.lies_under(key) {
            return Err(wrong("it lies under a key of another kind".to_owned()));
        }
        if !kind.is_additive {
            let home = partition_of(key, stored, self.partitions)?;
            if home != row.partition {
                return Err(wrong(format!("it is looked for in partition {}", home.0)));
            }
        }
        if key.starts_with(key::GROUNDS) && key.get(5..) != Some(&ContentId::of(stored).0) {
            return Err(wrong("it does not have the content of its name".to_owned()));
        }
        self.remember(key, stored)?;
        Ok(kind)
    }

    fn remember(&mut self, key: &[u8], stored: &[u8]) -> Result<(), StoreError> {
        if key.starts_with(key::CELLS) {
            self.add_to_cell(key, stored);
        } else if key.starts_with(key::PLANNED) {
            // A mail that was planned and is taken back once it is due is taken out of the cell that it has yet to be moved to.
            if let Some((_, tenant, id)) = key::parse::planned(key) {
                self.add_to_cell(&key::cell(tenant, id), stored);
            }
        } else if key.starts_with(key::EXPERIMENTS) {
            let experiment: Experiment = records::decode(stored)?;
            let tenant = key::parse::tenant(key).unwrap_or(TenantId::DEFAULT);
            let (uid, name) = (experiment.uid, experiment.id.to_string());
            if let Some(other) = self.experiments.insert((tenant, uid), name.clone()) {
                self.note(format!(
                    "the experiments {other} and {name} have the same number {}",
                    uid.0
                ));
            }
        } else if key.starts_with(key::LAST_UID) {
            let LastUid(last) = records::decode(stored)?;
            self.last_uids.insert(key.to_vec(), last);
        } else if key == key::IDENTITY {
            let _: StoreIdentity = records::decode(stored)?;
            self.has_identity = true;
        }
        Ok(())
    }

    fn add_to_cell(&mut self, key: &[u8], part: &[u8]) {
        let before = self.cells.get(key).map(Vec::as_slice);
        if let Ok(Some(sum)) = MergeRecords.merge(key, before, part) {
            self.cells.insert(key.to_vec(), sum);
        }
    }

    /// A number given out twice would mix two experiments' statistics.
    fn compare_numbers(&mut self) {
        let mut highest: BTreeMap<TenantId, u64> = BTreeMap::new();
        for ((tenant, uid), name) in std::mem::take(&mut self.experiments) {
            match uid.number_of(tenant) {
                Some(number) => {
                    let most = highest.entry(tenant).or_default();
                    *most = number.max(*most);
                }
                None => self.note(format!(
                    "the experiment {name} has the number {uid}, which tenant {} is never given",
                    tenant.0
                )),
            }
        }
        for (tenant, most) in highest {
            let last = self.last_uids.get(&key::last_uid(tenant)).copied();
            if last.is_none_or(|last| last < most) {
                self.note(format!(
                    "experiment number {most} of tenant {} is in use, and {} is the last one given out",
                    tenant.0,
                    last.unwrap_or(0)
                ));
            }
        }
    }
}

/// What cannot be in a cell summed over all partitions: parts may be negative where people were erased, the whole may not.
fn impossible(key: &[u8], sum: &[u8]) -> Option<String> {
    let cell: Cell = records::decode(sum).ok()?;
    let (tenant, id) = key::parse::cell(key)?;
    let sums = [
        ("open", &cell.open),
        ("click", &cell.click),
        ("conversion", &cell.conversion),
    ];
    let (name, exposure) = sums
        .into_iter()
        .find(|(_, exposure)| !is_possible(exposure))?;
    Some(format!(
        "{} of {}: {} {name} trials and {} successes cannot be",
        Cell::NAME,
        described(tenant, id),
        exposure.trials,
        exposure.successes
    ))
}

fn is_possible(exposure: &Exposure) -> bool {
    let slack = ROUNDING * (1.0 + exposure.trials.abs());
    let numbers = exposure.pending.iter().copied();
    numbers
        .chain([exposure.trials, exposure.successes])
        .all(|number| number.is_finite() && number >= -slack)
}

fn described(tenant: TenantId, id: CellId) -> String {
    format!(
        "tenant {}, experiment {}, variant {}, segment {}, daypart {}",
        tenant.0, id.experiment.0, id.variant.0, id.context.segment, id.context.daypart
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{RecipientKey, VariantIndex};
    use crate::domain::recipient::Recipient;
    use crate::store::{Partition, Stored};

    fn row<R: Record>(partition: u16, key: Vec<u8>, record: &R) -> SnapshotRow {
        SnapshotRow {
            partition: Partition(partition),
            key: key.into(),
            stored: Stored {
                version: 1,
                value: records::encode(record).unwrap().into(),
            },
        }
    }

    fn problems(rows: &[SnapshotRow]) -> Vec<String> {
        let mut checker = Checker::new(4);
        let identity = StoreIdentity {
            recipient_key_fingerprint: [0; 16],
            seed: [0; 32],
            created_at_ms: 0,
        };
        checker.take(&row(0, key::IDENTITY.to_vec(), &identity));
        rows.iter().for_each(|row| checker.take(row));
        checker.finish().problems
    }

    /// The kept sample.
    fn experiment() -> Experiment {
        let text = include_str!("../../tests/samples/experiment_v2.hex");
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| byte(pair).unwrap()).collect();
        records::decode(&bytes).unwrap()
    }

    fn cell_row(partition: u16, trials: f64) -> SnapshotRow {
        let id = CellId {
            experiment: ExperimentUid(1),
            variant: VariantIndex(0),
            context: crate::domain::cell::Context {
                segment: 0,
                daypart: 0,
            },
            lane: crate::domain::cell::Lane::Policy,
            track: crate::domain::cell::Track::CONFIGURED,
        };
        let cell = Cell {
            click: Exposure::trial(trials, 0.0),
            ..Cell::default()
        };
        row(partition, key::cell(TenantId(0), id), &cell)
    }

    #[test]
    fn a_recipient_in_another_partition_than_where_it_is_looked_for_is_found() {
        let recipient = RecipientKey([1; 16]);
        let home = recipient.partition(4);
        let at = |partition| {
            let key = key::recipient(TenantId(0), recipient);
            row(partition, key, &Recipient::default())
        };
        assert_eq!(problems(&[at(home)]), Vec::<String>::new());
        let found = problems(&[at((home + 1) % 4)]);
        assert!(found[0].contains("looked for in partition"), "{found:?}");
    }

    #[test]
    fn parts_of_a_sum_may_be_negative_and_the_whole_may_not() {
        assert_eq!(
            problems(&[cell_row(0, -1.0), cell_row(2, 3.0)]),
            Vec::<String>::new()
        );
        let found = problems(&[cell_row(0, -3.0), cell_row(2, 1.0)]);
        assert!(found[0].contains("cannot be"), "{found:?}");
    }

    #[test]
    fn every_tenant_counts_its_experiments_for_itself() {
        let [first, second] = [TenantId::DEFAULT, TenantId(2)];
        let experiment = |tenant: TenantId, uid: u64| {
            let experiment = Experiment {
                uid: ExperimentUid(uid),
                ..experiment()
            };
            row(0, key::experiment(tenant, &experiment.id), &experiment)
        };
        let last = |tenant: TenantId| row(0, key::last_uid(tenant), &LastUid(1));
        let second_uid = 2 << 32 | 1;
        let sound = [
            experiment(first, 1),
            experiment(second, second_uid),
            last(first),
            last(second),
        ];
        assert_eq!(problems(&sound), Vec::<String>::new());
        let later = [experiment(second, second_uid + 1), last(second)];
        assert!(problems(&later)[0].contains("number 2 of tenant 2 is in use"));
        let foreign = [experiment(second, 1), last(second)];
        assert!(problems(&foreign)[0].contains("never given"));
    }

    #[test]
    fn what_is_planned_belongs_to_the_whole() {
        let (tenant, id) = key::parse::cell(&cell_row(0, 1.0).key).unwrap();
        let mut planned = cell_row(0, 1.0);
        planned.key = key::planned(tenant, 7, id).into();
        let taken_back = cell_row(0, -1.0);
        assert_eq!(
            problems(&[taken_back.clone(), planned]),
            Vec::<String>::new()
        );
        assert_eq!(problems(&[taken_back]).len(), 1);
    }

    #[test]
    fn damage_unknown_keys_and_records_under_keys_of_other_kinds_are_found() {
        let good = cell_row(0, 1.0);
        let mut damaged = good.clone();
        damaged.stored.value = good.stored.value[1..].into();
        let mut misplaced = row(
            0,
            [key::EXPERIMENTS, &[0, 0, 0, 0], b"spring"].concat(),
            &LastUid(1),
        );
        assert_eq!(problems(&[misplaced.clone()]).len(), 1);
        misplaced.key = b"zzz".as_slice().into();
        assert_eq!(problems(&[damaged, misplaced]).len(), 2);
        let mut checker = Checker::new(4);
        checker.take(&good);
        assert!(checker.finish().problems[0].contains("identity"));
    }
}
