//! The life of a variant: added, on probation, live, paused, quarantined, put back, retired.
//!
//! Invariant: moving one variant leaves the others as they are, and nothing brings a retired one back.
use crate::domain::name::VariantIndex;

use super::{Experiment, ExperimentState, LifecycleError, VARIANTS_MAX, Variant, VariantState};

// === impl VariantState ===

impl VariantState {
    /// Whether decisions may choose a variant in this state.
    pub const fn is_eligible(self) -> bool {
        matches!(self, Self::Live | Self::Probation)
    }
}

// === impl Experiment ===

impl Experiment {
    /// Adds a variant at the end; one that joins a started experiment begins on probation.
    pub fn add_variant(&mut self, mut variant: Variant) -> Result<(), LifecycleError> {
        if self.state == ExperimentState::Concluded {
            return Err(self.wrong_state("adding a variant", "DRAFT, RUNNING or PAUSED"));
        }
        if self.variant_index(variant.id.as_str()).is_some() {
            return Err(LifecycleError::VariantExists {
                id: variant.id.to_string(),
            });
        }
        if self.variants.len() >= VARIANTS_MAX {
            return Err(LifecycleError::TooManyVariants);
        }
        if self.started_at.is_some() && self.settings.probation.share_max < 1.0 {
            variant.state = VariantState::Probation;
        }
        self.variants.push(variant);
        Ok(())
    }

    /// Whether variants may be moved.
    pub fn changeable(&self) -> Result<(), LifecycleError> {
        if self.state == ExperimentState::Concluded {
            return Err(self.wrong_state("changing a variant", "DRAFT, RUNNING or PAUSED"));
        }
        Ok(())
    }

    /// Takes a variant to another state; a retired one cannot be moved.
    ///
    /// Put back, one that joined a started experiment is on probation again, which ends with the next check if it has earned it.
    pub fn move_variant(
        &mut self,
        id: &str,
        to: VariantState,
        reason: &str,
    ) -> Result<(), LifecycleError> {
        let index = self.known(id)?;
        let returns_on_probation =
            self.settings.probation.share_max < 1.0 && self.joined_late(index);
        let Some(variant) = self.variants.get_mut(usize::from(index.0)) else {
            return Err(LifecycleError::UnknownVariant { id: id.to_owned() });
        };
        if variant.state == VariantState::Retired && to != VariantState::Retired {
            return Err(LifecycleError::WrongVariantState {
                state: variant.state,
                step: "moving it",
                needed: "any state but RETIRED; add a new variant",
            });
        }
        if to == VariantState::Quarantined {
            variant.quarantine_reason = reason.to_owned();
        }
        variant.state = match (variant.state, to) {
            (state, VariantState::Live) if state.is_eligible() => state,
            (_, VariantState::Live) if returns_on_probation => VariantState::Probation,
            (_, to) => to,
        };
        Ok(())
    }

    /// Ends the probation of a variant, if it is on probation still; answers whether it was.
    pub fn end_probation(&mut self, index: VariantIndex) -> bool {
        let variant = self.variants.get_mut(usize::from(index.0));
        match variant.filter(|variant| variant.state == VariantState::Probation) {
            Some(variant) => {
                variant.state = VariantState::Live;
                true
            }
            None => false,
        }
    }

    /// Stops a variant because it does harm, if it may be chosen still; answers whether it could.
    pub fn quarantine(&mut self, index: VariantIndex, reason: &str) -> bool {
        let variant = self.variants.get_mut(usize::from(index.0));
        match variant.filter(|variant| variant.state.is_eligible()) {
            Some(variant) => {
                variant.state = VariantState::Quarantined;
                variant.quarantine_reason = reason.to_owned();
                true
            }
            None => false,
        }
    }

    fn joined_late(&self, index: VariantIndex) -> bool {
        let created_at = self.variant(index).map(|variant| variant.created_at);
        matches!((created_at, self.started_at), (Some(created_at), Some(started_at)) if created_at > started_at)
    }
}

#[cfg(test)]
mod tests;
