//! How commands print: tables for people, JSON for scripts.
//!
//! Results go to standard output; progress and errors go to standard error, so that with `-o json`
//! standard output contains only JSON.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::error::{CliError, CliResult};

/// What a failed command prints to standard error: text, or one JSON document.
pub fn failure(format: OutputFormat, error: &CliError, exit_code: u8) -> String {
    match format {
        OutputFormat::Human => format!("carrick: {error}"),
        OutputFormat::Json => {
            let message = error.to_string();
            serde_json::json!({ "error": message, "exit_code": exit_code }).to_string()
        }
    }
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables and text.
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

/// Longer cells are shortened, except in the last column: topic names may have 249 characters,
/// which is too wide for a table. Descriptions and JSON show them in full.
const CELL_MAX_CHARS: usize = 60;

/// `text`, its middle left out where it is too long: names often differ at their ends.
fn shortened(text: String) -> String {
    let count = text.chars().count();
    if count <= CELL_MAX_CHARS {
        return text;
    }
    let tail = CELL_MAX_CHARS / 3;
    let head = CELL_MAX_CHARS - tail - 1;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// A plain table: a header line, then one line per row, columns two spaces apart.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        let cells = row.into_iter().enumerate();
        table.add_row(cells.map(|(column, cell)| match column + 1 == N {
            true => cell,
            false => shortened(cell),
        }));
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

/// A point in time as people read it, in UTC with milliseconds.
pub fn when(time_ms: i64) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => format!("{time_ms} ms"),
    }
}

/// A duration as people read it.
pub fn lasting(duration_ms: i64) -> String {
    match duration_ms {
        ..1_000 => format!("{duration_ms} ms"),
        1_000..60_000 => format!("{}.{:01} s", duration_ms / 1_000, duration_ms % 1_000 / 100),
        60_000..3_600_000 => format!(
            "{} min {} s",
            duration_ms / 60_000,
            duration_ms / 1_000 % 60
        ),
        _ => format!(
            "{} h {} min",
            duration_ms / 3_600_000,
            duration_ms / 60_000 % 60
        ),
    }
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
    fn a_long_name_leaves_its_middle_out_but_in_the_last_column() {
        let name = format!("begin{}end", "x".repeat(241));
        let text = table(["A", "B"], [[name.clone(), name.clone()]]);
        let row = text.lines().nth(1).unwrap();
        let (first, last) = row.split_once("  ").unwrap();
        assert_eq!(first.chars().count(), CELL_MAX_CHARS);
        assert!(first.starts_with("begin") && first.contains('…') && first.ends_with("end"));
        assert_eq!(last, name);
        assert_eq!(
            shortened("y".repeat(CELL_MAX_CHARS)),
            "y".repeat(CELL_MAX_CHARS)
        );
    }

    #[test]
    fn a_failure_is_words_or_one_json_document() {
        let error = CliError::Failed("it said \"no\"\n  twice".to_owned());
        assert_eq!(
            failure(OutputFormat::Human, &error, 1),
            "carrick: it said \"no\"\n  twice"
        );
        let json: serde_json::Value =
            serde_json::from_str(&failure(OutputFormat::Json, &error, 1)).unwrap();
        assert_eq!(json["error"], error.to_string());
        assert_eq!(json["exit_code"], 1);
    }

    #[test]
    fn facts_are_aligned() {
        assert_eq!(
            facts(&[("A", "1".into()), ("LONG", "2".into())]),
            "A:    1\nLONG: 2\n"
        );
    }

    #[test]
    fn durations_read_well() {
        let texts = [0, 999, 1_000, 61_000, 3_660_000].map(lasting);
        assert_eq!(texts, ["0 ms", "999 ms", "1.0 s", "1 min 1 s", "1 h 1 min"]);
    }
}
