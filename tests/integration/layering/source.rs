//! A source file as the rules see it: its code without comments and texts, its layer, its functions.
//!
//! No parser of Rust: it relies on rustfmt, which puts a function's closing brace alone on its line.

/// The suite that every engine passes is test code through and through.
const CONFORMANCE: &str = "src/store/conformance";

/// One file of the tree.
pub struct Source {
    /// Path from the root of the repository.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// Its code before its tests; comments, texts and characters are blanked, lines are kept.
    pub code: String,
}

/// One function.
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line it begins in, from 1.
    pub line: usize,
    /// Lines from its signature to its closing brace.
    pub lines: usize,
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, text: &str) -> Self {
        let blanked = blanked(text);
        let is_tests = path.ends_with("/tests.rs") || path.starts_with("tests/");
        let code = match blanked.find("#[cfg(test)]\nmod tests {") {
            Some(at) if !is_tests => blanked[..at].to_owned(),
            _ => blanked,
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            // Tests may set up whatever they test with.
            code: if path.ends_with("/tests.rs") || path.starts_with(CONFORMANCE) {
                String::new()
            } else {
                code
            },
        }
    }

    /// The first folder under `src`, which the file beside it belongs to; empty for what is in no layer.
    pub fn layer(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        let first = inside.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// How many `super::` lead to the crate's root.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count().max(1)
    }

    /// Lines before the tests.
    pub fn lines_before_tests(&self) -> usize {
        self.code.lines().count()
    }

    /// All functions with a body, nested ones too.
    pub fn functions(&self) -> Vec<Function> {
        let lines: Vec<&str> = self.code.lines().collect();
        let starts = lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((at, function_name(line)?)));
        starts
            .filter_map(|(at, name)| {
                let lines = body_lines(&lines[at..])?;
                Some(Function {
                    name,
                    line: at + 1,
                    lines,
                })
            })
            .collect()
    }
}

/// The name in `pub(crate) const async unsafe fn name<...>(`, if the line begins a function.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let qualifiers = before.split_whitespace().all(|word| {
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "in"].contains(&word)
    });
    let name: String = after
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (qualifiers && !name.is_empty()).then_some(name)
}

/// Lines until the braces close; `None` for a declaration without a body.
fn body_lines(lines: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate() {
        let opened = depth > 0 || line.contains('{');
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        if opened && depth == 0 {
            return Some(at + 1);
        }
        if !opened && line.trim_end().ends_with(';') {
            return None;
        }
    }
    None
}

/// The identifiers that follow a path's beginning, also within braces: `crate::{a::B, c}` gives `a` and `c`.
pub fn identifiers_after(code: &str, beginning: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(beginning) {
        let rest = &code[at + beginning.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(identifier(rest)),
        }
    }
    found
}

fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(identifier(&group[start..at]));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(identifier(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    let text = text.trim_start();
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Code,
    LineComment,
    BlockComment,
    Text,
    RawText(usize),
}

/// The text with comments, texts and character literals replaced by blanks; line breaks stay.
fn blanked(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let (mut within, mut at) = (Within::Code, 0);
    while let Some(letter) = letters.get(at) {
        let (next, taken) = match within {
            Within::Code => enter(&letters[at..], letters.get(at.wrapping_sub(1))),
            _ => leave(&letters[at..], within),
        };
        for skipped in letters.iter().skip(at).take(taken) {
            let kept = within == Within::Code && next == Within::Code && taken == 1;
            code.push(if kept || *skipped == '\n' {
                *skipped
            } else {
                ' '
            });
        }
        let _ = letter;
        (within, at) = (next, at + taken);
    }
    code
}

/// What begins here, and how many letters belong to its beginning.
fn enter(rest: &[char], before: Option<&char>) -> (Within, usize) {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match rest {
        ['/', '/', ..] => (Within::LineComment, 2),
        ['/', '*', ..] => (Within::BlockComment, 2),
        ['"', ..] => (Within::Text, 1),
        ['r', ..] if !after_word => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => (Within::RawText(hashes), 2 + hashes),
                _ => (Within::Code, 1),
            }
        }
        ['\'', '\\', _, tail @ ..] => {
            let end = tail.iter().position(|c| *c == '\'').unwrap_or(0);
            (Within::Code, 4 + end)
        }
        ['\'', _, '\'', ..] => (Within::Code, 3),
        _ => (Within::Code, 1),
    }
}

/// Whether it ends here, and how many letters to take.
fn leave(rest: &[char], within: Within) -> (Within, usize) {
    match (within, rest) {
        (Within::LineComment, ['\n', ..]) => (Within::Code, 1),
        (Within::BlockComment, ['*', '/', ..]) => (Within::Code, 2),
        (Within::Text, ['\\', _, ..]) => (Within::Text, 2),
        (Within::Text, ['"', ..]) => (Within::Code, 1),
        (Within::RawText(hashes), ['"', tail @ ..])
            if tail.iter().take_while(|c| **c == '#').count() >= hashes =>
        {
            (Within::Code, 1 + hashes)
        }
        _ => (within, 1),
    }
}

#[test]
fn comments_texts_and_characters_are_blanked_and_lines_stay() {
    let text = "a // {\n\"x\\\"{\" 'b' '\\'' '{' &'a str r#\"\"{\"# /* { \n */ r b";
    let code = blanked(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains('{') && !code.contains('x') && code.contains("&'a str"));
    assert!(code.trim_end().ends_with("r b"), "{code}");
}
