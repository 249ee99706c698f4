//! Events to report: first decisions are asked for, then what becomes of their mails is told in batches.
//!
//! Invariant: unless they are to be repeated, every event is new to the server, so each changes a record.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use prost::bytes::Bytes;
use tonic::transport::Channel;

use super::{Drive, call};
use crate::bench::BenchError;
use crate::bench::method::{Asking, BATCH_ITEMS, Method};
use crate::grpc::wire::{self, EventKind};

/// What becomes of a mail, in this order.
const KINDS: [EventKind; 5] = [
    EventKind::Sent,
    EventKind::Delivered,
    EventKind::Opened,
    EventKind::Clicked,
    EventKind::Converted,
];
/// Events prepared for each second, over all connections, in batches and one by one: more than a server has been seen to take. Not by far, since each
/// needs a decision of its own, with which the people's records grow.
const EVENTS_A_SECOND: f64 = 200_000.0;
const SINGLE_EVENTS_A_SECOND: f64 = 80_000.0;

/// Events of decisions, in batches.
pub(super) struct Reports {
    batches: VecDeque<Bytes>,
    repeats: bool,
}

// === impl Reports ===

impl Reports {
    /// Asks for as many decisions as the drive can report on; not part of what is measured.
    pub(super) async fn decide(
        channel: &Channel,
        asking: &mut Asking,
        drive: &Drive,
    ) -> Result<Self, BenchError> {
        let seconds = drive.warm_up_seconds + drive.seconds;
        let rate = match drive.load {
            super::Load::Open { per_second } => 1.2 * per_second * f64::from(drive.method.items()),
            super::Load::Closed { .. } if drive.method.items() == 1 => SINGLE_EVENTS_A_SECOND,
            super::Load::Closed { .. } => EVENTS_A_SECOND,
        };
        let events = rate * seconds / drive.connections.max(1) as f64;
        let calls = (events / KINDS.len() as f64 / f64::from(BATCH_ITEMS)).ceil();
        let mut tokens = Vec::new();
        for _ in 0..calls as u64 {
            let mut batch = asking.batch();
            for request in &mut batch.requests {
                let constraints = request.constraints.get_or_insert_default();
                // The mail leaves now, so that what becomes of it can be told at once.
                constraints.transactional = true;
            }
            let answer = call(
                channel.clone(),
                Method::Batch.path(),
                batch.encode_to_vec().into(),
            );
            let answer = answer.await.map_err(|status| BenchError::Calls {
                failed: 1,
                calls: 1,
                first: status.to_string(),
            })?;
            tokens.extend(tokens_of(answer)?);
        }
        let size = drive.method.items() as usize;
        Ok(Self {
            batches: batches(&tokens, size),
            repeats: drive.repeats,
        })
    }

    /// The next batch; none when all have been reported.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let next = self.batches.pop_front()?;
        if self.repeats {
            self.batches.push_back(next.clone());
        }
        Some(next)
    }
}

fn tokens_of(answer: Bytes) -> Result<Vec<String>, BenchError> {
    let nonsense = |error: prost::DecodeError| BenchError::Nonsense(error.to_string());
    let answer = wire::BatchDecideResponse::decode(answer).map_err(nonsense)?;
    let results = answer
        .results
        .into_iter()
        .filter_map(|result| result.result);
    Ok(results
        .filter_map(|result| match result {
            wire::decision_result::Result::Decision(decision) => Some(decision.decision_id),
            wire::decision_result::Result::Problem(_) => None,
        })
        .filter(|token| !token.is_empty())
        .collect())
}

/// All sent first, then all delivered, and so on: two events of a mail are never in one batch.
fn batches(tokens: &[String], size: usize) -> VecDeque<Bytes> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = Some(prost_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    });
    let event = |kind: EventKind, token: &String| wire::Event {
        kind: kind.into(),
        event_time: now,
        decision_id: token.clone(),
        human_probability: Some(1.0),
        ..wire::Event::default()
    };
    let of_kind = |kind| {
        tokens.chunks(size.max(1)).map(move |tokens| {
            let events = tokens.iter().map(|token| event(kind, token)).collect();
            Bytes::from(wire::ReportEventsRequest { events }.encode_to_vec())
        })
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}
