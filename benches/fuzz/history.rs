//! Histories of random calls through the real handlers, and what holds after any of them.
//!
//! Invariant: no call is answered INTERNAL, UNKNOWN or DATA_LOSS; propensities of a ranking sum to one; successes are at most trials and no
//! count is negative; the store's own check finds nothing; and opened anew, the sums of all partitions are what memory held.
use hermod::app::App;
use hermod::domain::name::{Slug, TenantId};
use hermod::grpc::wire;
use prost::Message as _;
use tonic::Code;

use super::messages::Messages;
use super::mutation::Chance;
use super::schema::{Method, Schema};
use super::world::{Called, World};

/// Which calls a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Every method alike, malformed bytes among them.
    All,
    /// Decisions and what becomes of them.
    Events,
}

/// What rounding may make of sums.
const ROUNDING: f64 = 1e-6;
const EXPERIMENTS: [&str; 5] = ["autumn", "winter", "spring", "flow", "shadowed"];

/// A history under way.
pub struct History {
    schema: Schema,
    chance: Chance,
    world: World,
    calls: Calls,
    tokens: Vec<String>,
    /// Calls that were answered, and those that were refused.
    pub answered: u64,
    pub refused: u64,
}

impl History {
    /// One with experiments that run.
    pub async fn new(seed: u64, calls: Calls) -> Self {
        let mut history = Self {
            schema: Schema::own(),
            chance: Chance::new(seed),
            world: World::new().await,
            calls,
            tokens: Vec::new(),
            answered: 0,
            refused: 0,
        };
        for id in EXPERIMENTS {
            history.begin(id).await;
        }
        history
    }

    async fn begin(&mut self, id: &str) {
        let variant = |id: &str| wire::Variant {
            variant_id: id.to_owned(),
            ..Default::default()
        };
        let kind = match id {
            "flow" => wire::ExperimentKind::Flow,
            _ => wire::ExperimentKind::Campaign,
        };
        let create = wire::CreateExperimentRequest {
            experiment_id: id.to_owned(),
            experiment: Some(wire::Experiment {
                variants: ["a", "b", "c"].map(variant).into(),
                kind: kind.into(),
                segments: vec!["new".to_owned(), "loyal".to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let name = format!("experiments/{id}");
        let start = wire::StartExperimentRequest { name };
        for (method, bytes) in [
            ("CreateExperiment", create.encode_to_vec()),
            ("StartExperiment", start.encode_to_vec()),
        ] {
            let path = self.schema.method(method).path;
            let called = self.world.call(&path, &bytes).await;
            assert_eq!(called.status, 0, "{method} {id}: {}", called.reason);
        }
    }

    /// The next call: the method's path and the message.
    pub fn next(&mut self) -> (String, Vec<u8>) {
        let method = self.method();
        let mut messages = Messages {
            schema: &self.schema,
            chance: &mut self.chance,
            tokens: &self.tokens,
            now_s: self.world.app.now().as_second(),
        };
        let mut bytes = messages.message(&method.input);
        if self.calls == Calls::All && self.chance.in_hundred(10) {
            bytes = self.chance.changed(&bytes, &[]);
        }
        (method.path, bytes)
    }

    fn method(&mut self) -> Method {
        let named = match (self.calls, self.chance.below(10)) {
            (Calls::All, _) => return self.chance.of(&self.schema.methods).clone(),
            (Calls::Events, 0..=3) => "Decide",
            (Calls::Events, 4..=7) => "ReportEvents",
            (Calls::Events, 8) => "ReclassifyEvents",
            (Calls::Events, _) => {
                *self
                    .chance
                    .of(&["EraseRecipient", "ChooseVariant", "UpdateRecipient"])
            }
        };
        self.schema.method(named)
    }

    /// Makes the call and looks at the answer.
    pub async fn call(&mut self, path: &str, bytes: &[u8]) {
        let called = self.world.call(path, bytes).await;
        self.judge(path, &called);
        if self.calls == Calls::All && self.chance.in_hundred(3) {
            // Not even framed.
            let torn = self.chance.changed(bytes, &[]);
            let called = self.world.call_framed(path, torn).await;
            self.judge_status(path, &called);
        }
        match self.chance.below(200) {
            0 => self.world.pass(1 + self.chance.below(30) as i64),
            1 => self.world.app.refresh(),
            2 => {
                let report = self.world.app.maintain().await;
                assert!(report.failed.is_empty(), "{report:?}");
            }
            _ => {}
        }
    }

    fn judge_status(&mut self, path: &str, called: &Called) {
        let code = Code::from_i32(called.status);
        let is_defect = match code {
            Code::Internal => called.is_ours,
            code => matches!(code, Code::Unknown | Code::DataLoss),
        };
        assert!(!is_defect, "{path}: {code:?} {}", called.reason);
        match code {
            Code::Ok => self.answered += 1,
            _ => self.refused += 1,
        }
    }

    fn judge(&mut self, path: &str, called: &Called) {
        self.judge_status(path, called);
        if called.status != 0 {
            return;
        }
        if path.ends_with("/Decide") || path.ends_with("/ChooseVariant") {
            let answer = wire::DecideResponse::decode(called.message.as_slice());
            self.keep(answer.expect("our own answer").decision.unwrap_or_default());
        } else if path.ends_with("/BatchDecide") {
            let answer = wire::BatchDecideResponse::decode(called.message.as_slice());
            for result in answer.expect("our own answer").results {
                if let Some(wire::decision_result::Result::Decision(decision)) = result.result {
                    self.keep(decision);
                }
            }
        }
    }

    fn keep(&mut self, decision: wire::Decision) {
        let ranked = &decision.ranked_variants;
        let sum: f64 = ranked.iter().map(|variant| variant.propensity).sum();
        assert!(
            ranked.is_empty() || (sum - 1.0).abs() < 1e-9,
            "propensities sum to {sum}: {ranked:?}"
        );
        assert!(
            (0.0..=1.0).contains(&decision.propensity),
            "propensity {}",
            decision.propensity
        );
        if !decision.decision_id.is_empty() {
            self.tokens.push(decision.decision_id);
        }
        if self.tokens.len() > 400 {
            let at = self.chance.below(self.tokens.len());
            self.tokens.swap_remove(at);
        }
    }

    /// What holds after any history.
    pub async fn finish(&self) {
        // Until a mail has left, its trial is as of the end of its slot and an answer that came before it as of its sending.
        self.world.pass(30 * 24);
        let maintained = self.world.app.maintain().await;
        assert!(maintained.failed.is_empty(), "{maintained:?}");
        self.world.app.refresh();
        assert_eq!(self.world.problems().await, Vec::<String>::new());
        let again = self.world.reopened().await;
        let all = |app: &App| {
            let page = app.list_experiments(&hermod::app::ListRequest {
                tenant: TenantId::DEFAULT,
                after: None,
                state: None,
                size: 1_000,
            });
            let ids: Vec<Slug> = page.experiments.iter().map(|of| of.id.clone()).collect();
            ids
        };
        let ids = all(&self.world.app);
        assert_eq!(ids, all(&again));
        for id in ids {
            let (held, read) = (sums(&self.world.app, &id), sums(&again, &id));
            assert_eq!(held.len(), read.len());
            for (held, read) in held.iter().zip(&read) {
                let [trials, successes] = *held;
                assert!(
                    trials >= -ROUNDING && successes >= -ROUNDING && successes <= trials + ROUNDING,
                    "{id}: {successes} successes of {trials} trials"
                );
                let apart = (trials - read[0]).abs().max((successes - read[1]).abs());
                assert!(
                    apart <= ROUNDING * (1.0 + trials),
                    "{id}: {held:?} and {read:?}"
                );
            }
        }
    }
}

/// Trials and successes of each variant and of the holdout.
fn sums(app: &App, id: &Slug) -> Vec<[f64; 2]> {
    let results = app.results(TenantId::DEFAULT, id).expect("an experiment");
    let variants = results.variants.iter();
    variants
        .map(|variant| [variant.trials, variant.successes])
        .chain([[results.holdout.trials, results.holdout.successes]])
        .collect()
}
