//! Threads that answer go before those that do not. Linux only, where priorities are per thread.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use hermod::bench::process::Process;
use hermod::grpc::wire;
use hermod::grpc::wire::decision_service_client::DecisionServiceClient;

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

#[tokio::test]
async fn threads_that_answer_do_not_stand_back_and_those_beside_them_do() {
    let settings = [
        "store.engine=memory",
        "server.grpc_listen=127.0.0.1:0",
        "server.operations_listen=127.0.0.1:0",
    ];
    let settings = settings.into_iter().flat_map(|setting| ["--set", setting]);
    let arguments = std::iter::once("serve").chain(settings);
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_hermod"));
    let server = Process::start(program, "hermod", &arguments).unwrap();
    // Once a call is answered its threads are there, whatever the answer.
    let address = format!("http://{}", server.address);
    let mut client = DecisionServiceClient::connect(address).await.unwrap();
    let refused = client.decide(wire::DecideRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument);
    let found = threads(server.id());
    let (_, own) = threads(std::process::id())[0];
    for (name, expected) in [("grpc", own), ("tokio-rt", (own + 6).min(19))] {
        let named = found.iter().filter(|(of, _)| of.starts_with(name));
        let niceness: Vec<i32> = named.map(|(_, niceness)| *niceness).collect();
        assert!(!niceness.is_empty(), "{found:?}");
        assert!(niceness.iter().all(|n| *n == expected), "{found:?}");
    }
}
