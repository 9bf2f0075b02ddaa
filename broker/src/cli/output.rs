//! How commands print: tables for people, JSON for scripts.
//!
//! Results go to standard output; progress and errors go to standard error, so that `-o json`
//! leaves nothing but JSON on standard output.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::error::{CliError, CliResult};

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables and sentences.
    Human,
    /// One JSON document.
    Json,
}

/// Writes results to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: OutputFormat,
}

impl Output {
    /// Output in `format`.
    pub fn new(format: OutputFormat) -> Self {
        Output { format }
    }

    /// Prints `value` as JSON, or what `human` makes of it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn print<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> CliResult {
        let text = match self.format {
            OutputFormat::Human => human(value),
            OutputFormat::Json => serde_json::to_string_pretty(value)
                .map_err(|error| CliError::Failed(format!("cannot encode the output: {error}")))?,
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.trim_end().as_bytes())?;
        out.write_all(b"\n")?;
        Ok(())
    }
}

/// A plain table: a header line, then one line per row, columns two spaces apart.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `name: value` lines, the values below each other.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in facts {
        let name = format!("{name}:");
        text.push_str(format!("{name:width$}{value}").trim_end());
        text.push('\n');
    }
    text
}

/// `count` and `noun`, with an `s` unless it is one.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let text = table(["A", "LONGER"], [["wide value".into(), "x".into()]]);
        assert_eq!(text, "A           LONGER\nwide value  x");
    }

    #[test]
    fn facts_are_aligned() {
        assert_eq!(
            facts(&[("A", "1".into()), ("LONG", "2".into())]),
            "A:    1\nLONG: 2\n"
        );
    }
}
