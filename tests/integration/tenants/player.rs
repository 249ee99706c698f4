//! One tenant's traffic of all kinds, the same each time, with all that it is answered.
use hermod::app::{
    Activity, AlertsRequest, App, Constraints, DecideRequest, Decided, EventReport, EventResult,
    NewExperiment, PlanRequest, PlanSubject, PredictRequest, RecipientChange,
};
use hermod::domain::alert::Severity;
use hermod::domain::civil::Zone;
use hermod::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use hermod::domain::experiment::{
    ExperimentKind, Guardrails, Objective, Probation, SendDefaults, Settings, TrialOn, Utility,
};
use hermod::domain::name::{Slug, TenantId};
use hermod::domain::policy::Policy;
use hermod::domain::send_time::Goal;
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub struct Player {
    pub tenant: TenantId,
    pub experiments: Vec<Slug>,
    pub answers: Vec<String>,
    random: ChaCha8Rng,
    tokens: Vec<(String, Timestamp)>,
}

pub fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub fn settings(kind: ExperimentKind) -> Settings {
    Settings {
        policy: Policy::default(),
        objective: Objective::Click,
        kind,
        attribution_window_ms: 72 * 3_600_000,
        trial_on: TrialOn::Decision,
        holdout_share: 0.1,
        floor: 0.02,
        segments: vec![slug("new"), slug("loyal")],
        daypart_start_hours: vec![6, 12, 18],
        send_defaults: SendDefaults::default(),
        half_life_hours: 504.0,
        planned_sends: 5_000,
        guardrails: Guardrails::default(),
        probation: Probation::default(),
        utility: Utility::default(),
        open_proxy: true,
        exploration_share: 0.2,
        capacity: None,
        shadow: false,
    }
}

impl Player {
    pub fn new(tenant: TenantId, seed: u64) -> Self {
        Self {
            tenant,
            experiments: Vec::new(),
            answers: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            tokens: Vec::new(),
        }
    }

    /// Starts so many experiments, named alike by every tenant.
    pub async fn begin(&mut self, app: &App, count: usize) {
        for number in 0..count {
            let id = slug(&format!("mail-{number}"));
            let kind = match number % 2 {
                0 => ExperimentKind::Campaign,
                _ => ExperimentKind::Flow,
            };
            let new = NewExperiment {
                tenant: self.tenant,
                id: id.clone(),
                display_name: String::new(),
                variants: ["a", "b", "c"].map(|v| (slug(v), String::new())).to_vec(),
                settings: settings(kind),
                request_id: String::new(),
                validate_only: false,
            };
            app.create_experiment(new).await.unwrap();
            app.start_experiment(self.tenant, &id).await.unwrap();
            self.experiments.push(id);
        }
    }

    fn person(&mut self) -> String {
        format!("person-{}", self.random.random_range(0..60_u32))
    }

    fn note(&mut self, answer: impl std::fmt::Debug) {
        self.answers.push(format!("{answer:?}"));
    }

    /// A decision about one mail that leaves now, or within a day.
    pub async fn decide(&self, app: &App, person: &str, now: bool) -> Decided {
        let request = DecideRequest {
            tenant: self.tenant,
            experiment: self.experiments[0].clone(),
            recipient_id: person.to_owned(),
            request_id: String::new(),
            occasion: String::new(),
            segment: None,
            zone: None,
            constraints: Constraints::default(),
            send_at: now.then(|| app.now()),
            eligible: Vec::new(),
            platform: None,
            validate_only: false,
            full: false,
        };
        app.decide(&request).await.unwrap()
    }

    /// Reports one event as of now.
    pub async fn event(&self, app: &App, token: &str, kind: EventKind) -> EventResult {
        let event = DecisionEvent {
            kind,
            at: app.now(),
            weight: HumanWeight::CERTAIN,
            value: 0.0,
            sentiment: Sentiment::Neutral,
            permanent: false,
        };
        let token = token.to_owned();
        self.one(app, EventReport::Decision { token, event }).await
    }

    /// Reports activity as of now.
    pub async fn activity(&self, app: &App, person: &str) -> EventResult {
        let activity = Activity {
            recipient_id: person.to_owned(),
            at: app.now(),
            weight: HumanWeight::CERTAIN,
        };
        self.one(app, EventReport::Active(activity)).await
    }

    async fn one(&self, app: &App, report: EventReport) -> EventResult {
        let results = app.report(self.tenant, vec![Ok(report)]).await.unwrap();
        results.into_iter().next().unwrap()
    }

    /// Decides about so many mails, and reports what became of those and of earlier ones.
    pub async fn play(&mut self, app: &App, mails: usize) {
        for _ in 0..mails {
            let at = self.random.random_range(0..self.experiments.len());
            let request = DecideRequest {
                tenant: self.tenant,
                experiment: self.experiments[at].clone(),
                recipient_id: self.person(),
                request_id: self.random.random_range(0..40_u32).to_string(),
                occasion: self.random.random_range(0..400_u32).to_string(),
                segment: self.random.random_bool(0.4).then(|| slug("loyal")),
                zone: Some(Zone::parse("Europe/Berlin").unwrap()),
                constraints: Constraints::default(),
                send_at: self.random.random_bool(0.5).then_some(app.now()),
                eligible: Vec::new(),
                platform: None,
                validate_only: false,
                full: self.random.random_bool(0.1),
            };
            match app.decide(&request).await {
                Ok(decided) => {
                    self.note((&decided.decision_id, &decided.answer, decided.version));
                    if let Ok(answer) = &decided.answer {
                        self.tokens.push((decided.decision_id, answer.send_at));
                    }
                }
                Err(error) => self.note(error),
            }
        }
        self.report(app).await;
        let person = self.person();
        let change = RecipientChange {
            segments: Some(vec!["loyal".to_owned()]),
            ..RecipientChange::default()
        };
        if mails > 0 {
            let changed = app.update_recipient(self.tenant, &person, &change).await;
            self.note(changed);
        }
    }

    async fn report(&mut self, app: &App) {
        let now = app.now();
        let (sent, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tokens)
            .into_iter()
            .partition(|(_, send_at)| *send_at <= now);
        self.tokens = later;
        let mut reports = Vec::new();
        for (token, send_at) in sent {
            let kind = match self.random.random_range(0..100) {
                0..25 => EventKind::Opened,
                25..45 => EventKind::Clicked,
                45..48 => EventKind::Complained,
                48..52 => EventKind::Converted,
                _ => continue,
            };
            let within = (now.as_second() - send_at.as_second()).max(0) as f64;
            let delay = within * self.random.random::<f64>().powi(3);
            let at = send_at.checked_add(SignedDuration::from_secs(delay as i64));
            let event = DecisionEvent {
                kind,
                at: at.unwrap(),
                weight: HumanWeight::nearest(0.75),
                value: 3.5,
                sentiment: Sentiment::Neutral,
                permanent: false,
            };
            reports.push(Ok(EventReport::Decision { token, event }));
        }
        for _ in 0..reports.len() {
            let activity = Activity {
                recipient_id: self.person(),
                at: now,
                weight: HumanWeight::CERTAIN,
            };
            reports.push(Ok(EventReport::Active(activity)));
        }
        let results = app.report(self.tenant, reports).await;
        self.note(results);
    }

    /// Asks when to send, with all hours and scores.
    pub async fn predict(&mut self, app: &App, person: &str) {
        let request = PredictRequest {
            tenant: self.tenant,
            recipient_id: person.to_owned(),
            experiment: None,
            zone: None,
            constraints: Constraints::default(),
            goal: Goal::OpenProbability,
            full: true,
        };
        let predicted = app.predict_send_time(&request).await;
        self.note(predicted);
    }

    /// Plans a blast of the first experiment.
    pub fn plan(&mut self, app: &App) {
        let day = SignedDuration::from_hours(24);
        let plan = PlanRequest {
            tenant: self.tenant,
            subject: PlanSubject::Experiment(self.experiments[0].clone()),
            audience: Some(1_000),
            earliest_at: None,
            deadline_at: app.now().checked_add(day).unwrap(),
            sends_per_hour: None,
        };
        self.note(app.plan_blast(&plan));
    }

    /// Reads everything there is to read.
    pub async fn look(&mut self, app: &App) {
        let tenant = self.tenant;
        for id in self.experiments.clone() {
            self.note(app.results(tenant, &id));
            self.note(app.model_card(tenant, &id).map(|card| card.markdown()));
            let mut logged = Vec::new();
            let unreadable = app.each_logged(tenant, &id, |joined| {
                logged.push(format!("{:?}", (joined.decision, joined.outcome)));
            });
            let unreadable = unreadable.await;
            self.note((unreadable, logged));
        }
        self.note(app.statistics(tenant));
        let request = AlertsRequest {
            tenant,
            before: None,
            experiment: None,
            severity_min: Severity::Notice,
            since: None,
            size: 1_000,
        };
        self.note(app.alerts(&request));
        for person in ["person-1", "person-2", "never-seen"] {
            self.note(app.recipient(tenant, person).await);
            self.predict(app, person).await;
        }
    }
}
