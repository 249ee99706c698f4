//! The picture of a week: seven rows of twenty-four hours, shaded by how active somebody is.
//!
//! Needs 77 columns. The shades alone say everything; colour only helps the eye.

use super::layout::Ink;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A shade, up to which relative activity it goes, and its colour of the 256.
struct Shade {
    below: f64,
    character: char,
    colour: u8,
}

const SHADES: [Shade; 5] = [
    Shade {
        below: 0.4,
        character: '·',
        colour: 240,
    },
    Shade {
        below: 0.8,
        character: '░',
        colour: 30,
    },
    Shade {
        below: 1.25,
        character: '▒',
        colour: 36,
    },
    Shade {
        below: 2.0,
        character: '▓',
        colour: 42,
    },
    Shade {
        below: f64::INFINITY,
        character: '█',
        colour: 226,
    },
];

/// Draws relative activity by hour of the week, Monday 00 first, 1 being average.
pub(super) fn picture(by_week: &[f64; 168], ink: Ink) -> String {
    let mut text = String::from("    ");
    for hour in 0..24 {
        text += &format!(" {hour:02}");
    }
    text.push('\n');
    for (day, hours) in WEEKDAYS.iter().zip(by_week.chunks(24)) {
        text += &format!(" {day}");
        for rate in hours {
            text.push(' ');
            text += &painted(shade(*rate), ink);
        }
        text.push('\n');
    }
    text + &legend(ink)
}

fn legend(ink: Ink) -> String {
    let mut text = String::from("     activity over that of the average hour: ");
    let mut from = "0".to_owned();
    for shade in &SHADES {
        let until = if shade.below.is_finite() {
            format!("{from}-{}", shade.below)
        } else {
            format!("over {from}")
        };
        text += &format!("{} {until}  ", painted(shade, ink));
        from = shade.below.to_string();
    }
    wrapped(text)
}

/// The scale goes on a line of its own, which keeps within 80 columns.
fn wrapped(text: String) -> String {
    let (title, scale) = text.split_once(": ").unwrap_or(("", &text));
    format!("{title}:\n     {}\n", scale.trim_end())
}

fn shade(rate: f64) -> &'static Shade {
    let [first, ..] = &SHADES;
    SHADES
        .iter()
        .find(|shade| rate < shade.below)
        .unwrap_or(first)
}

fn painted(shade: &Shade, ink: Ink) -> String {
    let Shade {
        character, colour, ..
    } = shade;
    if ink.colour {
        format!("\u{1b}[38;5;{colour}m{character}{character}\u{1b}[0m")
    } else {
        format!("{character}{character}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week() -> [f64; 168] {
        std::array::from_fn(|hour| if hour % 24 == 9 { 3.0 } else { 0.5 })
    }

    #[test]
    fn the_picture_fits_80_columns_and_has_a_row_per_day() {
        let text = picture(&week(), Ink { colour: false });
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert_eq!(
            text.lines().filter(|line| line.contains("██ ░░")).count(),
            7
        );
    }

    #[test]
    fn the_busy_hour_stands_under_its_number() {
        let text = picture(&week(), Ink { colour: false });
        let column = |line: &str, what: &str| {
            let at = line.find(what).unwrap();
            line[..at].chars().count()
        };
        let mut lines = text.lines();
        let (head, monday) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(column(head, "09"), column(monday, "██"));
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        assert!(!picture(&week(), Ink { colour: false }).contains('\u{1b}'));
        assert!(picture(&week(), Ink { colour: true }).contains('\u{1b}'));
    }
}
