//! Somebody's zone where nobody has said it: the tenant's tally of zones, and what a decision reckons in.
//!
//! Invariant: a person's own record stays in the default zone until the zone is known; what a decision is given is a copy, moved to the zone
//! that it reckons in, so the log can repeat it. A tenant whose known people all have the default zone's time is answered as if nothing were inferred.
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::civil::Zone;
use crate::domain::decide::Allowed;
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient};
use crate::domain::send_time::{SendTimeModel, ZoneGuess, ZoneTally};
use crate::domain::send_window::SendWindow;
use crate::store::records::{self, key};
use crate::store::{Batch, Change};

use super::decisions::ZoneSource;
use super::load::foreign_key;
use super::{App, AppError, HOME, LoadReport};

/// A zone is reckoned in once it is likelier than all others together.
const RECKONED_FROM: f64 = 0.5;
/// Quiet hours hold in every zone that is at least so likely.
const QUIET_FROM: f64 = 0.05;
/// A zone is as good as known from so high a probability on.
const CERTAIN_FROM: f64 = 0.95;

/// The zone that a decision reckons in.
#[derive(Clone, Debug)]
pub(super) struct Reckoned {
    /// The zone.
    pub zone: Zone,
    /// Where it came from.
    pub source: ZoneSource,
    /// The zone that the person's record is kept in.
    pub kept_in: Zone,
    /// Whether the hours of this person's mails, as the record tells them, may count among everybody's.
    pub teaches_everyone: bool,
    /// Whether the zone is known, or as good as known.
    pub is_sure: bool,
    /// Hours that the zone's clocks are ahead of those of the record.
    ahead_hours: i32,
    /// Minutes that the clocks of other likely zones are ahead of the zone's, the likeliest first.
    others_ahead_minutes: Vec<i32>,
}

/// Whose zone is asked for, and when.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub tenant: TenantId,
    pub recipient: &'a Recipient,
    pub allowed: Allowed,
    pub model: &'a SendTimeModel,
    pub at: Timestamp,
}

// === impl Reckoned ===

impl Reckoned {
    fn known(zone: Zone, source: ZoneSource) -> Self {
        Self {
            kept_in: zone.clone(),
            zone,
            source,
            teaches_everyone: true,
            is_sure: true,
            ahead_hours: 0,
            others_ahead_minutes: Vec::new(),
        }
    }

    /// The record with its hours as the zone's clocks tell them; none where they are so already.
    pub fn moved(&self, recipient: &Recipient) -> Option<Recipient> {
        (self.ahead_hours != 0).then(|| {
            let mut moved = recipient.clone();
            moved.activity.rotate(self.ahead_hours);
            moved
        })
    }

    /// The window with the quiet hours of all likely zones; none where nothing is to be added.
    pub fn guarded(&self, window: &SendWindow) -> Option<SendWindow> {
        window.quiet_also(&self.zone, &self.others_ahead_minutes)
    }
}

// === impl App ===

impl App {
    /// The zone to reckon in: the request's, the recipient's, the likeliest by the recipient's hours, or the default.
    pub(super) fn reckoned(&self, of_request: Option<&Zone>, whose: Whose<'_>) -> Reckoned {
        if let Some(zone) = of_request {
            return Reckoned::known(zone.clone(), ZoneSource::Request);
        }
        let stored = whose.recipient.zone.as_deref();
        if let Some(zone) = stored.and_then(|name| Zone::parse(name).ok()) {
            return Reckoned::known(zone, ZoneSource::Recipient);
        }
        let default = &self.settings.default_zone;
        let tally = self.tenants.of(whose.tenant).zones.load();
        if tally.is_small() {
            return Reckoned::known(default.clone(), ZoneSource::Default);
        }
        let guesses = self.guesses(whose);
        let [first, _, ..] = guesses.as_slice() else {
            return Reckoned::known(default.clone(), ZoneSource::Default);
        };
        let own = guesses.iter().find(|guess| guess.ahead_minutes == 0);
        let inferred = (first.probability > RECKONED_FROM).then_some(first).or(own);
        let (zone, ahead_hours, ahead_minutes) = inferred.map_or_else(
            || (default.clone(), 0, 0),
            |guess| (guess.zone.clone(), guess.ahead_hours, guess.ahead_minutes),
        );
        let others = guesses.iter().filter(|guess| {
            guess.probability >= QUIET_FROM && guess.ahead_minutes != ahead_minutes
        });
        let others = others.map(|guess| guess.ahead_minutes - ahead_minutes);
        Reckoned {
            source: if ahead_minutes == 0 {
                ZoneSource::Default
            } else {
                ZoneSource::Inferred
            },
            zone,
            kept_in: default.clone(),
            teaches_everyone: own.is_some_and(|own| own.probability >= CERTAIN_FROM),
            is_sure: first.probability >= CERTAIN_FROM,
            ahead_hours,
            others_ahead_minutes: others.collect(),
        }
    }

    /// The zones that a recipient of unknown zone may live in, the likeliest first.
    pub(super) fn guesses(&self, whose: Whose<'_>) -> Vec<ZoneGuess> {
        let tally = self.tenants.of(whose.tenant).zones.load_full();
        let is_personal = whose.allowed.timing == ConsentLevel::Individual;
        let profile = is_personal.then_some(&whose.recipient.activity);
        let default = &self.settings.default_zone;
        whose.model.guess_zones(&tally, default, profile, whose.at)
    }

    /// Keeps a new tally of a tenant.
    pub(super) async fn keep_zones(
        &self,
        tenant: TenantId,
        mut tally: ZoneTally,
    ) -> Result<(), AppError> {
        tally.limit();
        tally.counted_at_ms = self.now().as_millisecond();
        let put = Change::Put {
            key: key::zone_tally(tenant),
            value: records::encode(&tally)?,
            expected: None,
        };
        let batch = Batch { changes: vec![put] };
        self.engine.commit(HOME, batch).await?;
        self.tenants.of(tenant).zones.store(Arc::new(tally));
        Ok(())
    }

    /// Reads the last tallies back at start.
    pub(super) async fn load_zones(&self, report: &mut LoadReport) -> Result<(), AppError> {
        self.each(HOME, key::ZONE_TALLIES, report, |key, value| {
            let tenant = key::parse::tenant(key).ok_or_else(|| foreign_key(key))?;
            let tally: ZoneTally = records::decode(value)?;
            self.tenants.of(tenant).zones.store(Arc::new(tally));
            Ok(())
        })
        .await
    }
}
