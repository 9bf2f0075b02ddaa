//! `sasl.jaas.config`: one login module with its options, read as Kafka's `JaasConfig` reads it (a
//! `java.io.StreamTokenizer` with `//` and `/* */` comments, in which `-`, `_` and `$` belong to words).
//!
//! Invariant: no error contains any part of the text, which is a secret.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// The login module that a JAAS line names. Its options are secrets: it has no `Debug`.
pub struct LoginModule {
    /// The Java class.
    pub class: String,
    /// Its options; the last of equal names wins.
    pub options: BTreeMap<String, String>,
}

/// Reads `CLASS FLAG name="value" …;`
pub fn parse(text: &str) -> Result<LoginModule, String> {
    let mut tokens = Tokens(text.chars().peekable());
    let first = tokens.next();
    let class = match first {
        Token::End => return Err("has no login module".into()),
        Token::Word(class) => class,
        Token::Other(_) => return Err("does not begin with the name of a login module".into()),
    };
    let module = module(class, &mut tokens)?;
    match tokens.next() {
        Token::End => Ok(module),
        _ => Err("continues after its first ';': it must contain exactly one login module".into()),
    }
}

fn module(class: String, tokens: &mut Tokens<'_>) -> Result<LoginModule, String> {
    const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
    match tokens.next() {
        Token::Word(flag) if FLAGS.contains(&flag.to_ascii_lowercase().as_str()) => {}
        _ => return Err("has no 'required' after the login module".into()),
    }
    let mut options = BTreeMap::new();
    loop {
        let number = options.len() + 1;
        let name = match tokens.next() {
            Token::Word(name) => name,
            Token::Other(';') => return Ok(LoginModule { class, options }),
            Token::End => return Err("does not end with ';'".into()),
            Token::Other(_) => return Err(format!("has no name for its option {number}")),
        };
        match (tokens.next(), tokens.next()) {
            (Token::Other('='), Token::Word(value)) => options.insert(name, value),
            _ => {
                return Err(format!(
                    "has no name=\"value\" for its option {number}; put values in double quotes, \
                     with \\\" for a quote and \\\\ for a backslash"
                ));
            }
        };
    }
}

enum Token {
    /// A word, or the text between quotes.
    Word(String),
    /// Any other character; this includes numbers, whose values are not needed.
    Other(char),
    End,
}

struct Tokens<'a>(Peekable<Chars<'a>>);

impl Tokens<'_> {
    fn next(&mut self) -> Token {
        loop {
            let Some(c) = self.0.next() else {
                return Token::End;
            };
            match c {
                '\0'..=' ' => {}
                '/' => self.skip_comment(),
                '"' | '\'' => return Token::Word(self.quoted(c)),
                '0'..='9' | '.' => return Token::Other(c),
                '-' => return Token::Other(c),
                _ if is_word(c) => return Token::Word(self.word(c)),
                _ => return Token::Other(c),
            }
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(c) = self.0.next_if(|c| is_word(*c)) {
            word.push(c);
        }
        word
    }

    /// Up to the closing quote, or the end of the line as Java has it.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.0.next_if(|c| !matches!(c, '\n' | '\r')) {
            match c {
                _ if c == quote => break,
                '\\' => text.extend(self.escaped()),
                _ => text.push(c),
            }
        }
        text
    }

    /// The character that a backslash escape represents.
    fn escaped(&mut self) -> Option<char> {
        let c = self.0.next()?;
        Some(match c {
            '0'..='7' => return self.octal(c),
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        })
    }

    /// Up to three octal digits, at most 377.
    fn octal(&mut self, first: char) -> Option<char> {
        let digits_max = if first <= '3' { 3 } else { 2 };
        let mut code = first.to_digit(8)?;
        for _ in 1..digits_max {
            let Some(digit) = self.0.next_if(|c| c.is_digit(8)) else {
                break;
            };
            code = code * 8 + digit.to_digit(8)?;
        }
        char::from_u32(code)
    }

    /// After one slash. A slash alone begins a comment to the end of the line, too.
    fn skip_comment(&mut self) {
        if self.0.next_if_eq(&'*').is_none() {
            while self.0.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
            return;
        }
        let mut before = ' ';
        for c in self.0.by_ref() {
            if before == '*' && c == '/' {
                return;
            }
            before = c;
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$' | '.') || c >= '\u{a0}'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<(String, String)> {
        match parse(text) {
            Ok(module) => module.options.into_iter().collect(),
            Err(reason) => panic!("{text}: {reason}"),
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_of_kafkas_manual_is_read() {
        let line = "org.apache.kafka.common.security.scram.ScramLoginModule required \
                    username=\"alice\" password=\"alice-secret\";";
        assert_eq!(
            options(line),
            [pair("password", "alice-secret"), pair("username", "alice")]
        );
        assert!(parse(line).is_ok_and(|module| module.class.ends_with(".ScramLoginModule")));
    }

    #[test]
    fn quotes_escapes_and_comments_are_those_of_javas_tokenizer() {
        for (text, value) in [
            (r#"M required p="a\"b\\c";"#, "a\"b\\c"),
            (r#"M required p='it is "so"';"#, "it is \"so\""),
            (r#"M required p="a=b;c // d";"#, "a=b;c // d"),
            (r#"M REQUIRED p="\101\7z\t";"#, "A\u{7}z\t"),
            ("M optional p = word-1.x_$é ;", "word-1.x_$é"),
            ("M required // note\n p=/* here */\"x\";\n", "x"),
            ("\tM\nrequired\np=\"y\"\n;", "y"),
            ("M required p=\"1\" p=\"2\";", "2"),
            ("M required p=\"\";", ""),
        ] {
            assert_eq!(options(text), [pair("p", value)], "{text}");
        }
        assert_eq!(options("M required;"), []);
    }

    #[test]
    fn what_kafka_refuses_is_refused_and_never_quoted() {
        for text in [
            "",
            " // nothing",
            "sesame",
            "M sesame;",
            "M required",
            "M required p=\"sesame\"",
            "M required p=\"sesame;",
            "M required p=123sesame;",
            "M required p sesame;",
            "M required p=;",
            "M required =sesame;",
            "M required p=\"sesame\"; N required q=\"sesame\";",
            "=sesame",
        ] {
            let reason = parse(text).err();
            let reason = reason.unwrap_or_else(|| panic!("{text} was let pass"));
            assert!(!reason.contains("sesame"), "{text}: {reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,120}") {
            let _ = parse(&text);
        }

        #[test]
        fn quoted_values_come_back(value in "[ -~é😀\t]{0,30}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("M required password=\"{quoted}\";");
            proptest::prop_assert_eq!(options(&text), [pair("password", &value)]);
        }
    }
}
