//! Chance, and what it does to bytes: flips, cuts, repetitions, numbers at their limits, pieces of other inputs.
//!
//! Invariant: the same seed gives the same changes.
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers at which programs go wrong.
const LIMITS: [u64; 9] = [
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
    1 << 40,
];

/// A source of chance.
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The one of a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below a bound, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// True in so many of a hundred cases.
    pub fn in_hundred(&mut self, cases: u32) -> bool {
        self.0.random_range(0..100) < cases
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.random()
    }

    /// A number between 0 and 1.
    pub fn share(&mut self) -> f64 {
        self.0.random()
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One to a dozen changes; `others` are inputs to take pieces of.
    pub fn changed(&mut self, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        let most = if self.in_hundred(70) { 2 } else { 12 };
        let changes = 1 + self.below(most);
        for _ in 0..changes {
            self.change(&mut bytes, others);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        if bytes.is_empty() {
            bytes.push(self.any() as u8);
            return;
        }
        let at = self.below(bytes.len());
        match self.below(8) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.any() as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + 1 + self.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => self.number(bytes, at),
            6 => {
                let extra: Vec<u8> = (0..=self.below(9)).map(|_| self.any() as u8).collect();
                bytes.splice(at..at, extra);
            }
            _ => self.splice(bytes, at, others),
        }
    }

    /// Writes a number at its limit: fixed, or as postcard and protobuf write them.
    fn number(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let number = *self.of(&LIMITS);
        let written = if self.in_hundred(50) {
            varint(number)
        } else {
            let width = *self.of(&[1, 2, 4, 8]);
            number.to_le_bytes()[..width].to_vec()
        };
        let end = (at + written.len()).min(bytes.len());
        bytes.splice(at..end, written);
    }

    fn splice(&mut self, bytes: &mut Vec<u8>, at: usize, others: &[Vec<u8>]) {
        if others.is_empty() {
            return;
        }
        let other = self.of(others).clone();
        if !other.is_empty() {
            let from = self.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// A number as postcard and protobuf write it.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Bytes of hexadecimal digits; what is none is passed over.
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
