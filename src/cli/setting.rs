//! The flags that set configuration keys, shared by every subcommand that needs a configuration.
//!
//! `--set KEY=VALUE` reaches every key; the few that are typed daily have a flag of their own, which wins over `--set`.

use std::path::PathBuf;

use clap::Args;

use crate::ops::config::{Config, Flag, LoadedConfig, Problems, Sources};

/// Flags from which a configuration is loaded.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct SettingArgs {
    /// Configuration file in TOML [default: $HERMOD_CONFIG, else hermod.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the gRPC service (server.grpc_listen) [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub grpc_listen: Option<String>,
    /// Address of metrics and health pages (server.operations_listen) [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub operations_listen: Option<String>,
    /// Data directory (store.path) [default: ./hermod-data]
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// Form of the log, text or json (log.format) [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Levels to log, such as debug or info,hermod::store=debug (log.filter) [default: info]
    #[arg(long, value_name = "LEVELS")]
    pub log_filter: Option<String>,
    /// Sets any key, such as decisions.holdout_share=0.1; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<Setting>,
}

/// A key and its value from `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `store.path`.
    pub key: String,
    /// The value as written.
    pub value: String,
}

fn parse_setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok(Setting {
            key: key.trim().to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("write KEY=VALUE, such as decisions.holdout_share=0.1".into()),
    }
}

// === impl SettingArgs ===

impl SettingArgs {
    /// Loads the configuration from file, environment and these flags.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn load(self) -> Result<LoadedConfig, Problems> {
        let file = self.config.clone();
        Config::load(&Sources::from_process(file, self.into_flags()))
    }

    /// The flags that were given, `--set` first so that the named ones win.
    pub fn into_flags(self) -> Vec<Flag> {
        let Self {
            config: _,
            grpc_listen,
            operations_listen,
            data_dir,
            log_format,
            log_filter,
            set,
        } = self;
        let named = [
            ("--grpc-listen", "server.grpc_listen", grpc_listen),
            (
                "--operations-listen",
                "server.operations_listen",
                operations_listen,
            ),
            ("--data-dir", "store.path", data_dir),
            ("--log-format", "log.format", log_format),
            ("--log-filter", "log.filter", log_filter),
        ];
        let named = named.into_iter().filter_map(|(name, key, value)| {
            value.map(|value| Flag {
                name: name.into(),
                key: key.into(),
                value,
            })
        });
        let set = set.into_iter().map(|Setting { key, value }| Flag {
            name: "--set".into(),
            key,
            value,
        });
        set.chain(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_flag_wins_over_set_and_is_named_as_the_origin() {
        let args = SettingArgs {
            data_dir: Some("/b".into()),
            set: vec![
                parse_setting("store.path=/a").unwrap(),
                parse_setting("log.filter=a=debug").unwrap(),
            ],
            ..SettingArgs::default()
        };
        let sources = Sources {
            flags: args.into_flags(),
            ..Sources::default()
        };
        let loaded = Config::load(&sources).unwrap();
        assert_eq!(loaded.config.store.path, PathBuf::from("/b"));
        assert_eq!(loaded.config.log.filter, "a=debug");
        let text = loaded.to_toml().unwrap();
        assert!(text.contains("path = \"/b\"  # flag --data-dir"), "{text}");
    }
}
