//! Where variants stand: what an objective makes of their cells, for deciding and for reporting.
//!
//! Invariant: one standing per cell, in their order, all of the objective's family. Which cells, and what follows, is left to others.
use crate::domain::beliefs::{Belief, Beliefs};
use crate::domain::cell::Cell;
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::posterior::{
    CellCounts, Follower, OrderSums, Outcome, Posterior, Prior, Stage, ValueBelief, campaign_prior,
    harm_prior, posterior, proxy_priors, reporting_prior, utility_posterior, value_belief,
    value_posterior,
};
use crate::domain::shape::BetaShape;

/// Unsubscriptions per mail that are common.
const PUBLISHED_UNSUBSCRIBE_RATE: f64 = 0.002;

/// Complaints per mail that are common.
const PUBLISHED_COMPLAINT_RATE: f64 = 0.0003;

/// Effective orders that the pooled value per mail is worth, in decisions and reports alike: a stronger prior hides real differences, and
/// intervals no longer cover.
const VALUE_WEIGHT_ORDERS: f64 = 2.0;

/// What standings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Deciding from the tenant's level.
    Deciding,
    /// Deciding from the campaign's own level.
    Campaign,
    /// Reporting: shrunk towards the campaign's level, so that a winner's lead is not overstated.
    Reporting,
}

/// On what terms variants are judged.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The objective and what it needs.
    pub settings: &'a Settings,
    /// What is believed before the data.
    pub beliefs: &'a Beliefs,
    /// What the standings are for.
    pub purpose: Purpose,
}

/// Where a variant stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// What one of its mails brings.
    pub posterior: Posterior,
    /// Effective trials and successes of the responses that the objective counts.
    pub counts: CellCounts,
}

/// What was observed per mail, with no prior at all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed {
    /// Trials corrected for answers still to come.
    pub trials: f64,
    /// Mean per mail: a rate, a value, or a utility.
    pub mean: f64,
    /// Variance of one mail; over `trials` that of the mean.
    pub variance: f64,
}

// === impl Terms ===

impl Terms<'_> {
    /// What is believed of the responses that the objective counts.
    pub fn belief(&self) -> &Belief {
        self.beliefs.of(self.settings.objective)
    }

    /// Where the variants stand whose cells these are.
    pub fn standings(&self, cells: &[Cell]) -> Vec<Standing> {
        let counts = self.counts(self.settings.objective, cells);
        let posteriors: Vec<Posterior> = match self.settings.objective {
            Objective::Value => self.values(cells),
            Objective::Utility => self.utilities(cells),
            Objective::Click | Objective::Open | Objective::Conversion => {
                let rates = self.rates(self.settings.objective, cells);
                rates.into_iter().map(Posterior::Rate).collect()
            }
        };
        let standing = |(posterior, counts)| Standing { posterior, counts };
        posteriors.into_iter().zip(counts).map(standing).collect()
    }

    /// The priors of the rates that the objective counts, one per variant.
    pub fn rate_priors(&self, cells: &[Cell]) -> Vec<Prior> {
        self.priors(self.settings.objective, cells)
    }

    fn counts(&self, response: Objective, cells: &[Cell]) -> Vec<CellCounts> {
        let curve = &self.beliefs.of(response).curve;
        let count = |cell: &Cell| CellCounts::of(cell.objective(response), curve);
        cells.iter().map(count).collect()
    }

    fn priors(&self, response: Objective, cells: &[Cell]) -> Vec<Prior> {
        let prior = self.beliefs.of(response).prior;
        let counts = self.counts(response, cells);
        let common = match self.purpose {
            Purpose::Deciding => prior,
            Purpose::Campaign => campaign_prior(prior.mean, &counts),
            Purpose::Reporting => reporting_prior(prior.mean, &counts),
        };
        let proxied = self.lead(response).and_then(|lead| {
            let leads = self.counts(lead, cells);
            let rates = self.rates(lead, cells);
            let follower = |((lead, lead_counts), counts)| Follower {
                lead,
                lead_counts,
                counts,
            };
            let followers = rates.into_iter().zip(leads).zip(counts).map(follower);
            proxy_priors(&followers.collect::<Vec<_>>())
        });
        proxied.unwrap_or_else(|| vec![common; cells.len()])
    }

    /// The earlier response that informs this one, where that is wanted.
    fn lead(&self, response: Objective) -> Option<Objective> {
        match response {
            _ if !self.settings.open_proxy || self.purpose == Purpose::Reporting => None,
            Objective::Click => Some(Objective::Open),
            Objective::Conversion => Some(Objective::Click),
            Objective::Open | Objective::Value | Objective::Utility => None,
        }
    }

    fn rates(&self, response: Objective, cells: &[Cell]) -> Vec<BetaShape> {
        let curve = &self.beliefs.of(response).curve;
        let priors = self.priors(response, cells);
        let rate =
            |(prior, cell): (Prior, &Cell)| posterior(prior, cell.objective(response), curve);
        priors.into_iter().zip(cells).map(rate).collect()
    }

    fn values(&self, cells: &[Cell]) -> Vec<Posterior> {
        let curve = &self.beliefs.conversion.curve;
        let sums: Vec<OrderSums> = cells.iter().map(|cell| orders(cell, curve)).collect();
        let belief = self.value_belief(&sums);
        let value = |sums: &OrderSums| Posterior::Value(value_posterior(&belief, sums));
        sums.iter().map(value).collect()
    }

    fn value_belief(&self, sums: &[OrderSums]) -> ValueBelief {
        let prior = self.beliefs.conversion.prior;
        let (trials, successes) = sums.iter().fold(
            (prior.weight, prior.mean * prior.weight),
            |(trials, successes), sums| {
                (
                    trials + sums.counts.trials,
                    successes + sums.counts.successes,
                )
            },
        );
        value_belief(sums, successes / trials, VALUE_WEIGHT_ORDERS)
    }

    fn utilities(&self, cells: &[Cell]) -> Vec<Posterior> {
        let worth = self.settings.utility;
        let benefits = [
            (worth.open_value, Objective::Open),
            (worth.click_value, Objective::Click),
            (worth.conversion_value, Objective::Conversion),
        ];
        let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); cells.len()];
        let mut add = |worth: f64, rates: Vec<BetaShape>| {
            for (outcomes, rate) in outcomes.iter_mut().zip(rates) {
                outcomes.push(Outcome { worth, rate });
            }
        };
        for (worth, response) in benefits.into_iter().filter(|(worth, _)| *worth > 0.0) {
            add(worth, self.rates(response, cells));
        }
        let costs = [
            (worth.unsubscribe_cost, Harm::Unsubscribe),
            (worth.complaint_cost, Harm::Complaint),
        ];
        for (cost, harm) in costs.into_iter().filter(|(cost, _)| *cost > 0.0) {
            add(-cost, self.harm_rates(harm, cells));
        }
        let click = &self.beliefs.click;
        let utility = |(outcomes, cell): (Vec<Outcome>, &Cell)| {
            let trials = cell.click.effective_trials(&click.curve) + click.prior.weight;
            utility_posterior(&outcomes, trials).map_or_else(
                // Nothing is worth anything: all variants are alike.
                || Posterior::Rate(BetaShape::clamped(1.0, 1.0)),
                Posterior::Utility,
            )
        };
        outcomes.into_iter().zip(cells).map(utility).collect()
    }

    /// Harm follows a look at the mail like a click, hence the same curve.
    fn harm_rates(&self, harm: Harm, cells: &[Cell]) -> Vec<BetaShape> {
        let curve = &self.beliefs.click.curve;
        let exposures: Vec<Exposure> = cells.iter().map(|cell| harm.exposure(cell)).collect();
        let mut stage = Stage {
            published_rate: harm.published_rate(),
            pooled: CellCounts::default(),
        };
        for counts in exposures.iter().map(|of| CellCounts::of(of, curve)) {
            stage.pooled.trials += counts.trials;
            stage.pooled.successes += counts.successes;
        }
        let prior = harm_prior(&stage);
        let rate = |exposure: &Exposure| posterior(prior, exposure, curve);
        exposures.iter().map(rate).collect()
    }

    /// What was observed in some cells added up, with no prior: for comparing lanes.
    ///
    /// The variance of one mail is `p (1 - p)` of a rate, `V2 / n - mean^2` of a value, and of a utility `sum_i w_i^2 p_i (1 - p_i)` plus the covariances
    /// of nested outcomes of one sign, `w_i w_j p (1 - q)` for p <= q.
    pub fn observed(&self, cell: &Cell) -> Observed {
        match self.settings.objective {
            Objective::Value => self.observed_value(cell),
            Objective::Utility => self.observed_utility(cell),
            response => {
                let curve = &self.beliefs.of(response).curve;
                let counts = CellCounts::of(cell.objective(response), curve);
                let mean = share(counts);
                Observed {
                    trials: counts.trials,
                    mean,
                    variance: mean * (1.0 - mean),
                }
            }
        }
    }

    fn observed_value(&self, cell: &Cell) -> Observed {
        let sums = orders(cell, &self.beliefs.conversion.curve);
        let trials = sums.counts.trials;
        if trials <= 0.0 {
            return Observed::default();
        }
        let mean = sums.value / trials;
        Observed {
            trials,
            mean,
            variance: (sums.value_square / trials - mean * mean).max(0.0),
        }
    }

    fn observed_utility(&self, cell: &Cell) -> Observed {
        let worth = self.settings.utility;
        let (open, click, conversion) = (
            &self.beliefs.open,
            &self.beliefs.click,
            &self.beliefs.conversion,
        );
        let harm = |harm: Harm| share(CellCounts::of(&harm.exposure(cell), &click.curve));
        let rate =
            |exposure: &Exposure, belief: &Belief| share(CellCounts::of(exposure, &belief.curve));
        let parts = [
            (worth.open_value, rate(&cell.open, open)),
            (worth.click_value, rate(&cell.click, click)),
            (worth.conversion_value, rate(&cell.conversion, conversion)),
            (-worth.unsubscribe_cost, harm(Harm::Unsubscribe)),
            (-worth.complaint_cost, harm(Harm::Complaint)),
        ];
        let mut variance = 0.0;
        for (at, (one, p)) in parts.iter().enumerate() {
            variance += one * one * p * (1.0 - p);
            for (other, q) in parts.iter().skip(at + 1) {
                let covariance = p.min(*q) * (1.0 - p.max(*q));
                variance += 2.0 * (one * other).max(0.0) * covariance;
            }
        }
        Observed {
            trials: CellCounts::of(&cell.click, &click.curve).trials,
            mean: parts.iter().map(|(worth, rate)| worth * rate).sum(),
            variance,
        }
    }
}

/// What speaks against a mail, as far as utilities know it.
#[derive(Clone, Copy)]
enum Harm {
    Unsubscribe,
    Complaint,
}

// === impl Harm ===

impl Harm {
    fn published_rate(self) -> f64 {
        match self {
            Self::Unsubscribe => PUBLISHED_UNSUBSCRIBE_RATE,
            Self::Complaint => PUBLISHED_COMPLAINT_RATE,
        }
    }

    fn exposure(self, cell: &Cell) -> Exposure {
        Exposure {
            successes: match self {
                Self::Unsubscribe => cell.harm.unsubscribed,
                Self::Complaint => cell.harm.complained,
            },
            ..cell.click.clone()
        }
    }
}

fn orders(cell: &Cell, curve: &DelayCurve) -> OrderSums {
    OrderSums {
        counts: CellCounts::of(&cell.conversion, curve),
        value: cell.value_sum.max(0.0),
        value_square: cell.value_square_sum.max(0.0),
    }
}

fn share(counts: CellCounts) -> f64 {
    if counts.trials > 0.0 {
        (counts.successes / counts.trials).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
