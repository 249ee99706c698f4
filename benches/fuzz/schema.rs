//! The interface as its descriptors describe it: every method, and every field of every message, so that a new one is tried as well.
use std::collections::BTreeMap;

use hermod::grpc::wire;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// A method: its path, and the name of the message it takes.
#[derive(Clone, Debug)]
pub struct Method {
    pub path: String,
    pub input: String,
}

/// All methods and messages.
pub struct Schema {
    pub methods: Vec<Method>,
    pub messages: BTreeMap<String, DescriptorProto>,
}

impl Schema {
    /// That of this program.
    pub fn own() -> Self {
        let set = FileDescriptorSet::decode(wire::DESCRIPTOR_SET).expect("our own descriptors");
        let (mut methods, mut messages) = (Vec::new(), BTreeMap::new());
        for file in set.file {
            let package = file.package().to_owned();
            for service in &file.service {
                for method in &service.method {
                    methods.push(Method {
                        path: format!("/{package}.{}/{}", service.name(), method.name()),
                        input: method.input_type().to_owned(),
                    });
                }
            }
            for message in file.message_type {
                keep(&mut messages, &format!(".{package}"), message);
            }
        }
        Self { methods, messages }
    }

    /// The method of this name.
    pub fn method(&self, name: &str) -> Method {
        let found = self
            .methods
            .iter()
            .find(|method| method.path.ends_with(&format!("/{name}")));
        found.expect("a method of ours").clone()
    }
}

fn keep(into: &mut BTreeMap<String, DescriptorProto>, above: &str, message: DescriptorProto) {
    let name = format!("{above}.{}", message.name());
    for nested in message.nested_type.clone() {
        keep(into, &name, nested);
    }
    into.insert(name, message);
}
