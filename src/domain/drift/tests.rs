//! Tests of `drift`.
use super::*;
use crate::domain::context::Context;
use crate::domain::half_life::Tracks;
use crate::domain::name::ExperimentUid;

fn day(number: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + number * 24 * HOUR_MS).unwrap()
}

fn id(variant: u16, track: Track) -> CellId {
    CellId {
        experiment: ExperimentUid(1),
        variant: VariantIndex(variant),
        context: Context::default(),
        lane: Lane::Policy,
        track,
    }
}

fn clicks(trials: f64, successes: f64) -> Exposure {
    Exposure {
        trials,
        successes,
        ..Exposure::default()
    }
}

fn judge(
    drift: &mut Drift,
    cells: &BTreeMap<CellId, Cell>,
    variants: usize,
    now: Timestamp,
) -> Vec<ChangePoint> {
    let evidence = Evidence {
        cells,
        variants,
        objective: Objective::Click,
        prior: Prior {
            mean: 0.2,
            weight: 10.0,
        },
        curve: &DelayCurve::instant(),
    };
    drift.judge(&evidence, now)
}

/// Plays days of a flow with one variant; each day adds mails at a rate to every track.
fn play(days: i64, rate: impl Fn(i64) -> f64) -> (Drift, Vec<ChangePoint>) {
    let mut cells: BTreeMap<CellId, Cell> = BTreeMap::new();
    let (mut drift, mut changes) = (Drift::default(), Vec::new());
    for number in 0..days {
        for (track, half_life) in Tracks::flow(504.0).each() {
            let cell = cells
                .entry(id(0, track))
                .or_insert_with(|| Cell::empty(day(number), half_life));
            cell.advance(day(number).as_millisecond());
            cell.click.add(&clicks(2_000.0, 2_000.0 * rate(number)));
        }
        changes.extend(judge(&mut drift, &cells, 1, day(number)));
    }
    (drift, changes)
}

#[test]
fn a_steady_flow_trusts_long_half_lives_and_a_wandering_one_short_ones() {
    let (steady, changes) = play(60, |number| {
        0.2 + 0.009 * f64::from((number % 2) as i32 * 2 - 1)
    });
    assert!(steady.scores().weights()[Track::NEVER.index()] > 0.4);
    assert!(changes.is_empty(), "{changes:?}");
    let (wandering, _) = play(60, |number| 0.2 + 0.08 * (number as f64 / 8.0).sin());
    let weights = wandering.scores().weights();
    assert!(weights[1] > 0.8, "{weights:?}");
}

#[test]
fn a_jump_is_noticed_within_days_and_kept() {
    let (drift, changes) = play(40, |number| if number < 25 { 0.2 } else { 0.25 });
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(drift.changes(), changes);
    assert!(changes[0].noticed_at_ms <= day(28).as_millisecond());
    assert!(changes[0].rate_after > changes[0].rate_before);
}

#[test]
fn judgements_are_a_day_apart_and_survive_being_written() {
    let mut drift = Drift::default();
    assert!(drift.is_due(day(0)));
    judge(&mut drift, &BTreeMap::new(), 2, day(0));
    assert!(!drift.is_due(Timestamp::from_millisecond(day(1).as_millisecond() - 1).unwrap()));
    assert!(drift.is_due(day(1)));
    let (played, _) = play(10, |_| 0.2);
    let bytes = postcard::to_stdvec(&played).unwrap();
    assert_eq!(postcard::from_bytes::<Drift>(&bytes).unwrap(), played);
}

#[test]
fn late_answers_to_mails_of_before_are_no_change() {
    let mut drift = Drift::default();
    let cell = |exposure| {
        let cell = Cell {
            click: exposure,
            ..Cell::empty(day(0), None)
        };
        BTreeMap::from([(id(0, Track::NEVER), cell)])
    };
    for number in 0..20 {
        let sent = 2_000.0 * (number + 1) as f64;
        judge(&mut drift, &cell(clicks(sent, 0.2 * sent)), 1, day(number));
    }
    // No mail was sent, yet answers came in.
    let changes = judge(&mut drift, &cell(clicks(40_000.0, 8_400.0)), 1, day(20));
    assert!(changes.is_empty(), "{changes:?}");
}

fn mixture(configured: f64, never: f64) -> BTreeMap<CellId, Cell> {
    let cell = |trials| Cell {
        click: clicks(trials, trials / 10.0),
        ..Cell::empty(day(0), None)
    };
    let cells = [
        (id(0, Track::CONFIGURED), cell(configured)),
        (id(0, Track::NEVER), cell(never)),
    ];
    mixed(cells.into(), &Scores::default())
}

#[test]
fn evidence_is_the_weighted_sum_of_the_tracks() {
    let weights = Scores::default().weights();
    let cells = mixture(100.0, 1_000.0);
    assert_eq!(cells.len(), 1);
    let cell = cells.get(&id(0, Track::CONFIGURED)).unwrap();
    let expected = weights[0] * 100.0 + weights[Track::NEVER.index()] * 1_000.0;
    assert!((cell.click.trials - expected).abs() < 1e-9);
    assert!((cell.click.successes - expected / 10.0).abs() < 1e-9);
}

#[test]
fn a_store_from_before_there_were_tracks_answers_from_the_configured_one() {
    for never in [0.0, 50.0] {
        let cells = mixture(100.0, never);
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[&id(0, Track::CONFIGURED)].click.trials, 100.0);
    }
}
