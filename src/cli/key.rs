//! `hermod key`: makes API keys and says which key a token belongs to.
//!
//! A secret is printed once, when it is made, and is never taken from the command line, where other users of the machine would see it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;

use super::setting::SettingArgs;
use super::{CliError, print};
use crate::domain::name::Slug;
use crate::ops::auth::{AccessList, Grant, KeyId, NewToken, Scope, Standing, Token};

/// Longest text that is taken for a token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Make API keys, and check tokens
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewArgs),
    Check(CheckArgs),
}

/// Print a new token, and the entry for the access file that lets it in
#[derive(Debug, clap::Args)]
struct NewArgs {
    /// Tenant whose data the key reaches
    #[arg(long, default_value = "default", value_parser = parse_tenant)]
    tenant: Slug,
    /// What it may do, of read, decide, report, admin and operator
    #[arg(long, required = true, value_delimiter = ',', value_parser = parse_scope)]
    scopes: Vec<Scope>,
    /// Public name of the key, of letters a to z and digits [default: random]
    #[arg(long, value_parser = parse_id)]
    id: Option<KeyId>,
    /// First instant at which it counts, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    not_before: Option<Timestamp>,
    /// First instant at which it no longer counts
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<Timestamp>,
    /// Whom it is for; the entry keeps it
    #[arg(long)]
    comment: Option<String>,
}

/// Read a token from standard input and say which key it is and whether it is valid now
#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Access file [default: auth.access_file of the configuration]
    #[arg(long, value_name = "FILE")]
    access_file: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Runs `hermod key`.
///
/// # Errors
/// No randomness, an access file that cannot be used, a text that is no token.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.action {
        Action::New(args) => {
            let token = NewToken::random(args.id.clone()).map_err(|error| {
                CliError::Failure(format!(
                    "the operating system gave no random bytes: {error}"
                ))
            })?;
            print(&described(&args, &token))
        }
        Action::Check(args) => {
            let path = match args.access_file {
                Some(path) => path,
                None => args.settings.load()?.config.auth.access_file.ok_or_else(|| {
                    CliError::Usage("name an access file: --access-file, or auth.access_file in the configuration".to_owned())
                })?,
            };
            let list =
                AccessList::load(&path).map_err(|error| CliError::Failure(error.to_string()))?;
            let verdict = judged(&list, &read_token()?, Timestamp::now());
            print(&verdict.text)?;
            Ok(if verdict.is_valid {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn parse_tenant(text: &str) -> Result<Slug, String> {
    Slug::parse(text).map_err(|error| error.to_string())
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text)
        .ok_or_else(|| format!("write some of {}", Scope::ALL.map(Scope::as_str).join(",")))
}

fn parse_id(text: &str) -> Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| "must be 1 to 32 letters a to z and digits".to_owned())
}

/// The token and its entry.
fn described(args: &NewArgs, token: &NewToken) -> String {
    let scopes: Vec<String> = args
        .scopes
        .iter()
        .map(|scope| format!("\"{}\"", scope.as_str()))
        .collect();
    let mut text = format!(
        "# The token. It is shown this once: hand it to the one who will call, and keep it nowhere else.\n{}\n\n\
         # For the access file (auth.access_file), which needs a [[tenant]] with name = \"{tenant}\":\n\
         [[key]]\nid = \"{}\"\nhash = \"{}\"\ntenant = \"{tenant}\"\nscopes = [{}]\n",
        token.text(),
        token.id(),
        token.hash(),
        scopes.join(", "),
        tenant = args.tenant
    );
    for (name, instant) in [
        ("not_before", args.not_before),
        ("expires_at", args.expires_at),
    ] {
        if let Some(instant) = instant {
            let _ = writeln!(text, "{name} = {instant}");
        }
    }
    if let Some(comment) = &args.comment {
        let _ = writeln!(text, "comment = {}", toml::Value::from(comment.as_str()));
    }
    text
}

fn read_token() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text);
    read.map_err(|error| CliError::Failure(format!("standard input: {error}")))?;
    Ok(text)
}

struct Verdict {
    text: String,
    is_valid: bool,
}

fn judged(list: &AccessList, text: &str, now: Timestamp) -> Verdict {
    let no = |text: &str| Verdict {
        text: format!("{text}\n"),
        is_valid: false,
    };
    let Some(token) = Token::parse(text.trim()) else {
        return no("this is no token; one looks like hm_<id>_<43 characters>");
    };
    match list.key_of(&token) {
        None => no("no key of the access file has this token"),
        Some((id, grant)) => {
            let standing = grant.validity.at(now);
            Verdict {
                text: format!("{}{}\n", summary(id, grant), standing_text(standing, grant)),
                is_valid: standing == Standing::Valid,
            }
        }
    }
}

fn summary(id: &KeyId, grant: &Grant) -> String {
    let scopes: Vec<&str> = grant.scopes.iter().map(Scope::as_str).collect();
    format!(
        "key {id} of tenant {}, scopes {}: ",
        grant.tenant,
        scopes.join(", ")
    )
}

fn standing_text(standing: Standing, grant: &Grant) -> String {
    let shown = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    match (standing, grant.validity.expires_at) {
        (Standing::Early, _) => format!("not valid before {}", shown(grant.validity.not_before)),
        (Standing::Expired, end) => format!("expired at {}", shown(end)),
        (Standing::Valid, None) => "valid".to_owned(),
        (Standing::Valid, end) => format!("valid until {}", shown(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-02T10:00:00Z".parse().unwrap()
    }

    fn args() -> NewArgs {
        NewArgs {
            tenant: Slug::parse("acme").unwrap(),
            scopes: vec![Scope::Decide, Scope::Report],
            id: None,
            not_before: None,
            expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            comment: Some("the \"new\" mailer".into()),
        }
    }

    fn access_list(text: &str) -> AccessList {
        let entry = text.split_once("[[key]]").unwrap().1;
        AccessList::parse(&format!(
            "version = 1\n[[tenant]]\nname = \"acme\"\n[[key]]{entry}"
        ))
        .unwrap()
    }

    #[test]
    fn the_printed_entry_lets_the_printed_token_in() {
        let token = NewToken::random(None).unwrap();
        let text = described(&args(), &token);
        assert_eq!(text.matches(&token.text()).count(), 1, "{text}");
        let verdict = judged(&access_list(&text), &format!("{}\n", token.text()), now());
        assert!(verdict.is_valid);
        let expected = format!(
            "key {} of tenant acme, scopes decide, report: valid until 2027-01-01T00:00:00Z\n",
            token.id()
        );
        assert_eq!(verdict.text, expected);
    }

    #[test]
    fn other_tokens_expired_ones_and_other_texts_are_not_valid() {
        let token = NewToken::random(None).unwrap();
        let list = access_list(&described(&args(), &token));
        let later = "2027-01-01T00:00:00Z".parse().unwrap();
        for (text, at, expected) in [
            (token.text(), later, "expired at 2027-01-01T00:00:00Z"),
            (
                NewToken::random(None).unwrap().text(),
                now(),
                "no key of the access file",
            ),
            ("hello".to_owned(), now(), "this is no token"),
        ] {
            let verdict = judged(&list, &text, at);
            assert!(!verdict.is_valid);
            assert!(verdict.text.contains(expected), "{}", verdict.text);
            assert!(!verdict.text.contains(&token.text()));
        }
    }
}
