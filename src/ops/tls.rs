//! TLS of a port: certificate, private key and the CA of client certificates, read from files and read again when these change.
//!
//! Invariant: a handshake uses one complete, checked set of files; a broken new set leaves the old one in service. TLS 1.2 and 1.3 with the
//! cipher suites of rustls; nothing else can be switched on. Handshakes themselves are made in [`super::incoming`].
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::auth::PeerCertificate;
use super::config::{ClientCertificates, TlsConfig};
use super::private_file::{self, PrivateFileError};
use super::watched::{Reloaded, Watched};

/// What a port speaks inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, for gRPC.
    Http2,
    /// HTTP/1.1, for the pages of operations.
    Http1,
}

/// Why TLS cannot be served with these files. The texts name files, never a content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The private key is open to others or cannot be read.
    #[error("the private key file {0}")]
    PrivateKey(#[from] PrivateFileError),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system answered.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {violation}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        violation: String,
    },
    /// Certificate and key do not make a server.
    #[error("certificate and private key: {0}")]
    Unusable(#[from] rustls::Error),
    /// The client CA does not make a verifier.
    #[error("the client CA: {0}")]
    ClientCa(#[from] VerifierBuilderError),
}

/// Where the files of a port's TLS are.
struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: Option<PathBuf>,
    client_certificates: ClientCertificates,
    protocol: Protocol,
}

/// The TLS of one port.
pub struct Tls {
    files: Files,
    watched: Watched,
    current: ArcSwap<ServerConfig>,
}

// === impl Tls ===

impl Tls {
    /// Reads the files of a configuration, `None` if it names none; `name` is for logs and metrics.
    ///
    /// # Errors
    /// As listed in [`TlsError`].
    pub fn open(
        config: &TlsConfig,
        protocol: Protocol,
        name: &'static str,
    ) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(private_key)) =
            (&config.certificate_file, &config.private_key_file)
        else {
            return Ok(None);
        };
        let files = Files {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            client_ca: config.client_ca_file.clone(),
            client_certificates: config.client_certificates,
            protocol,
        };
        let paths = [certificate, private_key];
        let paths = paths.into_iter().chain(config.client_ca_file.as_ref());
        let watched = Watched::new(name, paths.cloned().collect());
        let seen = watched.changed();
        let current = ArcSwap::from_pointee(files.load()?);
        if let Some(seen) = seen {
            watched.settle(seen, &Ok::<(), TlsError>(()));
        }
        Ok(Some(Self {
            files,
            watched,
            current,
        }))
    }

    /// Reads the files again if they have changed. New connections get what is new; open ones go on as they are.
    pub fn reload(&self) -> Option<Reloaded> {
        let seen = self.watched.changed()?;
        let loaded = self.files.load();
        let outcome = loaded.map(|config| self.current.store(Arc::new(config)));
        Some(self.watched.settle(seen, &outcome))
    }

    /// What makes the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

// === impl Files ===

impl Files {
    /// A whole new server: sessions of the old one, and with them certificates it had accepted, are not resumed.
    fn load(&self) -> Result<ServerConfig, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = private_file::read(&self.private_key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| malformed(&self.private_key, &error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = match self.verifier(provider)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![self.protocol.alpn().to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(path) = &self.client_ca else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::Malformed {
                path: path.clone(),
                violation: error.to_string(),
            })?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(match self.client_certificates {
            ClientCertificates::Off => None,
            ClientCertificates::Optional => Some(builder.allow_unauthenticated().build()?),
            ClientCertificates::Required => Some(builder.build()?),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = std::fs::read(path).map_err(|source| TlsError::Io {
        path: path.to_owned(),
        source,
    })?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let found = read.map_err(|error| malformed(path, &error))?;
    if found.is_empty() {
        return Err(malformed(path, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// What is wrong with a PEM file, in words of ours: the parser's own may quote a line of it.
fn malformed(path: &Path, error: &pem::Error) -> TlsError {
    let violation = match error {
        pem::Error::NoItemsFound => "holds no PEM block of the kind that is wanted here",
        _ => "is not PEM",
    };
    TlsError::Malformed {
        path: path.to_owned(),
        violation: violation.to_owned(),
    }
}

// === impl Protocol ===

impl Protocol {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

// === impl PeerCertificate ===

impl PeerCertificate {
    /// What is compared of a client's certificate, whose chain the handshake has checked.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.as_ref());
        let parsed = webpki::EndEntityCert::try_from(certificate).ok();
        let texts = |names: Option<Vec<&str>>| -> Vec<String> {
            let names = names.unwrap_or_default().into_iter();
            names.map(str::to_owned).collect()
        };
        let dns = parsed
            .as_ref()
            .map(|parsed| parsed.valid_dns_names().collect());
        let uris = parsed
            .as_ref()
            .map(|parsed| parsed.valid_uri_names().collect());
        Self {
            fingerprint,
            dns_names: texts(dns),
            uri_names: texts(uris),
        }
    }
}
