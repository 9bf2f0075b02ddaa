//! The matrix of real clients: every library and application, by capability, against a real Carrick process.
//!
//! `cargo test -p e2e --test clients` runs all of it and prints the table; words after `--` choose rows or cells whose
//! `row / capability` contains one of them. `--list` names the cells, `--at-once N` sets how many run at the same time,
//! `--kafka` runs the cells of security against a real Apache Kafka.
//! It ends with 1 when a cell failed, with 2 when the words choose nothing.

mod apps;
mod library;
mod matrix;
mod scenarios;
mod table;
mod versions;

use std::process::ExitCode;

use matrix::{Cell, Row};

/// Cells at a time, unless `--at-once` says otherwise: they wait for timeouts more than they compute.
const AT_ONCE: usize = 2;

struct Arguments {
    words: Vec<String>,
    list: bool,
    at_once: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        words: Vec::new(),
        list: false,
        at_once: AT_ONCE,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--list" => parsed.list = true,
            "--kafka" => scenarios::security::measure_kafka(),
            "--at-once" => {
                let number = given.next().and_then(|n| n.parse().ok());
                parsed.at_once = number.ok_or("--at-once takes a number")?;
            }
            // What `cargo test` hands to every test binary.
            "--nocapture" | "--quiet" => {}
            other if other.starts_with('-') => return Err(format!("unknown argument {other}")),
            word => parsed.words.push(word.to_owned()),
        }
    }
    Ok(parsed)
}

fn path(row: &Row, cell: &Cell) -> String {
    format!("{} / {}", row.name, cell.capability)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(e) => {
            eprintln!("clients: {e}");
            return ExitCode::from(2);
        }
    };
    let mut rows = library::rows();
    rows.extend(apps::rows());
    let wanted = |row: &Row, cell: &Cell| {
        let path = path(row, cell);
        arguments.words.is_empty() || arguments.words.iter().any(|w| path.contains(w))
    };
    let chosen = rows
        .iter()
        .flat_map(|r| r.cells.iter().map(move |c| (r, c)));
    let chosen: Vec<_> = chosen.filter(|(r, c)| wanted(r, c)).collect();
    if chosen.is_empty() {
        eprintln!("clients: no cell has {:?} in its name", arguments.words);
        return ExitCode::from(2);
    }
    if arguments.list {
        for (row, cell) in chosen {
            println!("{}", path(row, cell));
        }
        return ExitCode::SUCCESS;
    }
    // The report of a cell has the panic's text; a backtrace would bury it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let outcomes = matrix::run(&rows, arguments.at_once.max(1), wanted);
    table::print(&rows, &outcomes);
    ExitCode::from(u8::from(table::Totals::of(&outcomes).failed > 0))
}
