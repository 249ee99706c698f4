//! Predicting when to send: the same rules as a decision, nothing recorded.
use std::sync::Arc;

use crate::app::registry::Live;
use crate::app::zones::Whose;
use crate::app::{App, AppError};
use crate::domain::decide::{is_in_holdout, platform_time};
use crate::domain::name::Slug;
use crate::domain::recipient::{ConsentLevel, DoNotSend};
use crate::domain::send_time::{Exploration, PredictRequest as ModelRequest};

use super::question::{PredictRequest, Predicted};
use super::resolve::window;
use super::{capacity, timing_segments};

impl App {
    /// When to send; records nothing.
    pub async fn predict_send_time(&self, request: &PredictRequest) -> Result<Predicted, AppError> {
        let now = self.now();
        let live = self.experiment_asked_about(request)?;
        let experiment = live.as_ref().map(|live| live.experiment());
        let (mut window, transactional) = window(&request.constraints, experiment.as_deref(), now)?;
        if let (Some(live), Some(experiment)) = (&live, &experiment) {
            capacity::close_full_hours(live, experiment, &mut window);
        }
        let address = self.address(request.tenant, &request.recipient_id);
        let start = self.start_to_predict(address, now).await?;
        let learned = self.tenants.of(request.tenant);
        let model = learned.model.load();
        let allowed = self.allowed(&start.recipient.consent);
        let whose = Whose {
            tenant: request.tenant,
            recipient: &start.recipient,
            allowed,
            model: &model,
            at: now,
        };
        let reckoned = self.reckoned(request.zone.as_ref(), whose);
        window = reckoned.guarded(&window).unwrap_or(window);
        let moved = reckoned.moved(&start.recipient);
        let recipient = moved.as_ref().unwrap_or(&start.recipient);
        let personal = allowed.timing == ConsentLevel::Individual;
        let holdout = experiment.as_deref().is_some_and(|experiment| {
            let draws = self.seed.draws(experiment.uid, address.recipient, 0, 0);
            is_in_holdout(draws, allowed, experiment.settings.holdout_share)
        });
        let question = ModelRequest {
            window: &window,
            zone: &reckoned.zone,
            goal: request.goal,
            jitter: 0,
            segments: timing_segments(allowed, &start.recipient),
            campaign_level: 1.0,
            want_candidates: request.full,
            exploration: Exploration::default(),
        };
        let answer = if transactional {
            Ok((window.earliest_at, None))
        } else if holdout {
            let first = platform_time(&window, &reckoned.zone);
            first.map(|at| (at, None)).ok_or(DoNotSend::NoAllowedTime)
        } else {
            let predicted = model.predict(personal.then_some(&recipient.activity), question);
            predicted
                .map(|prediction| (prediction.send_at, Some(prediction)))
                .map_err(|_| DoNotSend::NoAllowedTime)
        };
        Ok(Predicted {
            answer,
            earliest_at: window.earliest_at,
            zone: reckoned.zone,
            zone_source: reckoned.source,
            transactional,
            holdout,
        })
    }
    fn experiment_asked_about(
        &self,
        request: &PredictRequest,
    ) -> Result<Option<Arc<Live>>, AppError> {
        let named = |id: &Slug| {
            let live = self.registry.by_name(request.tenant, id);
            live.ok_or_else(|| AppError::no_experiment(id.as_str()))
        };
        request.experiment.as_ref().map(named).transpose()
    }
}
