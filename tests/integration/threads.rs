//! Threads that answer go before those that do not. Linux only, where priorities are per thread.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// Name and niceness of each thread of a process.
fn threads(process: u32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).ok();
    let stats = tasks.flatten().filter_map(stat);
    let read = |stat: String| {
        // The name stands in brackets and may have any of its own; niceness is the 17th field behind it.
        let (before, behind) = stat.rsplit_once(')').unwrap();
        let (_, name) = before.split_once('(').unwrap();
        let niceness = behind.split_whitespace().nth(16).unwrap();
        (name.to_owned(), niceness.parse().unwrap())
    };
    stats.map(read).collect()
}

#[test]
fn threads_that_answer_do_not_stand_back_and_those_beside_them_do() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_hermod"))
        .args(["serve", "--set", "store.engine=memory"])
        .args(["--set", "server.grpc_listen=127.0.0.1:0"])
        .args(["--set", "server.operations_listen=127.0.0.1:0"])
        .env_remove("HERMOD_CONFIG")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = output.find_map(|line| {
        let line = line.unwrap();
        let (_, address) = line.split_once("http://")?;
        Some(address.split_once('/')?.0.to_owned())
    });
    // Once a page is answered all threads are there: those that answer calls are started first.
    let alive = address.map(|address| {
        let mut page = TcpStream::connect(address).unwrap();
        page.write_all(b"GET /live HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        answer
    });
    let found = threads(server.id());
    server.kill().unwrap();
    server.wait().unwrap();
    let alive = alive.expect("it ended before it served");
    assert!(alive.contains(" 200 "), "{alive}");
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, behind) = own.rsplit_once(')').unwrap();
    let own: i32 = behind.split_whitespace().nth(16).unwrap().parse().unwrap();
    let niceness = |of: &str| -> Vec<i32> {
        let threads = found.iter().filter(|(name, _)| name.starts_with(of));
        threads.map(|(_, niceness)| *niceness).collect()
    };
    let answering = niceness("grpc");
    assert!(!answering.is_empty(), "{found:?}");
    assert!(
        answering.iter().all(|niceness| *niceness == own),
        "{found:?}"
    );
    let beside = niceness("tokio-rt");
    assert!(!beside.is_empty(), "{found:?}");
    assert!(
        beside.iter().all(|niceness| *niceness == (own + 6).min(19)),
        "{found:?}"
    );
}
