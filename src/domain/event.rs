//! What can happen to a mail or a person, and which kinds of it count.
//!
//! Weights are quantised to 1/256 so that sums of them are exact and can be taken back exactly.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened. The discriminant is the bit that marks the kind as counted in a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EventKind {
    /// The mail left.
    Sent = 0,
    /// The receiving server took it.
    Delivered = 1,
    /// The receiving server refused it.
    Bounced = 2,
    /// It was opened.
    Opened = 3,
    /// A link in it was clicked.
    Clicked = 4,
    /// What the mail was for came about.
    Converted = 5,
    /// The recipient unsubscribed.
    Unsubscribed = 6,
    /// The recipient called it spam.
    Complained = 7,
    /// The recipient answered it.
    Replied = 8,
}

impl EventKind {
    /// All kinds that belong to a decision, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::Sent,
        Self::Delivered,
        Self::Bounced,
        Self::Opened,
        Self::Clicked,
        Self::Converted,
        Self::Unsubscribed,
        Self::Complained,
        Self::Replied,
    ];

    /// The bit that marks this kind as counted.
    pub fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// The bit that marks this kind as reported after the attribution window: charted, not counted.
    pub fn late_bit(self) -> u32 {
        self.bit() << 16
    }

    /// The kind's word, as the interface has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::Converted => "converted",
            Self::Unsubscribed => "unsubscribed",
            Self::Complained => "complained",
            Self::Replied => "replied",
        }
    }
}

/// The probability that a person did something, in steps of 1/256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HumanWeight(u16);

impl HumanWeight {
    /// Certainly a person.
    pub const CERTAIN: Self = Self(256);
    /// Certainly a machine.
    pub const NONE: Self = Self(0);

    /// The nearest step to a probability; anything outside 0 to 1 is taken to the nearer end, NaN to 0.
    pub fn nearest(probability: f64) -> Self {
        Self((probability.clamp(0.0, 1.0) * 256.0).round() as u16)
    }

    /// The probability.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 256.0
    }
}

/// Mood of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sentiment {
    /// Not said, or neither.
    #[default]
    Neutral,
    /// Pleased.
    Positive,
    /// Annoyed.
    Negative,
}

/// An event that belongs to a decision, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionEvent {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// How likely a person did it; used for opens and clicks.
    pub weight: HumanWeight,
    /// Amount of a conversion, at least 0.
    pub value: f64,
    /// Mood of a reply.
    pub sentiment: Sentiment,
    /// Whether a bounce is for good.
    pub permanent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_weights_are_clamped_and_quantised() {
        assert_eq!(HumanWeight::nearest(f64::NAN), HumanWeight::NONE);
        assert_eq!(HumanWeight::nearest(7.0), HumanWeight::CERTAIN);
        assert_eq!(HumanWeight::nearest(-1.0), HumanWeight::NONE);
        assert_eq!(HumanWeight::nearest(0.5).get(), 0.5);
        assert!((HumanWeight::nearest(0.3).get() - 0.3).abs() <= 0.5 / 256.0);
    }

    #[test]
    fn every_kind_has_its_own_bit_and_word() {
        let bits: u32 = EventKind::ALL
            .iter()
            .flat_map(|kind| [kind.bit(), kind.late_bit()])
            .fold(0, |all, bit| all | bit);
        assert_eq!(bits.count_ones() as usize, 2 * EventKind::ALL.len());
    }
}
