//! Which ACLs are synced: Confluent's filters, a JSON object with one list of
//! `{"resourceFilter", "accessFilter"}`.
//!
//! Invariant: an ACL is selected if one filter fits all its fields; without filters, none is. What
//! a filter leaves out fits everything.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::acls::{Acl, AclOperation, AclPattern, AclPermission, AclResource, EVERY_NAME};

/// Most filters that one config may hold.
const FILTERS_MAX: usize = 1_000;

const LIST: &str = "aclFilters";
const EXAMPLE: &str = r#"{"aclFilters":[{"resourceFilter":{"resourceType":"any","patternType":"any"},"accessFilter":{"operation":"any","permissionType":"any"}}]}"#;

/// The filters of `acl.filters`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclFilters(Vec<Filter>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    resource: Option<AclResource>,
    pattern: Pattern,
    name: Option<String>,
    principal: Option<String>,
    host: Option<String>,
    operation: Option<AclOperation>,
    permission: Option<AclPermission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Any,
    /// Every ACL that applies to the resource of this name.
    Match,
    Only(AclPattern),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    resource_filter: ResourceFilter,
    access_filter: AccessFilter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceFilter {
    resource_type: Option<String>,
    pattern_type: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AccessFilter {
    principal: Option<String>,
    host: Option<String>,
    operation: Option<String>,
    permission_type: Option<String>,
}

impl AclFilters {
    /// Reads the value of the config; empty text holds no filter.
    ///
    /// # Errors
    /// What is wrong, and how it is written.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        if value.is_empty() {
            return Ok(Self::default());
        }
        let mut lists: BTreeMap<String, Vec<Given>> = serde_json::from_str(value)
            .map_err(|error| format!("is not JSON of the form {EXAMPLE}: {error}"))?;
        let given = lists.remove(LIST).filter(|_| lists.is_empty());
        let given = given.ok_or_else(|| format!("must contain only {LIST}, such as {EXAMPLE}"))?;
        if given.len() > FILTERS_MAX {
            return Err(format!("must contain at most {FILTERS_MAX} filters"));
        }
        let filters: Result<_, _> = given.into_iter().map(Filter::of).collect();
        Ok(Self(filters?))
    }

    /// Whether some ACL may be meant.
    pub fn includes_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the filters select this ACL of the source.
    pub fn include(&self, acl: &Acl) -> bool {
        self.0.iter().any(|filter| filter.fits(acl))
    }
}

impl Filter {
    fn of(given: Given) -> Result<Self, String> {
        let Given {
            resource_filter: resource,
            access_filter: access,
        } = given;
        let pattern = word(
            "patternType",
            resource.pattern_type,
            &[
                ("MATCH", Pattern::Match),
                ("LITERAL", Pattern::Only(AclPattern::Literal)),
                ("PREFIXED", Pattern::Only(AclPattern::Prefixed)),
            ],
        )?;
        let filter = Self {
            resource: word(
                "resourceType",
                resource.resource_type,
                &AclResource::ALL
                    .iter()
                    .map(|it| (it.name(), *it))
                    .collect::<Vec<_>>(),
            )?,
            pattern: pattern.unwrap_or(Pattern::Any),
            name: resource.name,
            principal: access.principal,
            host: access.host,
            operation: word(
                "operation",
                access.operation,
                &AclOperation::ALL
                    .iter()
                    .map(|it| (it.name(), *it))
                    .collect::<Vec<_>>(),
            )?,
            permission: word(
                "permissionType",
                access.permission_type,
                &AclPermission::ALL
                    .iter()
                    .map(|it| (it.name(), *it))
                    .collect::<Vec<_>>(),
            )?,
        };
        for (field, text) in [
            ("name", &filter.name),
            ("principal", &filter.principal),
            ("host", &filter.host),
        ] {
            if text.as_deref() == Some("") {
                return Err(format!("{field} is empty: leave it out to fit every one"));
            }
        }
        if filter
            .principal
            .as_deref()
            .is_some_and(|it| !it.contains(':'))
        {
            return Err("principal must have a type, such as User:name".to_owned());
        }
        Ok(filter)
    }

    fn fits(&self, acl: &Acl) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        self.resource.is_none_or(|it| it == acl.resource)
            && self.fits_name(acl)
            && is(&self.principal, &acl.principal)
            && is(&self.host, &acl.host)
            && self.operation.is_none_or(|it| it == acl.operation)
            && self.permission.is_none_or(|it| it == acl.permission)
    }

    fn fits_name(&self, acl: &Acl) -> bool {
        let name = self.name.as_deref();
        match self.pattern {
            Pattern::Only(pattern) if pattern != acl.pattern => false,
            Pattern::Match => name.is_none_or(|name| match acl.pattern {
                AclPattern::Literal => acl.name == name || acl.name == EVERY_NAME,
                AclPattern::Prefixed => name.starts_with(&acl.name),
            }),
            Pattern::Only(_) | Pattern::Any => name.is_none_or(|name| name == acl.name),
        }
    }
}

/// The meaning of a word in any case, with or without `_`; `None` for `any`, or if it is left out.
fn word<T: Copy>(
    field: &str,
    given: Option<String>,
    words: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(given) = given else { return Ok(None) };
    let plain = |text: &str| text.replace('_', "").to_ascii_uppercase();
    let given = plain(&given);
    if given == "ANY" {
        return Ok(None);
    }
    let found = words.iter().find(|(word, _)| plain(word) == given);
    found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{field} must be ANY, {}", words.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acls::acl;

    fn filter(resource: &str, access: &str) -> AclFilters {
        let text = format!(
            r#"{{"aclFilters":[{{"resourceFilter":{{{resource}}},"accessFilter":{{{access}}}}}]}}"#
        );
        AclFilters::parse(&text).unwrap()
    }

    #[test]
    fn the_example_selects_every_acl_and_no_filter_none() {
        let all = AclFilters::parse(EXAMPLE).unwrap();
        let topic = acl(AclResource::Topic, AclPattern::Literal, "orders");
        assert!(all.includes_any() && all.include(&topic));
        let none = AclFilters::parse("").unwrap();
        assert!(!none.includes_any() && !none.include(&topic));
    }

    #[test]
    fn every_field_narrows_the_selection() {
        use AclPattern::{Literal, Prefixed};
        use AclResource::{Group, Topic, TransactionalId};
        let orders = acl(Topic, Literal, "orders");
        for (resource, access) in [
            (r#""resourceType":"topic""#, ""),
            (
                r#""resourceType":"TOPIC","patternType":"literal","name":"orders""#,
                "",
            ),
            ("", r#""principal":"User:app","host":"*""#),
            ("", r#""operation":"read","permissionType":"ALLOW""#),
        ] {
            assert!(
                filter(resource, access).include(&orders),
                "{resource} {access}"
            );
        }
        for (resource, access) in [
            (r#""resourceType":"group""#, ""),
            (r#""patternType":"prefixed""#, ""),
            (r#""name":"order""#, ""),
            ("", r#""principal":"User:other""#),
            ("", r#""host":"10.0.0.7""#),
            ("", r#""operation":"write""#),
            ("", r#""permissionType":"deny""#),
        ] {
            assert!(
                !filter(resource, access).include(&orders),
                "{resource} {access}"
            );
        }
        let ids = filter(r#""resourceType":"transactionalId""#, "");
        assert!(ids.include(&acl(TransactionalId, Literal, "x")));
        let matching = filter(r#""name":"orders","patternType":"match""#, "");
        for fits in [
            orders,
            acl(Topic, Prefixed, "ord"),
            acl(Group, Literal, "*"),
        ] {
            assert!(matching.include(&fits), "{fits}");
        }
        assert!(!matching.include(&acl(Topic, Prefixed, "orders2")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let of = |resource: &str, access: &str| {
            format!(
                r#"{{"aclFilters":[{{"resourceFilter":{{{resource}}},"accessFilter":{{{access}}}}}]}}"#
            )
        };
        for wrong in [
            "topics".to_owned(),
            "{}".to_owned(),
            r#"{"topicFilters":[]}"#.to_owned(),
            r#"{"aclFilters":[{"resourceFilter":{}}]}"#.to_owned(),
            of(r#""resourceType":"table""#, ""),
            of(r#""patternType":"regex""#, ""),
            of(r#""name":"""#, ""),
            of("", r#""operation":"look""#),
            of("", r#""principal":"app""#),
            of("", r#""permission":"allow""#),
        ] {
            assert!(AclFilters::parse(&wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(value in "(?s).{0,200}") {
            let _ = AclFilters::parse(&value);
        }
    }
}
