//! Credentials that were made elsewhere: they are set many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::Credential;

use super::users::{Change, UserError, Users};

/// One credential.
#[derive(Debug, Clone)]
pub struct Given {
    pub user: String,
    pub mechanism: Mechanism,
    pub credential: Arc<Credential>,
}

/// What has come of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    pub set: usize,
    /// Their users had one already.
    pub kept: usize,
}

impl Users {
    /// Sets credentials; of several for the same user and mechanism, the last. With `keep_existing`
    /// those that are there stay. Blocks on disk.
    ///
    /// # Errors
    /// The first user for whom it is refused. Those of other mechanisms may be set by then.
    pub fn bring(
        &self,
        given: Vec<Given>,
        keep_existing: bool,
    ) -> Result<Brought, (String, UserError)> {
        let mut brought = Brought::default();
        let mut by_mechanism = BTreeMap::<&str, BTreeMap<String, Change>>::new();
        for Given {
            user,
            mechanism,
            credential,
        } in given
        {
            if keep_existing && self.credential(&user, mechanism).is_some() {
                brought.kept += 1;
                continue;
            }
            let of_mechanism = by_mechanism.entry(mechanism.name()).or_default();
            of_mechanism.insert(user, Change::Set(mechanism, credential));
        }
        // A user is altered once at a time.
        for changes in by_mechanism.into_values() {
            brought.set += changes.len();
            let changes: Vec<_> = changes
                .into_iter()
                .map(|(user, change)| (user, Ok(change)))
                .collect();
            let refused = self.alter(&changes).into_iter();
            let mut refused = refused.filter_map(|(user, it)| it.err().map(|error| (user, error)));
            if let Some(refused) = refused.next() {
                return Err(refused);
            }
        }
        Ok(brought)
    }

    /// Removes a user's credentials, or only that for one mechanism. Blocks on disk.
    ///
    /// # Errors
    /// [`UserError::Unknown`] if there is none, or it is not stored.
    pub fn forget(&self, user: &str, only: Option<Mechanism>) -> Result<(), UserError> {
        let mechanisms: Vec<_> = match only {
            Some(mechanism) => vec![mechanism],
            None => self.mechanisms(user).iter().map(|(it, _)| *it).collect(),
        };
        if mechanisms.is_empty() {
            return Err(UserError::Unknown);
        }
        for mechanism in mechanisms {
            let change = [(user.to_owned(), Ok(Change::Remove(mechanism)))];
            let mut outcomes = self.alter(&change);
            outcomes.remove(user).unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::{of_password, open, set};
    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    const SHA_256: Mechanism = Mechanism::ScramSha256;
    const SHA_512: Mechanism = Mechanism::ScramSha512;

    fn given(user: &str, mechanism: Mechanism, password: &str) -> Given {
        Given {
            user: user.to_owned(),
            mechanism,
            credential: Arc::new(of_password(mechanism, password)),
        }
    }

    #[test]
    fn both_credentials_of_a_user_are_brought_and_existing_ones_stay_if_wanted() {
        let users = open(&MemoryMetadata::new());
        set(&users, "ann", SHA_256, "old");
        let all = || {
            vec![
                given("ann", SHA_256, "new"),
                given("ann", SHA_512, "new"),
                given("bob", SHA_256, "first"),
                given("bob", SHA_256, "last"),
            ]
        };
        let brought = users.bring(all(), true).unwrap();
        assert_eq!(brought, Brought { set: 2, kept: 1 });
        let is = |user, mechanism, password: &str| {
            users.credential(user, mechanism).unwrap().is_of(password)
        };
        assert!(is("ann", SHA_256, "old") && is("ann", SHA_512, "new"));
        assert!(is("bob", SHA_256, "last"));
        let brought = users.bring(all(), false).unwrap();
        assert_eq!(brought, Brought { set: 3, kept: 0 });
        assert!(is("ann", SHA_256, "new"));

        let refused = users.bring(vec![given("", SHA_256, "x")], false);
        assert_eq!(refused, Err((String::new(), UserError::NoName)));
    }

    #[test]
    fn a_user_is_forgotten_whole_or_in_part() {
        let users = open(&MemoryMetadata::new());
        set(&users, "ann", SHA_256, "x");
        set(&users, "ann", SHA_512, "x");
        users.forget("ann", Some(SHA_256)).unwrap();
        assert_eq!(users.forget("ann", Some(SHA_256)), Err(UserError::Unknown));
        assert_eq!(users.mechanisms("ann").len(), 1);
        users.forget("ann", None).unwrap();
        assert_eq!(users.forget("ann", None), Err(UserError::Unknown));
        assert_eq!(users.names(), [""; 0]);
    }
}
