//! Which ACLs a request is about, and which ACLs can be set.

use super::acls::AclError;
use super::denials::Shown;
use super::vocabulary::{CLUSTER_NAME, Operation, ResourceKind};
use crate::records::acl::{Binding, Pattern, Permission};

/// The name or address that means every one.
pub const WILDCARD: &str = "*";

/// Bytes of a name, principal or host of an ACL, at most.
pub const FIELD_MAX_BYTES: usize = 4_096;

/// The pattern of a filter (`PatternType`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatternFilter {
    #[default]
    Any,
    /// Every ACL that applies to the resource of this name.
    Match,
    Only(Pattern),
}

/// Which ACLs are meant (`AclBindingFilter`): those that fit each field; `None` fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<ResourceKind>,
    pub pattern: PatternFilter,
    pub name: Option<String>,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: Option<Operation>,
    pub permission: Option<Permission>,
}

impl Filter {
    /// Whether it takes a look at every ACL to find those that fit.
    pub fn is_wide(&self) -> bool {
        self.narrow().is_none()
    }

    /// The one pattern whose ACLs may fit.
    pub(super) fn narrow(&self) -> Option<(ResourceKind, Pattern, &str)> {
        let PatternFilter::Only(pattern) = self.pattern else {
            return None;
        };
        Some((self.kind?, pattern, self.name.as_deref()?))
    }

    pub fn fits(&self, binding: &Binding) -> bool {
        self.kind.is_none_or(|kind| kind == binding.kind)
            && self.fits_name(binding)
            && is(&self.principal, &binding.principal)
            && is(&self.host, &binding.host)
            && self.operation.is_none_or(|it| it == binding.operation)
            && self.permission.is_none_or(|it| it == binding.permission)
    }

    /// As `ResourcePatternFilter.matches`.
    fn fits_name(&self, binding: &Binding) -> bool {
        let name = self.name.as_deref();
        match self.pattern {
            PatternFilter::Only(pattern) if pattern != binding.pattern => false,
            PatternFilter::Match => name.is_none_or(|name| applies(binding, name)),
            _ => name.is_none_or(|name| name == binding.name),
        }
    }
}

fn is(wanted: &Option<String>, value: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == value)
}

/// Whether the ACL is one of the resource of this name, if the kinds agree.
pub fn applies(binding: &Binding, name: &str) -> bool {
    match binding.pattern {
        Pattern::Literal => binding.name == name || binding.name == WILDCARD,
        Pattern::Prefixed => name.starts_with(binding.name.as_str()),
    }
}

/// Whether this can be an ACL (`AclApis`, `AclControlManager.validateNewAcl`).
///
/// # Errors
/// `Invalid`.
pub fn check(binding: &Binding) -> Result<(), AclError> {
    let invalid = |reason: String| Err(AclError::Invalid(reason));
    if binding.kind == ResourceKind::Cluster && binding.name != CLUSTER_NAME {
        return invalid(format!(
            "The only valid name for the CLUSTER resource is {CLUSTER_NAME}"
        ));
    }
    if binding.name.is_empty() {
        return invalid("Invalid empty resource name".to_owned());
    }
    let fields = [
        ("resource name", &binding.name),
        ("principal", &binding.principal),
        ("host", &binding.host),
    ];
    for (field, value) in fields {
        if value.len() > FIELD_MAX_BYTES {
            let bytes = value.len();
            return invalid(format!(
                "The {field} of an ACL has {bytes} bytes, more than {FIELD_MAX_BYTES}"
            ));
        }
    }
    if !binding.principal.contains(':') {
        let principal = Shown(&binding.principal);
        return invalid(format!(
            "Could not parse principal from `{principal}` (no colon is present separating the \
             principal type from the principal name)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(pattern: Pattern, name: &str) -> Binding {
        Binding {
            kind: ResourceKind::Topic,
            pattern,
            name: name.to_owned(),
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    // Follows AclBindingTest and ResourcePatternFilterTest.
    #[test]
    fn a_filter_by_match_wants_what_applies_and_others_what_is_named_so() {
        let all = [
            binding(Pattern::Literal, "foo"),
            binding(Pattern::Literal, "*"),
            binding(Pattern::Prefixed, "fo"),
            binding(Pattern::Prefixed, "foo"),
            binding(Pattern::Prefixed, "foob"),
        ];
        let found = |pattern, name: Option<&str>| {
            let name = name.map(str::to_owned);
            let filter = Filter {
                pattern,
                name,
                ..Filter::default()
            };
            let found = all.iter().enumerate().filter(|(_, it)| filter.fits(it));
            found.map(|(i, _)| i).collect::<Vec<_>>()
        };
        let only = PatternFilter::Only;
        assert_eq!(found(PatternFilter::Match, Some("foo")), [0, 1, 2, 3]);
        assert_eq!(found(PatternFilter::Match, Some("*")), [1]);
        assert_eq!(found(PatternFilter::Any, Some("foo")), [0, 3]);
        assert_eq!(found(only(Pattern::Literal), Some("foo")), [0]);
        assert_eq!(found(only(Pattern::Literal), Some("*")), [1]);
        assert_eq!(found(only(Pattern::Prefixed), None), [2, 3, 4]);
        for pattern in [PatternFilter::Any, PatternFilter::Match] {
            assert_eq!(found(pattern, None), [0, 1, 2, 3, 4]);
        }
        let nobodys = Filter {
            principal: Some("User:*".to_owned()),
            ..Filter::default()
        };
        assert!(!nobodys.fits(&all[0]), "a wildcard is a value like others");
    }

    #[test]
    fn what_cannot_be_an_acl_is_refused_with_the_reason() {
        let refused = |change: fn(&mut Binding)| {
            let mut binding = binding(Pattern::Literal, "foo");
            change(&mut binding);
            check(&binding).unwrap_err().to_string()
        };
        assert!(check(&binding(Pattern::Prefixed, "foo")).is_ok());
        assert_eq!(refused(|it| it.name.clear()), "Invalid empty resource name");
        assert_eq!(
            refused(|it| it.kind = ResourceKind::Cluster),
            "The only valid name for the CLUSTER resource is kafka-cluster"
        );
        assert_eq!(
            refused(|it| it.principal = "ann".to_owned()),
            "Could not parse principal from `ann` (no colon is present separating the principal \
             type from the principal name)"
        );
        assert!(refused(|it| it.host = "x".repeat(4_097)).contains("4097 bytes"));
    }
}
