//! Progress on standard error: a bar on a terminal, otherwise an occasional line.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The least time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

const TEMPLATE: &str = "{prefix} [{bar:32}] {percent:>3}% {msg}";

/// The progress of one operation.
pub struct Progress {
    label: String,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Progress {
    /// Begins; `label` names the operation.
    pub fn start(label: impl Into<String>) -> Self {
        let label = label.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0).with_prefix(label.clone());
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Progress {
            label,
            bar,
            last_line: None,
        }
    }

    /// `done` of `total` units; `note` says it in words.
    pub fn update(&mut self, done: u64, total: u64, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(if total == 0 { 0 } else { done.min(total) });
            bar.set_message(note.to_owned());
            return;
        }
        let now = Instant::now();
        if self
            .last_line
            .is_none_or(|last| now.duration_since(last) >= LINE_INTERVAL)
        {
            self.last_line = Some(now);
            eprintln!("{}", line(&self.label, done, total, note));
        }
    }

    /// Ends, with a last word.
    pub fn finish(self, note: &str) {
        match self.bar {
            Some(bar) => {
                bar.set_length(1);
                bar.set_position(1);
                bar.abandon_with_message(note.to_owned());
            }
            None => eprintln!("{}: {note}", self.label),
        }
    }

    /// Ends without success: the error says the rest.
    pub fn abandon(self) {
        if let Some(bar) = self.bar {
            bar.abandon();
        }
    }
}

fn line(label: &str, done: u64, total: u64, note: &str) -> String {
    // In 128 bits, so that no product overflows.
    let percent = (u128::from(done.min(total)) * 100).checked_div(u128::from(total));
    match percent {
        Some(percent) => format!("{label}: {percent}% {note}"),
        None => format!("{label}: {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_names_the_operation_and_the_share() {
        assert_eq!(
            line("orders", 1, 4, "3 records behind"),
            "orders: 25% 3 records behind"
        );
        assert_eq!(line("orders", u64::MAX, u64::MAX, "x"), "orders: 100% x");
    }

    #[test]
    fn an_unknown_total_is_no_percentage() {
        assert_eq!(line("orders", 7, 0, "waiting"), "orders: waiting");
    }
}
