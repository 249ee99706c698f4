//! Top-two Thompson sampling (Russo 2016, arXiv 1602.08448), in closed form from the probabilities of being best.
//!
//! The sampled leader is kept with probability beta, else the sampling is repeated until another arm leads. When to stop
//! is left to others.

use super::{PolicyError, normalised};

/// Chances of being best below what the quadrature resolves are treated as equal, so that challengers stay defined
/// when one arm is certain.
const RESOLUTION: f64 = 1e-12;

/// `psi_i = P_i (beta + (1 - beta) sum_{j != i} P_j / (1 - P_j))`.
pub fn probabilities(best: &[f64], beta: f64) -> Vec<f64> {
    if best.len() < 2 {
        return vec![1.0; best.len()];
    }
    let beta = if beta.is_finite() {
        beta.clamp(0.0, 1.0)
    } else {
        0.5
    };
    let chances = normalised(
        best.iter()
            .map(|chance| chance.max(0.0) + RESOLUTION)
            .collect(),
    );
    let sum: f64 = chances.iter().sum();
    let largest = chances
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(arm, _)| arm);
    // 1 - P_j cancels for a near-certain arm only, and there the sum of the others does not.
    let odds: Vec<f64> = chances
        .iter()
        .enumerate()
        .map(|(arm, chance)| {
            chance
                / if Some(arm) == largest {
                    others(&chances, arm)
                } else {
                    sum - chance
                }
        })
        .collect();
    let all: f64 = odds.iter().sum();
    let leader_odds = largest
        .and_then(|arm| odds.get(arm))
        .copied()
        .unwrap_or(0.0);
    let without_leader: f64 = odds
        .iter()
        .enumerate()
        .filter(|(arm, _)| Some(*arm) != largest)
        .map(|(_, o)| o)
        .sum();
    let shares = chances
        .iter()
        .zip(&odds)
        .enumerate()
        .map(|(arm, (chance, own))| {
            // Likewise all - own cancels for the leader only.
            let rivals = if Some(arm) == largest {
                without_leader
            } else {
                (all - own).max(leader_odds)
            };
            chance * (beta + (1.0 - beta) * rivals)
        });
    normalised(shares.collect())
}

fn others(chances: &[f64], arm: usize) -> f64 {
    chances
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != arm)
        .map(|(_, chance)| chance)
        .sum()
}

/// Checks the leader's share.
pub fn validate(beta: f64) -> Result<(), PolicyError> {
    if beta > 0.0 && beta < 1.0 {
        Ok(())
    } else {
        Err(PolicyError::Beta { beta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_matches_the_enumeration_of_leader_and_challenger() {
        let (best, beta) = ([0.6, 0.3, 0.1], 0.4);
        let chosen = probabilities(&best, beta);
        for arm in 0..3 {
            let mut exact = 0.0;
            for leader in 0..3 {
                let kept = if leader == arm { beta } else { 0.0 };
                let challenged = if leader == arm {
                    0.0
                } else {
                    (1.0 - beta) * best[arm] / (1.0 - best[leader])
                };
                exact += best[leader] * (kept + challenged);
            }
            assert!(
                (chosen[arm] - exact).abs() < 1e-10,
                "arm {arm}: {} against {exact}",
                chosen[arm]
            );
        }
    }

    #[test]
    fn two_arms_are_tried_alike_whatever_is_known() {
        // With beta = 1/2 and two arms the leader and the challenger are the two arms.
        for lead in [0.5, 0.9, 1.0 - 1e-9, 1.0] {
            let chosen = probabilities(&[lead, 1.0 - lead], 0.5);
            assert!((chosen[0] - 0.5).abs() < 1e-9, "{lead}: {chosen:?}");
        }
    }

    #[test]
    fn a_certain_leader_keeps_its_share_and_the_others_divide_the_rest() {
        let chosen = probabilities(&[0.0, 1.0, 0.0, 0.0], 0.5);
        for (got, exact) in chosen.iter().zip([1.0 / 6.0, 0.5, 1.0 / 6.0, 1.0 / 6.0]) {
            assert!((got - exact).abs() < 1e-9, "{chosen:?}");
        }
    }

    #[test]
    fn the_leaders_share_must_be_a_share() {
        for beta in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(validate(beta).is_err());
        }
    }
}
