//! The sentence that says why: which variant, when, or why nothing is sent.

use std::fmt::Write as _;

use crate::app::SendAnswer;
use crate::domain::decide::Reason;
use crate::domain::recipient::DoNotSend;
use crate::domain::send_time::Level;
use crate::domain::snapshot::ChoiceLevel;

use super::Time;

/// Why this variant at this time.
pub(super) fn explain(answer: &SendAnswer, variant: &str, time: &Time<'_>) -> String {
    let mut text = String::with_capacity(EXPLANATION_BYTES);
    // Writing to a string does not fail.
    let _ = explain_choice(answer, variant, &mut text);
    text.push_str("; ");
    let _ = explain_time(answer.basis.time_level, time, &mut text);
    text.push('.');
    text
}

/// Room that most explanations need.
const EXPLANATION_BYTES: usize = 256;

fn explain_choice(answer: &SendAnswer, variant: &str, text: &mut String) -> std::fmt::Result {
    let percent = answer.propensity * 100.0;
    match answer.basis.reason {
        Reason::Policy => write!(
            text,
            "Variant {variant} was drawn with probability {percent:.1} % from {}",
            knowledge(answer.basis.choice_level)
        ),
        Reason::Holdout => write!(
            text,
            "The recipient is in the holdout: variant {variant} was drawn uniformly, and the time is the first one allowed"
        ),
        Reason::OnlyCandidate => write!(text, "Variant {variant} was the only one eligible"),
        Reason::NoConsent => write!(
            text,
            "Without consent nothing is recorded: variant {variant} was drawn from everyone's allocation"
        ),
        Reason::Fallback => write!(
            text,
            "Variant {variant} was drawn and not recorded: either the recipient's record cannot be read, or the store takes no changes at present"
        ),
        Reason::RecipientLimit => write!(
            text,
            "As many recipients are kept as the tenant may have: variant {variant} was drawn as for somebody unknown, and not recorded"
        ),
        Reason::Sticky => write!(
            text,
            "The recipient was given variant {variant} before and keeps it"
        ),
        Reason::Shadow { agrees } => write!(
            text,
            "In shadow mode the platform sends variant {variant}; hermod would have chosen {}",
            if agrees { "the same" } else { "otherwise" }
        ),
    }
}

fn explain_time(level: Option<Level>, time: &Time<'_>, text: &mut String) -> std::fmt::Result {
    if time.transactional {
        return text.write_str("transactional mail is not delayed");
    }
    if level.is_none() {
        text.push_str("it leaves at ");
    }
    let local = time.zone.local_time(time.at);
    let (hour, minute, zone) = (local.hour.hour, local.minute, time.zone.name());
    write!(text, "{hour:02}:{minute:02} in {zone}")?;
    text.write_str(match level {
        None => "",
        Some(Level::Recipient) => " is when this recipient is most likely to open it",
        Some(Level::Everyone) => {
            " is everybody's best time: too little is known of this recipient alone"
        }
        Some(Level::Chronotype) => " is the best time for people with hours like this recipient's",
        Some(Level::Segment) => " is the best time for people of this segment",
        Some(Level::Exploration) => " was drawn at random among the allowed hours, to learn",
        Some(Level::Default) => " follows common waking hours: too little is known yet",
    })
}

fn knowledge(level: ChoiceLevel) -> &'static str {
    match level {
        ChoiceLevel::Segment => "what is known of this segment and daypart",
        ChoiceLevel::Everyone => "what is known of all recipients",
        ChoiceLevel::Default => "no responses yet",
    }
}

/// Why nothing is sent.
pub(super) fn why_not(reason: DoNotSend) -> String {
    match reason {
        DoNotSend::FrequencyCap => {
            "The recipient has had as many mails as the frequency cap allows before the deadline."
        }
        DoNotSend::Suppressed => {
            "The recipient unsubscribed, complained, bounced for good, or was suppressed by hand."
        }
        DoNotSend::NoAllowedTime => {
            "Quiet hours and blocked dates leave no allowed instant before the deadline."
        }
        DoNotSend::CapacityFull => {
            "Every allowed hour before the deadline is full; raise sender_capacity or move the deadline."
        }
    }
    .to_owned()
}
