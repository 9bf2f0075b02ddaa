//! Which names are selected: Confluent's filters, a JSON object with one list of `{"name",
//! "patternType": "LITERAL" | "PREFIXED", "filterType": "INCLUDE" | "EXCLUDE"}`.
//!
//! Invariant: a name is selected if at least one filter includes it and none excludes it; without
//! filters, no name is. The literal name `*` matches every name, as in Kafka's ACLs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Most filters that one config may hold.
const FILTERS_MAX: usize = 1_000;
/// Every name, in a literal filter.
const EVERY_NAME: &str = "*";

/// The filters of one config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameFilters(Vec<Filter>);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    name: String,
    pattern_type: PatternType,
    filter_type: FilterType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum PatternType {
    Literal,
    Prefixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum FilterType {
    Include,
    Exclude,
}

impl NameFilters {
    /// Reads the value of a config; empty text holds no filter.
    ///
    /// # Errors
    /// What is wrong, and how it is written.
    pub(super) fn parse(value: &str, list: &str) -> Result<Self, String> {
        if value.is_empty() {
            return Ok(Self::default());
        }
        let example = format!(
            r#"{{"{list}":[{{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}}]}}"#
        );
        let mut lists: BTreeMap<String, Vec<Filter>> = serde_json::from_str(value)
            .map_err(|error| format!("is not JSON of the form {example}: {error}"))?;
        let filters = lists.remove(list);
        let filters = filters.filter(|_| lists.is_empty());
        let filters =
            filters.ok_or_else(|| format!("must contain only {list}, such as {example}"))?;
        if filters.len() > FILTERS_MAX {
            return Err(format!("must contain at most {FILTERS_MAX} filters"));
        }
        for filter in &filters {
            if filter.name.is_empty() {
                return Err(format!(
                    "a name is empty; to match every name, use {example}"
                ));
            }
            if filter.name == EVERY_NAME && filter.pattern_type == PatternType::Prefixed {
                return Err("the name * means every name: its patternType is LITERAL".into());
            }
        }
        Ok(Self(filters))
    }

    /// Whether some name may be meant.
    pub fn includes_any(&self) -> bool {
        let mut all = self.0.iter();
        all.any(|filter| filter.filter_type == FilterType::Include)
    }

    /// The single names that the filters select.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let literal = self.0.iter().filter(|filter| {
            filter.filter_type == FilterType::Include
                && filter.pattern_type == PatternType::Literal
                && filter.name != EVERY_NAME
        });
        let names = literal.map(|filter| filter.name.as_str());
        names.filter(|name| self.include(name))
    }

    /// Whether the filters select `name`.
    pub fn include(&self, name: &str) -> bool {
        let meant_by = |filter_type| {
            let mut all = self.0.iter();
            all.any(|filter| filter.filter_type == filter_type && filter.fits(name))
        };
        meant_by(FilterType::Include) && !meant_by(FilterType::Exclude)
    }
}

impl Filter {
    fn fits(&self, name: &str) -> bool {
        match self.pattern_type {
            PatternType::Literal => self.name == name || self.name == EVERY_NAME,
            PatternType::Prefixed => name.starts_with(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(filters: &[(&str, &str, &str)]) -> Result<NameFilters, String> {
        let filters = filters.iter().map(|(name, pattern, filter)| {
            format!(r#"{{"name":"{name}","patternType":"{pattern}","filterType":"{filter}"}}"#)
        });
        let all: Vec<String> = filters.collect();
        NameFilters::parse(
            &format!(r#"{{"topicFilters":[{}]}}"#, all.join(",")),
            "topicFilters",
        )
    }

    #[test]
    fn literal_and_prefixed_names_are_included_and_exclusion_wins() {
        let filters = filters(&[
            ("orders", "LITERAL", "INCLUDE"),
            ("eu-", "PREFIXED", "INCLUDE"),
            ("eu-secret", "PREFIXED", "EXCLUDE"),
            ("eu-old", "LITERAL", "EXCLUDE"),
        ])
        .unwrap();
        for meant in ["orders", "eu-", "eu-orders", "eu-older"] {
            assert!(filters.include(meant), "{meant}");
        }
        for other in ["orders2", "us-orders", "eu-old", "eu-secrets", "eu-secret"] {
            assert!(!filters.include(other), "{other}");
        }
    }

    #[test]
    fn a_star_is_every_name_and_none_is_meant_without_filters() {
        let all = filters(&[("*", "LITERAL", "INCLUDE"), ("x", "PREFIXED", "EXCLUDE")]).unwrap();
        assert!(all.include("orders") && !all.include("xy"));
        let none = filters(&[("*", "LITERAL", "EXCLUDE")]).unwrap();
        assert!(!none.include("orders") && !none.includes_any());
        let empty = NameFilters::parse("", "topicFilters").unwrap();
        assert!(!empty.include("orders") && !empty.includes_any());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [
            "orders",
            "[]",
            "{}",
            r#"{"groupFilters":[]}"#,
            r#"{"topicFilters":[],"more":[]}"#,
            r#"{"topicFilters":[{"name":"a","patternType":"LITERAL"}]}"#,
            r#"{"topicFilters":[{"name":"a","patternType":"REGEX","filterType":"INCLUDE"}]}"#,
            r#"{"topicFilters":[{"name":"a","patternType":"LITERAL","filterType":"ALLOW"}]}"#,
            r#"{"topicFilters":[{"name":"a","patternType":"LITERAL","filterType":"INCLUDE","x":1}]}"#,
        ] {
            let error = NameFilters::parse(wrong, "topicFilters").unwrap_err();
            assert!(error.contains("topicFilters"), "{wrong}: {error}");
        }
        assert!(filters(&[("", "LITERAL", "INCLUDE")]).is_err());
        assert!(filters(&[("*", "PREFIXED", "INCLUDE")]).is_err());
        assert!(filters(&vec![("a", "LITERAL", "INCLUDE"); FILTERS_MAX + 1]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(value in "(?s).{0,200}") {
            let _ = NameFilters::parse(&value, "topicFilters");
        }
    }
}
