//! `hermod inspect` as an operator runs it: the binary on a store that was filled through the use cases.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use hermod::app::{
    App, Constraints, DecideRequest, EventReport, NewExperiment, RecipientChange, SystemClock,
};
use hermod::domain::civil::Zone;
use hermod::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use hermod::domain::experiment::{
    ExperimentKind, Guardrails, Objective, Probation, SendDefaults, Settings, TrialOn, Utility,
};
use hermod::domain::name::{Slug, TenantId};
use hermod::domain::policy::Policy;
use hermod::ops::compose::{Opened, open_app};
use hermod::ops::config::Config;

const PERSON: &str = "somebody@example.com";

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.store.path = directory.to_owned();
    config.store.cache_bytes = 1 << 20;
    config.store.partitions = 4;
    config.decisions.seed = Some(1);
    config
}

fn new_experiment() -> NewExperiment {
    NewExperiment {
        tenant: TenantId::DEFAULT,
        id: slug("spring-sale"),
        display_name: "Spring sale".to_owned(),
        variants: vec![
            (slug("plain"), "Our sale".to_owned()),
            (slug("question"), "Ready for spring?".to_owned()),
        ],
        settings: Settings {
            policy: Policy::Uniform,
            objective: Objective::Click,
            kind: ExperimentKind::Campaign,
            attribution_window_ms: 72 * 3_600_000,
            trial_on: TrialOn::Decision,
            holdout_share: 0.0,
            floor: 0.02,
            segments: Vec::new(),
            daypart_start_hours: Vec::new(),
            send_defaults: SendDefaults::default(),
            half_life_hours: 504.0,
            planned_sends: 0,
            guardrails: Guardrails::default(),
            probation: Probation::default(),
            utility: Utility::default(),
            open_proxy: false,
            exploration_share: 0.0,
            capacity: None,
            shadow: false,
        },
        request_id: String::new(),
        validate_only: false,
    }
}

fn decide_request(recipient_id: &str, app: &App) -> DecideRequest {
    DecideRequest {
        tenant: TenantId::DEFAULT,
        experiment: slug("spring-sale"),
        recipient_id: recipient_id.to_owned(),
        request_id: String::new(),
        occasion: String::new(),
        segment: None,
        zone: None,
        constraints: Constraints::default(),
        send_at: Some(app.now()),
        eligible: Vec::new(),
        platform: None,
        validate_only: false,
        full: false,
    }
}

/// A store with an experiment, twenty decisions and a click.
async fn fill(directory: &Path) {
    let Opened { app, engine, .. } = open_app(&config(directory), Arc::new(SystemClock))
        .await
        .unwrap();
    app.create_experiment(new_experiment()).await.unwrap();
    app.start_experiment(TenantId::DEFAULT, &slug("spring-sale"))
        .await
        .unwrap();
    let change = RecipientChange {
        zone: Some(Some(Zone::parse("Europe/Berlin").unwrap())),
        segments: Some(vec!["director".to_owned()]),
        ..RecipientChange::default()
    };
    app.update_recipient(TenantId::DEFAULT, PERSON, &change)
        .await
        .unwrap();
    for number in 0..19 {
        app.decide(&decide_request(&format!("r{number}"), &app))
            .await
            .unwrap();
    }
    let decided = app.decide(&decide_request(PERSON, &app)).await.unwrap();
    let event = DecisionEvent {
        kind: EventKind::Clicked,
        at: app.now(),
        weight: HumanWeight::CERTAIN,
        value: 0.0,
        sentiment: Sentiment::Neutral,
        permanent: false,
    };
    let report = EventReport::Decision {
        token: decided.decision_id,
        event,
    };
    app.report(TenantId::DEFAULT, vec![Ok(report)])
        .await
        .unwrap();
    engine.close().await.unwrap();
}

fn inspect(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hermod"))
        .arg("inspect")
        .args(arguments)
        .arg("--data-dir")
        .arg(directory)
        .env_remove("HERMOD_CONFIG")
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Standard output of a call that must succeed.
fn shown(directory: &Path, arguments: &[&str]) -> String {
    let output = inspect(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(PERSON) && !errors.contains(PERSON));
    assert!(!text.contains('\u{1b}'), "no colour without a terminal");
    text
}

fn refused(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = inspect(directory, arguments);
    assert!(output.stdout.is_empty());
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn an_operator_sees_experiments_posteriors_recipients_and_the_stores_health() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path()).await;
    let overview = shown(directory.path(), &[]);
    for part in [
        "spring-sale",
        "running",
        "20 recipients, 0 erased",
        "every record can be read",
    ] {
        assert!(overview.contains(part), "{part}: {overview}");
    }
    let experiment = shown(directory.path(), &["experiment", "spring-sale"]);
    for part in [
        "plain",
        "question",
        "●",
        "█",
        "holdout:",
        "not yet: every live variant needs 100",
    ] {
        assert!(experiment.contains(part), "{part}: {experiment}");
    }
    let recipient = shown(directory.path(), &["recipient", PERSON]);
    for part in [
        "Europe/Berlin",
        "director",
        "clicked",
        "00 01 02",
        "Mon",
        "▒▒",
    ] {
        assert!(recipient.contains(part), "{part}: {recipient}");
    }
    for text in [&overview, &experiment, &recipient] {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}: {text}");
    }
}

#[tokio::test]
async fn machines_get_json_without_the_id() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path()).await;
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&shown(directory.path(), arguments)).unwrap()
    };
    assert_eq!(json(&["--json"])["store"]["recipients"], 20);
    assert_eq!(json(&["experiments", "--json"])[0]["trials"], 20.0);
    assert_eq!(
        json(&["experiment", "spring-sale", "--json"])["variants"][1]["variant"],
        "question"
    );
    let recipient = json(&["recipient", PERSON, "--json"]);
    assert_eq!(recipient["time_zone"], "Europe/Berlin");
    assert_eq!(
        recipient["hours"]["by_week"].as_array().map(Vec::len),
        Some(168)
    );
    assert_eq!(
        json(&["store", "--json"])["unreadable"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused_with_the_next_step_and_without_the_id() {
    let directory = tempfile::tempdir().unwrap();
    let (code, text) = refused(directory.path(), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there is no store in"), "{text}");
    assert!(!directory.path().join("store").exists());
    fill(directory.path()).await;
    let (code, text) = refused(directory.path(), &["experiment", "autumn"]);
    assert!(
        code == Some(1) && text.contains("experiments/autumn does not exist"),
        "{text}"
    );
    let (code, text) = refused(directory.path(), &["recipient", "nobody@example.com"]);
    assert!(
        code == Some(1) && text.contains("nothing is kept") && !text.contains('@'),
        "{text}"
    );
    assert_eq!(refused(directory.path(), &["experiment"]).0, Some(2));
}

#[tokio::test]
async fn a_store_that_a_server_has_open_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let open = open_app(&config(directory.path()), Arc::new(SystemClock))
        .await
        .unwrap();
    let (code, text) = refused(directory.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("in use by another process") && text.contains("GetResults"),
        "{text}"
    );
    open.engine.close().await.unwrap();
}
