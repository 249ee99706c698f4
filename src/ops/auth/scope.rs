//! What a call may need: the scope of every method, as one table.
//!
//! Invariant: a method without a row cannot be called where callers are authenticated, and a test compares the table with the interface, so a
//! new method without a row does not pass. Administrative calls are those of scope `admin` and `operator`, and each says what the audit log names
//! it by. What reaches beyond the caller's tenant needs `operator`.

use prost::Message as _;

use crate::grpc::wire;

/// A right that credentials may carry; none of them implies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// See experiments, results, recipients, alerts and statistics, and predict without recording.
    Read,
    /// Ask for decisions and plans.
    Decide,
    /// Report events.
    Report,
    /// Change experiments and recipients, export and erase recipients.
    Admin,
    /// See or change the whole store, every tenant's data: back up, export, import.
    Operator,
}

/// Some of the scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// What an administrative call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An experiment, by its resource name as the caller wrote it.
    Experiment(String),
    /// A recipient, by the caller's id, which must not be written anywhere.
    Recipient(String),
    /// The whole store or tenant.
    Whole,
}

/// Reads what an administrative call is about out of its request's bytes.
pub type ReadSubject = fn(&[u8]) -> Option<Subject>;

/// One method of the interface.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its path on the wire, without the package: `Service/Method`.
    pub path: &'static str,
    /// What a caller needs for it.
    pub scope: Scope,
    /// What an administrative call is about; `None` for the others.
    pub subject: Option<ReadSubject>,
}

/// What stands before the path of every method of ours.
const PACKAGE: &str = "/hermod.v1.";

const fn row(path: &'static str, scope: Scope) -> Method {
    Method {
        path,
        scope,
        subject: None,
    }
}

const fn admin(path: &'static str, subject: ReadSubject) -> Method {
    Method {
        path,
        scope: Scope::Admin,
        subject: Some(subject),
    }
}

/// A request about the whole store, every tenant's data.
const fn operator(path: &'static str) -> Method {
    Method {
        path,
        scope: Scope::Operator,
        subject: Some(|_| Some(Subject::Whole)),
    }
}

/// An administrative request that names an experiment in `name`.
macro_rules! experiment {
    ($path:literal, $request:ident) => {
        admin($path, |bytes| {
            let request = wire::$request::decode(bytes).ok()?;
            Some(Subject::Experiment(request.name))
        })
    };
}

/// An administrative request about the recipient in `recipient_id`.
macro_rules! recipient {
    ($path:literal, $request:ident) => {
        admin($path, |bytes| {
            let request = wire::$request::decode(bytes).ok()?;
            Some(Subject::Recipient(request.recipient_id))
        })
    };
}

/// Every method there is.
pub const METHODS: &[Method] = &[
    row("DecisionService/Decide", Scope::Decide),
    row("DecisionService/BatchDecide", Scope::Decide),
    row("DecisionService/StreamDecide", Scope::Decide),
    row("DecisionService/ChooseVariant", Scope::Decide),
    row("DecisionService/PlanBlast", Scope::Decide),
    row("DecisionService/PredictSendTime", Scope::Read),
    row("DecisionService/ReplayDecision", Scope::Read),
    row("FeedbackService/ReportEvents", Scope::Report),
    row("FeedbackService/StreamEvents", Scope::Report),
    row("FeedbackService/ReclassifyEvents", Scope::Report),
    row("ExperimentService/GetExperiment", Scope::Read),
    row("ExperimentService/ListExperiments", Scope::Read),
    row("ExperimentService/GetResults", Scope::Read),
    row("ExperimentService/GetModelCard", Scope::Read),
    row("ExperimentService/WatchResults", Scope::Read),
    admin("ExperimentService/CreateExperiment", created),
    admin("ExperimentService/UpdateExperiment", updated),
    experiment!(
        "ExperimentService/DeleteExperiment",
        DeleteExperimentRequest
    ),
    experiment!("ExperimentService/StartExperiment", StartExperimentRequest),
    experiment!("ExperimentService/PauseExperiment", PauseExperimentRequest),
    experiment!(
        "ExperimentService/ConcludeExperiment",
        ConcludeExperimentRequest
    ),
    experiment!("ExperimentService/AddVariant", AddVariantRequest),
    experiment!("ExperimentService/PauseVariant", PauseVariantRequest),
    experiment!("ExperimentService/ResumeVariant", ResumeVariantRequest),
    experiment!(
        "ExperimentService/QuarantineVariant",
        QuarantineVariantRequest
    ),
    experiment!("ExperimentService/RetireVariant", RetireVariantRequest),
    row("RecipientService/GetRecipient", Scope::Read),
    recipient!("RecipientService/UpdateRecipient", UpdateRecipientRequest),
    recipient!("RecipientService/ExportRecipient", ExportRecipientRequest),
    recipient!("RecipientService/EraseRecipient", EraseRecipientRequest),
    row("OperationsService/ListAlerts", Scope::Read),
    row("OperationsService/WatchAlerts", Scope::Read),
    row("OperationsService/GetStatistics", Scope::Read),
    operator("OperationsService/Backup"),
    operator("OperationsService/ListBackups"),
    operator("OperationsService/DeleteBackup"),
];

fn created(bytes: &[u8]) -> Option<Subject> {
    let request = wire::CreateExperimentRequest::decode(bytes).ok()?;
    let name = format!("experiments/{}", request.experiment_id);
    Some(Subject::Experiment(name))
}

fn updated(bytes: &[u8]) -> Option<Subject> {
    let request = wire::UpdateExperimentRequest::decode(bytes).ok()?;
    Some(Subject::Experiment(request.experiment?.name))
}

/// The table by the path on the wire.
pub fn methods_by_path() -> foldhash::HashMap<String, &'static Method> {
    let methods = METHODS.iter();
    methods
        .map(|method| (format!("{PACKAGE}{}", method.path), method))
        .collect()
}

// === impl Method ===

impl Method {
    /// Whether it answers with a stream, which may last.
    pub fn streams(&self) -> bool {
        let streaming = [
            "StreamDecide",
            "StreamEvents",
            "WatchResults",
            "WatchAlerts",
            "Backup",
        ];
        streaming.contains(&self.name())
    }

    /// The method's own name.
    pub fn name(&self) -> &'static str {
        self.path
            .split_once('/')
            .map_or(self.path, |(_, name)| name)
    }
}

// === impl Scope ===

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Decide,
        Self::Report,
        Self::Admin,
        Self::Operator,
    ];

    /// The word in the access file and in refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decide => "decide",
            Self::Report => "report",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

// === impl Scopes ===

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Self::of(&Scope::ALL)
    }

    /// These scopes.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(
            scopes
                .iter()
                .fold(0, |bits, scope| bits | 1 << *scope as u8),
        )
    }

    /// Whether a scope is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those among them, in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |scope| self.contains(*scope))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Paths of all methods of the interface, and whether the client streams.
    fn interface() -> Vec<(String, bool)> {
        let set = prost_types::FileDescriptorSet::decode(wire::DESCRIPTOR_SET).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "hermod.v1");
        let services = ours.flat_map(|file| &file.service);
        services
            .flat_map(|service| {
                service.method.iter().map(|method| {
                    let path = format!("{}/{}", service.name(), method.name());
                    (path, method.client_streaming())
                })
            })
            .collect()
    }

    #[test]
    fn every_method_of_the_interface_has_one_row_and_no_other_has() {
        let interface: BTreeSet<String> = interface().into_iter().map(|(path, _)| path).collect();
        let rows: BTreeSet<String> = METHODS.iter().map(|row| row.path.to_owned()).collect();
        assert_eq!(rows, interface);
        assert_eq!(rows.len(), METHODS.len());
        assert!(rows.len() >= 30);
    }

    #[test]
    fn exactly_the_administrative_calls_say_what_they_are_about() {
        for method in METHODS {
            assert_eq!(
                method.subject.is_some(),
                [Scope::Admin, Scope::Operator].contains(&method.scope),
                "{}",
                method.path
            );
        }
    }

    #[test]
    fn the_request_of_an_administrative_call_is_one_message() {
        let streaming: BTreeSet<String> = interface()
            .into_iter()
            .filter_map(|(path, streams)| streams.then_some(path))
            .collect();
        let audited = METHODS.iter().filter(|method| method.subject.is_some());
        for method in audited {
            assert!(!streaming.contains(method.path), "{}", method.path);
        }
    }

    #[test]
    fn the_subject_is_read_from_the_request() {
        let by_path = methods_by_path();
        let subject = |path: &str, bytes: Vec<u8>| (by_path[path].subject.unwrap())(&bytes);
        let request = wire::CreateExperimentRequest {
            experiment_id: "autumn".into(),
            ..Default::default()
        };
        assert_eq!(
            subject(
                "/hermod.v1.ExperimentService/CreateExperiment",
                request.encode_to_vec()
            ),
            Some(Subject::Experiment("experiments/autumn".into()))
        );
        let request = wire::EraseRecipientRequest {
            recipient_id: "ann".into(),
        };
        assert_eq!(
            subject(
                "/hermod.v1.RecipientService/EraseRecipient",
                request.encode_to_vec()
            ),
            Some(Subject::Recipient("ann".into()))
        );
    }

    #[test]
    fn scopes_hold_what_was_put_in_and_nothing_else() {
        let scopes = Scopes::of(&[Scope::Decide, Scope::Admin]);
        assert_eq!(
            scopes.iter().collect::<Vec<_>>(),
            [Scope::Decide, Scope::Admin]
        );
        assert!(!scopes.contains(Scope::Read) && !scopes.contains(Scope::Report));
        assert!(Scopes::default().is_empty());
        assert_eq!(Scopes::all().iter().count(), Scope::ALL.len());
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("root"), None);
    }
}
