//! The access file: tenants, API keys and client certificates, with what each may do.
//!
//! Invariant: a list that parses names every tenant it uses, has no two entries for one id, and holds hashes only, never a token. A file with
//! a mistake is refused as a whole, and the text of the refusal quotes no content.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::name::Slug;

use super::scope::{Scope, Scopes};
use super::token::{KeyId, TokenHash};

const FORMAT_VERSION: u32 = 1;

/// Everybody who may call, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// The tenants there are.
    pub tenants: BTreeSet<Slug>,
    /// API keys by their id.
    pub keys: BTreeMap<KeyId, Key>,
    /// Client certificates in the order of the file; the first that fits counts.
    pub certificates: Vec<Certificate>,
}

/// What credentials are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose data they reach.
    pub tenant: Slug,
    /// What they may do with it.
    pub scopes: Scopes,
    /// When they count.
    pub validity: Validity,
}

/// From when until when credentials count; open where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// The first instant.
    pub not_before: Option<Timestamp>,
    /// The first instant at which they no longer count.
    pub expires_at: Option<Timestamp>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The hash of its token.
    pub hash: TokenHash,
    /// What it is good for.
    pub grant: Grant,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What the audit log calls it.
    pub name: Slug,
    /// How it is recognised.
    pub matched_by: CertificateMatch,
    /// What it is good for.
    pub grant: Grant,
}

/// How a certificate that the client CA has signed is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateMatch {
    /// SHA-256 of its DER encoding.
    Fingerprint([u8; 32]),
    /// A DNS name among its subject alternative names, letter by letter.
    DnsName(String),
    /// A URI among its subject alternative names, letter by letter.
    UriName(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    tenant: Vec<TenantEntry>,
    #[serde(default)]
    key: Vec<KeyEntry>,
    #[serde(default)]
    certificate: Vec<CertificateEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    hash: String,
    tenant: String,
    scopes: Vec<String>,
    not_before: Option<toml::Value>,
    expires_at: Option<toml::Value>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: String,
    fingerprint_sha256: Option<String>,
    dns_name: Option<String>,
    uri_name: Option<String>,
    tenant: String,
    scopes: Vec<String>,
    not_before: Option<toml::Value>,
    expires_at: Option<toml::Value>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

/// What keys and certificates are granted, as written.
struct GrantEntry<'a> {
    tenant: &'a str,
    scopes: &'a [String],
    not_before: Option<&'a toml::Value>,
    expires_at: Option<&'a toml::Value>,
}

// === impl AccessList ===

impl AccessList {
    /// Reads an access file.
    ///
    /// # Errors
    /// What is wrong with it, in words that quote nothing but names of entries.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        if file.version != FORMAT_VERSION {
            return Err(format!(
                "its version is {}, and only {FORMAT_VERSION} is known",
                file.version
            ));
        }
        let mut list = Self::default();
        for (at, TenantEntry { name }) in file.tenant.iter().enumerate() {
            let name = Slug::parse(name)
                .map_err(|error| format!("the name of tenant number {} {error}", at + 1))?;
            if !list.tenants.insert(name) {
                return Err(format!("tenant number {} is there twice", at + 1));
            }
        }
        for (at, entry) in file.key.iter().enumerate() {
            list.add_key(at + 1, entry)?;
        }
        for (at, entry) in file.certificate.iter().enumerate() {
            list.add_certificate(at + 1, entry)?;
        }
        Ok(list)
    }

    fn add_key(&mut self, number: usize, entry: &KeyEntry) -> Result<(), String> {
        let id = KeyId::parse(&entry.id).ok_or_else(|| {
            format!("the id of key number {number} is not 1 to 32 letters a to z and digits")
        })?;
        let hash = TokenHash::parse(&entry.hash).ok_or_else(|| {
            format!("the hash of key {id} is not one that `hermod key new` prints")
        })?;
        let granted = GrantEntry {
            tenant: &entry.tenant,
            scopes: &entry.scopes,
            not_before: entry.not_before.as_ref(),
            expires_at: entry.expires_at.as_ref(),
        };
        let grant = self.grant(&granted);
        let grant = grant.map_err(|violation| format!("key {id}: {violation}"))?;
        let twice = format!("key {id} is there twice");
        match self.keys.insert(id, Key { hash, grant }) {
            None => Ok(()),
            Some(_) => Err(twice),
        }
    }

    fn add_certificate(&mut self, number: usize, entry: &CertificateEntry) -> Result<(), String> {
        let name = Slug::parse(&entry.name)
            .map_err(|error| format!("the name of certificate number {number} {error}"))?;
        let of = |violation| format!("certificate {name}: {violation}");
        let granted = GrantEntry {
            tenant: &entry.tenant,
            scopes: &entry.scopes,
            not_before: entry.not_before.as_ref(),
            expires_at: entry.expires_at.as_ref(),
        };
        let grant = self.grant(&granted).map_err(of)?;
        let matched_by = entry.matched_by().map_err(of)?;
        let same = |other: &Certificate| other.name == name || other.matched_by == matched_by;
        if self.certificates.iter().any(same) {
            return Err(format!("certificate {name} is there twice"));
        }
        self.certificates.push(Certificate {
            name,
            matched_by,
            grant,
        });
        Ok(())
    }

    fn grant(&self, entry: &GrantEntry<'_>) -> Result<Grant, String> {
        let tenant = Slug::parse(entry.tenant).map_err(|error| format!("its tenant {error}"))?;
        if !self.tenants.contains(&tenant) {
            return Err(format!(
                "there is no [[tenant]] with the name {tenant}; add it if it is meant"
            ));
        }
        let scopes: Option<Vec<Scope>> =
            entry.scopes.iter().map(|word| Scope::parse(word)).collect();
        let scopes = Scopes::of(&scopes.ok_or_else(|| format!("a scope is none of {}", words()))?);
        if scopes.is_empty() {
            return Err(format!("it has no scope; give some of {}", words()));
        }
        let validity = Validity {
            not_before: instant("not_before", entry.not_before)?,
            expires_at: instant("expires_at", entry.expires_at)?,
        };
        Ok(Grant {
            tenant,
            scopes,
            validity,
        })
    }
}

// === impl CertificateEntry ===

impl CertificateEntry {
    fn matched_by(&self) -> Result<CertificateMatch, String> {
        let named = |name: &String| (!name.is_empty()).then(|| name.clone());
        let given = (&self.fingerprint_sha256, &self.dns_name, &self.uri_name);
        let matched_by = match given {
            (Some(text), None, None) => fingerprint(text).map(CertificateMatch::Fingerprint),
            (None, Some(name), None) => named(name).map(CertificateMatch::DnsName),
            (None, None, Some(name)) => named(name).map(CertificateMatch::UriName),
            _ => None,
        };
        matched_by.ok_or_else(|| {
            "give exactly one of fingerprint_sha256 (64 hexadecimal digits), dns_name and uri_name"
                .to_owned()
        })
    }
}

/// Hexadecimal digits, with or without the colons that openssl writes.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let hash = blake3::Hash::from_hex(digits.to_ascii_lowercase()).ok()?;
    Some(*hash.as_bytes())
}

fn instant(name: &str, value: Option<&toml::Value>) -> Result<Option<Timestamp>, String> {
    let text = match value {
        None => return Ok(None),
        Some(toml::Value::Datetime(datetime)) => datetime.to_string(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(_) => String::new(),
    };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| format!("{name} is no instant such as 2027-01-31T00:00:00Z"))
}

fn words() -> String {
    Scope::ALL.map(Scope::as_str).join(", ")
}

/// Where the file is wrong. The parser's own message may quote the content, so it is not passed on.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    format!(
        "line {line} is malformed, misplaced or incomplete (an access file has version, [[tenant]] with name, [[key]] with id, hash, \
         tenant and scopes, and [[certificate]] with name, tenant, scopes and one of fingerprint_sha256, dns_name, uri_name; a validity \
         is not_before and expires_at)"
    )
}

// === impl Validity ===

/// Where an instant lies in a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet.
    Early,
    /// Within.
    Valid,
    /// No longer.
    Expired,
}

impl Validity {
    /// Where `now` lies.
    pub fn at(&self, now: Timestamp) -> Standing {
        if self.expires_at.is_some_and(|end| now >= end) {
            Standing::Expired
        } else if self.not_before.is_some_and(|start| now < start) {
            Standing::Early
        } else {
            Standing::Valid
        }
    }
}

#[cfg(test)]
mod tests;
