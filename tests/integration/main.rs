//! The integration tests that are about the whole: the rules of the house, the documents, old records, the binary itself.
//!
//! One binary, so that it links once. Tests of the interface are beside it.

mod documentation;
mod inspect_cli;
mod layering;
mod samples;
