//! Java's `.properties` format, as Kafka's own files use it: the one reader of it in Carrick, for a link's
//! `client.properties` as well as for the broker's own file.
//!
//! Follows `java.util.Properties.load(Reader)`: `#` and `!` comments, `=`, `:` or blanks between
//! name and value, `\` at the end of a line to continue on the next, the escapes `\t \n \r \f
//! \uXXXX` (including surrogate pairs), any other `\c` for `c`. Unlike in Java, a `\u` escape that
//! is not a character is an error.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PropertiesError {
    /// Line number, from 1.
    pub line: usize,
    pub reason: String,
}

/// Reads a `.properties` file's text; the last of equal names wins.
///
/// # Errors
/// A malformed `\uXXXX` escape, with its line.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    let mut values = BTreeMap::new();
    for (line, logical) in logical_lines(text) {
        let (name, value) = split(&logical).map_err(|reason| PropertiesError {
            line,
            reason: reason.into(),
        })?;
        values.insert(name, value);
    }
    Ok(values)
}

/// Joins continued lines and drops comments and blank lines. Each has the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let natural = natural.trim_start_matches(is_blank);
        if open.is_none() && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let (_, logical) = open.get_or_insert_with(|| (index + 1, String::new()));
        let backslashes = natural.len() - natural.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            logical.push_str(&natural[..natural.len() - 1]);
        } else {
            logical.push_str(natural);
            lines.extend(open.take());
        }
    }
    lines.extend(open.filter(|(_, logical)| !logical.is_empty()));
    lines
}

/// Lines that end in `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn split(logical: &str) -> Result<(String, String), &'static str> {
    let mut chars = logical.chars().peekable();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| !is_blank(*c) && !matches!(c, '=' | ':')) {
        push(&mut name, c, &mut chars)?;
    }
    while chars.next_if(|c| is_blank(*c)).is_some() {}
    if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
        while chars.next_if(|c| is_blank(*c)).is_some() {}
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        push(&mut value, c, &mut chars)?;
    }
    Ok((name, value))
}

/// Appends `c`, or what it escapes.
fn push(out: &mut String, c: char, rest: &mut Peekable<Chars<'_>>) -> Result<(), &'static str> {
    if c != '\\' {
        out.push(c);
        return Ok(());
    }
    match rest.next() {
        Some('t') => out.push('\t'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('f') => out.push('\u{c}'),
        Some('u') => out.push(unicode(rest)?),
        Some(other) => out.push(other),
        None => {}
    }
    Ok(())
}

fn unicode(rest: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    const LONE: &str = "a \\u escape is half of a surrogate pair without the other half";
    let first = hex4(rest)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first).ok_or(LONE);
    }
    if rest.next() != Some('\\') || rest.next() != Some('u') {
        return Err(LONE);
    }
    let second = hex4(rest)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return Err(LONE);
    }
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(LONE)
}

fn hex4(rest: &mut Peekable<Chars<'_>>) -> Result<u32, &'static str> {
    let mut code = 0;
    for _ in 0..4 {
        let digit = rest.next().and_then(|c| c.to_digit(16));
        code = code * 16 + digit.ok_or("a \\u escape needs four hexadecimal digits")?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, String) {
        let values = parse(text).unwrap();
        assert_eq!(values.len(), 1, "{values:?}");
        values.into_iter().next().unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn separators_are_equals_colon_or_blanks() {
        for text in [
            "a=b c",
            "a = b c",
            "a:b c",
            "a b c",
            "  a\t:  b c",
            "a\u{c}= b c",
        ] {
            assert_eq!(one(text), pair("a", "b c"), "{text:?}");
        }
        assert_eq!(one("a==b"), pair("a", "=b"));
        assert_eq!(one("a"), pair("a", ""));
        assert_eq!(one("=v"), pair("", "v"));
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        assert_eq!(
            one("# x=1\n\n  ! y=2\r\n \t\na=1 # no comment\n"),
            pair("a", "1 # no comment")
        );
        assert_eq!(one("#x=1\\\na=2"), pair("a", "2"));
    }

    #[test]
    fn a_line_goes_on_after_an_odd_number_of_backslashes() {
        assert_eq!(one("a=b,\\\n    c,\\\r\n#d"), pair("a", "b,c,#d"));
        assert_eq!(one("a=b\\\\\n"), pair("a", "b\\"));
        assert_eq!(parse("a=b\\\\\nc=d").unwrap().len(), 2);
        assert_eq!(one("a=b\\"), pair("a", "b"));
        assert!(parse("\\").unwrap().is_empty());
    }

    #[test]
    fn escapes_are_undone_in_names_and_values() {
        assert_eq!(one(r"a\ b\=c=d\te\n\:\q"), pair("a b=c", "d\te\n:q"));
        assert_eq!(one(r"\u00e9=\ud83d\ude00\u0041"), pair("é", "😀A"));
    }

    #[test]
    fn a_jaas_line_keeps_its_quotes() {
        let text = "sasl.jaas.config=org.x.PlainLoginModule required \\\n  username=\"a\" \\\n  password=\"b=c\";\n";
        let value = "org.x.PlainLoginModule required username=\"a\" password=\"b=c\";";
        assert_eq!(one(text), pair("sasl.jaas.config", value));
    }

    #[test]
    fn the_last_of_equal_names_wins() {
        assert_eq!(one("a=1\na=2"), pair("a", "2"));
    }

    #[test]
    fn bad_unicode_escapes_name_their_line() {
        for bad in [
            r"\u00g0",
            r"\u12",
            r"\ud83d",
            r"\ud83dx",
            r"\ude00\ud83d",
            r"\ud83d\u0041",
        ] {
            let error = parse(&format!("x=1\n\nb={bad}")).unwrap_err();
            assert_eq!(error.line, 3, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn escaped_pairs_come_back(name in "[ -~\t\né😀]{0,20}", value in "[ -~\t\né😀]{0,20}") {
            let escape = |text: &str| -> String {
                let mut units = [0u16; 2];
                text.chars().flat_map(|c| {
                    c.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04x}")).collect::<Vec<_>>()
                }).collect()
            };
            let text = format!("x=y\n{}={}\n", escape(&name), escape(&value));
            let values = parse(&text).unwrap();
            proptest::prop_assert_eq!(values.get(&name), Some(&value));
        }
    }
}
