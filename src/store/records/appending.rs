//! Appending a value to bytes that are there, in the encoding of all records.
//!
//! Invariant: the bytes are postcard's own; only how they get into their place is ours. Postcard's way to append takes each byte through an iterator,
//! which was most of what writing a small record took.

use postcard::Error;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Bytes that are appended to.
struct Appended(Vec<u8>);

impl Flavor for Appended {
    type Output = Vec<u8>;

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> Result<(), Error> {
        // Numbers come as slices as well, and most are of one byte.
        match data {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(data),
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> Result<(), Error> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> Result<Vec<u8>, Error> {
        Ok(self.0)
    }
}

/// The bytes with the value behind them.
///
/// # Errors
/// The value cannot be written in this encoding.
pub(super) fn appended(value: &impl Serialize, to: Vec<u8>) -> Result<Vec<u8>, Error> {
    postcard::serialize_with_flavor(value, Appended(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_what_postcard_writes() {
        let value = (u64::MAX, -3_i32, "text", [1.5_f64, f64::NAN], Some(true));
        let mut expected = vec![7, 8];
        expected.extend(postcard::to_stdvec(&value).unwrap());
        assert_eq!(appended(&value, vec![7, 8]), Ok(expected));
    }
}
