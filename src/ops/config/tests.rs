//! The configuration is checked whole: every key has a default, limits, a refusal with its origin, and a row in the documentation.

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn flag(key: &str, value: &str) -> Flag {
    Flag {
        name: "--set".into(),
        key: key.into(),
        value: value.into(),
    }
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hermod.toml");
    std::fs::write(&path, text).unwrap();
    (
        directory,
        Sources {
            file: Some(path),
            ..Sources::default()
        },
    )
}

fn problems(sources: &Sources) -> Vec<Problem> {
    Config::load(sources).unwrap_err().0
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect()
}

/// A source in which every value differs from its default.
fn everything_changed() -> (tempfile::TempDir, Sources) {
    file(
        "[server]\ngrpc_listen = \"[::]:1\"\noperations_listen = \"0.0.0.0:2\"\nallow_unauthenticated_network = true\n\
         allow_plaintext_network = true\nworker_threads = 3\nconcurrent_requests_max = 4\nstreams_per_connection_max = 6\n\
         concurrent_streams_max = 5\nconnections_max = 7\nconnections_per_address_max = 8\nresets_pending_max = 9\n\
         metadata_bytes_max = 4096\nfirst_bytes_timeout = \"1s\"\nidle_timeout = \"2m\"\nstalled_timeout = \"3s\"\n\
         connection_age_max = \"48h\"\nconnection_age_grace = \"4s\"\n\
         request_bytes_max = 2048\nrequest_timeout = \"90s\"\n\
         keep_alive_interval = \"1m\"\nkeep_alive_timeout = \"7s\"\ndrain_timeout = \"1h\"\n\
         [tls]\ncertificate_file = \"/c\"\nprivate_key_file = \"/k\"\nclient_ca_file = \"/a\"\n\
         client_certificates = \"required\"\nhandshake_timeout = \"2s\"\n\
         [operations_tls]\ncertificate_file = \"/c\"\nprivate_key_file = \"/k\"\nclient_ca_file = \"/a\"\n\
         client_certificates = \"optional\"\nhandshake_timeout = \"2s\"\n\
         [auth]\naccess_file = \"/x\"\npublic_reflection = true\nmetrics_token_file = \"/m\"\n\
         [audit]\nenabled = false\nfile = \"/l\"\nfile_bytes_max = 65536\nfiles_max = 1\n\
         [store]\nengine = \"memory\"\npath = \"a \\\"b\\\"\"\npartitions = 8\ncache_bytes = 1048576\n\
         fold_interval = \"3s\"\nfree_bytes_min = 5\n\
         [decisions]\nseed = 9223372036854775807\nrefresh_interval = \"10ms\"\ndefault_time_zone = \"Europe/Berlin\"\n\
         probability_floor = 0.1\nholdout_share = 0\nexploration_share = 0.5\n\
         [decision_log]\nenabled = false\nretention = \"48h\"\n\
         [limits]\nrecipients_max = 9\ndecision_log_bytes_per_day_max = 1048576\n\
         requests_per_second_max = 10\nrequests_burst_max = 11\n\
         [privacy]\ndefault_consent = \"none\"\nrecipient_retention = \"1440h\"\nkeys_file = \"/run/keys\"\n\
         [backup]\npath = \"/b\"\nretention = \"2h\"\n\
         [log]\nformat = \"json\"\nfilter = \"warn,hermod=trace\"\n",
    )
}

#[test]
fn without_any_source_the_defaults_are_loaded() {
    let loaded = Config::load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(
        loaded
            .origins
            .iter()
            .all(|(_, origin)| *origin == Origin::Default)
    );
    assert_eq!(
        loaded.config.keys_path(),
        PathBuf::from("./hermod-data/hermod.keys")
    );
    assert_eq!(loaded.config.decisions.time_zone(), jiff::tz::TimeZone::UTC);
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults() {
    let (_directory, mut sources) =
        file("[store]\npartitions = 1\npath = \"f\"\nengine = \"memory\"\n");
    sources.environment = vec![
        variable("HERMOD_STORE__PARTITIONS", "2"),
        variable("HERMOD_STORE__PATH", "2024"),
    ];
    sources.flags = vec![flag("store.partitions", "3")];
    let LoadedConfig { config, origins } = Config::load(&sources).unwrap();
    assert_eq!(config.store.partitions, 3);
    assert_eq!(
        config.store.path,
        PathBuf::from("2024"),
        "a path of digits is still a path"
    );
    assert_eq!(config.store.engine, Engine::Memory);
    assert_eq!(config.store.cache_bytes, StoreConfig::default().cache_bytes);
    let origin = |key: &str| {
        origins
            .iter()
            .find(|(found, _)| found == key)
            .unwrap()
            .1
            .to_string()
    };
    assert_eq!(origin("store.partitions"), "flag --set");
    assert_eq!(
        origin("store.path"),
        "environment variable HERMOD_STORE__PATH"
    );
    assert!(origin("store.engine").starts_with("file "));
    assert_eq!(origin("store.cache_bytes"), "default");
}

#[test]
fn numbers_booleans_and_lengths_of_time_are_read_from_text_sources() {
    let environment = vec![
        variable("HERMOD_DECISIONS__SEED", "42"),
        variable("HERMOD_DECISIONS__HOLDOUT_SHARE", "0.1"),
        variable("HERMOD_DECISIONS__REFRESH_INTERVAL", "2s"),
        variable("HERMOD_SERVER__ALLOW_UNAUTHENTICATED_NETWORK", "true"),
        variable("HERMOD_PRIVACY__KEYS_FILE", "/run/secrets/keys"),
    ];
    let config = Config::load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap()
    .config;
    assert_eq!(config.decisions.seed, Some(42));
    assert_eq!(config.decisions.holdout_share, 0.1);
    assert_eq!(config.decisions.refresh_interval, Period::from_secs(2));
    assert!(config.server.allow_unauthenticated_network);
    assert_eq!(config.keys_path(), PathBuf::from("/run/secrets/keys"));
}

#[test]
fn all_problems_of_all_sources_are_reported_at_once() {
    let (_directory, mut sources) = file(
        "[server]\ngrpc_listen = \"nowhere\"\nrequest_timeout = 10\ngrpc_lisen = \"127.0.0.1:1\"\n\
         [decisions]\nprobability_floor = 2.0\nholdout_share = nan\n[colours]\nsky = \"blue\"\n",
    );
    sources.environment = vec![
        variable("HERMOD_STORE__PARTITIONS", "many"),
        variable("HERMOD_SERVER_GRPC_LISTEN", "127.0.0.1:1"),
        variable("HERMOD_SERVICE_HOST", "10.0.0.1"),
    ];
    sources.flags = vec![
        flag("decisions.default_time_zone", "Mars/Olympus"),
        flag("log.format", "xml"),
    ];
    let problems = problems(&sources);
    let mut found = keys(&problems);
    found.sort_unstable();
    let expected = [
        "colours.sky",
        "decisions.default_time_zone",
        "decisions.holdout_share",
        "decisions.probability_floor",
        "log.format",
        "server.grpc_lisen",
        "server.grpc_listen",
        "server.grpc_listen",
        "server.request_timeout",
        "store.partitions",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_problem_names_key_value_origin_and_next_step() {
    let environment = vec![variable("HERMOD_STORE__PARTITIONS", "0")];
    let text = Config::load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err()
    .to_string();
    assert_eq!(
        text,
        "the configuration has 1 problem:\n  - store.partitions = \"0\" (environment variable \
         HERMOD_STORE__PARTITIONS): is not accepted. Write a whole number from 1 to 4096."
    );
}

#[test]
fn an_unknown_key_is_answered_with_the_keys_there_are() {
    let problems = problems(&Sources {
        flags: vec![flag("log.level", "debug")],
        ..Sources::default()
    });
    assert_eq!(keys(&problems), ["log.level"]);
    assert!(
        problems[0].next_step.contains("log.format, log.filter"),
        "{}",
        problems[0]
    );
}

#[test]
fn an_unknown_key_that_sounds_like_a_secret_is_named_without_its_value() {
    let environment = vec![variable("HERMOD_PRIVACY__RECIPIENT_KEY", "hunter2")];
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    let text = Config::load(&sources).unwrap_err().to_string();
    assert!(text.contains("HERMOD_PRIVACY__RECIPIENT_KEY"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_section_written_as_a_value_and_a_value_written_as_a_section_are_refused() {
    let (_directory, sources) = file("log = \"debug\"\n[store.path]\nx = 1\n");
    let mut found = problems(&sources);
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(keys(&found), ["log", "store.path"]);
    assert!(found[0].next_step.contains("[log]"), "{}", found[0]);
}

#[test]
fn a_broken_or_missing_file_does_not_hide_the_other_problems() {
    let (_directory, mut sources) = file("[server\n");
    sources.flags = vec![flag("store.engine", "paper")];
    assert_eq!(
        keys(&problems(&sources)),
        ["the configuration file", "store.engine"]
    );
    let missing = Sources {
        file: Some("/nowhere/hermod.toml".into()),
        ..Sources::default()
    };
    let text = problems(&missing)[0].to_string();
    assert!(text.contains("/nowhere/hermod.toml"), "{text}");
}

#[test]
fn an_address_in_the_network_needs_an_explicit_permission() {
    let open = [
        flag("server.grpc_listen", "0.0.0.0:50051"),
        flag("server.operations_listen", "[::]:9464"),
    ];
    let refused = problems(&Sources {
        flags: open.to_vec(),
        ..Sources::default()
    });
    assert_eq!(
        keys(&refused),
        ["server.grpc_listen", "server.operations_listen"]
    );
    assert!(
        refused[0]
            .to_string()
            .contains("server.allow_unauthenticated_network = true"),
        "{}",
        refused[0]
    );
    let mut flags = open.to_vec();
    flags.push(flag("server.allow_unauthenticated_network", "true"));
    Config::load(&Sources {
        flags,
        ..Sources::default()
    })
    .unwrap();
    let other_loopback = vec![flag("server.grpc_listen", "[::1]:50051")];
    Config::load(&Sources {
        flags: other_loopback,
        ..Sources::default()
    })
    .unwrap();
}

#[test]
fn an_authenticated_port_in_the_network_needs_tls_or_an_explicit_permission() {
    let open = [
        flag("server.grpc_listen", "0.0.0.0:50051"),
        flag("server.operations_listen", "[::]:9464"),
        flag("auth.access_file", "/x"),
        flag("auth.metrics_token_file", "/m"),
    ];
    let with = |more: &[(&str, &str)]| {
        let more = more.iter().map(|(key, value)| flag(key, value));
        Config::load(&Sources {
            flags: open.iter().cloned().chain(more).collect(),
            ..Sources::default()
        })
    };
    let refused = with(&[]).unwrap_err().0;
    assert_eq!(
        keys(&refused),
        ["server.grpc_listen", "server.operations_listen"]
    );
    for (problem, section) in refused.iter().zip(["tls", "operations_tls"]) {
        let text = problem.to_string();
        assert!(text.contains("in plain text"), "{text}");
        assert!(
            text.contains(&format!("Set {section}.certificate_file")),
            "{text}"
        );
    }
    // Letting strangers in is another matter than letting keys be overheard.
    with(&[("server.allow_unauthenticated_network", "true")]).unwrap_err();
    with(&[("server.allow_plaintext_network", "true")]).unwrap();
    with(&[
        ("tls.certificate_file", "/c"),
        ("tls.private_key_file", "/k"),
        ("operations_tls.certificate_file", "/c"),
        ("operations_tls.private_key_file", "/k"),
    ])
    .unwrap();
}

#[test]
fn required_client_certificates_authenticate_a_port_and_optional_ones_do_not() {
    let with = |word: &str| {
        let flags = [
            ("server.grpc_listen", "0.0.0.0:50051"),
            ("tls.certificate_file", "/c"),
            ("tls.private_key_file", "/k"),
            ("tls.client_ca_file", "/a"),
            ("tls.client_certificates", word),
        ];
        Config::load(&Sources {
            flags: flags.map(|(key, value)| flag(key, value)).to_vec(),
            ..Sources::default()
        })
    };
    with("required").unwrap();
    let refused = with("optional").unwrap_err().0;
    assert_eq!(keys(&refused), ["server.grpc_listen"]);
}

#[test]
fn half_a_configuration_of_tls_is_refused() {
    for (section, given, refused) in [
        (
            "tls",
            vec![("certificate_file", "/c")],
            vec!["private_key_file"],
        ),
        (
            "operations_tls",
            vec![("private_key_file", "/k")],
            vec!["private_key_file"],
        ),
        (
            "tls",
            vec![
                ("client_ca_file", "/a"),
                ("client_certificates", "required"),
            ],
            vec!["client_ca_file"],
        ),
        (
            "tls",
            vec![
                ("certificate_file", "/c"),
                ("private_key_file", "/k"),
                ("client_ca_file", "/a"),
            ],
            vec!["client_ca_file"],
        ),
        (
            "tls",
            vec![
                ("certificate_file", "/c"),
                ("private_key_file", "/k"),
                ("client_certificates", "optional"),
            ],
            vec!["client_ca_file"],
        ),
    ] {
        let key = |name: &str| format!("{section}.{name}");
        let given = given.iter().map(|(name, value)| flag(&key(name), value));
        let found = problems(&Sources {
            flags: given.collect(),
            ..Sources::default()
        });
        let refused: Vec<String> = refused.into_iter().map(key).collect();
        assert_eq!(keys(&found), refused);
    }
}

#[test]
fn the_audit_log_is_beside_the_store_unless_it_is_named_or_the_store_is_in_memory() {
    let path = |flags: &[(&str, &str)]| {
        let flags = flags.iter().map(|(key, value)| flag(key, value)).collect();
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        Config::load(&sources).unwrap().config.audit_path()
    };
    let memory = ("store.engine", "memory");
    assert_eq!(path(&[]), Some("./hermod-data/audit.log".into()));
    assert_eq!(path(&[memory]), None);
    assert_eq!(path(&[memory, ("audit.file", "/l")]), Some("/l".into()));
    assert_eq!(path(&[("audit.enabled", "false")]), None);
}

#[test]
fn the_same_address_for_both_ports_is_refused_unless_the_system_chooses_the_port() {
    let both = |address: &str| Sources {
        flags: vec![
            flag("server.grpc_listen", address),
            flag("server.operations_listen", address),
        ],
        ..Sources::default()
    };
    assert_eq!(
        keys(&problems(&both("127.0.0.1:7000"))),
        ["server.operations_listen"]
    );
    Config::load(&both("127.0.0.1:0")).unwrap();
}

#[test]
fn the_printed_configuration_reads_back_to_the_same_values() {
    let (_directory, changed) = everything_changed();
    for sources in [Sources::default(), changed] {
        let loaded = Config::load(&sources).unwrap();
        let text = loaded.to_toml().unwrap();
        let (_again, printed) = file(&text);
        assert_eq!(
            Config::load(&printed).unwrap().config,
            loaded.config,
            "{text}"
        );
    }
}

#[test]
fn every_key_can_be_changed() {
    let (_directory, changed) = everything_changed();
    let loaded = Config::load(&changed).unwrap();
    let unchanged: Vec<_> = loaded
        .origins
        .iter()
        .filter(|(_, origin)| *origin == Origin::Default)
        .collect();
    assert!(unchanged.is_empty(), "{unchanged:?}");
    let default = toml::Table::try_from(Config::default()).unwrap();
    let current = toml::Table::try_from(&loaded.config).unwrap();
    for (key, _) in &loaded.origins {
        let (section, name) = key.split_once('.').unwrap();
        assert_ne!(
            current[section].get(name),
            default[section].get(name),
            "{key}"
        );
    }
}

#[test]
fn every_field_is_a_key_that_is_read() {
    let (_directory, changed) = everything_changed();
    let loaded = Config::load(&changed).unwrap();
    let table = toml::Table::try_from(&loaded.config).unwrap();
    let fields: usize = table
        .values()
        .map(|section| section.as_table().unwrap().len())
        .sum();
    assert_eq!(fields, loaded.origins.len());
}

#[test]
fn the_documentation_has_a_row_for_every_key_with_its_default_and_variable() {
    let loaded = Config::load(&Sources::default()).unwrap();
    let table = toml::Table::try_from(&loaded.config).unwrap();
    for (key, _) in &loaded.origins {
        let row = DOCUMENT
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {key}"));
        let (section, name) = key.split_once('.').unwrap();
        let default = table[section]
            .get(name)
            .map_or("unset".to_owned(), |value| format!("`{value}`"));
        assert!(
            row.contains(&format!("| {default} |")),
            "{default} is not in {row}"
        );
        assert!(row.contains(&sources::variable_of_key(key)), "{row}");
    }
}

#[test]
fn the_documentation_has_no_row_for_a_key_that_does_not_exist() {
    let loaded = Config::load(&Sources::default()).unwrap();
    let rows = DOCUMENT
        .lines()
        .filter(|line| line.contains("`HERMOD_") && line.starts_with("| `"))
        .count();
    assert_eq!(rows, loaded.origins.len());
}

#[test]
fn the_sample_in_the_documentation_is_a_valid_configuration() {
    let sample = DOCUMENT
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let (_directory, sources) = file(sample);
    let loaded = Config::load(&sources).unwrap();
    assert_ne!(loaded.config, Config::default());
}
