//! Keys files: created once, readable by their owner only, refused when damaged, and never shown.

use super::*;

fn file_with(content: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hermod.keys");
    private_file::create(&path, content.as_bytes()).unwrap();
    (directory, path)
}

fn base64_of(byte: u8) -> String {
    BASE64.encode([byte; 32])
}

fn two_token_keys(signing_key_id: u8) -> String {
    format!(
        "version = 1\nrecipient_key = \"{}\"\nsigning_key_id = {signing_key_id}\n\
         [[token_key]]\nid = 1\nkey = \"{}\"\n[[token_key]]\nid = 7\nkey = \"{}\"\n",
        base64_of(1),
        base64_of(2),
        base64_of(3)
    )
}

#[test]
fn keys_are_created_once_and_then_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/hermod.keys");
    let created = Keys::load_or_create(&path).unwrap();
    assert_eq!(Keys::load_or_create(&path).unwrap(), created);
    assert!(matches!(Keys::create(&path), Err(KeysError::Exists(_))));
    assert_eq!(Keys::load(&path).unwrap(), created);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["hermod.keys"], "no draft is left over");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_private_and_one_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = file_with(&two_token_keys(1));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for mode in [0o604, 0o644, 0o620, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Keys::load(&path).unwrap_err();
        assert!(
            matches!(error, KeysError::Exposed { mode: found, .. } if found == mode),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_missing_file_is_told_apart_and_not_created_by_load() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hermod.keys");
    assert!(matches!(Keys::load(&path), Err(KeysError::Missing(_))));
    assert!(!path.exists());
}

#[test]
fn the_signing_key_is_chosen_by_id_and_the_others_still_verify() {
    let keys = Keys::parse(&two_token_keys(7)).unwrap();
    assert_eq!(keys.signing().id, 7);
    assert_eq!(keys.signing().key.expose(), &[3; 32]);
    assert_eq!(keys.token_key(1).map(SecretKey::expose), Some(&[2; 32]));
    assert_eq!(keys.token_key(2), None);
    assert_eq!(
        keys.token_keys().map(|(id, _)| id).collect::<Vec<_>>(),
        [1, 7]
    );
    assert_eq!(Keys::parse(&keys.to_toml()), Ok(keys));
}

#[test]
fn neither_debug_nor_an_error_shows_a_key() {
    let keys = Keys::parse(&two_token_keys(1)).unwrap();
    let shown = format!("{keys:?} {:?}", keys.recipient());
    assert!(
        !shown.contains(&base64_of(1)) && !shown.contains("1, 1"),
        "{shown}"
    );
    assert!(shown.contains("redacted"));
    let secret = base64_of(1);
    let broken = [
        format!("version = 1\nrecipient_key = \"{secret}\n"),
        format!("version = 1\nrecipient_key = \"{secret}!\"\nsigning_key_id = 1\ntoken_key = []"),
        format!("version = 1\nrecipient_kye = \"{secret}\""),
        format!("version = 1\nrecipient_key = [\"{secret}\"]"),
        format!("version = \"{secret}\""),
    ];
    for content in broken {
        let (_directory, path) = file_with(&content);
        let error = Keys::load(&path).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, KeysError::Malformed { .. }), "{text}");
        assert!(!text.contains(&secret), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let good = two_token_keys(1);
    let cases = [
        (good.replace("version = 1", "version = 2"), "version is 2"),
        (
            good.replace("signing_key_id = 1", "signing_key_id = 5"),
            "signing_key_id 5",
        ),
        (good.replace("id = 7", "id = 1"), "twice"),
        (
            good.replace(&base64_of(3), "AAAA"),
            "token_key 7 has 3 bytes",
        ),
        (good.replace(&base64_of(3), &base64_of(0)), "all zeros"),
        (
            good.replace(&base64_of(1), "???"),
            "recipient_key is not base64",
        ),
    ];
    for (content, expected) in cases {
        let violation = Keys::parse(&content).unwrap_err();
        assert!(violation.contains(expected), "{violation}");
    }
}
