//! What may listen beyond loopback: a port whose callers are authenticated over an encrypted connection, or what the operator says in so
//! many words.
//!
//! Invariant: a configuration that lets strangers in, or keys cross the network in plain text, is never one that came about by leaving
//! something out.

use std::net::SocketAddr;

use super::Config;
use super::reader::Reader;

/// One port as far as its protection goes.
struct Port<'a> {
    key: &'static str,
    address: SocketAddr,
    /// Whether every caller proves who it is.
    is_authenticated: bool,
    is_encrypted: bool,
    /// What to set so that callers are authenticated.
    remedy: &'a str,
    /// The section of its TLS.
    tls: &'static str,
}

/// Refuses addresses that need more protection than is configured.
pub(super) fn refuse(config: &Config, reader: &mut Reader<'_>) {
    let server = &config.server;
    let grpc = Port {
        key: "server.grpc_listen",
        address: server.grpc_listen,
        is_authenticated: config.auth.access_file.is_some() || config.tls.requires_certificates(),
        is_encrypted: config.tls.is_on(),
        remedy: "auth.access_file",
        tls: "tls",
    };
    let operations = Port {
        key: "server.operations_listen",
        address: server.operations_listen,
        is_authenticated: config.auth.metrics_token_file.is_some()
            || config.operations_tls.requires_certificates(),
        is_encrypted: config.operations_tls.is_on(),
        remedy: "auth.metrics_token_file",
        tls: "operations_tls",
    };
    for port in [grpc, operations] {
        if port.address.ip().is_loopback() {
            continue;
        }
        if port.is_authenticated {
            if !port.is_encrypted && !server.allow_plaintext_network {
                port.refuse_plaintext(reader);
            }
        } else if !server.allow_unauthenticated_network {
            port.refuse_strangers(reader);
        }
    }
}

// === impl Port ===

impl Port<'_> {
    fn refuse_strangers(&self, reader: &mut Reader<'_>) {
        let next_step = format!(
            "Bind a loopback address such as 127.0.0.1, authenticate callers with {}, or, if the network itself keeps strangers out, \
             set server.allow_unauthenticated_network = true",
            self.remedy
        );
        reader.refuse(
            self.key,
            &self.address,
            "callers are not authenticated, and this address can be reached from the network",
            &next_step,
        );
    }

    fn refuse_plaintext(&self, reader: &mut Reader<'_>) {
        let next_step = format!(
            "Set {tls}.certificate_file and {tls}.private_key_file, or, if something in front of it does TLS or the network itself is \
             encrypted, set server.allow_plaintext_network = true",
            tls = self.tls
        );
        reader.refuse(
            self.key,
            &self.address,
            "credentials would cross the network in plain text",
            &next_step,
        );
    }
}
