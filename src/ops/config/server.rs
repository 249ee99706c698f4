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
    /// Streaming calls at one time over all connections; more are refused with `RESOURCE_EXHAUSTED`.
    pub concurrent_streams_max: usize,
    /// Connections at one time; beyond it the one longest without a call makes room.
    pub connections_max: usize,
    /// Connections at one time from one address; 0 is without limit.
    pub connections_per_address_max: usize,
    /// Streams at one time on one connection.
    pub streams_per_connection_max: u32,
    /// Streams that a client may have reset before they were looked at; beyond it the connection is cut.
    pub resets_pending_max: usize,
    /// Largest metadata of one request in bytes, as HTTP/2 counts them.
    pub metadata_bytes_max: u32,
    /// Largest request in bytes.
    pub request_bytes_max: usize,
    /// Longest time for one unary request; beyond it the answer is `DEADLINE_EXCEEDED`.
    pub request_timeout: Period,
    /// Time between keep-alive pings on an idle connection.
    pub keep_alive_interval: Period,
    /// Longest wait for the answer to a keep-alive ping.
    pub keep_alive_timeout: Period,
    /// Longest time until a new connection has said what it wants.
    pub first_bytes_timeout: Period,
    /// Longest time of a connection without a call.
    pub idle_timeout: Period,
    /// Longest time that an answer may wait for its reader.
    pub stalled_timeout: Period,
    /// Age at which a connection is told to take its next calls elsewhere.
    pub connection_age_max: Period,
    /// Time that its running calls then get to end.
    pub connection_age_grace: Period,
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
            concurrent_streams_max: 1_024,
            connections_max: 4_096,
            connections_per_address_max: 0,
            streams_per_connection_max: 200,
            resets_pending_max: 100,
            metadata_bytes_max: 16 << 10,
            request_bytes_max: 4 << 20,
            request_timeout: Period::from_secs(10),
            keep_alive_interval: Period::from_secs(20),
            keep_alive_timeout: Period::from_secs(5),
            first_bytes_timeout: Period::from_secs(5),
            idle_timeout: Period::from_secs(600),
            stalled_timeout: Period::from_secs(60),
            connection_age_max: Period::from_secs(3_600),
            connection_age_grace: Period::from_secs(600),
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
        let config = config.read_limits(reader).read_connection_limits(reader);
        let config = config.read_timeouts(reader).read_connection_times(reader);
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
            concurrent_streams_max: reader.value(
                "server.concurrent_streams_max",
                self.concurrent_streams_max,
                Rule {
                    expects: "a whole number from 1 to 1000000",
                    accepts: |max| (1..=1_000_000).contains(max),
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

    fn read_connection_limits(self, reader: &mut Reader<'_>) -> Self {
        Self {
            connections_max: reader.value(
                "server.connections_max",
                self.connections_max,
                Rule {
                    expects: "a whole number from 1 to 1000000",
                    accepts: |max| (1..=1_000_000).contains(max),
                },
            ),
            connections_per_address_max: reader.value(
                "server.connections_per_address_max",
                self.connections_per_address_max,
                Rule {
                    expects: "a whole number from 1 to 1000000, or 0 for no limit",
                    accepts: |max| *max <= 1_000_000,
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
            resets_pending_max: reader.value(
                "server.resets_pending_max",
                self.resets_pending_max,
                Rule {
                    expects: "a whole number from 1 to 10000",
                    accepts: |max| (1..=10_000).contains(max),
                },
            ),
            metadata_bytes_max: reader.value(
                "server.metadata_bytes_max",
                self.metadata_bytes_max,
                Rule {
                    expects: "a number of bytes from 1024 to 1048576",
                    accepts: |bytes| (1_024..=1 << 20).contains(bytes),
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

    fn read_connection_times(self, reader: &mut Reader<'_>) -> Self {
        Self {
            first_bytes_timeout: reader.value(
                "server.first_bytes_timeout",
                self.first_bytes_timeout,
                timeout(),
            ),
            idle_timeout: reader.value("server.idle_timeout", self.idle_timeout, timeout()),
            stalled_timeout: reader.value(
                "server.stalled_timeout",
                self.stalled_timeout,
                timeout(),
            ),
            connection_age_max: reader.value(
                "server.connection_age_max",
                self.connection_age_max,
                lifetime(),
            ),
            connection_age_grace: reader.value(
                "server.connection_age_grace",
                self.connection_age_grace,
                lifetime(),
            ),
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

fn lifetime() -> Rule<Period> {
    Rule {
        expects: "a length of time with its unit from 1ms to 8760h, such as 1h",
        accepts: |period| {
            (Period::from_millis(1)..=Period::from_secs(8_760 * 3_600)).contains(period)
        },
    }
}
