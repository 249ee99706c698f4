//! The binary itself: keys made and checked by commands, SIGHUP, and a log at its most talkative without a secret.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tonic::transport::{Channel, Endpoint};

use super::{call, write_private};

const STATISTICS: &str = "/hermod.v1.OperationsService/GetStatistics";

fn hermod() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermod"));
    command.env_remove("HERMOD_CONFIG");
    command
}

/// A token and its entry, as the command prints them.
fn new_key(scopes: &str) -> (String, String) {
    let made = hermod().args(["key", "new", "--scopes", scopes]).output();
    let made = made.unwrap();
    assert!(made.status.success());
    let text = String::from_utf8(made.stdout).unwrap();
    let token = text.lines().find(|line| line.starts_with("hm_")).unwrap();
    let (_, entry) = text.split_once("[[key]]").unwrap();
    (token.to_owned(), format!("[[key]]{entry}"))
}

fn check(access: &Path, token: &str) -> (bool, String) {
    let mut child = hermod()
        .args(["key", "check", "--access-file"])
        .arg(access)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(token.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// A running server, ended with its test.
struct Served {
    child: Child,
    address: SocketAddr,
    said: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(access: &Path) -> Served {
    let mut child = hermod()
        .args([
            "serve",
            "--grpc-listen",
            "127.0.0.1:0",
            "--operations-listen",
            "127.0.0.1:0",
        ])
        .args(["--log-filter", "trace", "--set", "store.engine=memory"])
        .arg("--set")
        .arg(format!("auth.access_file={}", access.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("try  ") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let line = said.lines().find(|line| line.contains("gRPC  ")).unwrap();
    let address = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    Served {
        child,
        address,
        said,
    }
}

async fn connect(served: &Served) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn keys_are_made_checked_picked_up_at_sighup_and_never_logged() {
    let directory = tempfile::tempdir().unwrap();
    let access = directory.path().join("access.toml");
    let head = "version = 1\n[[tenant]]\nname = \"default\"\n";
    let (first, first_entry) = new_key("read");
    let (second, second_entry) = new_key("read,decide");
    write_private(&access, &format!("{head}{first_entry}"));
    assert!(check(&access, &first).0);
    let (is_valid, text) = check(&access, &second);
    assert!(!is_valid && !text.contains(&second), "{text}");

    let mut served = serve(&access);
    // Read in a thread of its own: a full pipe would stop the server.
    let mut errors = served.child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    let channel = connect(&served).await;
    call(&channel, STATISTICS, Some(&first)).await.unwrap();
    call(&channel, STATISTICS, Some(&second)).await.unwrap_err();
    call(&channel, STATISTICS, Some("hm_planted_secret"))
        .await
        .unwrap_err();

    write_private(&access, &format!("{head}{first_entry}{second_entry}"));
    signal(&served, "-HUP");
    while call(&channel, STATISTICS, Some(&second)).await.is_err() {
        tokio::task::yield_now().await;
    }
    write_private(
        &access,
        &format!("{head}{second_entry}[[key]]\nid = \"{first}\"\n"),
    );
    signal(&served, "-HUP");
    write_private(&access, &format!("{head}{second_entry}"));
    signal(&served, "-HUP");
    while call(&channel, STATISTICS, Some(&first)).await.is_ok() {
        tokio::task::yield_now().await;
    }

    signal(&served, "-TERM");
    served.child.wait().unwrap();
    let log = log.join().unwrap();
    assert!(log.contains("a call was refused"), "{log}");
    assert!(log.contains("SIGHUP"), "{log}");
    for token in [&first, &second] {
        let secret = token.splitn(3, '_').nth(2).unwrap();
        assert!(!log.contains(secret) && !served.said.contains(secret));
    }
    assert!(!log.contains("hm_planted_secret"), "{log}");
}

fn signal(served: &Served, option: &str) {
    let id = served.child.id().to_string();
    let sent = Command::new("kill").args([option, &id]).status().unwrap();
    assert!(sent.success());
}
