//! How likely a person opened or clicked, from what the caller knows of the event: a table of rules, the first that fits wins.
//!
//! The table is documented in docs/events.md with its sources; it knows nothing of the recipient.
use jiff::SignedDuration;

use crate::domain::event::{EventKind, HumanWeight};

/// Kind of network that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NetworkKind {
    /// Not said.
    #[default]
    Unknown,
    /// A home or mobile network.
    Residential,
    /// A company's network.
    Corporate,
    /// A mail provider's proxy that fetches images when the person opens.
    ImageProxy,
    /// A proxy that fetches whether or not the person opens.
    PrivacyProxy,
    /// A data centre.
    Hosting,
}

/// What is known of an open or click.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The user agent as reported; empty when unknown.
    pub user_agent: String,
    /// Kind of network.
    pub network: NetworkKind,
    /// The provider's own verdict, if it gives one.
    pub provider_machine_flag: Option<bool>,
    /// Time from delivery to the event, if known.
    pub since_delivery: Option<SignedDuration>,
    /// Distinct links clicked within ten seconds; 0 when unknown.
    pub links_within_10_seconds: u32,
}

/// Words in a user agent that only machines use.
const MACHINE_WORDS: [&str; 12] = [
    "bot",
    "crawler",
    "spider",
    "scanner",
    "curl/",
    "python",
    "headless",
    "barracuda",
    "mimecast",
    "proofpoint",
    "safelinks",
    "preview",
];

/// One row of the table: its name, when it fits, and the probability it gives.
struct Rule {
    name: &'static str,
    fits: fn(EventKind, &Evidence) -> bool,
    probability: f64,
}

/// The rules in order of precedence.
const RULES: [Rule; 9] = [
    Rule {
        name: "provider says machine",
        fits: |_, e| e.provider_machine_flag == Some(true),
        probability: 0.02,
    },
    Rule {
        name: "machine user agent",
        fits: |_, e| has_machine_word(&e.user_agent),
        probability: 0.02,
    },
    Rule {
        name: "many links within seconds",
        fits: |k, e| k == EventKind::Clicked && e.links_within_10_seconds >= 3,
        probability: 0.05,
    },
    Rule {
        name: "within two seconds of delivery",
        fits: |_, e| sooner_than(e, 2),
        probability: 0.05,
    },
    Rule {
        name: "privacy proxy",
        fits: |k, e| k == EventKind::Opened && is_privacy_proxy(e),
        probability: 0.15,
    },
    Rule {
        name: "data centre",
        fits: |_, e| e.network == NetworkKind::Hosting,
        probability: 0.2,
    },
    Rule {
        name: "two links within seconds",
        fits: |k, e| k == EventKind::Clicked && e.links_within_10_seconds == 2,
        probability: 0.5,
    },
    Rule {
        name: "company network within ten seconds",
        fits: |_, e| e.network == NetworkKind::Corporate && sooner_than(e, 10),
        probability: 0.3,
    },
    Rule {
        name: "provider says person",
        fits: |_, e| e.provider_machine_flag == Some(false),
        probability: 1.0,
    },
];

/// The probability that a person did it, and the name of the rule that said so.
///
/// With nothing known the event is taken at its word: 1.
pub fn human_weight(kind: EventKind, evidence: &Evidence) -> (HumanWeight, &'static str) {
    RULES
        .iter()
        .find(|rule| (rule.fits)(kind, evidence))
        .map_or(
            (HumanWeight::CERTAIN, "nothing speaks against it"),
            |rule| (HumanWeight::nearest(rule.probability), rule.name),
        )
}

fn has_machine_word(user_agent: &str) -> bool {
    let lower = user_agent.to_ascii_lowercase();
    MACHINE_WORDS.iter().any(|word| lower.contains(word))
}

/// Apple's mail privacy proxy reports the bare user agent `Mozilla/5.0`.
fn is_privacy_proxy(evidence: &Evidence) -> bool {
    evidence.network == NetworkKind::PrivacyProxy || evidence.user_agent.trim() == "Mozilla/5.0"
}

fn sooner_than(evidence: &Evidence, seconds: i64) -> bool {
    evidence
        .since_delivery
        .is_some_and(|since| since < SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(kind: EventKind, evidence: Evidence) -> f64 {
        human_weight(kind, &evidence).0.get()
    }

    #[test]
    fn an_event_without_evidence_is_taken_at_its_word() {
        assert_eq!(weight(EventKind::Opened, Evidence::default()), 1.0);
    }

    #[test]
    fn the_providers_flag_decides_before_all_else() {
        let flagged = Evidence {
            provider_machine_flag: Some(true),
            network: NetworkKind::Residential,
            ..Evidence::default()
        };
        assert!(weight(EventKind::Clicked, flagged) < 0.05);
    }

    #[test]
    fn a_privacy_proxy_makes_opens_doubtful_but_not_clicks() {
        let proxied = Evidence {
            user_agent: "Mozilla/5.0".into(),
            ..Evidence::default()
        };
        assert!(weight(EventKind::Opened, proxied.clone()) < 0.2);
        assert_eq!(weight(EventKind::Clicked, proxied), 1.0);
    }

    #[test]
    fn clicks_on_all_links_within_seconds_are_a_scanner() {
        let scanned = Evidence {
            links_within_10_seconds: 7,
            ..Evidence::default()
        };
        assert!(weight(EventKind::Clicked, scanned) < 0.1);
    }

    #[test]
    fn an_instant_open_is_a_machine_and_a_later_one_is_not() {
        let after = |seconds| Evidence {
            since_delivery: Some(SignedDuration::from_secs(seconds)),
            ..Evidence::default()
        };
        assert!(weight(EventKind::Opened, after(1)) < 0.1);
        assert_eq!(weight(EventKind::Opened, after(60)), 1.0);
    }
}
