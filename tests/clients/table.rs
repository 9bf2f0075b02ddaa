//! What the matrix came to, for people: a table of each section, the reasons below it, the totals.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use crate::matrix::{Cell, Outcome, Row, Section};

/// How many cells ended how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Totals {
    /// Counts the cells; one that a library lacks, or that was not asked for, counts nowhere.
    pub fn of(outcomes: &[Vec<Outcome>]) -> Self {
        let mut totals = Self::default();
        for outcome in outcomes.iter().flatten() {
            match outcome {
                Outcome::Passed(_) => totals.passed += 1,
                Outcome::Failed(_) => totals.failed += 1,
                Outcome::Skipped(_) => totals.skipped += 1,
                Outcome::Lacks(_) | Outcome::NotAsked => {}
            }
        }
        totals
    }
}

/// Prints the sections and the totals.
pub fn print(rows: &[Row], outcomes: &[Vec<Outcome>]) {
    for (section, title) in [
        (Section::Libraries, "Client libraries"),
        (
            Section::Security,
            "Client libraries: TLS, logins and rights",
        ),
        (Section::Applications, "Applications and tools"),
    ] {
        let mut chosen = Vec::new();
        for (row, outcomes) in rows.iter().zip(outcomes) {
            let asked = outcomes.iter().any(|o| !matches!(o, Outcome::NotAsked));
            if row.section == section && asked {
                chosen.push((row, outcomes.as_slice()));
            }
        }
        if chosen.is_empty() {
            continue;
        }
        println!("\n{title}\n");
        match section {
            Section::Libraries | Section::Security => print_grid(&chosen),
            Section::Applications => print_list(&chosen),
        }
        print_reasons(&chosen);
    }
    let totals = Totals::of(outcomes);
    let (passed, failed, skipped) = (totals.passed, totals.failed, totals.skipped);
    println!("\nclients: {passed} passed, {failed} failed, {skipped} skipped");
}

/// Of a failure, below the table.
const REASON_CHARS_MAX: usize = 400;

type Chosen<'a> = [(&'a Row, &'a [Outcome])];

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table
}

/// Client × capability: the columns are all capabilities that any row names.
fn print_grid(rows: &Chosen<'_>) {
    let mut columns: Vec<&str> = Vec::new();
    for (row, _) in rows {
        for cell in &row.cells {
            if !columns.contains(&cell.capability) {
                columns.push(cell.capability);
            }
        }
    }
    let mut table = new_table();
    let head = ["client", "version"].into_iter();
    table.set_header(head.chain(columns.iter().copied()));
    for (row, outcomes) in rows {
        let word_of = |column: &&str| {
            let at = row.cells.iter().position(|c| c.capability == *column);
            at.map_or("", |at| word(&row.cells[at], &outcomes[at]))
        };
        let head = [row.name, row.version.as_str()].into_iter();
        table.add_row(head.chain(columns.iter().map(word_of)));
    }
    println!("{table}");
}

/// One line a cell: applications have few capabilities in common.
fn print_list(rows: &Chosen<'_>) {
    let mut table = new_table();
    table.set_header(["application", "what it does", "result"]);
    for (row, outcomes) in rows {
        for (cell, outcome) in row.cells.iter().zip(*outcomes) {
            if !matches!(outcome, Outcome::NotAsked) {
                table.add_row([row.name, cell.capability, word(cell, outcome)]);
            }
        }
    }
    println!("{table}");
}

fn word(cell: &Cell, outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed(_) if !cell.without.is_empty() => "ok *",
        Outcome::Passed(_) => "ok",
        Outcome::Failed(_) => "FAILED",
        Outcome::Skipped(_) => "skipped",
        Outcome::Lacks(_) => "–",
        Outcome::NotAsked => "",
    }
}

/// The end of a failure's text, which may be a program's log: all of it was printed when the cell ended.
fn one_line(why: &str) -> String {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let from = line.char_indices().rev().nth(REASON_CHARS_MAX);
    from.map_or_else(|| line.clone(), |(at, _)| format!("…{}", &line[at..]))
}

fn print_reasons(rows: &Chosen<'_>) {
    let mut lines: Vec<String> = Vec::new();
    for (row, outcomes) in rows {
        for (cell, outcome) in row.cells.iter().zip(*outcomes) {
            let line = match outcome {
                Outcome::Passed(_) if !cell.without.is_empty() => {
                    let without = cell.without.join(", ");
                    format!("* {} / {}: without {without}", row.name, cell.capability)
                }
                Outcome::Passed(_) | Outcome::NotAsked => continue,
                Outcome::Failed(why) => {
                    let end = one_line(why);
                    format!("FAILED {} / {}: {end}", row.name, cell.capability)
                }
                Outcome::Skipped(line) => format!("skipped {}: {line}", row.name),
                Outcome::Lacks(why) => format!("– {} / {}: {why}", row.name, cell.capability),
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    for (index, line) in lines.iter().enumerate() {
        println!("{}{line}", if index == 0 { "\n" } else { "" });
    }
}
