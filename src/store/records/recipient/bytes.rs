//! Numbers as bytes: of varying length (LEB128), as distances of either sign (zigzag), and hashes as they are.
//!
//! Invariant: what is written is read back, whatever the number; bytes that end too early or run too long are an error.

use postcard::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest encoding of what [`Writer::small`] takes, bytes.
const SMALL_BYTES_MAX: usize = 64;

/// The bits of eight bytes that say that a number goes on.
const CONTINUED: u64 = 0x8080_8080_8080_8080;

/// The bits of eight bytes that are the number's own.
const PARTS: u64 = !CONTINUED;

/// Bits of a number that eight bytes hold.
const EIGHT_BITS: u32 = 56;

/// Bytes being written.
pub(super) struct Writer(pub(super) Vec<u8>);

/// Bytes not yet read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// The low seven bits of each of eight bytes, one behind the other.
fn together(bytes: u64) -> u64 {
    let twos = bytes & 0x007F_007F_007F_007F | (bytes & 0x7F00_7F00_7F00_7F00) >> 1;
    let fours = twos & 0x0000_3FFF_0000_3FFF | (twos & 0x3FFF_0000_3FFF_0000) >> 2;
    fours & 0x0000_0000_0FFF_FFFF | (fours & 0x0FFF_FFFF_0000_0000) >> 4
}

/// The inverse: seven bits to each of eight bytes.
fn apart(number: u64) -> u64 {
    let fours = number & 0x0FFF_FFFF | (number & 0x00FF_FFFF_F000_0000) << 4;
    let twos = fours & 0x0000_3FFF_0000_3FFF | (fours & 0x0FFF_C000_0FFF_C000) << 2;
    twos & 0x007F_007F_007F_007F | (twos & 0x3F80_3F80_3F80_3F80) << 1
}

// === impl Writer ===

impl Writer {
    /// A number that is mostly small.
    pub(super) fn number(&mut self, number: u64) {
        if number < 0x80 {
            self.0.push(number as u8);
        } else if number < 1 << EIGHT_BITS {
            let bytes = (number.ilog2() / 7 + 1) as usize;
            let goes_on = CONTINUED & !(u64::MAX << (8 * (bytes - 1)));
            // All eight, which is one store, and back to those that count.
            let end = self.0.len() + bytes;
            self.hash(apart(number) | goes_on);
            self.0.truncate(end);
        } else {
            self.long_number(number);
        }
    }

    #[cold]
    fn long_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Numbers of which nearly all are small.
    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.0.reserve(numbers.len());
        let (rows, rest) = numbers.as_chunks::<8>();
        for row in rows {
            // Mostly zero or small, and eight in a row.
            if row.iter().all(|number| *number < 0x80) {
                self.0.extend_from_slice(&row.map(|number| number as u8));
            } else {
                row.iter().for_each(|number| self.number((*number).into()));
            }
        }
        rest.iter().for_each(|number| self.number((*number).into()));
    }

    /// A number of which all bits count alike.
    pub(super) fn hash(&mut self, hash: u64) {
        self.0.extend_from_slice(&hash.to_le_bytes());
    }

    /// An instant by how far it lies behind another, or before it.
    pub(super) fn distance(&mut self, at: i64, from: i64) {
        let apart = at.wrapping_sub(from);
        self.number((apart << 1 ^ apart >> 63).cast_unsigned());
    }

    /// A small value in the encoding of all other records.
    pub(super) fn small(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let mut bytes = [0; SMALL_BYTES_MAX];
        let written = postcard::to_slice(value, &mut bytes)?;
        self.0.extend_from_slice(written);
        Ok(())
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// See [`Writer::number`].
    pub(super) fn number(&mut self) -> Result<u64, Error> {
        let Some(word) = self.0.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return self.number_by_bytes();
        };
        let last = (!word & CONTINUED).trailing_zeros();
        match self.0.get((last / 8 + 1) as usize..) {
            // The bytes up to the first that does not go on.
            Some(rest) if last < u64::BITS => {
                self.0 = rest;
                Ok(together(word & u64::MAX >> (u64::BITS - 1 - last) & PARTS))
            }
            _ => self.number_by_bytes(),
        }
    }

    fn number_by_bytes(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take::<1>()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                return Err(Error::DeserializeBadVarint);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::DeserializeBadVarint)
    }

    /// See [`Writer::numbers`].
    pub(super) fn numbers<const N: usize>(&mut self) -> Result<[u32; N], Error> {
        let mut numbers = [0; N];
        let mut read = 0;
        while let Some(places) = numbers.get_mut(read..).filter(|places| !places.is_empty()) {
            // Mostly zero or small, and eight in a row.
            if let (Some((row, rest)), Some(eight)) =
                (self.0.split_first_chunk(), places.first_chunk_mut::<8>())
                && u64::from_le_bytes(*row) & CONTINUED == 0
            {
                *eight = row.map(u32::from);
                self.0 = rest;
                read += eight.len();
                continue;
            }
            let number = match self.0 {
                [byte, rest @ ..] if *byte < 0x80 => {
                    self.0 = rest;
                    u32::from(*byte)
                }
                [low, high, rest @ ..] if *high < 0x80 => {
                    self.0 = rest;
                    u32::from(low & 0x7F) | u32::from(*high) << 7
                }
                _ => self.number_of()?,
            };
            places[0] = number;
            read += 1;
        }
        Ok(numbers)
    }

    /// The same, of a type that it has to fit.
    pub(super) fn number_of<N: TryFrom<u64>>(&mut self) -> Result<N, Error> {
        N::try_from(self.number()?).map_err(|_| Error::DeserializeBadVarint)
    }

    /// See [`Writer::hash`].
    pub(super) fn hash(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    /// See [`Writer::distance`].
    pub(super) fn distance(&mut self, from: i64) -> Result<i64, Error> {
        let zigzag = self.number()?;
        let apart = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Ok(from.wrapping_add(apart))
    }

    /// See [`Writer::small`].
    pub(super) fn small<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let (value, rest) = postcard::take_from_bytes(self.0)?;
        self.0 = rest;
        Ok(value)
    }

    /// So many bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_distances_come_back(number: u64, at: i64, from: i64) {
            let mut writer = Writer(Vec::new());
            writer.number(number);
            writer.distance(at, from);
            writer.hash(number);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.distance(from), Ok(at));
            prop_assert_eq!(reader.hash(), Ok(number));
            prop_assert!(reader.0.is_empty());
        }
    }

    proptest! {
        #[test]
        fn a_number_is_written_and_read_as_byte_by_byte(bits in 0..64_u32, number: u64, behind in 0..9_usize) {
            let number = number >> bits;
            let (mut writer, mut by_bytes) = (Writer(Vec::new()), Writer(Vec::new()));
            writer.number(number);
            by_bytes.long_number(number);
            prop_assert_eq!(&writer.0, &by_bytes.0);
            writer.0.extend(std::iter::repeat_n(0xFF, behind));
            let (mut reader, mut one_by_one) = (Reader(&writer.0), Reader(&writer.0));
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(one_by_one.number_by_bytes(), Ok(number));
            prop_assert_eq!(reader.0.len(), behind);
            prop_assert_eq!(one_by_one.0.len(), behind);
        }

        #[test]
        fn whatever_the_bytes_they_are_read_as_byte_by_byte(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let (mut reader, mut one_by_one) = (Reader(&bytes), Reader(&bytes));
            let (number, expected) = (reader.number(), one_by_one.number_by_bytes());
            prop_assert_eq!(&number, &expected);
            if number.is_ok() {
                prop_assert_eq!(reader.0, one_by_one.0);
            }
        }
    }

    proptest! {
        #[test]
        fn many_numbers_come_back_however_long_each_is(
            bits in prop::collection::vec((0..=32_u32, any::<u32>()), 94), cut in 0..400_usize,
        ) {
            let numbers: Vec<u32> =
                bits.iter().map(|(bits, number)| number.checked_shr(32 - bits).unwrap_or(0)).collect();
            let mut writer = Writer(Vec::new());
            writer.numbers(&numbers);
            writer.hash(7);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.numbers::<94>().map(Vec::from), Ok(numbers));
            prop_assert_eq!(reader.hash(), Ok(7));
            let cut = cut % (writer.0.len() - 8);
            prop_assert!(Reader(&writer.0[..cut]).numbers::<94>().is_err());
        }
    }

    #[test]
    fn a_number_too_long_or_cut_off_is_refused() {
        for bytes in [&[0x80; 3][..], &[0xFF; 10], &[]] {
            assert!(Reader(bytes).number().is_err());
        }
    }
}
