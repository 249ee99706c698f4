//! What holds for the connections of both ports: HTTP/2, and how many there may be for how long, as the configuration has it.
//!
//! Invariant: whatever a client can make the server keep or do on one connection has a bound here.

use super::config::ServerConfig;
use super::connections::Rules;

/// What a client may send ahead on one stream, in bytes, before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send ahead on one connection, in bytes.
///
/// h2 closes a connection (`too_many_data_frames`) when the small frames that wait to be read cost more than half of this, each
/// the bytes it lacks to a full frame. A client that streams small messages as fast as it can (gRPC for Python: one frame each)
/// fills its stream's window; with the default of 1 MiB for both it was cut off within a second.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Streams that this side may have reset for errors of the client before the connection is cut.
const LOCAL_RESETS_MAX: usize = 256;
/// Connections of the operations port at one time: scrapes, probes and people are few.
const OPERATIONS_CONNECTIONS_MAX: usize = 256;
/// What begins every connection of HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// The shortest request line of HTTP/1 with its end: `GET / HTTP/1.1`.
const REQUEST_LINE_BYTES: usize = 16;

/// What holds for connections of callers, as the configuration has it.
pub fn grpc_rules(server: &ServerConfig) -> Rules {
    let age_max = server.connection_age_max.get() + server.connection_age_grace.get();
    let per_address = server.connections_per_address_max;
    Rules {
        connections_max: server.connections_max,
        per_address_max: (per_address > 0).then_some(per_address),
        first_bytes: PREFACE_BYTES,
        first_bytes_timeout: server.first_bytes_timeout.get(),
        idle_max: Some(server.idle_timeout.get()),
        stalled_max: Some(server.stalled_timeout.get()),
        age_max: Some(age_max),
    }
}

/// Calls of this port are not noted, so all its connections count as idle: of too many the oldest makes room.
pub fn operations_rules(server: &ServerConfig) -> Rules {
    Rules {
        connections_max: OPERATIONS_CONNECTIONS_MAX,
        per_address_max: None,
        first_bytes: REQUEST_LINE_BYTES,
        first_bytes_timeout: server.first_bytes_timeout.get(),
        idle_max: None,
        stalled_max: None,
        age_max: None,
    }
}

/// HTTP/2 as the configuration has it.
pub fn transport(config: &ServerConfig) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(Some(config.streams_per_connection_max))
        .http2_max_pending_accept_reset_streams(Some(config.resets_pending_max))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_header_list_size(Some(config.metadata_bytes_max))
        .max_connection_age(config.connection_age_max.get())
        .http2_keepalive_interval(Some(config.keep_alive_interval.get()))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout.get()))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
