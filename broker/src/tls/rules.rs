//! `ssl.principal.mapping.rules`: from a certificate's distinguished name to a user's name
//! (`SslPrincipalMapper` in Kafka).
//!
//! A rule is `DEFAULT`, which takes the whole name, or `RULE:pattern/replacement/[LU]`; the first that
//! matches counts. Patterns have the `regex` crate's syntax: Java's without look-around and back
//! references.

use std::fmt;

use crate::pattern::Groups;

/// Longest text of all rules.
const RULES_MAX_BYTES: usize = 64 << 10;

/// The rules, in order.
#[derive(Debug, Clone)]
pub(super) struct MappingRules(Vec<Rule>);

#[derive(Debug, Clone)]
enum Rule {
    Default,
    Rewrite(Box<Rewrite>),
}

#[derive(Debug, Clone)]
struct Rewrite {
    pattern: Groups,
    replacement: Vec<Piece>,
    case: Case,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// Part of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl MappingRules {
    /// Reads all rules.
    ///
    /// # Errors
    /// The first that is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > RULES_MAX_BYTES {
            return Err(format!("has more than {RULES_MAX_BYTES} bytes"));
        }
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
                continue;
            }
            let (rule, after) = rule(rest)?;
            let after = after.trim_start();
            if !(after.is_empty() || after.starts_with(',')) {
                return Err(no_rule(rest));
            }
            rules.push(rule);
            rest = after;
        }
        Ok(Self(rules))
    }

    /// The user's name; `None` if no rule matches.
    pub(super) fn name(&self, distinguished_name: &str) -> Option<String> {
        self.0.iter().find_map(|rule| match rule {
            Rule::Default => Some(distinguished_name.to_owned()),
            Rule::Rewrite(rewrite) => rewrite.apply(distinguished_name),
        })
    }
}

fn no_rule(text: &str) -> String {
    let shown: String = text.chars().take(100).collect();
    format!("'{shown}' is not DEFAULT or RULE:pattern/replacement/[LU]")
}

/// The first rule of `text`, and what follows it.
fn rule(text: &str) -> Result<(Rule, &str), String> {
    if let Some(after) = text.strip_prefix("DEFAULT") {
        return Ok((Rule::Default, after));
    }
    let none = || no_rule(text);
    let rest = text.strip_prefix("RULE:").ok_or_else(none)?;
    let (pattern, rest) = until_slash(rest).ok_or_else(none)?;
    let (replacement, rest) = until_slash(rest).ok_or_else(none)?;
    let (case, rest) = match rest.as_bytes().first() {
        Some(b'L') => (Case::Lower, &rest[1..]),
        Some(b'U') => (Case::Upper, &rest[1..]),
        _ => (Case::Kept, rest),
    };
    let text = text[..text.len() - rest.len()].to_owned();
    let pattern = Groups::compile(pattern).map_err(|error| format!("'{text}': {error}"))?;
    let replacement = pieces(replacement, pattern.count())
        .ok_or_else(|| format!("'{text}': the replacement names a group that is not there"))?;
    let rewrite = Rewrite {
        pattern,
        replacement,
        case,
        text,
    };
    Ok((Rule::Rewrite(Box::new(rewrite)), rest))
}

/// What stands before the first slash that is not escaped, and what after it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '/' if !is_escaped => return Some((&text[..at], &text[at + 1..])),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

/// A replacement of Java's `String.replaceAll`: `$1` is a group, `\` escapes. As in Kafka, a number
/// without a group stands for itself; without any group, it is an error.
fn pieces(replacement: &str, groups: usize) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?),
            '$' => match group(chars.as_str(), groups) {
                Some((group, digits)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Group(group));
                    chars = chars.as_str()[digits..].chars();
                }
                None if groups > 0 && chars.as_str().starts_with(|c: char| c.is_ascii_digit()) => {
                    text.push('$');
                }
                None => return None,
            },
            c => text.push(c),
        }
    }
    pieces.push(Piece::Text(text));
    Some(pieces)
}

/// The largest number of a group that `text` begins with, and how many digits it has.
fn group(text: &str, groups: usize) -> Option<(usize, usize)> {
    let mut found = None;
    let mut number = 0_usize;
    for (digits, c) in text.chars().enumerate() {
        number = number.checked_mul(10)? + c.to_digit(10)? as usize;
        if number > groups {
            return found;
        }
        found = Some((number, digits + 1));
        if text.len() == digits + 1 || !text.as_bytes()[digits + 1].is_ascii_digit() {
            break;
        }
    }
    found
}

impl Rewrite {
    fn apply(&self, name: &str) -> Option<String> {
        let replaced = self.pattern.replaced(name, |groups| {
            let pieces = self.replacement.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Group(number) => groups.get(*number).copied().unwrap_or_default(),
            });
            pieces.collect()
        })?;
        Some(match self.case {
            Case::Kept => replaced,
            Case::Lower => replaced.to_lowercase(),
            Case::Upper => replaced.to_uppercase(),
        })
    }
}

impl fmt::Display for MappingRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.0.iter().map(|rule| match rule {
            Rule::Default => "DEFAULT",
            Rule::Rewrite(rewrite) => rewrite.text.as_str(),
        });
        f.write_str(&rules.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The cases are those of Kafka's SslPrincipalMapperTest.
    #[test]
    fn rules_of_kafkas_syntax_are_read_and_others_refused() {
        for valid in [
            "DEFAULT",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, DEFAULT",
            "RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/",
            "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L",
            "RULE:^cn=(.?),ou=(.?),dc=(.?),dc=(.?)$/$1@$2/U",
            "RULE:^CN=([^,ADEFLTU,]+)(,.*|$)/$1/",
            "RULE:^CN=([^,DEFAULT,]+)(,.*|$)/$1/",
        ] {
            assert!(MappingRules::parse(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "default",
            "DEFAUL",
            "DEFAULT/L",
            "DEFAULT/U",
            "RULE:CN=(.*?),OU=ServiceUsers.*/$1",
            "rule:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L/U",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/L",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/U",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/LU",
            "RULE:CN=(/$1/",
            "RULE:(?=CN).*/x/",
            "RULE:CN=.*/$1/",
            "RULE:CN=(.*)/$x/",
        ] {
            assert!(MappingRules::parse(invalid).is_err(), "{invalid}");
        }
    }

    fn name(rules: &str, of: &str) -> Option<String> {
        MappingRules::parse(rules).unwrap().name(of)
    }

    #[test]
    fn the_first_rule_that_matches_the_whole_name_counts() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, \
                     RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                     RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/U, \
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        for (of, expected) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "duke"),
            ("CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", "duke@sme"),
            ("cn=duke,ou=sme,dc=mycp,dc=com", "DUKE@SME"),
            ("cN=duke,OU=JavaSoft,O=Sun Microsystems", "DUKE"),
            (
                "OU=JavaSoft,O=Sun Microsystems,C=US",
                "OU=JavaSoft,O=Sun Microsystems,C=US",
            ),
        ] {
            assert_eq!(name(rules, of).as_deref(), Some(expected));
        }
        let comma = r"RULE:^CN=((\\, *|\w)+)(,.*|$)/$1/,DEFAULT";
        let adam = r"CN=Tkac\, Adam,OU=ITZ,DC=geodis,DC=cz";
        assert_eq!(name(comma, adam).as_deref(), Some(r"Tkac\, Adam"));
        assert_eq!(name("RULE:^CN=a$/b/", "CN=c"), None);
        assert_eq!(name("", "CN=c"), None);
    }

    #[test]
    fn rules_are_split_where_kafka_splits_them() {
        for (text, expected) in [
            ("", ""),
            ("DEFAULT", "DEFAULT"),
            ("RULE://", "RULE://"),
            ("RULE:/.*/", "RULE:/.*/"),
            ("RULE:/.*/L", "RULE:/.*/L"),
            ("RULE://,DEFAULT", "RULE://, DEFAULT"),
            ("  RULE:// ,  DEFAULT  ", "RULE://, DEFAULT"),
            ("  RULE:   /     / ,  DEFAULT  ", "RULE:   /     /, DEFAULT"),
            ("  RULE:  /     /U   ,DEFAULT  ", "RULE:  /     /U, DEFAULT"),
            (
                "  RULE:([A-Z]*)/$1/U   ,RULE:([a-z]+)/$1/,   DEFAULT  ",
                "RULE:([A-Z]*)/$1/U, RULE:([a-z]+)/$1/, DEFAULT",
            ),
            (",   , , ,      , , ,   ", ""),
            (",,RULE://,,,DEFAULT,,", "RULE://, DEFAULT"),
            (
                ",  , RULE: /   /    ,,,   DEFAULT, ,   ",
                "RULE: /   /, DEFAULT",
            ),
            (r"RULE:\/\\\(\)\n\t/\/\//", r"RULE:\/\\\(\)\n\t/\/\//"),
            (
                r"RULE:\**\/+/*/L,RULE:\/*\**/**/",
                r"RULE:\**\/+/*/L, RULE:\/*\**/**/",
            ),
            (
                r"RULE:,RULE:,/,RULE:,\//U,RULE:,/RULE:,/,RULE:,RULE:,/L,RULE:,/L,RULE:, DEFAULT, /DEFAULT/,DEFAULT",
                r"RULE:,RULE:,/,RULE:,\//U, RULE:,/RULE:,/, RULE:,RULE:,/L,RULE:,/L, RULE:, DEFAULT, /DEFAULT/, DEFAULT",
            ),
        ] {
            assert_eq!(MappingRules::parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn groups_are_numbered_as_in_java_and_a_number_without_a_group_is_text() {
        let many = "RULE:(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)/$10-$1-$11-$123-$0/";
        assert_eq!(
            name(many, "abcdefghij").as_deref(),
            Some("j-a-a1-a23-abcdefghij")
        );
        assert_eq!(name(r"RULE:(a)/$1@$4\$1/", "a").as_deref(), Some("a@$4$1"));
        // Every match is replaced, as by Java's replaceAll.
        assert_eq!(name("RULE:.*/x/", "ab").as_deref(), Some("xx"));
    }
}
