//! The ports as strangers and callers meet them: TLS, client certificates, API keys, scopes, the audit log.
//!
//! Files are written where a test says and read again when it says so, so nothing here waits for a clock.
mod access;
mod audit;
mod authority;
mod binary;
mod crossing;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};

use hermod::ops::auth::{NewToken, Scope};
use http::{Request, Response};
use tempfile::TempDir;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt as _;

/// Writes a file that only its owner may read, over an existing one.
pub fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An access file under construction.
pub struct AccessFile {
    directory: TempDir,
    text: String,
}

impl AccessFile {
    /// A file in which these tenants are named.
    pub fn of(tenants: &[&str]) -> Self {
        let named = tenants
            .iter()
            .map(|name| format!("[[tenant]]\nname = \"{name}\"\n"));
        let file = Self {
            directory: tempfile::tempdir().unwrap(),
            text: format!("version = 1\n{}", named.collect::<String>()),
        };
        file.write();
        file
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("access.toml")
    }

    /// Adds a key of a tenant; `more` are further lines of its entry.
    pub fn add(&mut self, tenant: &str, scopes: &[Scope], more: &str) -> String {
        let token = NewToken::random(None).unwrap();
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        self.text += &format!(
            "[[key]]\nid = \"{}\"\nhash = \"{}\"\ntenant = \"{tenant}\"\nscopes = {scopes:?}\n{more}\n",
            token.id(),
            token.hash()
        );
        self.write();
        token.text()
    }

    /// Adds lines as they are.
    pub fn add_text(&mut self, text: &str) {
        self.text += text;
        self.write();
    }

    /// Takes everything out that stands in the entry of a token.
    pub fn remove(&mut self, token: &str) {
        let id = id_of(token);
        let entries = self.text.split("[[key]]");
        let kept: Vec<&str> = entries
            .filter(|entry| !entry.contains(&format!("id = \"{id}\"")))
            .collect();
        self.text = kept.join("[[key]]");
        self.write();
    }

    fn write(&self) {
        write_private(&self.path(), &self.text);
    }
}

/// The public name of a token's key.
pub fn id_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

/// Calls a method with an empty message and answers what it said of itself at once.
pub async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Status> {
    call_with(channel, path, token, vec![0; 5]).await
}

/// As [`call`], with a framed message.
pub async fn call_with(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    frame: Vec<u8>,
) -> Result<(), Status> {
    let response = send(channel, path, token, frame).await?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

async fn send(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    frame: Vec<u8>,
) -> Result<Response<Body>, Status> {
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = Body::new(axum::body::Body::from(frame));
    let request = request.body(body).unwrap();
    let answered = channel.clone().oneshot(request).await;
    answered.map_err(|error| Status::unknown(error.to_string()))
}

/// A message in its frame.
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    frame
}
