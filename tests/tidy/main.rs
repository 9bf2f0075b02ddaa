//! The rules of the house, checked over every file that git knows. Each rule is tested on a text that breaks it.

mod imports;
mod rooms;
mod rules;

use std::process::Command;

use rooms::TABLES;
use rules::{RULES, SourceFile, Violation};

/// Every tracked or new file below the repository's root that is text, with its path from there.
fn files() -> harness::Result<Vec<SourceFile>> {
    let root = harness::process::repository();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let mut files = Vec::new();
    for path in listed.lines() {
        // A file that was deleted but is still in the index, or is not text, has no rules.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

#[test]
fn every_file_keeps_the_rules_of_the_house() -> harness::Result<()> {
    let files = files()?;
    assert!(files.len() > 50, "only {} files were found", files.len());
    let broken: Vec<Violation> = files
        .iter()
        .flat_map(|file| RULES.iter().flat_map(|rule| rule.check(file)))
        .collect();
    for violation in &broken {
        println!("{violation}");
    }
    assert!(
        broken.is_empty(),
        "{} places break a rule of the house",
        broken.len()
    );
    Ok(())
}

#[test]
fn every_room_imports_what_its_line_says() -> harness::Result<()> {
    let files = files()?;
    let broken: Vec<String> = TABLES
        .iter()
        .flat_map(|table| table.violations(&files))
        .collect();
    for violation in &broken {
        println!("{violation}");
    }
    assert!(
        broken.is_empty(),
        "{} arrows between rooms are not as tests/tidy/rooms.rs says",
        broken.len()
    );
    Ok(())
}

#[test]
fn every_rule_finds_what_breaks_it() {
    for rule in RULES {
        let (path, text) = rule.breaking_example;
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(
            rule.check(&file).len(),
            1,
            "rule `{}` on its own example",
            rule.name
        );
        let elsewhere = SourceFile {
            path: "NOTICE".to_owned(),
            text: text.to_owned(),
        };
        assert!(
            rule.check(&elsewhere).is_empty(),
            "rule `{}` on a file it is not about",
            rule.name
        );
    }
}
