//! The log of `carrick serve`: to standard error, filtered by `RUST_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that filters.
const VARIABLE: &str = "RUST_LOG";

/// What is logged by default.
const DEFAULT: &str = "info";

/// Starts to log. An invalid filter is reported, and the default is used.
pub fn start() {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    let (filter, wrong) = match filter(&asked) {
        Ok(filter) => (filter, None),
        Err(reason) => (EnvFilter::new(DEFAULT), Some(reason)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Some(reason) = wrong {
        tracing::warn!("{VARIABLE}='{asked}' is ignored, '{DEFAULT}' is used: {reason}");
    }
}

/// Reads a filter. A single word must be a level or one of this program's own parts: if it could be
/// any target, a misspelt level would turn everything off.
fn filter(asked: &str) -> Result<EnvFilter, String> {
    let mut words = asked
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    if let Some(wrong) = words.find(|word| !word.contains(['=', '[']) && !is_level_or_ours(word)) {
        return Err(format!(
            "'{wrong}' is not a level (off, error, warn, info, debug, trace); for a target write \
             '{wrong}=debug'"
        ));
    }
    if asked.trim().is_empty() {
        return Ok(EnvFilter::new(DEFAULT));
    }
    EnvFilter::try_new(asked).map_err(|error| error.to_string())
}

fn is_level_or_ours(word: &str) -> bool {
    word.parse::<tracing::level_filters::LevelFilter>().is_ok() || word.starts_with("carrick")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_targets_and_nothing_are_filters() {
        for asked in [
            "",
            " ",
            "info",
            "WARN",
            "off",
            "3",
            "carrick=debug",
            "carrick_link",
        ] {
            assert!(filter(asked).is_ok(), "{asked}");
        }
        assert!(filter("info,carrick_storage=debug,tokio=trace").is_ok());
        assert_eq!(filter("").unwrap().to_string(), "info");
    }

    #[test]
    fn a_misspelt_level_is_named_instead_of_turning_the_log_off() {
        let reason = filter("inof").unwrap_err();
        assert!(reason.contains("'inof' is not a level"), "{reason}");
        assert!(filter("warn,inof").is_err());
        assert!(filter("carrick=inof").is_err());
    }
}
