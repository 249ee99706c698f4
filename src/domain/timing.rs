//! What a touch remembers of the moment it was timed: how interest fades, how well its campaign does, and how likely its hour was.
//!
//! Invariant: fixed when the touch is made, so what a touch adds to hours stays a function of the touch alone and can be taken back exactly.
use serde::{Deserialize, Serialize};

use super::freshness::Interest;

/// Steps of a [`CampaignLevel`] up to 1.
const LEVEL_STEPS: f64 = 64.0;
/// The least and greatest level, in steps: a quarter and about four times the tenant's.
const LEVEL_RANGE: (f64, f64) = (16.0, 255.0);

/// How often a campaign is opened over how often the tenant's are, in steps of 1/64 from 1/4 to 4.
///
/// Exposure is multiplied by it, so that a hot campaign does not mark its hour as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignLevel(u8);

/// What a touch remembers of its timing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TouchTiming {
    /// How interest was thought to fade.
    pub interest: Interest,
    /// How well the campaign did.
    pub campaign_level: CampaignLevel,
    /// Probability with which the hour of the send was chosen, exploration included; 0 where none was chosen or it is not known.
    pub propensity: f32,
}

// === impl CampaignLevel ===

impl Default for CampaignLevel {
    /// As well as all.
    fn default() -> Self {
        Self(LEVEL_STEPS as u8)
    }
}

impl CampaignLevel {
    /// The nearest step to a ratio; NaN counts as 1.
    pub fn nearest(ratio: f64) -> Self {
        if ratio.is_nan() {
            return Self::default();
        }
        let (least, most) = LEVEL_RANGE;
        Self((ratio * LEVEL_STEPS).round().clamp(least, most) as u8)
    }

    /// The ratio.
    pub fn get(self) -> f64 {
        f64::from(self.0) / LEVEL_STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_clamped_and_quantised() {
        assert_eq!(CampaignLevel::default().get(), 1.0);
        assert_eq!(CampaignLevel::nearest(f64::NAN).get(), 1.0);
        assert_eq!(CampaignLevel::nearest(0.0).get(), 0.25);
        assert!(CampaignLevel::nearest(99.0).get() < 4.0);
        assert!((CampaignLevel::nearest(1.37).get() - 1.37).abs() <= 0.5 / 64.0);
    }
}
