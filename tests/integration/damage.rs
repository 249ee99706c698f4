//! A store that was lived in, taken elsewhere by every way there is, and struck in many places.
mod lived_in;
mod moved;
mod struck;
