//! The gRPC port, the operations port, and the limits that keep both answering.
//!
//! Which addresses are accepted is decided in [`super::exposure`], with what protects them in view.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::period::Period;
use super::reader::{Reader, Rule};

/// Settings of the ports. See `docs/configuration.md` for the limits of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerConfig {
    /// Where the gRPC service listens.
    pub grpc_listen: SocketAddr,
    /// Where metrics, liveness and readiness are served over HTTP.
    pub operations_listen: SocketAddr,
    /// Accepts other than loopback addresses although callers are not authenticated.
    pub allow_unauthenticated_network: bool,
    /// Accepts other than loopback addresses although credentials cross the network in plain text.
    pub allow_plaintext_network: bool,
    /// Threads that serve gRPC; 0 means one per core.
    pub worker_threads: usize,
    /// Requests served at one time over all connections; more are refused with `RESOURCE_EXHAUSTED`.
    pub concurrent_requests_max: usize,
    /// Streams at one time on one connection.
    pub streams_per_connection_max: u32,
    /// Largest request in bytes.
    pub request_bytes_max: usize,
    /// Longest time for one unary request; beyond it the answer is `DEADLINE_EXCEEDED`.
    pub request_timeout: Period,
    /// Time between keep-alive pings on an idle connection.
    pub keep_alive_interval: Period,
    /// Longest wait for the answer to a keep-alive ping.
    pub keep_alive_timeout: Period,
    /// Longest time for open requests to finish at shutdown.
    pub drain_timeout: Period,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            grpc_listen: (Ipv4Addr::LOCALHOST, 50051).into(),
            operations_listen: (Ipv4Addr::LOCALHOST, 9464).into(),
            allow_unauthenticated_network: false,
            allow_plaintext_network: false,
            worker_threads: 0,
            concurrent_requests_max: 1_024,
            streams_per_connection_max: 200,
            request_bytes_max: 4 << 20,
            request_timeout: Period::from_secs(10),
            keep_alive_interval: Period::from_secs(20),
            keep_alive_timeout: Period::from_secs(5),
            drain_timeout: Period::from_secs(20),
        }
    }
}

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let config = Self {
            grpc_listen: reader.value("server.grpc_listen", default.grpc_listen, address()),
            operations_listen: reader.value(
                "server.operations_listen",
                default.operations_listen,
                address(),
            ),
            allow_unauthenticated_network: reader.value(
                "server.allow_unauthenticated_network",
                default.allow_unauthenticated_network,
                yes_or_no(),
            ),
            allow_plaintext_network: reader.value(
                "server.allow_plaintext_network",
                default.allow_plaintext_network,
                yes_or_no(),
            ),
            ..default
        };
        let config = config.read_limits(reader).read_timeouts(reader);
        config.refuse_one_address_for_both(reader);
        config
    }

    fn read_limits(self, reader: &mut Reader<'_>) -> Self {
        Self {
            worker_threads: reader.value(
                "server.worker_threads",
                self.worker_threads,
                Rule {
                    expects: "a whole number from 1 to 1024, or 0 for one per core",
                    accepts: |threads| *threads <= 1_024,
                },
            ),
            concurrent_requests_max: reader.value(
                "server.concurrent_requests_max",
                self.concurrent_requests_max,
                Rule {
                    expects: "a whole number from 1 to 1000000",
                    accepts: |max| (1..=1_000_000).contains(max),
                },
            ),
            streams_per_connection_max: reader.value(
                "server.streams_per_connection_max",
                self.streams_per_connection_max,
                Rule {
                    expects: "a whole number from 1 to 10000",
                    accepts: |max| (1..=10_000).contains(max),
                },
            ),
            request_bytes_max: reader.value(
                "server.request_bytes_max",
                self.request_bytes_max,
                Rule {
                    expects: "a number of bytes from 1024 to 67108864",
                    accepts: |bytes| (1_024..=64 << 20).contains(bytes),
                },
            ),
            ..self
        }
    }

    fn read_timeouts(self, reader: &mut Reader<'_>) -> Self {
        Self {
            request_timeout: reader.value(
                "server.request_timeout",
                self.request_timeout,
                timeout(),
            ),
            keep_alive_interval: reader.value(
                "server.keep_alive_interval",
                self.keep_alive_interval,
                timeout(),
            ),
            keep_alive_timeout: reader.value(
                "server.keep_alive_timeout",
                self.keep_alive_timeout,
                timeout(),
            ),
            drain_timeout: reader.value("server.drain_timeout", self.drain_timeout, timeout()),
            ..self
        }
    }

    fn refuse_one_address_for_both(&self, reader: &mut Reader<'_>) {
        if self.grpc_listen == self.operations_listen && self.grpc_listen.port() != 0 {
            reader.refuse(
                "server.operations_listen",
                &self.operations_listen,
                "server.grpc_listen has the same address",
                "Give one of them another port",
            );
        }
    }
}

fn yes_or_no() -> Rule<bool> {
    Rule {
        expects: "true or false",
        accepts: |_| true,
    }
}

fn address() -> Rule<SocketAddr> {
    Rule {
        expects: "an IP address with a port, such as 127.0.0.1:50051 or [::1]:50051",
        accepts: |_| true,
    }
}

fn timeout() -> Rule<Period> {
    Rule {
        expects: "a length of time with its unit from 1ms to 1h, such as 10s",
        accepts: |period| (Period::from_millis(1)..=Period::from_secs(3_600)).contains(period),
    }
}
