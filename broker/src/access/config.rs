//! Whether there is an authorizer, and how it is set.

use std::collections::BTreeSet;

use crate::config::{ConfigError, Values};
use crate::principal::Principal;

const CLASS: &str = "authorizer.class.name";
const SUPER_USERS: &str = "super.users";
const EVERYONE: &str = "allow.everyone.if.no.acl.found";
const STANDARD: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
/// Kafka's authorizers before StandardAuthorizer. The same ACLs mean the same.
const OLDER: [&str; 2] = [
    "kafka.security.authorizer.AclAuthorizer",
    "kafka.security.auth.SimpleAclAuthorizer",
];

/// Who may do everything without ACLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorizerConfig {
    /// Principals as text, such as `User:admin`.
    pub super_users: BTreeSet<String>,
    /// Whether a resource without any ACL is open to everyone.
    pub everyone_without_acls: bool,
}

impl AuthorizerConfig {
    pub fn is_super_user(&self, who: &Principal) -> bool {
        self.super_users.iter().any(|it| who.is_written(it))
    }

    /// Super users that are nobody, most likely, each with the reason.
    pub fn doubts(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let each = self.super_users.iter();
        each.filter_map(|user| Some((user.as_str(), doubt(user)?)))
    }

    /// `None` if there is no authorizer: everyone may do everything.
    ///
    /// # Errors
    /// An authorizer that is not here, or settings of one that was not asked for.
    pub fn of(values: &Values) -> Result<Option<Self>, ConfigError> {
        let class = values.text(CLASS).unwrap_or_default();
        let class = class.trim();
        if class.is_empty() {
            return is_off(values).map(|()| None);
        }
        if OLDER.contains(&class) {
            tracing::warn!(
                class,
                "Carrick's authorizer follows StandardAuthorizer, which replaced this class. Set \
                 {CLASS}={STANDARD}"
            );
        } else if class != STANDARD {
            return Err(ConfigError::value(
                CLASS,
                class,
                format!("Java classes are not loaded; the authorizer that is here is {STANDARD}"),
            ));
        }
        Ok(Some(Self {
            super_users: super_users(values)?,
            everyone_without_acls: values.boolean(EVERYONE),
        }))
    }
}

/// Refuses settings that only an authorizer reads, where there is none.
fn is_off(values: &Values) -> Result<(), ConfigError> {
    let reason = || format!("it has no effect without an authorizer: set {CLASS}={STANDARD}");
    let super_users = values.text(SUPER_USERS).unwrap_or_default();
    if !super_users.trim().is_empty() {
        return Err(ConfigError::value(SUPER_USERS, &super_users, reason()));
    }
    if values.is_set(EVERYONE) && !values.boolean(EVERYONE) {
        return Err(ConfigError::value(EVERYONE, "false", reason()));
    }
    Ok(())
}

fn super_users(values: &Values) -> Result<BTreeSet<String>, ConfigError> {
    let text = values.text(SUPER_USERS).unwrap_or_default();
    let each = text.split(';').map(str::trim).filter(|it| !it.is_empty());
    each.map(|user| match user.contains(':') {
        true => Ok(user.to_owned()),
        false => Err(ConfigError::value(
            SUPER_USERS,
            &text,
            format!("'{user}' has no type: write User:{user}"),
        )),
    })
    .collect()
}

/// Why there is no such user, most likely.
fn doubt(super_user: &str) -> Option<&'static str> {
    let (kind, name) = super_user.split_once(':').unwrap_or_default();
    if kind != "User" {
        return Some("the only type is User, with a capital U: write User:<name>");
    }
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for char in name.chars() {
        match char {
            ',' if !is_escaped => parts.push(String::new()),
            other => parts.last_mut()?.push(other),
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    // A certificate's name has commas, too: between parts such as CN=ops.
    let has_type = |part: &String| part.trim().to_ascii_lowercase().starts_with("user:");
    let is_list = parts.len() > 1
        && (parts.iter().any(has_type) || parts.iter().any(|part| !part.contains('=')));
    is_list.then_some("a comma is part of the name: separate users with semicolons")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[&str]) -> Result<Option<AuthorizerConfig>, String> {
        let values = crate::testing::values(set);
        AuthorizerConfig::of(&values).map_err(|error| error.to_string())
    }

    fn class(name: &str) -> String {
        format!("{CLASS}={name}")
    }

    #[test]
    fn there_is_an_authorizer_only_if_it_is_asked_for() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["allow.everyone.if.no.acl.found=true"]), Ok(None));
        let off = AuthorizerConfig::default();
        for name in [STANDARD, OLDER[0], OLDER[1]] {
            assert_eq!(read(&[&class(name)]), Ok(Some(off.clone())));
        }
    }

    // Follows StandardAuthorizerTest.testGetConfiguredSuperUsers and testGetDefaultResult.
    #[test]
    fn super_users_are_separated_by_semicolons_for_their_names_may_have_commas() {
        let users = "super.users=User:admin; User:CN=a,O=b ;;";
        let everyone = "allow.everyone.if.no.acl.found=true";
        let read = read(&[&class(STANDARD), users, everyone]);
        let config = read.unwrap().unwrap();
        let expected = ["User:CN=a,O=b", "User:admin"].map(str::to_owned);
        assert_eq!(config.super_users, BTreeSet::from(expected));
        assert!(config.everyone_without_acls);
    }

    #[test]
    fn super_users_that_are_nobody_are_doubted() {
        for sound in [
            "User:admin",
            "User:a:b",
            "User:CN=a,O=b",
            r"User:CN=a,O=Acme\, Inc",
        ] {
            assert_eq!(doubt(sound), None, "{sound}");
        }
        for list in [
            "User:a,User:b",
            "User:a, b",
            "User:CN=a,User:CN=b",
            r"User:a\\,b",
        ] {
            assert!(doubt(list).unwrap().contains("semicolons"), "{list}");
        }
        for kind in ["user:admin", "USER:admin", "Group:ops"] {
            assert!(doubt(kind).unwrap().contains("capital U"), "{kind}");
        }
    }

    #[test]
    fn what_would_not_protect_keeps_the_broker_from_starting() {
        let refused = |set: &[&str]| read(set).unwrap_err();
        assert!(refused(&[&class("com.example.Mine")]).contains("StandardAuthorizer"));
        assert!(refused(&["super.users=User:a"]).contains(CLASS));
        assert!(refused(&["allow.everyone.if.no.acl.found=false"]).contains(CLASS));
        let refused = refused(&[&class(STANDARD), "super.users=admin"]);
        assert!(refused.contains("write User:admin"), "{refused}");
    }
}
