//! Users: their SCRAM credentials, in cluster metadata and in memory.
//!
//! Metadata first, memory second. A connection keeps its user until it ends or authenticates again,
//! as in Kafka: that a user is removed, or has another password, does not end connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::{Credential, CredentialError};
use parking_lot::{Mutex, RwLock};
use ring::rand::{SecureRandom, SystemRandom};

use super::decoy::Decoys;
use super::password::RightPasswords;
use crate::heavy::Heavy;
use crate::metadata::{Metadata, MetadataError, News, StoreError, Transaction, Version};
use crate::records::scram_credential::{CredentialKey, ScramCredentialKeyspace};

/// Credentials that are kept, at most.
const CREDENTIALS_MAX: usize = 100_000;

/// Longest name of a user.
const NAME_MAX_BYTES: usize = 1024;

/// No user has this name: its credential is random, and decoys are derived from it, so that they
/// are the same after a restart.
const NOBODY: &str = "";

/// Users and their credentials.
pub struct Users {
    metadata: Metadata,
    /// Up to where `credentials` follows what is stored. One change at a time holds it.
    seen: Mutex<Version>,
    credentials: RwLock<Credentials>,
    decoys: Decoys,
    pub(super) known: RightPasswords,
    pub(super) heavy: Heavy,
}

type Credentials = BTreeMap<String, Vec<(Mechanism, Arc<Credential>)>>;

/// What changes for a user.
#[derive(Debug, Clone)]
pub enum Change {
    Set(Mechanism, Arc<Credential>),
    Remove(Mechanism),
}

/// Why a user's credential is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("A user credential cannot be altered twice in the same request")]
    Repeated,
    #[error("Attempt to delete a user credential that does not exist")]
    Unknown,
    #[error("Username must not be empty")]
    NoName,
    #[error("Username must not have more than {NAME_MAX_BYTES} bytes")]
    LongName,
    #[error("Unknown SCRAM mechanism")]
    UnknownMechanism,
    #[error("Too few iterations")]
    TooFewIterations,
    #[error("Too many iterations")]
    TooManyIterations,
    #[error(transparent)]
    Unacceptable(#[from] CredentialError),
    #[error("There are {0} user credentials, which is the limit.")]
    TooMany(usize),
    #[error("not stored: {0}")]
    NotStored(String),
}

impl Users {
    /// Loads what is stored. Passwords are checked on `heavy`.
    ///
    /// # Errors
    /// The metadata can't be read, or there are no random numbers.
    pub fn open(metadata: Metadata, heavy: Heavy) -> Result<Self, MetadataError> {
        let nobody = nobody(&metadata)?;
        let users = Self {
            metadata,
            seen: Mutex::default(),
            credentials: RwLock::default(),
            decoys: Decoys::new(nobody.server_key().bytes()),
            known: RightPasswords::new(&random::<32>()?),
            heavy,
        };
        users.follow(&mut users.seen.lock())?;
        Ok(users)
    }

    /// The credential of a user for a mechanism.
    pub fn credential(&self, user: &str, mechanism: Mechanism) -> Option<Arc<Credential>> {
        let credentials = self.credentials.read();
        let of_user = credentials.get(user)?;
        let found = of_user.iter().find(|(known, _)| *known == mechanism)?;
        Some(Arc::clone(&found.1))
    }

    /// The credential of a user, or one that no password matches.
    ///
    /// # Errors
    /// The mechanism is not SCRAM.
    pub fn credential_or_decoy(
        &self,
        user: &str,
        mechanism: Mechanism,
    ) -> Result<Arc<Credential>, CredentialError> {
        // Made in any case: it takes as long for users that exist.
        let decoy = self.decoys.of(user, mechanism)?;
        Ok(self.credential(user, mechanism).unwrap_or(decoy))
    }

    /// Every user's name, in order.
    pub fn names(&self) -> Vec<String> {
        self.credentials.read().keys().cloned().collect()
    }

    /// The mechanisms that a user has a credential for, each with its iterations. None if there is no
    /// such user.
    pub fn mechanisms(&self, user: &str) -> Vec<(Mechanism, u32)> {
        let credentials = self.credentials.read();
        let of_user = credentials.get(user).into_iter().flatten();
        of_user
            .map(|(mechanism, it)| (*mechanism, it.iterations().get()))
            .collect()
    }

    /// Sets and removes credentials, all valid changes in one write. A user may be changed once. One
    /// outcome per user. Blocks on disk.
    pub fn alter(
        &self,
        changes: &[(String, Result<Change, UserError>)],
    ) -> BTreeMap<String, Result<(), UserError>> {
        let mut seen = self.seen.lock();
        loop {
            let (mut outcomes, change) = self.plan(changes);
            if outcomes.values().all(Result::is_err) {
                return outcomes;
            }
            let stored = match self.metadata.commit(change) {
                Err(MetadataError::Conflict(_)) => continue,
                stored => stored.and_then(|_| self.follow(&mut seen)),
            };
            if let Err(error) = stored {
                let reason = error.to_string();
                tracing::error!(reason, "user credentials were not stored");
                for outcome in outcomes.values_mut().filter(|outcome| outcome.is_ok()) {
                    *outcome = Err(UserError::NotStored(reason.clone()));
                }
            }
            return outcomes;
        }
    }

    /// Sets one credential. Blocks on disk.
    ///
    /// # Errors
    /// As one of [`Self::alter`].
    #[cfg(test)]
    pub fn set(
        &self,
        user: &str,
        mechanism: Mechanism,
        credential: Credential,
    ) -> Result<(), UserError> {
        self.alter_one(user, Change::Set(mechanism, Arc::new(credential)))
    }

    /// Removes one credential. Blocks on disk.
    ///
    /// # Errors
    /// As one of [`Self::alter`].
    #[cfg(test)]
    pub fn remove(&self, user: &str, mechanism: Mechanism) -> Result<(), UserError> {
        self.alter_one(user, Change::Remove(mechanism))
    }

    #[cfg(test)]
    fn alter_one(&self, user: &str, change: Change) -> Result<(), UserError> {
        let mut outcomes = self.alter(&[(user.to_owned(), Ok(change))]);
        outcomes.remove(user).unwrap_or(Ok(()))
    }

    /// The outcome for each user, and the write, as credentials are stored now
    /// (`ScramControlManager`): once a user's change is refused, its others are not checked.
    fn plan(
        &self,
        changes: &[(String, Result<Change, UserError>)],
    ) -> (BTreeMap<String, Result<(), UserError>>, Transaction) {
        let mut transaction = Transaction::new();
        let mut planned = BTreeMap::new();
        for (user, change) in changes {
            let outcome = match (planned.get(user), change) {
                (Some(Err(_)), _) => continue,
                (Some(Ok(_)), _) => Err(UserError::Repeated),
                (None, Err(error)) => Err(error.clone()),
                (None, Ok(change)) => self.checked(user, change, &mut transaction),
            };
            planned.insert(user, outcome);
        }
        let mut count: usize = self.credentials.read().values().map(Vec::len).sum();
        let mut outcomes = BTreeMap::new();
        for (user, step) in planned {
            let added = step.and_then(|step| step.add(&mut count, &mut transaction));
            outcomes.insert(user.clone(), added);
        }
        (outcomes, transaction)
    }

    fn checked<'a>(
        &self,
        user: &str,
        change: &'a Change,
        transaction: &mut Transaction,
    ) -> Result<Step<'a>, UserError> {
        let (Change::Set(mechanism, _) | Change::Remove(mechanism)) = *change;
        if user == NOBODY {
            return Err(UserError::NoName);
        }
        if user.len() > NAME_MAX_BYTES {
            return Err(UserError::LongName);
        }
        let user = user.to_owned();
        let key = CredentialKey { user, mechanism };
        let stored = transaction.read::<ScramCredentialKeyspace>(&self.metadata, &key);
        let stored = stored.map_err(|error| UserError::NotStored(error.to_string()))?;
        let exists = stored.is_some();
        match change {
            Change::Remove(_) if !exists => Err(UserError::Unknown),
            change => Ok(Step {
                key,
                exists,
                change,
            }),
        }
    }

    fn follow(&self, seen: &mut Version) -> Result<(), MetadataError> {
        match self.metadata.news::<ScramCredentialKeyspace>(seen)? {
            News::All(all) => {
                let mut credentials = Credentials::new();
                for (key, credential) in all {
                    apply(&mut credentials, key, Some(credential));
                }
                *self.credentials.write() = credentials;
            }
            News::Changes(changes) => {
                let mut credentials = self.credentials.write();
                for (key, credential) in changes {
                    apply(&mut credentials, key, credential);
                }
            }
        }
        Ok(())
    }

    /// Applies what others have stored.
    pub fn catch_up(&self) {
        if let Err(error) = self.follow(&mut self.seen.lock()) {
            tracing::error!(%error, "changed user credentials cannot be read");
        }
    }
}

/// A change that may be made.
struct Step<'a> {
    key: CredentialKey,
    /// Whether the credential is there now.
    exists: bool,
    change: &'a Change,
}

impl Step<'_> {
    fn add(self, count: &mut usize, transaction: &mut Transaction) -> Result<(), UserError> {
        match self.change {
            Change::Remove(_) => {
                *count = count.saturating_sub(1);
                transaction.delete::<ScramCredentialKeyspace>(&self.key);
            }
            Change::Set(..) if !self.exists && *count >= CREDENTIALS_MAX => {
                return Err(UserError::TooMany(CREDENTIALS_MAX));
            }
            Change::Set(_, credential) => {
                *count += usize::from(!self.exists);
                transaction.put::<ScramCredentialKeyspace>(&self.key, credential);
            }
        }
        Ok(())
    }
}

fn apply(credentials: &mut Credentials, key: CredentialKey, credential: Option<Arc<Credential>>) {
    let CredentialKey { user, mechanism } = key;
    if user == NOBODY {
        return;
    }
    let of_user = credentials.entry(user.clone()).or_default();
    of_user.retain(|(known, _)| *known != mechanism);
    if let Some(credential) = credential {
        of_user.push((mechanism, credential));
        of_user.sort_by_key(|(mechanism, _)| mechanism.name());
    }
    if of_user.is_empty() {
        credentials.remove(&user);
    }
}

/// The credential of [`NOBODY`], made at the first start.
fn nobody(metadata: &Metadata) -> Result<Arc<Credential>, MetadataError> {
    let mechanism = Mechanism::ScramSha256;
    let user = NOBODY.to_owned();
    let key = CredentialKey { user, mechanism };
    metadata.decide(|made| {
        if let Some(stored) = made.read::<ScramCredentialKeyspace>(metadata, &key)? {
            return Ok(stored);
        }
        let (salt, keys) = (random::<25>()?, random::<64>()?);
        let (stored_key, server_key) = keys.split_at(32);
        let credential = Credential::stored(mechanism, (&salt, 4096), (stored_key, server_key));
        let credential = Arc::new(credential.map_err(StoreError::new)?);
        made.put::<ScramCredentialKeyspace>(&key, &credential);
        Ok(credential)
    })
}

/// A random string as Kafka's tools make salts and nonces: characters of base 36.
///
/// # Errors
/// There are no random numbers.
pub fn random_text() -> Result<String, MetadataError> {
    const CHARS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // 7 × 36 is the largest multiple in a byte: above it, the first characters would be more likely.
    let bytes = random::<64>()?;
    let fair = bytes.iter().filter(|byte| **byte < 252);
    let text: String = fair
        .take(25)
        .map(|byte| char::from(CHARS[usize::from(*byte) % CHARS.len()]))
        .collect();
    Ok(text)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], MetadataError> {
    let mut bytes = [0; BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StoreError::new("the system has no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    const SHA_256: Mechanism = Mechanism::ScramSha256;
    const SHA_512: Mechanism = Mechanism::ScramSha512;

    pub fn open(store: &Arc<MemoryMetadata>) -> Users {
        Users::open(store.metadata(), Heavy::default()).unwrap()
    }

    pub fn of_password(mechanism: Mechanism, password: &str) -> Credential {
        Credential::of_password(mechanism, (b"salt", 4096), password).unwrap()
    }

    pub fn set(users: &Users, user: &str, mechanism: Mechanism, password: &str) {
        let credential = of_password(mechanism, password);
        users.set(user, mechanism, credential).unwrap();
    }

    fn named(user: &str, change: Change) -> (String, Result<Change, UserError>) {
        (user.to_owned(), Ok(change))
    }

    #[test]
    fn what_is_set_is_there_after_a_restart_and_for_other_brokers() {
        let store = MemoryMetadata::new();
        let (here, there) = (open(&store), open(&store));
        set(&here, "ann", SHA_512, "one");
        set(&here, "ann", SHA_256, "one");
        set(&here, "bob", SHA_256, "two");
        assert_eq!(here.names(), ["ann", "bob"]);
        assert_eq!(here.mechanisms("ann"), [(SHA_256, 4096), (SHA_512, 4096)]);
        assert_eq!(here.mechanisms("eve"), []);
        there.catch_up();
        for other in [there, open(&store)] {
            assert_eq!(other.names(), here.names());
            let credential = other.credential("bob", SHA_256).unwrap();
            assert!(credential.is_of("two"));
            assert!(other.credential("bob", SHA_512).is_none());
        }
        here.remove("bob", SHA_256).unwrap();
        assert_eq!(here.names(), ["ann"]);
        assert_eq!(open(&store).names(), ["ann"]);
    }

    #[test]
    fn decoys_survive_a_restart_and_are_nobodys() {
        let store = MemoryMetadata::new();
        let decoy = |users: &Users| users.credential_or_decoy("eve", SHA_512).unwrap();
        let first = open(&store);
        assert_eq!(decoy(&first), decoy(&open(&store)));
        assert_ne!(decoy(&first), decoy(&open(&MemoryMetadata::new())));
        assert_eq!(first.names(), [""; 0]);
        assert!(first.credential("", SHA_256).is_none());
        assert_eq!(first.remove("", SHA_256), Err(UserError::NoName));
    }

    // Follows ScramControlManagerTest.
    #[test]
    fn a_request_changes_each_user_once_or_not_at_all() {
        let users = open(&MemoryMetadata::new());
        set(&users, "ann", SHA_256, "one");
        let credential = Arc::new(of_password(SHA_256, "two"));
        let put = || Change::Set(SHA_256, Arc::clone(&credential));
        let outcomes = users.alter(&[
            named("ann", Change::Remove(SHA_256)),
            named("eve", Change::Remove(SHA_256)),
            named("", Change::Remove(SHA_256)),
            ("zoe".to_owned(), Err(UserError::UnknownMechanism)),
            named("ann", put()),
            named("bob", put()),
            named("cat", put()),
            named("cat", put()),
            named("eve", put()),
            named("zoe", put()),
            named(&"x".repeat(1025), put()),
        ]);
        let of = |user: &str| outcomes[user].clone();
        assert_eq!(of("ann"), Err(UserError::Repeated));
        assert_eq!(of("eve"), Err(UserError::Unknown));
        assert_eq!(of(""), Err(UserError::NoName));
        assert_eq!(of("zoe"), Err(UserError::UnknownMechanism));
        assert_eq!(of("bob"), Ok(()));
        assert_eq!(of("cat"), Err(UserError::Repeated));
        assert_eq!(of(&"x".repeat(1025)), Err(UserError::LongName));
        assert_eq!(users.names(), ["ann", "bob"]);
    }

    #[test]
    fn random_text_is_long_and_new_each_time() {
        let texts: std::collections::BTreeSet<_> =
            (0..100).map(|_| random_text().unwrap()).collect();
        assert_eq!(texts.len(), 100);
        assert!(texts.iter().all(|text| text.len() == 25));
    }

    #[test]
    fn what_is_not_stored_is_not_in_force() {
        let store = MemoryMetadata::new();
        let users = open(&store);
        store.fail_next();
        let refused = users.set("ann", SHA_256, of_password(SHA_256, "one"));
        assert!(matches!(refused, Err(UserError::NotStored(_))));
        assert_eq!(users.names(), [""; 0]);
    }
}
