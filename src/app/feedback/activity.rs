//! Activity without a mail: it counts once per person and hour, as far as consent to timing goes.

use crate::app::writes::{Effects, TRIES_MAX, or_new};
use crate::app::{App, AppError};
use crate::domain::active_hours::Marked;
use crate::domain::hour_activity::{HourActivity, HourDelta, SETTLED_DAY};
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient};
use crate::domain::send_time::Individuality;

use super::report::{Activity, ReportOutcome};
use super::{Step, not_in_future};

impl App {
    /// Activity without a mail: once per person and hour.
    pub(super) async fn report_activity(
        &self,
        tenant: TenantId,
        activity: &Activity,
    ) -> Result<Step, AppError> {
        let address = self.address(tenant, &activity.recipient_id);
        for _ in 0..TRIES_MAX {
            let now = self.now();
            not_in_future(activity.at, now)?;
            let loaded = self.read_recipient(address).await?;
            let known = loaded.recipient.clone();
            let mut recipient = or_new(known, now);
            let timing = self.allowed(&recipient.consent).timing;
            if timing == ConsentLevel::None
                || recipient.erased_at_ms >= activity.at.as_millisecond()
            {
                return Ok((ReportOutcome::NotAllowed, None));
            }
            self.refuse_beyond_room(tenant, &loaded)?;
            match recipient.active_hours.mark(activity.at) {
                Marked::New => {}
                Marked::Again => return Ok((ReportOutcome::Duplicate, None)),
                Marked::TooOld => return Ok((ReportOutcome::TooLate, None)),
            }
            let effects = self.activity_effects(tenant, &mut recipient, activity, timing);
            recipient.mark_changed(now);
            if let Some(ticket) = self
                .commit(address, &recipient, loaded.version, effects)
                .await?
            {
                return Ok((ReportOutcome::Counted, Some(ticket)));
            }
        }
        Err(AppError::contended())
    }

    fn activity_effects(
        &self,
        tenant: TenantId,
        recipient: &mut Recipient,
        activity: &Activity,
        timing: ConsentLevel,
    ) -> Effects {
        let local = recipient
            .zone_or(&self.settings.default_zone)
            .local_hour(activity.at);
        let weight = activity.weight.get();
        let mut individuality = None;
        if timing == ConsentLevel::Individual {
            let model = self.tenants.of(tenant).model.load_full();
            let mut part = Individuality::default();
            part.observe(
                &recipient.activity.read(activity.at),
                local,
                &model.everyone,
                &model.parameters,
            );
            individuality = (part != Individuality::default()).then_some(part);
            recipient
                .activity
                .record_activity(activity.at, local, weight);
        }
        let part = HourActivity {
            as_of_ms: activity.at.as_millisecond(),
            active: weight,
            ..HourActivity::default()
        };
        Effects {
            hours: vec![HourDelta {
                day: SETTLED_DAY,
                hour: local.hour_of_week(),
                part,
            }],
            individuality,
            ..Effects::default()
        }
    }
}
