//! What is counted of each method, looked up once: naming a metric anew costs several allocations, and each call has four of them.

use std::sync::{Arc, OnceLock};

use http::Response;
use metrics::{Counter, Gauge, Histogram};
use prost::Message as _;
use tonic::Code;
use tonic::body::Body;

use crate::grpc::wire;

/// Status codes of gRPC: 0 to 16.
const CODES: usize = 17;

/// Whether a method streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Unary,
    Streaming,
}

/// One method.
pub(super) struct Meter {
    /// Its name, for metrics.
    pub name: String,
    /// Whether it streams.
    pub shape: Shape,
    taken: Histogram,
    codes: [OnceLock<Counter>; CODES],
}

/// All methods.
pub(super) struct Meters {
    by_name: foldhash::HashMap<String, Arc<Meter>>,
    unknown: Arc<Meter>,
    /// Calls under way.
    pub in_flight: Gauge,
}

// === impl Meters ===

impl Meters {
    /// Those of our services. An unreadable descriptor set leaves none: reflection refuses to start with one.
    pub fn new() -> Self {
        let set = prost_types::FileDescriptorSet::decode(wire::DESCRIPTOR_SET).unwrap_or_default();
        let services = set.file.into_iter().flat_map(|file| file.service);
        let by_name = services
            .flat_map(|service| service.method)
            .filter_map(|method| {
                let streams = method.client_streaming() || method.server_streaming();
                let shape = if streams {
                    Shape::Streaming
                } else {
                    Shape::Unary
                };
                let name = method.name?;
                Some((name.clone(), Arc::new(Meter::new(name, shape))))
            })
            .collect();
        Self {
            by_name,
            unknown: Arc::new(Meter::new("unknown".to_owned(), Shape::Unary)),
            in_flight: metrics::gauge!("hermod_requests_in_flight"),
        }
    }

    /// The method of a path. Callers write the path, so one that does not exist must not become a label.
    pub fn of(&self, path: &str) -> &Arc<Meter> {
        let name = path.rsplit('/').next().unwrap_or_default();
        self.by_name.get(name).unwrap_or(&self.unknown)
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.by_name.keys()).finish()
    }
}

// === impl Meter ===

impl Meter {
    fn new(name: String, shape: Shape) -> Self {
        Self {
            taken: metrics::histogram!("hermod_request_duration_seconds", "method" => name.clone()),
            codes: std::array::from_fn(|_| OnceLock::new()),
            name,
            shape,
        }
    }

    /// Records how long a call took.
    pub fn took(&self, seconds: f64) {
        self.taken.record(seconds);
    }

    /// Counts an answer. Successful streams and unary answers carry their status in trailers; without the header a call counts as OK.
    pub fn count(&self, response: &Response<Body>) {
        let code = response
            .headers()
            .get("grpc-status")
            .and_then(|code| code.to_str().ok())
            .and_then(|code| code.parse().ok())
            .map_or(Code::Ok, Code::from_i32);
        let named = || {
            let code = format!("{code:?}");
            metrics::counter!("hermod_requests_total", "method" => self.name.clone(), "code" => code)
        };
        // Only codes that have occurred become labels.
        match self.codes.get(code as usize) {
            Some(counter) => counter.get_or_init(named).increment(1),
            None => named().increment(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_no_label() {
        let meters = Meters::new();
        let method = |name| {
            let meter = meters.of(&format!("/hermod.v1.DecisionService/{name}"));
            (meter.name.as_str(), meter.shape)
        };
        assert_eq!(method("Decide"), ("Decide", Shape::Unary));
        assert_eq!(method("StreamDecide"), ("StreamDecide", Shape::Streaming));
        assert_eq!(method("anna@example.org"), ("unknown", Shape::Unary));
    }
}
