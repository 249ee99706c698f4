//! A campaign in which opens lead to clicks, clicks to orders, and some mails to unsubscriptions and complaints.
//!
//! Invariant: all rules send the same mails at the same instants with the same luck and delays. What is measured is left to the scenarios.
mod player;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_distr::{Distribution, LogNormal, StandardNormal};
use serde::Serialize;

use crate::domain::event::EventKind;
use crate::domain::experiment::Settings;
use crate::lab::LabError;
use crate::lab::streams::{Stream, StreamName};

pub use player::newcomers_beliefs;

use player::Player;

/// What one variant does to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Share of mails opened.
    pub open: f64,
    /// Share of openers who click.
    pub click_of_open: f64,
    /// Share of clickers who order.
    pub order_of_click: f64,
    /// Mean value of an order.
    pub order_mean: f64,
    /// Share of openers who unsubscribe.
    pub unsubscribe_of_open: f64,
    /// Share of openers who complain.
    pub complain_of_open: f64,
}

/// The campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct World {
    /// The variants.
    pub arms: Vec<Arm>,
    /// Mails to send.
    pub recipients: u32,
    /// Time in which all mails leave, evenly, hours.
    pub window_hours: f64,
    /// Time between two looks at the answers, minutes.
    pub look_minutes: f64,
    /// Median of the time until an open, hours; the standard deviation of its logarithm is 2.3.
    pub open_median_hours: f64,
    /// Median of the further time until a click, hours; sigma 1.5.
    pub click_median_hours: f64,
    /// Median of the further time until an order, hours; sigma 1.5.
    pub order_median_hours: f64,
    /// Standard deviation of the logarithm of an order's value.
    pub order_sigma: f64,
    /// Responses later than this do not happen, hours.
    pub attribution_hours: f64,
}

/// The luck of one mail, whatever variant it gets.
#[derive(Clone, Copy)]
struct Mail {
    sent_hours: f64,
    luck: [f64; 5],
    delays_hours: [f64; 3],
    /// Standard normal deviate of the order's logarithm.
    size: f64,
}

/// A response on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Number of the mail.
    pub mail: usize,
    /// What happens.
    pub kind: EventKind,
    /// When, hours from the start.
    pub at_hours: f64,
    /// Value of an order.
    pub value: f64,
}

/// One campaign: the world and the luck of its mails.
pub struct Campaign<'a> {
    world: &'a World,
    mails: Vec<Mail>,
    seed: u64,
}

// === impl Arm ===

impl Arm {
    /// Share of mails clicked.
    pub fn click(&self) -> f64 {
        self.open * self.click_of_open
    }

    /// Value per mail.
    pub fn value(&self) -> f64 {
        self.click() * self.order_of_click * self.order_mean
    }
}

// === impl Campaign ===

impl<'a> Campaign<'a> {
    /// The campaign of this seed.
    ///
    /// # Errors
    /// The world's delays or sizes are impossible.
    pub fn new(world: &'a World, seed: u64) -> Result<Self, LabError> {
        let delay = |median: f64, sigma| {
            LogNormal::new(median.ln(), sigma)
                .map_err(|_| LabError::Defect("a delay has no valid shape"))
        };
        let delays = [
            delay(world.open_median_hours, 2.3)?,
            delay(world.click_median_hours, 1.5)?,
            delay(world.order_median_hours, 1.5)?,
        ];
        let mut stream = Stream::new(StreamName {
            seed,
            world: "funnel",
            purpose: "mails",
        });
        let mut mail = |number: u32| Mail {
            sent_hours: world.window_hours * (f64::from(number) + 0.5)
                / f64::from(world.recipients),
            luck: std::array::from_fn(|_| stream.unit()),
            delays_hours: delays.map(|delay| delay.sample(stream.generator())),
            size: StandardNormal.sample(stream.generator()),
        };
        Ok(Self {
            world,
            mails: (0..world.recipients).map(&mut mail).collect(),
            seed,
        })
    }

    /// What a mail leads to if it carries this variant, within the attribution window.
    fn answers(&self, number: usize, arm: &Arm) -> Vec<Answer> {
        let (Some(mail), sigma) = (self.mails.get(number), self.world.order_sigma) else {
            return Vec::new();
        };
        let [open, click, order, unsubscribe, complain] = mail.luck;
        let [opened, clicked, ordered] = mail.delays_hours;
        let mut answers = Vec::new();
        let mut add = |kind, delay_hours: f64, value| {
            let in_time = delay_hours <= self.world.attribution_hours;
            answers.extend(in_time.then_some(Answer {
                mail: number,
                kind,
                at_hours: mail.sent_hours + delay_hours,
                value,
            }));
        };
        if open >= arm.open {
            return answers;
        }
        add(EventKind::Opened, opened, 0.0);
        if unsubscribe < arm.unsubscribe_of_open {
            add(EventKind::Unsubscribed, opened, 0.0);
        }
        if complain < arm.complain_of_open {
            add(EventKind::Complained, opened, 0.0);
        }
        if click < arm.click_of_open {
            add(EventKind::Clicked, opened + clicked, 0.0);
            if order < arm.order_of_click {
                let value = arm.order_mean * (sigma * mail.size - sigma * sigma / 2.0).exp();
                add(EventKind::Converted, opened + clicked + ordered, value);
            }
        }
        answers
    }

    /// Sends by variant under an experiment's settings.
    ///
    /// # Errors
    /// The settings make no experiment.
    pub fn play(&self, settings: &Settings) -> Result<Vec<u64>, LabError> {
        let mut player = Player::new(self.world.arms.len(), settings, self.seed)?;
        let mut sends = vec![0; self.world.arms.len()];
        let microseconds = |hours: f64| (hours * 3.6e9) as u64;
        let mut coming: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut next_look_hours = 0.0;
        for (number, mail) in self.mails.iter().enumerate() {
            while mail.sent_hours >= next_look_hours {
                let mut arrived = Vec::new();
                while let Some(Reverse((at, of))) = coming.peek().copied() {
                    if at > microseconds(next_look_hours) {
                        break;
                    }
                    coming.pop();
                    arrived.extend(answers.get(of).copied());
                }
                player.look(next_look_hours, &arrived)?;
                next_look_hours += self.world.look_minutes / 60.0;
            }
            let at = player.choose(mail.sent_hours)?;
            let Some(arm) = self.world.arms.get(at) else {
                return Err(LabError::Defect("a variant that the world does not know"));
            };
            sends
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|count| *count += 1);
            for answer in self.answers(number, arm) {
                coming.push(Reverse((microseconds(answer.at_hours), answers.len())));
                answers.push(answer);
            }
        }
        Ok(sends)
    }
}

/// What was lost against always sending the variant that is worth most, in units of `worth` per mail.
pub fn lost(sends: &[u64], worth: &[f64]) -> f64 {
    let best = worth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let losses = sends.iter().zip(worth);
    losses.map(|(n, worth)| *n as f64 * (best - worth)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::experiment::Objective;
    use crate::lab::campaign::campaign_settings;

    #[test]
    fn the_objective_that_is_asked_for_is_what_grows() {
        let arm = |click_of_open, order_mean| Arm {
            open: 0.4,
            click_of_open,
            order_of_click: 0.4,
            order_mean,
            unsubscribe_of_open: 0.0,
            complain_of_open: 0.0,
        };
        let world = World {
            arms: vec![arm(0.3, 10.0), arm(0.2, 40.0)],
            recipients: 6_000,
            window_hours: 96.0,
            look_minutes: 60.0,
            open_median_hours: 1.0,
            click_median_hours: 0.1,
            order_median_hours: 1.0,
            order_sigma: 0.5,
            attribution_hours: 168.0,
        };
        let campaign = Campaign::new(&world, 3).unwrap();
        let sends = |objective| {
            let settings = campaign_settings(objective, 6_000);
            campaign.play(&settings).unwrap()
        };
        let (click, value) = (sends(Objective::Click), sends(Objective::Value));
        assert!(click[0] > 4_500 && value[1] > 4_500, "{click:?} {value:?}");
        assert_eq!(lost(&[10, 20], &[1.0, 3.0]), 20.0);
    }
}
