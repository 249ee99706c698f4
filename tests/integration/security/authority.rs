//! A certificate authority for tests, the files of a server, and clients that trust it.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hermod::ops::config::{ClientCertificates, TlsConfig};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, rustls};
use tonic::transport::{Channel, Endpoint};

use super::write_private;

/// Signs certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    pub certificate: Certificate,
    pub key: KeyPair,
}

/// What a client of a test brings along.
pub struct Client<'a> {
    pub trusts: &'a Authority,
    pub identity: Option<&'a Identity>,
    pub version: &'static rustls::SupportedProtocolVersion,
    pub protocol: &'static [u8],
}

/// The files of a server's TLS, in a directory of their own.
pub struct ServerFiles {
    directory: TempDir,
}

// === impl Authority ===

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `localhost`.
    pub fn server(&self) -> Identity {
        self.sign(
            vec![SanType::DnsName("localhost".try_into().unwrap())],
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A certificate for a client of this DNS name and URI.
    pub fn client(&self, dns_name: &str, uri: &str) -> Identity {
        let names = vec![
            SanType::DnsName(dns_name.try_into().unwrap()),
            SanType::URI(uri.try_into().unwrap()),
        ];
        self.sign(names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
}

// === impl Identity ===

impl Identity {
    pub fn fingerprint(&self) -> String {
        let digest = ring_digest(self.certificate.der());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn ring_digest(bytes: &[u8]) -> Vec<u8> {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, bytes);
    digest.as_ref().to_vec()
}

// === impl ServerFiles ===

impl ServerFiles {
    pub fn of(identity: &Identity) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.replace(identity);
        files
    }

    pub fn replace(&self, identity: &Identity) {
        std::fs::write(self.certificate(), identity.certificate.pem()).unwrap();
        write_private(&self.private_key(), &identity.key.serialize_pem());
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.pem")
    }

    pub fn private_key(&self) -> PathBuf {
        self.directory.path().join("server.key")
    }

    /// The configuration that names them, without client certificates.
    pub fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate_file: Some(self.certificate()),
            private_key_file: Some(self.private_key()),
            ..TlsConfig::default()
        }
    }

    /// The configuration with certificates of clients that an authority has signed.
    pub fn with_clients_of(&self, authority: &Authority, word: ClientCertificates) -> TlsConfig {
        let path: &Path = self.directory.path();
        let path = path.join("clients.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        TlsConfig {
            client_ca_file: Some(path),
            client_certificates: word,
            ..self.config()
        }
    }
}

// === impl Client ===

impl<'a> Client<'a> {
    /// A client that speaks gRPC over TLS 1.3 and has no certificate.
    pub fn trusting(authority: &'a Authority) -> Self {
        Self {
            trusts: authority,
            identity: None,
            version: &TLS13,
            protocol: b"h2",
        }
    }

    pub fn presenting(self, identity: &'a Identity) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }

    pub fn over_tls_1_2(self) -> Self {
        Self {
            version: &TLS12,
            ..self
        }
    }

    pub fn speaking(self, protocol: &'static [u8]) -> Self {
        Self { protocol, ..self }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain: Vec<CertificateDer<'static>> = vec![identity.certificate.der().clone()];
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![self.protocol.to_vec()];
        config
    }

    /// Opens a connection and makes its handshake.
    pub async fn shake_hands(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.config()));
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await
    }

    /// A channel for gRPC.
    pub async fn connect(&self, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let config = Arc::new(self.config());
        let connector = tower::service_fn(move |_| {
            let connector = TlsConnector::from(config.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
    }
}
