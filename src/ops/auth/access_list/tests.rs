//! Access files: what they say is what is granted, and every mistake refuses the whole file without quoting it.

use super::super::token::NewToken;
use super::*;

const HASH: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
const FINGERPRINT: &str = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99";

fn file(entries: &str) -> String {
    format!("version = 1\n[[tenant]]\nname = \"acme\"\n{entries}")
}

fn key(more: &str) -> String {
    file(&format!("[[key]]\nid = \"k1\"\nhash = \"{HASH}\"\n{more}"))
}

fn certificate(more: &str) -> String {
    file(&format!(
        "[[certificate]]\nname = \"mailer\"\ntenant = \"acme\"\nscopes = [\"decide\"]\n{more}"
    ))
}

#[test]
fn a_key_is_read_with_all_it_says() {
    let text = key(
        "tenant = \"acme\"\nscopes = [\"decide\", \"report\"]\nnot_before = 2026-01-01T00:00:00Z\n\
         expires_at = \"2027-01-01T00:00:00Z\"\ncomment = \"the mailer\"\n",
    );
    let list = AccessList::parse(&text).unwrap();
    let key = &list.keys[&KeyId::parse("k1").unwrap()];
    assert_eq!(key.hash.to_string(), HASH);
    assert_eq!(key.grant.tenant.as_str(), "acme");
    assert_eq!(
        key.grant.scopes,
        Scopes::of(&[Scope::Decide, Scope::Report])
    );
    let at = |text: &str| key.grant.validity.at(text.parse().unwrap());
    assert_eq!(at("2025-12-31T23:59:59Z"), Standing::Early);
    assert_eq!(at("2026-01-01T00:00:00Z"), Standing::Valid);
    assert_eq!(at("2026-12-31T23:59:59Z"), Standing::Valid);
    assert_eq!(at("2027-01-01T00:00:00Z"), Standing::Expired);
}

#[test]
fn a_certificate_is_recognised_by_exactly_one_thing() {
    let list = |more: &str| AccessList::parse(&certificate(more));
    let matched = |more: &str| list(more).unwrap().certificates[0].matched_by.clone();
    let CertificateMatch::Fingerprint(bytes) =
        matched(&format!("fingerprint_sha256 = \"{FINGERPRINT}\"\n"))
    else {
        panic!("a fingerprint")
    };
    assert_eq!(bytes[..3], [0xaa, 0xbb, 0xcc]);
    assert_eq!(
        matched("dns_name = \"mailer.example.org\"\n"),
        CertificateMatch::DnsName("mailer.example.org".into())
    );
    assert_eq!(
        matched("uri_name = \"spiffe://acme/mailer\"\n"),
        CertificateMatch::UriName("spiffe://acme/mailer".into())
    );
    for bad in [
        "",
        "dns_name = \"\"\n",
        "dns_name = \"a\"\nuri_name = \"b:c\"\n",
        "fingerprint_sha256 = \"aabb\"\n",
    ] {
        assert!(
            list(bad).unwrap_err().contains("certificate mailer"),
            "{bad}"
        );
    }
}

#[test]
fn a_mistake_refuses_the_file_and_is_named_without_quoting_it() {
    let planted = NewToken::random(None).unwrap().text();
    let granted = "tenant = \"acme\"\nscopes = [\"read\"]\n";
    let cases = [
        (
            file(&format!(
                "[[key]]\nid = \"k1\"\nhash = \"{planted}\"\n{granted}"
            )),
            "hash of key k1",
        ),
        (
            file(&format!(
                "[[key]]\nid = \"{planted}\"\nhash = \"{HASH}\"\n{granted}"
            )),
            "id of key number 1",
        ),
        (file(&format!("[[key]]\ntoken = \"{planted}\"\n")), "line 5"),
        (file(&format!("planted {planted}")), "line 4"),
        (
            key("tenant = \"other\"\nscopes = [\"read\"]\n"),
            "no [[tenant]] with the name other",
        ),
        (
            key("tenant = \"acme\"\nscopes = [\"root\"]\n"),
            "none of read, decide",
        ),
        (key("tenant = \"acme\"\nscopes = []\n"), "no scope"),
        (
            key(&format!("{granted}expires_at = \"tomorrow\"\n")),
            "expires_at is no instant",
        ),
        (
            key(&format!("{granted}not_before = 7\n")),
            "not_before is no instant",
        ),
        (
            key(&format!(
                "{granted}[[key]]\nid = \"k1\"\nhash = \"{HASH}\"\n{granted}"
            )),
            "key k1 is there twice",
        ),
        (file("[[tenant]]\nname = \"acme\"\n"), "tenant number 2"),
        ("version = 2\n".to_owned(), "version is 2"),
        (String::new(), "line 1"),
    ];
    for (text, expected) in cases {
        let refused = AccessList::parse(&text).unwrap_err();
        assert!(refused.contains(expected), "{expected}: {refused}");
        assert!(!refused.contains(&planted), "{refused}");
    }
}
