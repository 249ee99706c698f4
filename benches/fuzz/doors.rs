//! The doors: each takes inputs of one kind, made from a seed round by round.
//!
//! Invariant: a round is replayed by its door and seed; every door is in `Door::ALL`, so that a new one is tried everywhere.
use super::files::{self, Samples};
use super::history::{Calls, History};
use super::mutation::Chance;

/// A place where bytes come in from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Decision tokens.
    Token,
    /// Stored records of every kind, and keys.
    Records,
    /// Every method of the interface.
    Requests,
    /// Decisions and the events of them.
    Events,
    /// Backup files.
    Backup,
    /// Lines of an export.
    Import,
    /// Configuration files.
    Config,
    /// Keys files.
    Keys,
}

/// What is told of each input before it is tried, so that it can be printed should it be the last.
pub type Tell<'a> = &'a mut dyn FnMut(&[u8]);

impl Door {
    /// All of them.
    pub const ALL: [Door; 8] = [
        Door::Token,
        Door::Records,
        Door::Requests,
        Door::Events,
        Door::Backup,
        Door::Import,
        Door::Config,
        Door::Keys,
    ];

    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Records => "records",
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Backup => "backup",
            Self::Import => "import",
            Self::Config => "config",
            Self::Keys => "keys",
        }
    }

    /// Inputs of a round: those of histories depend on each other.
    fn inputs(self) -> u64 {
        match self {
            Self::Requests => 300,
            Self::Events => 600,
            Self::Token | Self::Records => 2_000,
            _ => 200,
        }
    }

    /// Plays a round, or its first `inputs_max` inputs; how many that were.
    pub fn round(self, samples: &Samples, seed: u64, inputs_max: u64, tell: Tell<'_>) -> u64 {
        let inputs = self.inputs().min(inputs_max);
        let calls = match self {
            Self::Requests => Calls::All,
            Self::Events => Calls::Events,
            _ => {
                let mut chance = Chance::new(seed);
                for _ in 0..inputs {
                    let input = self.input(samples, &mut chance);
                    tell(&input);
                    self.try_input(samples, &input);
                }
                return inputs;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut history = History::new(seed, calls).await;
            for _ in 0..inputs {
                let (path, message) = history.next();
                tell(&[path.as_bytes(), b" ", &message].concat());
                history.call(&path, &message).await;
            }
            history.finish().await;
        });
        inputs
    }

    fn input(self, samples: &Samples, chance: &mut Chance) -> Vec<u8> {
        match self {
            Self::Token => samples.token(chance),
            Self::Records => samples.record(chance),
            Self::Backup => samples.backup(chance),
            Self::Import => samples.export(chance),
            Self::Config => samples.config(chance),
            Self::Keys => samples.keys(chance),
            Self::Requests | Self::Events => Vec::new(),
        }
    }

    /// Tries one input of a door that has no history.
    pub fn try_input(self, samples: &Samples, input: &[u8]) {
        match self {
            Self::Token => samples.try_token(input),
            Self::Records => files::try_record(input),
            Self::Backup => files::try_backup(input),
            Self::Import => files::try_import(input),
            Self::Config => samples.try_config(input),
            Self::Keys => samples.try_keys(input),
            Self::Requests | Self::Events => {}
        }
    }
}
