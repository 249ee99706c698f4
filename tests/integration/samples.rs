//! Old records stay readable: one encoded record of each kind as it was first written, re-read and compared in full.
//!
//! `HERMOD_WRITE_SAMPLES=1 cargo test --test integration samples` writes them anew, which is right only while nothing old exists.

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use hermod::domain::alert::{Alert, AlertKind, Condition};
use hermod::domain::arrivals::Arrivals;
use hermod::domain::cell::{Cell, CellId, Context, Harm, Lane, Track};
use hermod::domain::civil::LocalHour;
use hermod::domain::decide::Reason;
use hermod::domain::delay::DelayCurve;
use hermod::domain::drift::{Drift, Evidence};
use hermod::domain::event::{EventKind, HumanWeight};
use hermod::domain::experiment::{
    Experiment, ExperimentKind, ExperimentState, FrequencyCap, Guardrails, Objective, Probation,
    SendDefaults, SenderCapacity, Settings, TrialOn, Utility, Variant, VariantState, WarmUp,
};
use hermod::domain::exposure::Exposure;
use hermod::domain::freshness::Interest;
use hermod::domain::guardrail::{HarmEvidence, Measure};
use hermod::domain::hour_activity::HourActivity;
use hermod::domain::name::{ExperimentUid, Slug, VariantIndex};
use hermod::domain::oversight::{Oversight, Signal};
use hermod::domain::policy::Policy;
use hermod::domain::posterior::Prior;
use hermod::domain::recipient::{
    Answer, Basis, Consent, ConsentLevel, Recipient, Response, Suppression, Touch,
};
use hermod::domain::send_plan::PlannedSends;
use hermod::domain::send_time::{
    Chronotype, Chronotypes, Individuality, Level, SegmentWeights, ZoneTally,
};
use hermod::domain::snapshot::ChoiceLevel;
use hermod::domain::timeline::HourCounts;
use hermod::domain::timing::{CampaignLevel, TouchTiming};
use hermod::store::records::{
    self, LastTenant, LastUid, NumberedTenant, RecipientCount, Record, StoreIdentity,
};
use jiff::Timestamp;

mod logged;
mod written;

use written::{cell, experiment, exposure, recipient};

/// 2026-03-01 12:00 UTC.
const AT_MS: i64 = 1_772_366_400_000;

fn at() -> Timestamp {
    Timestamp::from_millisecond(AT_MS).unwrap()
}

fn path(name: &str, version: u8) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let version = match version {
        1 => String::new(),
        later => format!("_v{later}"),
    };
    folder.join(format!("{}{version}.hex", name.replace(' ', "_")))
}

/// The bytes as hexadecimal text, 32 to a line.
fn to_hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| {
        line.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    bytes.chunks(32).map(|chunk| line(chunk) + "\n").collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Re-reads the sample of a kind and compares it with what was written then.
fn check<R: Record + PartialEq + Debug>(written: &R) {
    let path = path(R::NAME, R::VERSION);
    if std::env::var_os("HERMOD_WRITE_SAMPLES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, to_hex(&records::encode(written).unwrap())).unwrap();
    }
    check_version(R::VERSION, written);
}

/// Re-reads the sample of an earlier format and compares it with what it means now.
fn check_version<R: Record + PartialEq + Debug>(version: u8, written: &R) {
    let path = path(R::NAME, version);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read: R = records::decode(&from_hex(&text)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(&read, written, "{}", R::NAME);
}

#[test]
fn the_identity_and_the_last_number_are_read_as_they_were_written() {
    check(&StoreIdentity {
        recipient_key_fingerprint: *b"0123456789abcdef",
        seed: [7; 32],
        created_at_ms: AT_MS,
    });
    check(&LastUid(41));
    check(&PlannedSends(-3));
    check(&NumberedTenant {
        number: 7,
        created_at_ms: AT_MS,
    });
    check(&LastTenant(9));
    check(&RecipientCount(-70_000));
}

#[test]
fn an_experiment_is_read_as_it_was_written() {
    check(&experiment());
    let mut first = experiment();
    first.settings = Settings {
        guardrails: Guardrails::default(),
        probation: Probation::default(),
        utility: Utility::default(),
        open_proxy: false,
        exploration_share: 0.0,
        capacity: None,
        shadow: false,
        ..first.settings
    };
    check_version(1, &first);
}

#[test]
fn a_cell_is_read_as_it_was_written() {
    check(&cell());
}

#[test]
fn a_record_of_drift_is_read_as_it_was_written() {
    let mut drift = Drift::default();
    for day in 0..3 {
        let cell = Cell {
            as_of_ms: AT_MS + day * 86_400_000,
            click: exposure(100.0 * (day + 1) as f64),
            ..Cell::default()
        };
        let id = CellId {
            experiment: ExperimentUid(7),
            variant: VariantIndex(0),
            context: Context::default(),
            lane: Lane::Policy,
            track: Track::NEVER,
        };
        let evidence = Evidence {
            cells: &[(id, cell)].into(),
            variants: 2,
            objective: Objective::Click,
            prior: Prior {
                mean: 0.25,
                weight: 8.0,
            },
            curve: &DelayCurve::instant(),
        };
        drift.judge(
            &evidence,
            Timestamp::from_millisecond(AT_MS + day * 86_400_000).unwrap(),
        );
    }
    check(&drift);
}

#[test]
fn a_recipient_is_read_as_it_was_written() {
    let mut now = recipient();
    now.opens.record(at(), 0.5);
    check(&now);
    check_version(4, &now);
    // Format 3 knew no instants of harm.
    let mut third = now.clone();
    for touch in &mut third.touches {
        touch.harmed_at_ms = None;
    }
    check_version(3, &third);
    // Format 2 knew no instants of conversions.
    let mut second = third.clone();
    for touch in &mut second.touches {
        touch.converted_at_ms = None;
    }
    check_version(2, &second);
    // Format 1 knew no timing, and counted no opens by who did them: those it still remembers are counted on reading.
    let mut first = recipient();
    for touch in &mut first.touches {
        touch.timing = TouchTiming::default();
        touch.converted_at_ms = None;
        touch.harmed_at_ms = None;
        let open = touch.open.unwrap();
        let opened_at = Timestamp::from_millisecond(open.at_ms).unwrap();
        first.opens.record(opened_at, open.weight.get());
    }
    check_version(1, &first);
}

#[test]
fn the_hours_are_read_as_they_were_written() {
    let mut counts = HourCounts {
        decided: 10,
        replied_negative: 1,
        value: 99.5,
        ..HourCounts::default()
    };
    counts.count(EventKind::Clicked, 3);
    check_version(1, &counts);
    counts.confirmed = 9;
    check(&counts);
    let hour = HourActivity {
        as_of_ms: AT_MS,
        observed: 2.5,
        active: 1.0,
        sends: 40.0,
        cut_off: [0.5, 0.8, 1.0],
    };
    check(&hour);
    // Format 1 had the halves of freshness multiplied into what was cut off, and no time constant in between.
    let share = (40_f64.ln() - 10_f64.ln()) / (40_f64.ln() - 2_f64.ln());
    let earlier = HourActivity {
        cut_off: [0.5, 0.5_f64.powf(share), 1.0],
        ..hour
    };
    check_version(1, &earlier);
    check(&Chronotypes {
        fitted_at_ms: AT_MS,
        people: 900,
        kinds: vec![Chronotype {
            weight: 1.0,
            relative: [1.25; 24],
        }],
        kappa: Some(32.0),
        segments: vec![SegmentWeights {
            segment: "director".to_owned(),
            weights: vec![1.0],
        }],
    });
    // Its fields are its own: the excess, then the events.
    let parts = postcard::to_stdvec(&(12.5_f64, 40.0_f64)).unwrap();
    check(&postcard::from_bytes::<Individuality>(&parts).unwrap());
}

#[test]
fn an_alert_and_what_is_remembered_of_alerts_are_read_as_they_were_written() {
    check(&Alert {
        kind: AlertKind::VariantQuarantined,
        experiment: Slug::parse("autumn").ok(),
        variant: Slug::parse("question").ok(),
        text: "was quarantined".to_owned(),
        numbers: vec![("events".to_owned(), 3.0)],
        raised_at: Timestamp::from_millisecond(AT_MS).unwrap(),
    });
    let at = Timestamp::from_millisecond(AT_MS).unwrap();
    let mut oversight = Oversight::default();
    let evidence = HarmEvidence {
        mails: 500.0,
        harm: cell().harm,
        pending: [1.0, 2.0, 3.0, 4.0, 5.0],
    };
    oversight.start_afresh(VariantIndex(1), evidence, at);
    let warning = Condition::warning(VariantIndex(2), Measure::Complaint);
    oversight.note(warning, Signal::Raised);
    check(&oversight);
    // Format 1 took all mails for old ones.
    let mut first = Oversight::default();
    let evidence = HarmEvidence {
        pending: [0.0; 5],
        ..evidence
    };
    first.start_afresh(VariantIndex(1), evidence, at);
    first.note(warning, Signal::Raised);
    check_version(1, &first);
}

#[test]
fn delays_of_answers_are_read_as_they_were_written() {
    let mut arrivals = Arrivals::empty(AT_MS, Some(504.0));
    arrivals.count(Objective::Open, 0.5, 1.0);
    arrivals.count(Objective::Click, 30.0, 0.25);
    check(&arrivals);
}

#[test]
fn a_tally_of_zones_is_read_as_it_was_written() {
    let mut tally = ZoneTally {
        counted_at_ms: AT_MS,
        ..ZoneTally::default()
    };
    for zone in ["Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"] {
        tally.count(zone);
    }
    check(&tally);
}

#[test]
fn the_decision_log_is_read_as_it_was_written() {
    check(&logged::decision());
    check(&logged::outcome());
    check(&logged::table());
    check(&logged::model());
}

#[test]
fn a_tally_of_shadow_mode_is_read_as_it_was_written() {
    check(&logged::tally());
}
