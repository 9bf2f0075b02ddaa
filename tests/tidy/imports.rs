//! Which room of a crate may import which. A room is a top-level module of `broker/src` or `link/src`:
//! a file or a folder with everything in it. Code that only tests compile is left out.
//!
//! The table stands in [`super::rooms`]. It has one line per room, in order: a room may import only rooms
//! that stand above it, so a table without violations cannot hold a cycle. A line names exactly what its
//! room imports: an arrow that nobody uses is a violation, too.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::rules::SourceFile;

/// A room, and the rooms that it imports.
pub type Line = (&'static str, &'static [&'static str]);

/// A crate's source folder, and its rooms.
pub struct Table {
    pub folder: &'static str,
    pub lines: &'static [Line],
}

/// An arrow between two rooms, and the first file that draws it.
type Arrows = BTreeMap<(String, String), String>;

impl Table {
    /// What the files of this table's crate do that the table does not allow, and the other way round.
    pub fn violations(&self, files: &[SourceFile]) -> Vec<String> {
        let (rooms, arrows) = self.found(files);
        let mut broken = self.disorder();
        for room in &rooms {
            if !self.lines.iter().any(|(name, _)| name == room) {
                broken.push(format!("{}: `{room}` has no line", self.folder));
            }
        }
        for (name, allowed) in self.lines {
            if !rooms.contains(*name) {
                broken.push(format!("{}: there is no room `{name}`", self.folder));
            }
            for other in *allowed {
                if !arrows.contains_key(&((*name).to_owned(), (*other).to_owned())) {
                    let text = format!("{}: `{name}` does not import `{other}`", self.folder);
                    broken.push(text);
                }
            }
        }
        for ((from, to), file) in &arrows {
            let allowed = self.lines.iter().find(|(name, _)| name == from);
            if !allowed.is_some_and(|(_, allowed)| allowed.contains(&to.as_str())) {
                broken.push(format!("{file}: `{from}` may not import `{to}`"));
            }
        }
        broken
    }

    /// Lines that allow what stands below them: with such a line, there could be a cycle.
    fn disorder(&self) -> Vec<String> {
        let mut above = BTreeSet::new();
        let mut broken = Vec::new();
        for (name, allowed) in self.lines {
            for other in allowed.iter().filter(|other| !above.contains(*other)) {
                let text = format!("{}: `{other}` must stand above `{name}`", self.folder);
                broken.push(text);
            }
            above.insert(*name);
        }
        broken
    }

    /// The rooms that there are, and the arrows between them.
    fn found(&self, files: &[SourceFile]) -> (BTreeSet<String>, Arrows) {
        let prefix = format!("{}/", self.folder);
        let sources: BTreeMap<Vec<String>, &SourceFile> = files
            .iter()
            .filter_map(|file| {
                let path = file.path.strip_prefix(&prefix)?.strip_suffix(".rs")?;
                Some((module(path), file))
            })
            .collect();
        let parsed: BTreeMap<&Vec<String>, Parsed> = sources
            .iter()
            .map(|(module, file)| (module, parse(&file.path, &file.text)))
            .collect();
        let tests: BTreeSet<Vec<String>> = parsed
            .iter()
            .flat_map(|(module, parsed)| {
                let child =
                    |name: &String| [module.as_slice(), std::slice::from_ref(name)].concat();
                parsed.test_modules.iter().map(child)
            })
            .collect();
        let is_test = |module: &[String]| (1..=module.len()).any(|n| tests.contains(&module[..n]));
        let (mut rooms, mut arrows) = (BTreeSet::new(), Arrows::new());
        for (module, parsed) in &parsed {
            let Some(room) = module.first().filter(|_| !is_test(module)) else {
                continue;
            };
            rooms.insert(room.clone());
            for other in parsed.at_root(module.len()) {
                if other != room {
                    let arrow = (room.clone(), other.clone());
                    let file = || sources[*module].path.clone();
                    arrows.entry(arrow).or_insert_with(file);
                }
            }
        }
        (rooms, arrows)
    }
}

/// `group/coordinator/mod` and `group/coordinator` are the module `[group, coordinator]`; the crate's root is `[]`.
fn module(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] {
        parts.pop();
    }
    parts
}

/// What a file names from its crate's root.
struct Parsed {
    /// `x` of each `crate::x`.
    of_crate: BTreeSet<String>,
    /// `x` of each `super::x`, with how many times `super` stands before it.
    of_super: BTreeSet<(usize, String)>,
    /// Modules that only tests compile.
    test_modules: BTreeSet<String>,
}

impl Parsed {
    /// The names at the crate's root that a module `depth` below the root uses.
    fn at_root(&self, depth: usize) -> impl Iterator<Item = &String> {
        let above = self.of_super.iter();
        let above = above
            .filter(move |(supers, _)| *supers == depth)
            .map(|(_, name)| name);
        self.of_crate.iter().chain(above)
    }
}

fn parse(path: &str, text: &str) -> Parsed {
    let mut parsed = Parsed {
        of_crate: BTreeSet::new(),
        of_super: BTreeSet::new(),
        test_modules: BTreeSet::new(),
    };
    match TokenStream::from_str(text) {
        Ok(tokens) => walk(&tokens.into_iter().collect::<Vec<_>>(), &mut parsed),
        Err(error) => panic!("{path} is not Rust: {error}"),
    }
    parsed
}

fn walk(tokens: &[TokenTree], parsed: &mut Parsed) {
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            at = after_item(tokens, at + 2, parsed);
            continue;
        }
        match &tokens[at] {
            TokenTree::Ident(word) if *word == "crate" => {
                parsed.of_crate.extend(names_after(&tokens[at + 1..]));
            }
            TokenTree::Ident(word) if *word == "super" => {
                let mut supers = 1;
                while is_path(&tokens[at + 1..]) && is_word(tokens.get(at + 3), "super") {
                    supers += 1;
                    at += 3;
                }
                let names = names_after(&tokens[at + 1..]);
                parsed
                    .of_super
                    .extend(names.into_iter().map(|name| (supers, name)));
            }
            TokenTree::Group(group) => {
                walk(&group.stream().into_iter().collect::<Vec<_>>(), parsed);
            }
            _ => {}
        }
        at += 1;
    }
}

/// The first names behind `::`: one, or those in braces.
fn names_after(tokens: &[TokenTree]) -> Vec<String> {
    if !is_path(tokens) {
        return Vec::new();
    }
    match tokens.get(2) {
        Some(TokenTree::Ident(name)) => vec![name.to_string()],
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let items = inner.split(|token| is_punct(Some(token), ','));
            let first = items.filter_map(|item| match item.first() {
                Some(TokenTree::Ident(name)) => Some(name.to_string()),
                _ => None,
            });
            first.collect()
        }
        _ => Vec::new(),
    }
}

/// Whether `#[cfg(test)]` stands here, alone or among other conditions.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = tokens.get(1).filter(|_| is_punct(tokens.first(), '#'))
    else {
        return false;
    };
    let text = group.stream().to_string().replace(' ', "");
    text.starts_with("cfg(") && !text.contains("not(test)") && has_test(&text)
}

fn has_test(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric())
        .any(|word| word == "test")
}

/// Where the item that begins at `at` has ended. Notes the name of a module.
fn after_item(tokens: &[TokenTree], mut at: usize, parsed: &mut Parsed) -> usize {
    while at < tokens.len() {
        if is_word(tokens.get(at), "mod")
            && let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
        {
            parsed.test_modules.insert(name.to_string());
        }
        let ends = match &tokens[at] {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        at += 1;
        if ends {
            break;
        }
    }
    at
}

fn is_path(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_word(token: Option<&TokenTree>, wanted: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(word)) if *word == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: Table = Table {
        folder: "house/src",
        lines: &[("cellar", &[]), ("kitchen", &["cellar"]), ("lib", &[])],
    };

    fn violations(table: &Table, files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: format!("house/src/{path}"),
            text: (*text).to_owned(),
        };
        let files: Vec<SourceFile> = files.iter().map(file).collect();
        table.violations(&files)
    }

    #[test]
    fn what_the_table_says_and_no_more_may_be_imported() {
        let kitchen = ("kitchen/mod.rs", "use crate::cellar::Wine;");
        assert_eq!(
            violations(&HOUSE, &[("cellar.rs", "struct Wine;"), kitchen]),
            ["house/src: there is no room `lib`"]
        );
        let table = Table {
            folder: "house/src",
            lines: &HOUSE.lines[..2],
        };
        let back = (
            "cellar.rs",
            "fn f() { crate::{attic::Box, kitchen::cook()} }",
        );
        assert_eq!(
            violations(&table, &[back, kitchen]),
            [
                "house/src/cellar.rs: `cellar` may not import `attic`",
                "house/src/cellar.rs: `cellar` may not import `kitchen`"
            ]
        );
        let unused = [("cellar.rs", ""), ("kitchen.rs", "use super::super::x;")];
        assert_eq!(
            violations(&table, &unused),
            ["house/src: `kitchen` does not import `cellar`"]
        );
        let unknown = [("cellar.rs", ""), kitchen, ("attic/a.rs", "")];
        assert_eq!(
            violations(&table, &unknown),
            ["house/src: `attic` has no line"]
        );
    }

    #[test]
    fn a_table_with_a_cycle_is_refused_whatever_the_files_say() {
        let table = Table {
            folder: "house/src",
            lines: &[("cellar", &["kitchen"]), ("kitchen", &["cellar"])],
        };
        let files = [
            ("cellar.rs", "use crate::kitchen;"),
            ("kitchen.rs", "use crate::cellar;"),
        ];
        assert_eq!(
            violations(&table, &files),
            ["house/src: `kitchen` must stand above `cellar`"]
        );
    }

    #[test]
    fn imports_are_found_in_macros_and_through_super_and_not_in_tests_and_text() {
        let table = Table {
            folder: "house/src",
            lines: &[("cellar", &[]), ("kitchen", &[])],
        };
        let cellar = ("cellar.rs", "");
        let of = |path: &str, text: &str| violations(&table, &[cellar, (path, text)]);
        let one = |path: &str| {
            vec![format!(
                "house/src/{path}: `kitchen` may not import `cellar`"
            )]
        };
        let in_a_macro = "fn f() { vec![crate::cellar::WINE]; }";
        assert_eq!(of("kitchen.rs", in_a_macro), one("kitchen.rs"));
        let above = "use super::super::{cellar, oven};";
        assert!(of("kitchen/stove/a.rs", above).is_empty());
        assert_eq!(
            of("kitchen/stove.rs", "use super::super::cellar::Wine;"),
            one("kitchen/stove.rs")
        );
        let in_text = "// crate::cellar\nconst A: &str = \"crate::cellar\";";
        assert!(of("kitchen.rs", in_text).is_empty());
        let in_tests = "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::cellar; }";
        assert!(of("kitchen.rs", in_tests).is_empty());
        let test_file = [
            cellar,
            ("kitchen/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("kitchen/tests.rs", "use crate::cellar;"),
            ("kitchen/tests/more.rs", "use crate::cellar;"),
        ];
        assert!(violations(&table, &test_file).is_empty());
        let feature =
            "#[cfg(any(test, feature = \"testing\"))]\npub mod testing { use crate::cellar; }";
        assert!(of("kitchen.rs", feature).is_empty());
    }
}
