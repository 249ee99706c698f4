//! Whether a call is let in: credentials, the access list and the time in; a grant or a refusal out.
//!
//! Pure. A token decides where one is presented, otherwise the certificate of the connection; a bad token is not made good by a certificate.
use jiff::Timestamp;

use super::access_list::{AccessList, Certificate, CertificateMatch, Grant, Standing};
use super::scope::Scope;
use super::token::{KeyId, Token, TokenHash};

/// The largest `authorization` header that is looked at, in bytes.
const HEADER_BYTES_MAX: usize = 256;

/// What of a client's certificate is compared; the handshake has checked its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of its DER encoding.
    pub fingerprint: [u8; 32],
    /// DNS names among its subject alternative names.
    pub dns_names: Vec<String>,
    /// URIs among its subject alternative names.
    pub uri_names: Vec<String>,
}

/// What a call presents.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PeerCertificate>,
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing at all.
    Nothing,
    /// Any credentials that are valid.
    AnyCredentials,
    /// A scope.
    Scope(Scope),
}

/// Credentials that are good for the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted<'a> {
    /// Their public name: `key:<id>` or `certificate:<name>`.
    pub name: String,
    /// What they are good for.
    pub grant: &'a Grant,
}

/// Why a call is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was presented.
    Missing,
    /// What was presented is unknown, or no credentials at all.
    Invalid,
    /// The right credentials, too late.
    Expired {
        /// Their public name.
        name: String,
    },
    /// The right credentials, too early.
    NotYetValid {
        /// Their public name.
        name: String,
    },
    /// The right credentials for something else.
    ScopeMissing {
        /// Their public name.
        name: String,
        /// What the call needs.
        needed: Scope,
    },
}

// === impl Refusal ===

impl Refusal {
    /// The stable reason for ErrorInfo, metrics and the audit log.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "CREDENTIALS_MISSING",
            Self::Invalid => "CREDENTIALS_INVALID",
            Self::Expired { .. } => "CREDENTIALS_EXPIRED",
            Self::NotYetValid { .. } => "CREDENTIALS_NOT_YET_VALID",
            Self::ScopeMissing { .. } => "SCOPE_MISSING",
        }
    }

    /// The public name of the credentials, where they were recognised.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Missing | Self::Invalid => None,
            Self::Expired { name } | Self::NotYetValid { name } => Some(name),
            Self::ScopeMissing { name, .. } => Some(name),
        }
    }
}

// === impl AccessList ===

impl AccessList {
    /// Lets a call in, or says why not.
    ///
    /// # Errors
    /// The [`Refusal`]; whether credentials are expired or lack a scope is said only to those who hold them.
    pub fn admit(
        &self,
        credentials: Credentials<'_>,
        need: Need,
        now: Timestamp,
    ) -> Result<Option<Admitted<'_>>, Refusal> {
        if need == Need::Nothing {
            return Ok(None);
        }
        let found = match (credentials.authorization, credentials.certificate) {
            (Some(header), _) => self.by_header(header).ok_or(Refusal::Invalid)?,
            (None, Some(peer)) => self.by_certificate(peer).ok_or(Refusal::Invalid)?,
            (None, None) => return Err(Refusal::Missing),
        };
        let Admitted { name, grant } = found;
        match grant.validity.at(now) {
            Standing::Early => return Err(Refusal::NotYetValid { name }),
            Standing::Expired => return Err(Refusal::Expired { name }),
            Standing::Valid => {}
        }
        match need {
            Need::Scope(needed) if !grant.scopes.contains(needed) => {
                Err(Refusal::ScopeMissing { name, needed })
            }
            _ => Ok(Some(Admitted { name, grant })),
        }
    }

    /// The key that a token belongs to, if the token is right; its validity is not looked at.
    pub fn key_of(&self, token: &Token) -> Option<(&KeyId, &Grant)> {
        // An unknown id costs the same comparison as a known one.
        let presented = token.hash();
        let (id, known) = self.keys.get_key_value(token.id()).unzip();
        let expected = known.map_or_else(TokenHash::of_nothing, |key| key.hash);
        let is_right = presented == expected;
        Some((id?, &known?.grant)).filter(|_| is_right)
    }

    fn by_header(&self, header: &[u8]) -> Option<Admitted<'_>> {
        let token = Token::parse(bearer(header)?)?;
        let (id, grant) = self.key_of(&token)?;
        Some(Admitted {
            name: format!("key:{id}"),
            grant,
        })
    }

    fn by_certificate(&self, peer: &PeerCertificate) -> Option<Admitted<'_>> {
        let found = self.certificates.iter().find(|entry| entry.fits(peer))?;
        Some(Admitted {
            name: format!("certificate:{}", found.name),
            grant: &found.grant,
        })
    }
}

/// The token in a header `Bearer <token>`; the scheme's letters may be of either case (RFC 9110, section 11.1).
pub fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let fits = text.len() <= HEADER_BYTES_MAX && scheme.eq_ignore_ascii_case("bearer");
    fits.then(|| token.trim_matches(' '))
}

// === impl Certificate ===

impl Certificate {
    fn fits(&self, peer: &PeerCertificate) -> bool {
        match &self.matched_by {
            CertificateMatch::Fingerprint(fingerprint) => *fingerprint == peer.fingerprint,
            CertificateMatch::DnsName(name) => peer.dns_names.contains(name),
            CertificateMatch::UriName(name) => peer.uri_names.contains(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::NewToken;
    use super::*;

    fn now() -> Timestamp {
        "2026-11-02T10:00:00Z".parse().unwrap()
    }

    struct World {
        list: AccessList,
        token: String,
    }

    /// A key with the scope decide, and a certificate with the scope read.
    fn world(validity: &str) -> World {
        let token = NewToken::random(KeyId::parse("k1")).unwrap();
        let text = format!(
            "version = 1\n[[tenant]]\nname = \"acme\"\n[[key]]\nid = \"k1\"\nhash = \"{}\"\ntenant = \"acme\"\nscopes = [\"decide\"]\n\
             {validity}\n[[certificate]]\nname = \"mailer\"\ndns_name = \"mailer.example.org\"\ntenant = \"acme\"\nscopes = [\"read\"]\n",
            token.hash()
        );
        World {
            list: AccessList::parse(&text).unwrap(),
            token: token.text(),
        }
    }

    impl World {
        fn ask(&self, header: &str, need: Need) -> Result<String, Refusal> {
            let credentials = Credentials {
                authorization: Some(header.as_bytes()),
                certificate: None,
            };
            let admitted = self.list.admit(credentials, need, now());
            admitted.map(|admitted| admitted.unwrap().name)
        }
    }

    fn peer(dns_name: &str) -> PeerCertificate {
        PeerCertificate {
            fingerprint: [7; 32],
            dns_names: vec![dns_name.into()],
            uri_names: Vec::new(),
        }
    }

    #[test]
    fn a_token_is_let_in_for_its_scope_and_no_other() {
        let world = world("");
        let header = format!("Bearer {}", world.token);
        let decide = Need::Scope(Scope::Decide);
        assert_eq!(world.ask(&header, decide), Ok("key:k1".into()));
        assert_eq!(
            world.ask(&header, Need::AnyCredentials),
            Ok("key:k1".into())
        );
        for needed in [Scope::Read, Scope::Report, Scope::Admin, Scope::Operator] {
            let name = "key:k1".into();
            assert_eq!(
                world.ask(&header, Need::Scope(needed)),
                Err(Refusal::ScopeMissing { name, needed })
            );
        }
        assert_eq!(
            world.ask(&header.replace("Bearer", "bEARER"), decide),
            Ok("key:k1".into())
        );
    }

    #[test]
    fn a_wrong_secret_an_unknown_key_and_other_headers_are_all_invalid() {
        let world = world("");
        let other = |id| NewToken::random(KeyId::parse(id)).unwrap().text();
        let need = Need::Scope(Scope::Decide);
        for header in [
            format!("Bearer {}", other("k1")),
            format!("Bearer {}", other("k2")),
            format!("Basic {}", world.token),
            world.token.clone(),
            "Bearer".into(),
            format!("Bearer {}{}", world.token, "A".repeat(300)),
            String::new(),
        ] {
            assert_eq!(world.ask(&header, need), Err(Refusal::Invalid), "{header}");
        }
    }

    #[test]
    fn validity_is_kept_and_said_to_holders_only() {
        let need = Need::Scope(Scope::Decide);
        let expired = world("expires_at = 2026-11-02T10:00:00Z");
        let name = "key:k1".to_owned();
        assert_eq!(
            expired.ask(&format!("Bearer {}", expired.token), need),
            Err(Refusal::Expired { name: name.clone() })
        );
        let stranger = NewToken::random(KeyId::parse("k1")).unwrap().text();
        assert_eq!(
            expired.ask(&format!("Bearer {stranger}"), need),
            Err(Refusal::Invalid)
        );
        let early = world("not_before = 2026-11-02T10:00:01Z");
        assert_eq!(
            early.ask(&format!("Bearer {}", early.token), need),
            Err(Refusal::NotYetValid { name })
        );
    }

    #[test]
    fn a_certificate_counts_where_no_token_is_presented() {
        let world = world("");
        let (known, other) = (peer("mailer.example.org"), peer("other.example.org"));
        let ask = |authorization, certificate, need| {
            let credentials = Credentials {
                authorization,
                certificate,
            };
            let admitted = world.list.admit(credentials, need, now());
            admitted.map(|admitted| admitted.map(|admitted| admitted.name))
        };
        let read = Need::Scope(Scope::Read);
        assert_eq!(
            ask(None, Some(&known), read),
            Ok(Some("certificate:mailer".into()))
        );
        assert_eq!(ask(None, Some(&other), read), Err(Refusal::Invalid));
        assert_eq!(
            ask(Some(b"Bearer x".as_slice()), Some(&known), read),
            Err(Refusal::Invalid)
        );
        assert_eq!(ask(None, None, read), Err(Refusal::Missing));
        assert_eq!(ask(None, None, Need::Nothing), Ok(None));
    }
}
