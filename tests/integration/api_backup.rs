//! Backups over the wire and on the command line: prepared under load, fetched in pieces, restored, and equal to what was.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hermod::grpc::wire;
use hermod::ops::fetch::{Fetch, FetchError, fetch, partial_path};
use hermod::store::backup::BackupReader;
use tonic::Code;

use crate::server::{Place, Running, subject_lines};

/// Experiments by which the tests make records.
async fn fill(server: &Running, people: usize) -> String {
    let name = server.running("spring", subject_lines()).await;
    for number in 0..people {
        server.choose(&name, &format!("r{number}")).await;
    }
    name
}

/// Everything that a call of Backup sends: the last that was told of the backup, and the bytes.
async fn received(
    server: &mut Running,
    name: &str,
    offset: i64,
) -> (Option<wire::StoredBackup>, Vec<u8>) {
    let request = wire::BackupRequest {
        name: name.to_owned(),
        offset,
    };
    let mut stream = server.operating.backup(request).await.unwrap().into_inner();
    let (mut told, mut bytes) = (None, Vec::new());
    while let Some(message) = stream.message().await.unwrap() {
        told = message.backup.or(told);
        if !message.data.is_empty() {
            assert_eq!(message.offset as usize, offset as usize + bytes.len());
            bytes.extend(message.data);
        }
    }
    (told, bytes)
}

fn hermod(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hermod"))
        .args(arguments)
        .env_remove("HERMOD_CONFIG")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn path(directory: &Path, name: &str) -> (PathBuf, String) {
    let path = directory.join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

#[tokio::test]
async fn a_backup_is_sent_whole_or_from_any_byte_on_and_can_be_deleted() {
    let place = Place::on_disk();
    let mut server = place.start().await;
    fill(&server, 30).await;
    let (told, whole) = received(&mut server, "", 0).await;
    let told = told.unwrap();
    assert_eq!(told.state(), wire::BackupState::Ready);
    assert_eq!(told.size_bytes as usize, whole.len());
    let (manifest, totals) = BackupReader::open(whole.as_slice())
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!(format!("backups/{}", manifest.name), told.name);
    assert!(totals.rows >= 30, "{totals:?}");
    let (_, rest) = received(&mut server, &told.name, 100).await;
    assert_eq!(rest, whole[100..]);
    let (_, nothing) = received(&mut server, &told.name, told.size_bytes).await;
    assert_eq!(nothing, b"");
    let list = wire::ListBackupsRequest {};
    let listed = server.operating.list_backups(list).await.unwrap();
    assert_eq!(listed.into_inner().backups[0].name, told.name);
    let delete = wire::DeleteBackupRequest { name: told.name };
    server
        .operating
        .delete_backup(delete.clone())
        .await
        .unwrap();
    let gone = server.operating.delete_backup(delete).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_for_backups_are_refused_by_field() {
    let place = Place::on_disk();
    let mut server = place.start().await;
    let cases = [
        ("nonsense", 0, Code::InvalidArgument),
        ("backups/../keys", 0, Code::NotFound),
        ("backups/none", 0, Code::NotFound),
        ("", 5, Code::InvalidArgument),
        ("backups/none", -1, Code::InvalidArgument),
    ];
    for (name, offset, code) in cases {
        let name = name.to_owned();
        let request = wire::BackupRequest { name, offset };
        let refused = server.operating.backup(request).await.err().unwrap();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    server.stop().await;
    let mut in_memory = Place::in_memory().start().await;
    let request = wire::BackupRequest::default();
    let refused = in_memory.operating.backup(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_fetch_that_broke_off_goes_on_where_it_was_and_begins_anew_when_the_backup_is_gone() {
    let place = Place::on_disk();
    let mut server = place.start().await;
    fill(&server, 20).await;
    let (told, whole) = received(&mut server, "", 0).await;
    let directory = tempfile::tempdir().unwrap();
    let order = Fetch {
        address: format!("http://{}", server.address),
        token: None,
        output: directory.path().join("b"),
    };
    std::fs::write(partial_path(&order.output), &whole[..whole.len() / 2]).unwrap();
    let mut fetched_from = None;
    let note = |progress| {
        if let hermod::ops::fetch::FetchProgress::Fetched(bytes, _) = progress {
            fetched_from.get_or_insert(bytes);
        }
    };
    fetch(&order, note).await.unwrap();
    assert!(fetched_from.unwrap() > whole.len() as u64 / 2);
    assert_eq!(std::fs::read(&order.output).unwrap(), whole);
    let again = fetch(&order, |_| {}).await;
    assert!(
        matches!(again, Err(FetchError::File { .. })),
        "never over a file"
    );
    let delete = wire::DeleteBackupRequest {
        name: told.unwrap().name,
    };
    server.operating.delete_backup(delete).await.unwrap();
    std::fs::rename(&order.output, partial_path(&order.output)).unwrap();
    fetch(&order, |_| {}).await.unwrap();
    assert!(
        std::fs::read(&order.output).unwrap() != whole,
        "another one"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_restored_directory_answers_as_the_server_did() {
    let place = Place::on_disk();
    let mut server = place.start().await;
    let name = fill(&server, 25).await;
    server.app.refresh();
    // Decisions are compared with their propensities from each start on.
    let lasting = |results| wire::ExperimentResults {
        sample_ratio_check: None,
        ..results
    };
    let before = lasting(server.results(&name).await);
    // Versions of the allocation are counted from each start.
    let unversioned = |decision| wire::Decision {
        allocation_version: 0,
        ..decision
    };
    let sticky = unversioned(server.choose(&name, "r7").await);
    let directory = tempfile::tempdir().unwrap();
    let (file, file_text) = path(directory.path(), "b");
    let (_, whole) = received(&mut server, "", 0).await;
    server.stop().await;
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (target, target_text) = path(directory.path(), "restored");
    let restore = ["restore", &file_text, "--data-dir", &target_text];
    let cut = hermod(&restore);
    assert!(
        !cut.status.success() && text(&cut).contains("damaged"),
        "{}",
        text(&cut)
    );
    assert!(!target.exists(), "nothing is written from a damaged file");
    std::fs::write(&file, &whole).unwrap();
    let restored = hermod(&restore);
    assert!(restored.status.success(), "{}", text(&restored));
    assert!(
        text(&restored).contains("NOT part of a backup"),
        "{}",
        text(&restored)
    );
    let occupied = hermod(&restore);
    assert_eq!(occupied.status.code(), Some(2), "{}", text(&occupied));
    std::fs::copy(
        place.path().join("data/hermod.keys"),
        target.join("hermod.keys"),
    )
    .unwrap();
    let mut place = place;
    place.config.store.path = target;
    let server = place.start().await;
    assert_eq!(lasting(server.results(&name).await), before);
    assert_eq!(unversioned(server.choose(&name, "r7").await), sticky);
    server.stop().await;
}

#[tokio::test]
async fn a_stopped_directory_is_backed_up_and_foreign_keys_are_refused_before_anything_is_written()
{
    let place = Place::on_disk();
    let server = place.start().await;
    fill(&server, 5).await;
    let data = place.path().join("data");
    let directory = tempfile::tempdir().unwrap();
    let (file, file_text) = path(directory.path(), "b");
    let backup = [
        "backup",
        "--output",
        &file_text,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let in_use = hermod(&backup);
    assert!(
        !in_use.status.success() && text(&in_use).contains("--address"),
        "{}",
        text(&in_use)
    );
    server.stop().await;
    let written = hermod(&backup);
    assert!(written.status.success(), "{}", text(&written));
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    BackupReader::open(bytes.as_slice())
        .unwrap()
        .verify()
        .unwrap();
    let (target, target_text) = path(directory.path(), "t");
    let other = Place::on_disk();
    other.start().await.stop().await;
    std::fs::create_dir(&target).unwrap();
    std::fs::copy(
        other.path().join("data/hermod.keys"),
        target.join("hermod.keys"),
    )
    .unwrap();
    let refused = hermod(&["restore", &file_text, "--data-dir", &target_text]);
    assert!(
        !refused.status.success() && text(&refused).contains("of another store"),
        "{}",
        text(&refused)
    );
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
}
