//! Regular expressions from outside, of clients and in properties: the only place in the broker that
//! compiles one.
//!
//! The syntax is the `regex` crate's, which is RE2's except for a few corners: like RE2's it takes
//! linear time, but with a factor that grows with the program. `\Q…\E` is supported, too. An
//! expression must match the whole of a name.
//!
//! Compile and match on [`crate::heavy`]: a program of the largest size takes a millisecond per
//! name.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

/// Longest text of an expression.
pub const PATTERN_MAX_BYTES: usize = 32 << 10;

/// Memory of a compiled expression, and again of the states that it keeps while it matches.
const PROGRAM_MAX_BYTES: usize = 1 << 20;

/// The expression is wrong, or too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression is invalid or too large: {0}")]
pub struct BadPattern(String);

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// `BadPattern`.
    pub fn compile(text: &str) -> Result<Self, BadPattern> {
        if text.len() > PATTERN_MAX_BYTES {
            let bytes = text.len();
            return Err(BadPattern(format!(
                "{bytes} bytes, at most {PATTERN_MAX_BYTES}"
            )));
        }
        let plain = unquoted(text);
        // Without the anchors first: an expression that is valid only between them is not valid.
        let whole = build(&plain).and_then(|_| build(&format!("^(?:{plain})$")));
        whole
            .map(Self)
            .map_err(|error| BadPattern(error.to_string()))
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// A compiled expression whose groups count.
#[derive(Clone, Debug)]
pub struct Groups {
    whole: Pattern,
    part: Regex,
}

impl Groups {
    /// Compiles an expression.
    ///
    /// # Errors
    /// `BadPattern`.
    pub fn compile(text: &str) -> Result<Self, BadPattern> {
        let whole = Pattern::compile(text)?;
        let part = build(&unquoted(text)).map_err(|error| BadPattern(error.to_string()))?;
        Ok(Self { whole, part })
    }

    /// The number of groups, without the one that is the whole match.
    pub fn count(&self) -> usize {
        self.part.captures_len() - 1
    }

    /// `text` with each match replaced by what `by` makes of its groups, the whole match first;
    /// `None` unless all of it matches (`String.matches`, then `replaceAll` in Java).
    pub fn replaced(&self, text: &str, by: impl Fn(&[&str]) -> String) -> Option<String> {
        if !self.whole.matches(text) {
            return None;
        }
        let (mut replaced, mut at) = (String::new(), 0);
        // Unlike the crate's own, this finds an empty match right after another one, as Java does.
        while let Some(found) = self.part.captures_at(text, at) {
            let all = found.get_match();
            replaced.push_str(&text[at..all.start()]);
            let groups = found.iter().map(|group| group.map_or("", |it| it.as_str()));
            replaced.push_str(&by(&groups.collect::<Vec<_>>()));
            at = all.end();
            if all.is_empty() {
                let Some(next) = text[at..].chars().next() else {
                    break;
                };
                replaced.push(next);
                at += next.len_utf8();
            }
        }
        replaced.push_str(&text[at..]);
        Some(replaced)
    }
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(PROGRAM_MAX_BYTES)
        .dfa_size_limit(PROGRAM_MAX_BYTES)
        .build()
}

/// The pattern with the text between `\Q` and `\E` escaped.
fn unquoted(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('Q') => {
                let rest = chars.as_str();
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                plain.push_str(&regex::escape(quoted));
                chars = after.chars();
            }
            Some(other) => {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\{other}");
            }
            None => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::compile(pattern).unwrap().matches(name)
    }

    #[test]
    fn an_expression_matches_whole_names() {
        assert!(matches("foo.*", "foobar"));
        assert!(!matches("foo", "foobar"));
        assert!(!matches("bar", "foobar"));
        assert!(matches("a|ab", "ab"));
    }

    #[test]
    fn quoted_text_stands_for_itself() {
        assert!(matches(r"\Qa.b\E-\d+", "a.b-7"));
        assert!(!matches(r"\Qa.b\E-\d+", "axb-7"));
        assert!(matches(r"\Qa.b", "a.b"));
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        let long = "a".repeat(PATTERN_MAX_BYTES + 1);
        for pattern in [
            "[",
            "a)(b",
            "*",
            r"a\",
            "(?=x)",
            r"\1",
            "a{1000}{1000}{1000}",
            &long,
        ] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern:.30}");
        }
    }
}
