//! What hermod learns of delays and hours, through the use cases and at a clock of the tests.
use super::*;
use crate::app::{
    EventReport, NewExperiment, PredictRequest, RecipientChange, RecipientView, ReportOutcome,
    Results,
};
use crate::domain::delay::DelayCurve;
use crate::domain::event::{EventKind, HumanWeight};
use crate::domain::experiment::{Objective, Settings, Utility};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::domain::send_time::{Goal, Level};
use crate::lab::campaign::{answered, campaign_settings, decide, report, request_now};

const TENANT: TenantId = TenantId::DEFAULT;
/// Mails of the campaign that teaches, and how many of them are ordered from.
const TAUGHT: u64 = 2_000;
const ORDERS: usize = 500;

fn started(rig: &Rig, name: &str, settings: Settings) -> Slug {
    let id = Slug::parse(name).unwrap();
    let new = NewExperiment {
        tenant: TENANT,
        id: id.clone(),
        display_name: String::new(),
        variants: ["plain", "question"]
            .map(|variant| (Slug::parse(variant).unwrap(), String::new()))
            .to_vec(),
        settings,
        request_id: String::new(),
        validate_only: false,
    };
    ready(rig.app.create_experiment(new)).unwrap().unwrap();
    ready(rig.app.start_experiment(TENANT, &id))
        .unwrap()
        .unwrap();
    id
}

fn settings(objective: Objective) -> Settings {
    Settings {
        policy: Policy::Uniform,
        utility: Utility {
            conversion_value: 10.0,
            ..Utility::default()
        },
        ..campaign_settings(objective, 0)
    }
}

fn order(token: &str, at: Timestamp) -> EventReport {
    let mut order = answered(token.to_owned(), EventKind::Converted, at);
    if let EventReport::Decision { event, .. } = &mut order {
        event.value = 10.0;
    }
    order
}

/// Sends mails now to people of these numbers; answers their decision ids.
fn sent(rig: &Rig, campaign: &Slug, people: std::ops::Range<u64>) -> Vec<String> {
    let now = rig.app.now();
    people
        .map(|person| decide(rig, &request_now(campaign, person, now)).unwrap().1)
        .collect()
}

fn results(rig: &Rig, campaign: &Slug) -> Results {
    rig.app.refresh();
    rig.app.results(TENANT, campaign).unwrap()
}

/// A rig in which a campaign, by now past its window, was ordered from so long after its mails; with the campaign and its tokens.
fn taught(delay_hours: f64) -> (Rig, Slug, Vec<String>) {
    let rig = Rig::new(3).unwrap();
    let first = started(&rig, "first", settings(Objective::Conversion));
    let tokens = sent(&rig, &first, 0..TAUGHT);
    let at = after_hours(rig.app.now(), delay_hours);
    rig.advance_hours(200.0);
    let orders = tokens[..ORDERS].iter().map(|token| order(token, at));
    report(&rig, orders.collect()).unwrap();
    (rig, first, tokens)
}

/// Results of a second campaign: 1,000 mails six hours ago, of which this many were ordered from at once.
fn young(rig: &Rig, objective: Objective, orders: usize) -> Results {
    let second = started(rig, "second", settings(objective));
    let tokens = sent(rig, &second, 10_000..11_000);
    let at = after_hours(rig.app.now(), 0.1);
    rig.advance_hours(6.0);
    let orders = tokens.iter().take(orders).map(|token| order(token, at));
    report(rig, orders.collect()).unwrap();
    results(rig, &second)
}

fn effective(results: &Results) -> f64 {
    results.variants.iter().map(|v| v.effective_trials).sum()
}

#[test]
fn delays_of_conversions_change_the_trials_that_count() {
    let published = 1_000.0
        * DelayCurve::default_conversion()
            .within(168.0)
            .arrived_share(6.0);
    let untaught = effective(&young(&Rig::new(3).unwrap(), Objective::Conversion, 0));
    assert!(
        (untaught / published - 1.0).abs() < 0.02,
        "{untaught} {published}"
    );
    for objective in [Objective::Conversion, Objective::Value] {
        let [soon, late] =
            [0.5, 48.0].map(|hours| effective(&young(&taught(hours).0, objective, 0)));
        // 500 orders against a prior worth 200, by which 29 % are in within six hours.
        assert!(
            soon > 2.0 * published && soon < 1_000.0,
            "{objective:?}: {soon}"
        );
        assert!(
            late < 0.8 * published && late > 0.0,
            "{objective:?}: {late}"
        );
    }
}

#[test]
fn rates_values_and_utilities_rise_with_orders_that_are_thought_to_be_pending() {
    for objective in [Objective::Conversion, Objective::Value, Objective::Utility] {
        let [soon, late] = [0.5, 48.0].map(|hours| {
            let results = young(&taught(hours).0, objective, 50);
            results.variants.iter().map(|v| v.mean).sum::<f64>()
        });
        assert!(late > 1.5 * soon, "{objective:?}: {late} {soon}");
    }
}

#[test]
fn repeated_orders_teach_nothing_and_an_erasure_takes_back_what_was_learned() {
    let (rig, first, tokens) = taught(0.5);
    let learned = results(&rig, &first).delay;
    assert!((learned.delays - ORDERS as f64).abs() < 1e-9, "{learned:?}");
    let now = rig.app.now();
    let again = tokens[..ORDERS].iter().map(|token| Ok(order(token, now)));
    let outcomes = ready(rig.app.report(TENANT, again.collect())).unwrap();
    for outcome in outcomes.unwrap() {
        assert_ne!(outcome.unwrap(), ReportOutcome::Counted);
    }
    rig.advance_hours(0.1);
    let repeated = results(&rig, &first).delay;
    // Old campaigns fade, by a little in six minutes.
    assert!((repeated.delays - learned.delays).abs() < 0.1);
    for hours in [0.5, 6.0, 48.0] {
        // The mails have aged by six minutes.
        let [before, after] = [learned, repeated].map(|of| of.curve.arrived_share(hours));
        assert!((before - after).abs() < 1e-4, "{hours} h: {before} {after}");
    }
    for person in 0..ORDERS {
        let person = person.to_string();
        let erased = ready(rig.app.erase_recipient(TENANT, &person)).unwrap();
        assert!(erased.unwrap().existed);
    }
    rig.advance_hours(0.1);
    let after = results(&rig, &first).delay;
    let published = DelayCurve::default_conversion().within(168.0);
    assert!(after.delays.abs() < 1e-9, "{after:?}");
    for hours in [0.5, 6.0, 48.0] {
        let difference = after.curve.arrived_share(hours) - published.arrived_share(hours);
        assert!(difference.abs() < 1e-6, "{hours} h: {difference}");
    }
}

/// Sends mails to these people at once, of which the first so many are opened: half within four hours, all within 18, whatever the hour.
fn blast(rig: &Rig, campaign: &Slug, people: std::ops::Range<u64>, opened: usize) {
    let tokens = sent(rig, campaign, people);
    let sent_at = rig.app.now();
    let opens = tokens.into_iter().take(opened).enumerate();
    let opens = opens.map(|(nth, token)| {
        let share = 0.95 * (nth as f64 + 0.5) / opened as f64;
        let at = after_hours(sent_at, -6.0 * (1.0 - share).ln());
        answered(token, EventKind::Opened, at)
    });
    report(rig, opens.collect()).unwrap();
}

fn changed(rig: &Rig, person: u64, timing: ConsentLevel) -> RecipientView {
    let change = RecipientChange {
        timing: Some(Some(timing)),
        ..RecipientChange::default()
    };
    let update = ready(
        rig.app
            .update_recipient(TENANT, &person.to_string(), &change),
    );
    update.unwrap().unwrap()
}

/// Everybody's activity at eleven over that at seven in the evening, after one campaign at ten and one at six in the evening: four mails in ten of
/// the one at `hot_hour` are opened, one in ten of the other. How well they do is known before these mails are sent, or not.
fn morning_over_evening(hot_hour: f64, is_known: bool) -> f64 {
    let rig = Rig::new(4).unwrap();
    let (hot, cold) = (
        started(&rig, "hot", settings(Objective::Open)),
        started(&rig, "cold", settings(Objective::Open)),
    );
    let first = rig.app.now();
    let mut campaigns = [
        (hot_hour, &hot, 0.4, 0),
        (28.0 - hot_hour, &cold, 0.1, 50_000),
    ];
    campaigns.sort_by(|one, other| one.0.total_cmp(&other.0));
    let on_day = |day: u64, people: u64, consent: Option<ConsentLevel>| {
        for (hour, campaign, rate, number) in campaigns {
            rig.set(after_hours(first, day as f64 * 24.0 + hour));
            let people = number + day * 4_000..number + day * 4_000 + people;
            if let Some(timing) = consent {
                people.clone().for_each(|person| {
                    changed(&rig, person, timing);
                });
            }
            let opened = (rate * (people.end - people.start) as f64) as usize;
            blast(&rig, campaign, people, opened);
        }
    };
    if is_known {
        // These people let it be learned how well a campaign does, and no hours.
        on_day(0, 3_000, Some(ConsentLevel::None));
    }
    rig.set(after_hours(first, 8.0 * 24.0));
    rig.app.refresh();
    on_day(8, 2_000, None);
    rig.set(after_hours(first, 15.0 * 24.0));
    rig.maintain().unwrap();
    rig.app.refresh();
    let by_hour = changed(&rig, 999_999, ConsentLevel::Individual)
        .portrait
        .by_hour;
    by_hour[11] / by_hour[19]
}

#[test]
fn a_hot_campaign_sent_at_ten_does_not_mark_ten_as_good() {
    let tilt = |is_known| {
        let [at_ten, in_the_evening] =
            [10.0, 18.0].map(|hot_hour| morning_over_evening(hot_hour, is_known));
        (at_ten / in_the_evening).ln()
    };
    let (known, unknown) = (tilt(true), tilt(false));
    assert!(unknown > 1.0, "the world shows nothing: {unknown}");
    // One-sided: by so sharp a contrast the correction overshoots, and the hot hour looks worse than it is.
    assert!(known < 0.1 * unknown, "{known} of {unknown}");
}

/// A person whose twenty mails, each sent at three at night, were opened within a minute, with this probability by the person.
fn night_reader(human: f64) -> Rig {
    let rig = Rig::new(5).unwrap();
    let campaign = started(&rig, "nightly", settings(Objective::Open));
    let first = rig.app.now();
    for night in 0..20 {
        let now = after_hours(first, 24.0 * f64::from(night) + 3.0);
        rig.set(now);
        let mut request = request_now(&campaign, 1, now);
        request.occasion = night.to_string();
        let mut open = answered(
            decide(&rig, &request).unwrap().1,
            EventKind::Opened,
            after_hours(now, 0.01),
        );
        if let EventReport::Decision { event, .. } = &mut open {
            event.weight = HumanWeight::nearest(human);
        }
        rig.advance_hours(0.1);
        report(&rig, vec![open]).unwrap();
    }
    rig.set(after_hours(first, 30.0 * 24.0));
    rig.maintain().unwrap();
    rig.app.refresh();
    rig
}

/// The hour at which the person would be sent a mail within the next day.
fn predicted_hour(rig: &Rig) -> i64 {
    let request = PredictRequest {
        tenant: TENANT,
        recipient_id: "1".to_owned(),
        experiment: None,
        zone: None,
        constraints: Default::default(),
        goal: Goal::OpenProbability,
        full: false,
    };
    let predicted = ready(rig.app.predict_send_time(&request)).unwrap().unwrap();
    let (send_at, _) = predicted.answer.unwrap();
    send_at.as_second().div_euclid(3_600) % 24
}

#[test]
fn who_cannot_be_measured_for_opens_does_not_teach_hours() {
    let view = |rig: &Rig| ready(rig.app.recipient(TENANT, "1")).unwrap().unwrap();
    let person = night_reader(1.0);
    let known = view(&person).portrait;
    assert_eq!(known.level, Level::Recipient);
    assert!(known.effective_observations > 10.0, "{known:?}");
    let proxied = night_reader(0.1);
    let unknown = view(&proxied).portrait;
    // The first three opens count with their weight; from then on it is known that a machine opens the mails.
    assert!(unknown.effective_observations < 0.5, "{unknown:?}");
    assert_ne!(unknown.level, Level::Recipient);
    assert!(known.by_hour[3] > 2.0 * unknown.by_hour[3]);
    let untaught = Rig::new(5).unwrap();
    assert_eq!(predicted_hour(&proxied), predicted_hour(&untaught));
}
