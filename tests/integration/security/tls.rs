//! TLS of both ports: who gets a connection, whose certificate is shown, and what a change of the files does to open connections.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hermod::ops::auth::Scope;
use hermod::ops::compose::open_app;
use hermod::ops::config::{ClientCertificates, Period, TlsConfig};
use hermod::ops::metrics::Metrics;
use hermod::ops::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::authority::{Authority, Client, ServerFiles};
use super::{AccessFile, call};
use crate::server::{Place, Running};

const STATISTICS: &str = "/hermod.v1.OperationsService/GetStatistics";

async fn serve(tls: TlsConfig) -> Running {
    let mut place = Place::in_memory();
    place.config.tls = tls;
    place.start().await
}

#[tokio::test]
async fn calls_are_answered_over_tls_1_2_and_1_3_and_not_in_plain_text() {
    let authority = Authority::new();
    let files = ServerFiles::of(&authority.server());
    let server = serve(files.config()).await;
    for client in [
        Client::trusting(&authority),
        Client::trusting(&authority).over_tls_1_2(),
    ] {
        let channel = client.connect(server.address).await.unwrap();
        assert!(call(&channel, STATISTICS, None).await.is_ok());
    }
    call(&server.channel, STATISTICS, None).await.unwrap_err();
    let stranger = Authority::new();
    let refused = Client::trusting(&stranger).connect(server.address).await;
    assert!(refused.is_err(), "the client knows another authority");
    let http = Client::trusting(&authority).speaking(b"http/1.1");
    assert!(http.shake_hands(server.address).await.is_err());
    server.stop().await;
}

/// Whether a call gets through, with the certificate checked by the handshake.
async fn gets_through(client: &Client<'_>, server: &Running) -> bool {
    match client.connect(server.address).await {
        // In TLS 1.3 the client hears of a refusal with its first answer only.
        Ok(channel) => call(&channel, STATISTICS, None).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn required_client_certificates_keep_out_strangers_and_other_authorities() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = ServerFiles::of(&authority.server());
    let tls = files.with_clients_of(&authority, ClientCertificates::Required);
    let server = serve(tls).await;
    let known = authority.client("mailer.example.org", "spiffe://acme/mailer");
    let foreign = other.client("mailer.example.org", "spiffe://acme/mailer");
    let client = || Client::trusting(&authority);
    assert!(gets_through(&client().presenting(&known), &server).await);
    assert!(gets_through(&client().presenting(&known).over_tls_1_2(), &server).await);
    assert!(!gets_through(&client(), &server).await);
    assert!(!gets_through(&client().over_tls_1_2(), &server).await);
    assert!(!gets_through(&client().presenting(&foreign), &server).await);
    server.stop().await;
}

#[tokio::test]
async fn optional_client_certificates_may_be_missing_but_not_wrong() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = ServerFiles::of(&authority.server());
    let tls = files.with_clients_of(&authority, ClientCertificates::Optional);
    let server = serve(tls).await;
    let known = authority.client("a.example.org", "a:b");
    let foreign = other.client("a.example.org", "a:b");
    let client = || Client::trusting(&authority);
    assert!(gets_through(&client(), &server).await);
    assert!(gets_through(&client().presenting(&known), &server).await);
    assert!(!gets_through(&client().presenting(&foreign), &server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_has_the_scopes_of_its_entry_by_fingerprint_dns_name_or_uri() {
    let authority = Authority::new();
    let by_fingerprint = authority.client("one.example.org", "a:one");
    let by_dns_name = authority.client("two.example.org", "a:two");
    let by_uri = authority.client("three.example.org", "spiffe://acme/three");
    let unknown = authority.client("four.example.org", "a:four");
    let mut access = AccessFile::of(&["default"]);
    for (name, how) in [
        (
            "one",
            format!("fingerprint_sha256 = \"{}\"", by_fingerprint.fingerprint()),
        ),
        ("two", "dns_name = \"two.example.org\"".to_owned()),
        ("three", "uri_name = \"spiffe://acme/three\"".to_owned()),
    ] {
        access.add_text(&format!(
            "[[certificate]]\nname = \"{name}\"\n{how}\ntenant = \"default\"\nscopes = [\"read\"]\n"
        ));
    }
    let token = access.add("default", &[Scope::Report], "");
    let files = ServerFiles::of(&authority.server());
    let mut place = Place::in_memory();
    place.config.tls = files.with_clients_of(&authority, ClientCertificates::Optional);
    place.config.auth.access_file = Some(access.path());
    let server = place.start().await;
    for identity in [&by_fingerprint, &by_dns_name, &by_uri] {
        let client = Client::trusting(&authority).presenting(identity);
        let channel = client.connect(server.address).await.unwrap();
        call(&channel, STATISTICS, None).await.unwrap();
        let decide = "/hermod.v1.DecisionService/Decide";
        let refused = call(&channel, decide, None).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        // A token decides where there is one: it has another scope than the certificate.
        let refused = call(&channel, STATISTICS, Some(&token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let client = Client::trusting(&authority).presenting(&unknown);
    let channel = client.connect(server.address).await.unwrap();
    let refused = call(&channel, STATISTICS, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    server.stop().await;
}

/// The certificate that a server shows to a new connection.
async fn shown(client: &Client<'_>, server: &Running) -> Vec<u8> {
    let stream = client.shake_hands(server.address).await.unwrap();
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn new_files_are_served_without_restart_and_open_connections_go_on() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let files = ServerFiles::of(&first);
    let server = serve(files.config()).await;
    let client = Client::trusting(&authority);
    let open = client.connect(server.address).await.unwrap();
    call(&open, STATISTICS, None).await.unwrap();
    assert_eq!(
        shown(&client, &server).await,
        first.certificate.der().to_vec()
    );

    files.replace(&second);
    server.security.reload().await;
    assert_eq!(
        shown(&client, &server).await,
        second.certificate.der().to_vec()
    );
    call(&open, STATISTICS, None).await.unwrap();

    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\nno\n",
        &first.certificate.pem(),
    ] {
        fs::write(files.certificate(), broken).unwrap();
        server.security.reload().await;
        assert_eq!(
            shown(&client, &server).await,
            second.certificate.der().to_vec()
        );
        let page = server.page("/metrics").await;
        assert!(
            page.contains("hermod_files_unusable{file=\"tls\"} 1"),
            "{page}"
        );
    }
    files.replace(&first);
    server.security.reload().await;
    assert_eq!(
        shown(&client, &server).await,
        first.certificate.der().to_vec()
    );
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_delays_nobody_and_is_cut_off() {
    let authority = Authority::new();
    let files = ServerFiles::of(&authority.server());
    let tls = TlsConfig {
        handshake_timeout: Period::from_millis(200),
        ..files.config()
    };
    let server = serve(tls).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let client = Client::trusting(&authority);
    let channel = client.connect(server.address).await.unwrap();
    call(&channel, STATISTICS, None).await.unwrap();
    for mut stream in silent {
        // The server closes it; until then this waits.
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
    call(&channel, STATISTICS, None).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn more_silent_clients_than_are_waited_for_keep_nobody_out() {
    let authority = Authority::new();
    let files = ServerFiles::of(&authority.server());
    let tls = TlsConfig {
        handshake_timeout: Period::from_secs(300),
        ..files.config()
    };
    let server = serve(tls).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let client = Client::trusting(&authority);
    let channel = client.connect(server.address).await.unwrap();
    call(&channel, STATISTICS, None).await.unwrap();
    assert_eq!(
        silent[0].read(&mut [0; 16]).await.unwrap_or(0),
        0,
        "the oldest was given up"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_operations_port_has_its_own_tls_and_its_own_token() {
    let authority = Authority::new();
    let files = ServerFiles::of(&authority.server());
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("metrics.token");
    let token = "0123456789abcdef0123456789abcdef";
    super::write_private(&token_file, token);
    let mut place = Place::in_memory();
    place.config.operations_tls = files.config();
    place.config.auth.metrics_token_file = Some(token_file);
    let server = place.start().await;
    let page = |path: &'static str, header: String| {
        let client = Client::trusting(&authority).speaking(b"http/1.1");
        let address = server.operations;
        async move {
            let mut stream = client.shake_hands(address).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: hermod\r\n{header}connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        }
    };
    let right = format!("authorization: Bearer {token}\r\n");
    let wrong = format!("authorization: Bearer {token}0\r\n");
    assert!(page("/metrics", right).await.starts_with("HTTP/1.1 200"));
    for header in [String::new(), wrong] {
        let answer = page("/metrics", header).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.contains("hermod_requests_total"), "{answer}");
    }
    assert!(
        page("/live", String::new())
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        page("/ready", String::new())
            .await
            .starts_with("HTTP/1.1 200")
    );
    server.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start() {
    let authority = Authority::new();
    let files = ServerFiles::of(&authority.server());
    let mut place = Place::in_memory();
    place.config.tls = files.config();
    let refusal = async |place: &Place| {
        let opened = open_app(&place.config, place.clock.clone()).await.unwrap();
        let handle = Metrics::new().unwrap().handle();
        let opened = Server::open(opened, place.config.clone(), handle).await;
        opened
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert_eq!(refusal(&place).await, "");
    let mode = |mode| {
        fs::set_permissions(files.private_key(), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let text = refusal(&place).await;
    assert!(text.contains("chmod 600"), "{text}");
    mode(0o600);
    fs::write(files.certificate(), authority.server().certificate.pem()).unwrap();
    let text = refusal(&place).await;
    assert!(text.contains("certificate and private key"), "{text}");
    place.config.tls = TlsConfig::default();
    place.config.auth.access_file = Some(files.certificate());
    let text = refusal(&place).await;
    assert!(text.contains("access file"), "{text}");
}
