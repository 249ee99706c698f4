//! One stream with so many messages on their way.

use std::collections::VecDeque;
use std::time::Instant;

use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::{Method, Source, Span, Tally};
use crate::bench::BenchError;
use crate::bench::raw::Raw;

/// Sends until the span ends, then reads what is still on its way.
pub(super) async fn run(
    channel: Channel,
    method: Method,
    mut source: Source,
    span: Span,
    window: usize,
) -> Result<Tally, BenchError> {
    let mut tally = Tally::new()?;
    let window = window.max(1);
    let (sender, receiver) = tokio::sync::mpsc::channel(window);
    let mut since = VecDeque::with_capacity(window);
    for _ in 0..window {
        let Some(request) = source.next() else { break };
        since.push_back(Instant::now());
        // The channel has room for the whole window.
        let _ = sender.send(request).await;
    }
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static(method.path());
    let request = tonic::Request::new(ReceiverStream::new(receiver));
    let mut answers = match client.streaming(request, path, Raw).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => {
            tally.count(span, Instant::now(), 1, Err(status));
            return Ok(tally);
        }
    };
    let mut sender = Some(sender);
    while let Some(answer) = answers.next().await {
        let begun = since.pop_front().unwrap_or_else(Instant::now);
        tally.count(span, begun, 1, answer.map(drop));
        let next = if Instant::now() < span.end {
            source.next()
        } else {
            None
        };
        match (next, &sender) {
            (Some(request), Some(open)) => {
                since.push_back(Instant::now());
                let _ = open.send(request).await;
            }
            // Nothing more to ask: the server ends once it has answered everything.
            _ => sender = None,
        }
    }
    Ok(tally)
}
