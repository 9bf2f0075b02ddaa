//! Checks a user's password where it is sent with each request (HTTP's Basic authentication).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carrick_protocol::credentials::scram::Credential;
use carrick_protocol::credentials::{Mechanism, Secret};
use parking_lot::Mutex;
use ring::hmac;

use super::Users;
use crate::principal::Principal;

/// Longer passwords are wrong without a look.
const PASSWORD_MAX_BYTES: usize = 4096;

/// For how long, and how many, right passwords are known without the work of salting them.
const KNOWN_FOR: Duration = Duration::from_secs(60);
const KNOWN_MAX: usize = 1024;

/// Why a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is no such user, or the password is another one.
    #[error("wrong user or password")]
    Wrong,
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked: try again")]
    Busy,
}

/// Passwords that were right a moment ago. They are not in it: only what they and a random key make.
pub(super) struct RightPasswords {
    key: hmac::Key,
    right: Mutex<HashMap<Vec<u8>, Right>>,
}

/// The credential that a password is of. Once the user has another, this is the wrong one.
struct Right {
    credential: Arc<Credential>,
    until: Instant,
}

impl RightPasswords {
    pub fn new(random: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, random),
            right: Mutex::default(),
        }
    }

    fn mark(&self, user: &str, password: &Secret) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.expose().as_bytes());
        context.sign().as_ref().to_vec()
    }

    fn has(&self, mark: &[u8], credential: &Arc<Credential>, now: Instant) -> bool {
        let right = self.right.lock();
        right
            .get(mark)
            .is_some_and(|it| now < it.until && Arc::ptr_eq(&it.credential, credential))
    }

    fn add(&self, mark: Vec<u8>, credential: Arc<Credential>, now: Instant) {
        let mut right = self.right.lock();
        if right.len() >= KNOWN_MAX {
            right.retain(|_, it| now < it.until);
        }
        if right.len() >= KNOWN_MAX {
            right.clear();
        }
        let until = now + KNOWN_FOR;
        right.insert(mark, Right { credential, until });
    }
}

impl Users {
    /// Whether this is the password of that user, by the SCRAM-SHA-512 credential if there is one,
    /// else by that for SCRAM-SHA-256. The work is done on [`crate::heavy`] for `host`, unless the
    /// answer is known from a moment ago.
    ///
    /// # Errors
    /// It is not, or there is too much to do.
    pub async fn check_password(
        &self,
        host: &Arc<str>,
        user: &str,
        password: &Secret,
    ) -> Result<Principal, PasswordError> {
        if user.is_empty() || password.expose().len() > PASSWORD_MAX_BYTES {
            return Err(PasswordError::Wrong);
        }
        let mechanism = match self.credential(user, Mechanism::ScramSha512) {
            None if self.credential(user, Mechanism::ScramSha256).is_some() => {
                Mechanism::ScramSha256
            }
            _ => Mechanism::ScramSha512,
        };
        let Ok(credential) = self.credential_or_decoy(user, mechanism) else {
            return Err(PasswordError::Wrong);
        };
        let mark = self.known.mark(user, password);
        if self.known.has(&mark, &credential, Instant::now()) {
            return Ok(Principal::user(user));
        }
        let (checked, password) = (Arc::clone(&credential), password.clone());
        let work = move |_| checked.is_of(password.expose());
        match self.heavy.run(host, work).await {
            Err(_) => Err(PasswordError::Busy),
            Ok(false) => Err(PasswordError::Wrong),
            Ok(true) => {
                self.known.add(mark, credential, Instant::now());
                Ok(Principal::user(user))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::{open, set};
    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    async fn check(users: &Users, user: &str, password: &str) -> Result<String, PasswordError> {
        let host: Arc<str> = "here".into();
        let password = Secret::new(password);
        let checked = users.check_password(&host, user, &password).await;
        checked.map(|principal| principal.to_string())
    }

    #[tokio::test]
    async fn only_the_password_of_the_moment_is_right() {
        let users = open(&MemoryMetadata::new());
        set(&users, "ann", Mechanism::ScramSha256, "one");
        for _ in 0..2 {
            assert_eq!(check(&users, "ann", "one").await.unwrap(), "User:ann");
            assert_eq!(check(&users, "ann", "two").await, Err(PasswordError::Wrong));
            assert_eq!(check(&users, "bob", "one").await, Err(PasswordError::Wrong));
            assert_eq!(check(&users, "", "one").await, Err(PasswordError::Wrong));
        }
        set(&users, "ann", Mechanism::ScramSha256, "two");
        assert_eq!(check(&users, "ann", "one").await, Err(PasswordError::Wrong));
        assert_eq!(check(&users, "ann", "two").await.unwrap(), "User:ann");
        set(&users, "ann", Mechanism::ScramSha512, "three");
        assert_eq!(check(&users, "ann", "two").await, Err(PasswordError::Wrong));
        assert_eq!(check(&users, "ann", "three").await.unwrap(), "User:ann");
        users.remove("ann", Mechanism::ScramSha512).unwrap();
        users.remove("ann", Mechanism::ScramSha256).unwrap();
        assert_eq!(
            check(&users, "ann", "three").await,
            Err(PasswordError::Wrong)
        );
        assert_eq!(check(&users, "ann", "two").await, Err(PasswordError::Wrong));
    }

    #[test]
    fn what_is_known_ends_and_is_bounded() {
        let users = open(&MemoryMetadata::new());
        set(&users, "ann", Mechanism::ScramSha256, "one");
        let credential = users.credential("ann", Mechanism::ScramSha256).unwrap();
        let (known, now) = (RightPasswords::new(b"key"), Instant::now());
        let mark = |password: &str| known.mark("ann", &Secret::new(password));
        known.add(mark("one"), Arc::clone(&credential), now);
        assert!(known.has(&mark("one"), &credential, now));
        assert!(!known.has(&mark("one"), &credential, now + KNOWN_FOR));
        assert!(!known.has(&mark("two"), &credential, now));
        let equal = Arc::new(Credential::clone(&credential));
        assert!(!known.has(&mark("one"), &equal, now), "it was set again");
        for number in 0..KNOWN_MAX * 3 {
            known.add(mark(&number.to_string()), Arc::clone(&credential), now);
            assert!(known.right.lock().len() <= KNOWN_MAX);
        }
    }
}
