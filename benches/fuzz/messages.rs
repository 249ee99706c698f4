//! Random messages by their descriptors: mostly what a caller could mean, with values at their limits and beyond in between.
//!
//! Invariant: every field of a message can come up, with right and with wrong values.
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

use super::mutation::{Chance, varint};
use super::schema::Schema;

const DEPTH_MAX: usize = 6;
const NAMES: [&str; 10] = [
    "autumn", "winter", "spring", "flow", "shadowed", "a", "b", "c", "question", "plain",
];
const ODD_TEXTS: [&str; 12] = [
    "",
    " ",
    "\0",
    "../../etc/passwd",
    "experiments/",
    "experiments/*",
    "Ä\u{301}\u{202e}😀",
    "Europe/Berlin",
    "Mars/Olympus",
    "UTC",
    "-",
    "NaN",
];
const REALS: [f64; 13] = [
    0.0,
    -0.0,
    1.0,
    0.5,
    0.05,
    -1.0,
    2.0,
    1e-300,
    1e300,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    72.0,
];
const WHOLES: [i64; 12] = [
    0,
    1,
    2,
    3,
    5,
    10,
    100,
    10_000,
    -1,
    i64::MAX,
    i64::MIN,
    1 << 33,
];

/// What makes messages.
pub struct Messages<'a> {
    pub schema: &'a Schema,
    pub chance: &'a mut Chance,
    /// Decision ids that were answered.
    pub tokens: &'a [String],
    /// Now, in seconds since 1970.
    pub now_s: i64,
}

impl Messages<'_> {
    /// A message of this name.
    pub fn message(&mut self, name: &str) -> Vec<u8> {
        self.nested(name, 0)
    }

    fn nested(&mut self, name: &str, depth: usize) -> Vec<u8> {
        match name {
            ".google.protobuf.Timestamp" if self.chance.in_hundred(85) => return self.instant(),
            ".google.protobuf.Duration" if self.chance.in_hundred(80) => return self.duration(),
            ".google.protobuf.FieldMask" if self.chance.in_hundred(90) => return self.mask(),
            _ => {}
        }
        let Some(message) = self.schema.messages.get(name) else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        // A message is sometimes full and sometimes almost empty.
        let share = *self.chance.of(&[15, 40, 60, 90]);
        for field in &message.field {
            self.field(field, share, depth, &mut bytes);
        }
        if self.chance.in_hundred(2) {
            bytes.extend(varint(self.chance.any() >> 40));
        }
        bytes
    }

    fn field(
        &mut self,
        field: &FieldDescriptorProto,
        share: u32,
        depth: usize,
        bytes: &mut Vec<u8>,
    ) {
        // Without these nearly every message would be refused for the same reason.
        let is_needed = matches!(
            field.name(),
            "experiment" | "name" | "recipient_id" | "decision_id" | "kind" | "event_time"
        ) || field.name().ends_with("requests")
            || field.name() == "events";
        let is_left_out = !self.chance.in_hundred(if is_needed { 96 } else { share });
        if is_left_out || depth > DEPTH_MAX {
            return;
        }
        let count = match (field.label(), self.chance.below(40)) {
            (Label::Repeated, 0) => 70,
            (Label::Repeated, other) => 1 + other % 3,
            _ => 1,
        };
        for _ in 0..count {
            self.value(field, depth, bytes);
        }
    }

    fn value(&mut self, field: &FieldDescriptorProto, depth: usize, bytes: &mut Vec<u8>) {
        let number = u64::from(field.number().unsigned_abs());
        let delimited = |bytes: &mut Vec<u8>, value: &[u8]| {
            bytes.extend(varint(number << 3 | 2));
            bytes.extend(varint(value.len() as u64));
            bytes.extend_from_slice(value);
        };
        match field.r#type() {
            Type::Message => {
                let value = self.nested(field.type_name(), depth + 1);
                delimited(bytes, &value);
            }
            Type::String => delimited(bytes, self.text(field.name()).as_bytes()),
            Type::Bytes => {
                let value = self.chance.any().to_le_bytes();
                delimited(bytes, &value);
            }
            Type::Double => {
                bytes.extend(varint(number << 3 | 1));
                let value = if self.chance.in_hundred(40) {
                    self.chance.share()
                } else {
                    *self.chance.of(&REALS)
                };
                bytes.extend(value.to_le_bytes());
            }
            Type::Bool => {
                bytes.extend(varint(number << 3));
                bytes.push(u8::from(self.chance.in_hundred(50)));
            }
            Type::Enum => {
                bytes.extend(varint(number << 3));
                let value = if self.chance.in_hundred(95) {
                    self.chance.below(12) as u64
                } else {
                    self.chance.any()
                };
                bytes.extend(varint(value));
            }
            _ => {
                bytes.extend(varint(number << 3));
                let value = *self.chance.of(&WHOLES);
                bytes.extend(varint(value.cast_unsigned()));
            }
        }
    }

    fn text(&mut self, field: &str) -> String {
        if self.chance.in_hundred(5) {
            return (*self.chance.of(&ODD_TEXTS)).to_owned();
        }
        if self.chance.in_hundred(1) {
            return "x".repeat(self.chance.below(3_000));
        }
        match field {
            "name" | "experiment" => format!("experiments/{}", self.chance.of(&NAMES[..5])),
            "recipient_id" => format!("person-{}", self.chance.below(25)),
            "decision_id" => self.token(),
            "time_zone" => (*self.chance.of(&["Europe/Berlin", "UTC", "Asia/Kolkata"])).to_owned(),
            "segment" | "segments" => (*self.chance.of(&["new", "loyal"])).to_owned(),
            "request_id" => self.chance.below(1_000).to_string(),
            _ => (*self.chance.of(&NAMES)).to_owned(),
        }
    }

    fn token(&mut self) -> String {
        if self.tokens.is_empty() {
            return "none".to_owned();
        }
        let token = self.chance.of(self.tokens).clone();
        if self.chance.in_hundred(95) {
            return token;
        }
        let changed = self.chance.changed(token.as_bytes(), &[]);
        String::from_utf8_lossy(&changed).into_owned()
    }

    fn instant(&mut self) -> Vec<u8> {
        let away = self.chance.below(20 * 86_400) as i64 - 10 * 86_400;
        let seconds = match self.chance.below(10) {
            0..=4 => self.now_s - self.chance.below(7_200) as i64,
            5..=8 => self.now_s.saturating_add(away),
            _ => *self.chance.of(&WHOLES),
        };
        let nanos = *self.chance.of(&[0, 0, 0, 999_999_999, -1, 1_000_000_000]);
        fields(&[(1, seconds), (2, nanos)])
    }

    fn duration(&mut self) -> Vec<u8> {
        let seconds = *self
            .chance
            .of(&[0, 1, 60, 3_600, 86_400, 259_200, -1, i64::MAX]);
        fields(&[(1, seconds)])
    }

    /// Paths that are fields of something.
    fn mask(&mut self) -> Vec<u8> {
        let messages: Vec<&DescriptorProto> = self
            .schema
            .messages
            .iter()
            .filter(|(name, _)| name.ends_with(".Experiment") || name.ends_with(".Recipient"))
            .map(|(_, message)| message)
            .collect();
        let mut bytes = Vec::new();
        for _ in 0..=self.chance.below(3) {
            let message = *self.chance.of(&messages);
            let path = self.chance.of(&message.field).name();
            bytes.extend(varint(1 << 3 | 2));
            bytes.extend(varint(path.len() as u64));
            bytes.extend_from_slice(path.as_bytes());
        }
        bytes
    }
}

/// A message of whole numbers.
fn fields(numbers: &[(u64, i64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in numbers {
        bytes.extend(varint(number << 3));
        bytes.extend(varint(value.cast_unsigned()));
    }
    bytes
}
