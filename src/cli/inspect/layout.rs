//! Characters for numbers: tables, bars, intervals, shares and instants on 80 columns.
//!
//! Everything is plain text unless a terminal asks for colour; names from outside lose their control characters.

use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Longest name shown, characters.
const NAME_CHARACTERS_MAX: usize = 20;
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// How text may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    /// Whether escape sequences for colour are understood.
    pub(super) colour: bool,
}

/// A borderless table; the first `left` columns are aligned left, the others right.
pub(super) fn table<const N: usize>(left: usize, head: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if at >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// A name cut to what fits a column, without control characters.
pub(super) fn name(text: &str) -> String {
    let clean: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
    if clean.len() <= NAME_CHARACTERS_MAX {
        clean.into_iter().collect()
    } else {
        let kept = clean.into_iter().take(NAME_CHARACTERS_MAX - 1);
        kept.chain(['…']).collect()
    }
}

/// A share as per cent, such as `12.3 %`.
pub(super) fn per_cent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A rate as per cent with as many digits as rates of mail need, such as `2.31 %`.
pub(super) fn rate(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

/// A share of 1 as a bar of so many characters.
pub(super) fn bar(share: f64, characters: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * characters as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(EIGHTHS.get(eighths % 8).filter(|part| **part != ' '));
    bar
}

/// Where an interval and its mean lie between two ends, such as `  ├──●─┤   `.
pub(super) struct Whisker {
    /// Value at the left end of the picture.
    pub(super) from: f64,
    /// Value at the right end.
    pub(super) to: f64,
    /// Width of the picture, characters.
    pub(super) characters: usize,
}

impl Whisker {
    /// Draws `low`, `mean` and `high`.
    pub(super) fn draw(&self, [low, mean, high]: [f64; 3]) -> String {
        let last = self.characters.saturating_sub(1);
        let place = |value: f64| {
            let share = (value - self.from) / (self.to - self.from).max(f64::MIN_POSITIVE);
            (share.clamp(0.0, 1.0) * last as f64).round() as usize
        };
        let (low, mean, high) = (place(low), place(mean), place(high));
        (0..self.characters)
            .map(|at| match at {
                _ if at == mean => '●',
                _ if at == low => '├',
                _ if at == high => '┤',
                _ if at > low && at < high => '─',
                _ => ' ',
            })
            .collect()
    }
}

/// A count with thin groups, such as `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount that is nearly a count.
pub(super) fn amount(number: f64) -> String {
    count(number.max(0.0).round() as u64)
}

/// An instant as people of a zone write it.
pub(super) fn local(at_ms: i64, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| "?".to_owned(),
        |at| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

/// An instant as machines write it; none where it cannot be.
pub(super) fn instant(at_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(at_ms)
        .ok()
        .map(|at| at.to_string())
}

/// The word of a unit variant, as in `running`.
pub(super) fn word(variant: &impl std::fmt::Debug) -> String {
    let mut word = String::new();
    for (at, letter) in format!("{variant:?}").chars().enumerate() {
        if letter.is_uppercase() && at > 0 {
            word.push(' ');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::recipient::DoNotSend;

    #[test]
    fn a_bar_grows_by_eighths_and_stays_within_its_width() {
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(1.0 / 32.0, 4), "▏");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(bar(f64::NAN, 2), "");
    }

    #[test]
    fn a_whisker_shows_where_the_interval_lies() {
        let whisker = Whisker {
            from: 0.0,
            to: 1.0,
            characters: 11,
        };
        assert_eq!(whisker.draw([0.2, 0.5, 0.7]), "  ├──●─┤   ");
        let flat = Whisker {
            from: 1.0,
            to: 1.0,
            characters: 3,
        };
        assert_eq!(flat.draw([1.0, 1.0, 1.0]).chars().count(), 3);
    }

    #[test]
    fn names_from_outside_are_cut_and_cannot_move_the_cursor() {
        assert_eq!(name("\u{1b}[2Jx\n"), "[2Jx");
        assert_eq!(name(&"a".repeat(30)).chars().count(), NAME_CHARACTERS_MAX);
    }

    #[test]
    fn counts_are_grouped_and_words_are_split() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(word(&DoNotSend::NoAllowedTime), "no allowed time");
    }
}
