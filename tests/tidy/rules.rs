//! What must not stand where, and why. No rule has an exceptions list: change the house instead.

use std::fmt;

/// A file, its path from the repository's root.
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// A place that breaks a rule.
pub struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    why: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} ({})",
            self.path, self.line, self.rule, self.why
        )
    }
}

/// One rule: which files it is about, which of their lines break it, and a text that does.
pub struct Rule {
    pub name: &'static str,
    why: &'static str,
    about: fn(&str) -> bool,
    broken_lines: fn(&str) -> Vec<usize>,
    /// Path and text of a file with exactly one violation.
    pub breaking_example: (&'static str, &'static str),
}

impl Rule {
    /// The places of `file` that break this rule.
    pub fn check(&self, file: &SourceFile) -> Vec<Violation> {
        if !(self.about)(&file.path) {
            return Vec::new();
        }
        let place = |line| Violation {
            path: file.path.clone(),
            line,
            rule: self.name,
            why: self.why,
        };
        (self.broken_lines)(&file.text)
            .into_iter()
            .map(place)
            .collect()
    }
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn in_crate(path: &str, name: &str) -> bool {
    is_rust(path) && path.starts_with(name)
}

/// The crates that make the product: no tests, no benches.
fn is_product(path: &str) -> bool {
    ["protocol/src", "storage/src", "link/src", "broker/src"]
        .iter()
        .any(|p| in_crate(path, p))
}

/// A file that holds tests alone.
fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.ends_with("tests.rs")
}

/// The lines before a file's own tests, with their numbers.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, l)| (i + 1, l));
    lines.take_while(|(_, l)| l.trim() != "#[cfg(test)]")
}

fn lines_where(text: &str, broken: impl Fn(&str) -> bool) -> Vec<usize> {
    product_lines(text)
        .filter(|(_, line)| broken(line))
        .map(|(number, _)| number)
        .collect()
}

/// Whole words of a line, lower case, identifiers split at `_` and at capitals.
fn has_word(line: &str, words: &[&str]) -> bool {
    let mut spaced = String::new();
    for letter in line.chars() {
        if letter.is_uppercase() || !letter.is_alphanumeric() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
    }
    spaced
        .split(|c: char| !c.is_alphanumeric())
        .any(|w| words.contains(&w))
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        name: "a file has at most 700 lines",
        why: "a longer one hides two concepts: split it by concept",
        about: is_rust,
        broken_lines: |text| {
            if text.lines().count() > 700 {
                vec![701]
            } else {
                Vec::new()
            }
        },
        breaking_example: ("broker/src/a.rs", concat_701()),
    },
    Rule {
        name: "a file starts with its module doc",
        why: "a stranger reads it first",
        about: is_rust,
        broken_lines: |text| {
            if text.starts_with("//!") {
                Vec::new()
            } else {
                vec![1]
            }
        },
        breaking_example: ("link/src/a.rs", "use std::fmt;\n"),
    },
    Rule {
        name: "unsafe stands in storage/src/log/mapped.rs alone",
        why: "one file to review and to run under a sanitizer",
        about: |path| {
            is_rust(path) && path != "storage/src/log/mapped.rs" && !path.starts_with("tests/tidy/")
        },
        broken_lines: |text| {
            let lines = text.lines().enumerate();
            let broken = lines
                .filter(|(_, l)| code(l).contains("unsafe {") || code(l).contains("unsafe fn"));
            broken.map(|(i, _)| i + 1).collect()
        },
        breaking_example: ("storage/src/a.rs", "//! Doc.\nfn f() { unsafe { g() } }\n"),
    },
    Rule {
        name: "memmap2 and rocksdb are named in storage only",
        why: "how bytes lie on disk is storage's business",
        about: |path| is_product(path) && !path.starts_with("storage/"),
        broken_lines: |text| {
            lines_where(text, |l| {
                code(l).contains("memmap2") || code(l).contains("rocksdb::")
            })
        },
        breaking_example: ("broker/src/a.rs", "use rocksdb::DB;\n"),
    },
    Rule {
        name: "no tokio in protocol and storage",
        why: "they are synchronous, so that tests drive them directly",
        about: |path| in_crate(path, "protocol/src") || in_crate(path, "storage/src"),
        broken_lines: |text| lines_where(text, |l| code(l).contains("tokio")),
        breaking_example: ("storage/src/a.rs", "use tokio::fs;\n"),
    },
    Rule {
        name: "storage waits for the disk through disk::sync_data and disk::sync_all",
        why: "tests count there who waits: an append must not",
        about: |path| in_crate(path, "storage/src") && path != "storage/src/disk/files.rs",
        broken_lines: |text| {
            let names = [".sync_data()", ".sync_all()", "fdatasync"];
            lines_where(text, |l| names.iter().any(|n| code(l).contains(n)))
        },
        breaking_example: ("storage/src/a.rs", "file.sync_all()?;\n"),
    },
    Rule {
        name: "storage knows batches and keyspaces, not who uses them",
        why: "groups, consumers, mirrors and promotion belong above it",
        about: |path| in_crate(path, "storage/src"),
        broken_lines: |text| {
            let words = [
                "group",
                "groups",
                "consumer",
                "consumers",
                "mirror",
                "mirrors",
                "promote",
            ];
            // "Group commit" is the name of the flusher's technique.
            let names = [
                "Group commit",
                "group commit",
                "Group-commit",
                "group-commit",
            ];
            let plain = |l: &str| {
                names
                    .iter()
                    .fold(l.to_owned(), |l, name| l.replace(name, ""))
            };
            lines_where(text, |l| has_word(&plain(l), &words))
        },
        breaking_example: ("storage/src/a.rs", "struct ConsumerState;\n"),
    },
    Rule {
        name: "link knows neither storage nor broker",
        why: "it declares ports, they implement them",
        about: |path| in_crate(path, "link/src"),
        broken_lines: |text| {
            let names = ["carrick_storage", "carrick::", "storage::", "broker::"];
            lines_where(text, |l| names.iter().any(|n| code(l).contains(n)))
        },
        breaking_example: ("link/src/a.rs", "use carrick_storage::log;\n"),
    },
    Rule {
        name: "nothing is left to do",
        why: "a stub that compiles is a feature that only a name says exists",
        about: |path| is_rust(path) && !path.starts_with("tests/tidy/"),
        broken_lines: |text| {
            let marks = ["todo!(", "unimplemented!(", "FIXME", "#[ignore"];
            let lines = text.lines().enumerate();
            lines
                .filter(|(_, l)| marks.iter().any(|m| l.contains(m)))
                .map(|(i, _)| i + 1)
                .collect()
        },
        breaking_example: ("broker/src/a.rs", "fn f() { todo!() }\n"),
    },
    Rule {
        name: "errors are mapped to Kafka's codes in broker/src/api/error.rs",
        why: "one place says what a client sees",
        about: |path| {
            // A login is answered before there are handlers.
            let answers = path.starts_with("broker/src/api/") || path == "broker/src/auth/login.rs";
            in_crate(path, "broker/src") && !answers && !is_test(path)
        },
        broken_lines: |text| lines_where(text, |l| has_name(l, "ErrorCode")),
        breaking_example: (
            "broker/src/topic/a.rs",
            "let e = ErrorCode::INVALID_TOPIC_EXCEPTION;\n",
        ),
    },
    Rule {
        name: "a regular expression from outside is compiled in broker/src/pattern.rs alone",
        why: "it takes CPU as the client likes: there it has its limits, for `heavy.rs` to run",
        about: |path| {
            let in_link = in_crate(path, "link/src") && !path.starts_with("link/src/testing/");
            in_link || in_crate(path, "broker/src") && path != "broker/src/pattern.rs"
        },
        broken_lines: |text| {
            let names = ["use regex::", "Regex::new", "RegexBuilder"];
            lines_where(text, |l| names.iter().any(|n| code(l).contains(n)))
        },
        breaking_example: ("broker/src/api/a.rs", "let wanted = Regex::new(text)?;\n"),
    },
    Rule {
        name: "the two seams alone name the database",
        why: "cluster metadata and what coordinators note will lie in different stores one day",
        about: |path| {
            let seams = [
                "broker/src/metadata/rocks.rs",
                "broker/src/journal/rocks.rs",
            ];
            in_crate(path, "broker/src") && !seams.contains(&path)
        },
        broken_lines: |text| {
            let names = ["MetaStore", "MetaBatch"];
            lines_where(text, |l| {
                code(l).contains("storage::meta") || names.iter().any(|n| has_name(l, n))
            })
        },
        breaking_example: (
            "broker/src/quota/a.rs",
            "use carrick_storage::meta::MetaStore;\n",
        ),
    },
    Rule {
        name: "a handler takes no lock, opens no file, asks no store",
        why: "it resolves, calls one domain method and maps the answer",
        about: |path| in_crate(path, "broker/src/api"),
        broken_lines: |text| {
            let names = [".lock()", "std::fs", "MetaStore"];
            lines_where(text, |l| names.iter().any(|n| code(l).contains(n)))
        },
        breaking_example: ("broker/src/api/a.rs", "let core = partition.core.lock();\n"),
    },
    Rule {
        name: "handlers reach what a request names through broker/src/api/door.rs",
        why: "it asks whether the principal may, for every handler alike",
        about: |path| {
            let handlers = in_crate(path, "broker/src/api") && path != "broker/src/api/door.rs";
            handlers && !is_test(path)
        },
        broken_lines: past_the_door,
        breaking_example: (
            "broker/src/api/a.rs",
            "let listed = ctx\n    .broker\n    .groups\n    .list();\n",
        ),
    },
];

/// What a broker has that requests name.
const BEHIND_THE_DOOR: &[&str] = &["topics", "hosted", "groups", "transactions"];

/// Lines on which a field of the broker that is behind the door is reached. A chain of calls may have
/// a line for each.
fn past_the_door(text: &str) -> Vec<usize> {
    let mut broken = Vec::new();
    let mut before = String::new();
    for (number, line) in product_lines(text) {
        let code = code(line).trim();
        let chain = match code.starts_with('.') {
            true => before + code,
            false => code.to_owned(),
        };
        let reaches = |field: &&str| {
            let mut places = chain.match_indices("broker.");
            places.any(|(at, found)| starts_with_name(&chain[at + found.len()..], field))
        };
        let mut own = BEHIND_THE_DOOR
            .iter()
            .filter(|field| code.contains(**field));
        if own.any(reaches) {
            broken.push(number);
        }
        before = chain;
    }
    broken
}

fn starts_with_name(text: &str, name: &str) -> bool {
    text.strip_prefix(name)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether a line of code has exactly this identifier.
fn has_name(line: &str, name: &str) -> bool {
    code(line)
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == name)
}

/// 701 lines at compile time.
const fn concat_701() -> &'static str {
    const LINES: [u8; 701] = [b'\n'; 701];
    match std::str::from_utf8(&LINES) {
        Ok(text) => text,
        Err(_) => "",
    }
}
