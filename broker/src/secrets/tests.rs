//! What is stored stays readable: over restarts, other keys, rotations and crashes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use carrick_link::record::{LinkName, LinkRecord};
use carrick_protocol::credentials::Secret;
use proptest::prelude::*;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tempfile::TempDir;

use super::cipher::{Material, RawKey};
use super::config::{Given, HEADER};
use super::step::tests::{break_after, break_nothing};
use super::*;
use crate::metadata::Transaction;
use crate::metadata::memory::MemoryMetadata;
use crate::records::data_key::DataKeyKeyspace;
use crate::records::link::LinkKeyspace;
use crate::records::link_secret::LinkSecretKeyspace;

/// A data folder and metadata that outlive the vaults on them.
struct World {
    store: Arc<MemoryMetadata>,
    dir: TempDir,
}

fn given(name: &str, material: Material) -> Given {
    Given {
        name: name.to_owned(),
        material,
    }
}

fn passphrase(text: &str) -> Given {
    given(
        "password.encoder.secret",
        Material::Passphrase(Secret::new(text)),
    )
}

fn key_file(byte: u8) -> Given {
    given("secrets.key.file (/k)", Material::File(RawKey([byte; 32])))
}

fn config(current: Option<Given>, older: Option<Given>) -> SecretsConfig {
    SecretsConfig {
        current,
        older: older.into_iter().collect(),
    }
}

fn name(link: &str) -> LinkName {
    LinkName::new(link).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            store: MemoryMetadata::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With a key in the data folder.
    fn vault(&self) -> Vault {
        self.vault_with(SecretsConfig::default())
    }

    fn vault_with(&self, config: SecretsConfig) -> Vault {
        Vault::open(self.store.metadata(), config, self.dir.path()).unwrap()
    }

    fn link_id(&self, link: &str) -> Uuid {
        let metadata = self.store.metadata();
        if let Some(record) = metadata.get::<LinkKeyspace>(&name(link)).unwrap() {
            return record.id;
        }
        let record = LinkRecord {
            name: name(link),
            id: Uuid::new_v4(),
            source_cluster_id: None,
            configs: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            created_ms: 0,
            failure: None,
        };
        let mut change = Transaction::new();
        change.put::<LinkKeyspace>(&record.name, &record);
        metadata.commit(change).unwrap();
        record.id
    }

    fn put(&self, link: &str, sealed: &Sealed) {
        let mut change = Transaction::new();
        let key = (name(link), "ssl.key.password".to_owned());
        change.put::<LinkSecretKeyspace>(&key, sealed);
        self.store.metadata().commit(change).unwrap();
    }

    /// Stores a secret of that link.
    fn set(&self, vault: &Vault, link: &str, secret: &str) {
        let id = self.link_id(link);
        let config = "ssl.key.password";
        let sealing = vault.sealing().unwrap();
        let sealed = sealing.seal(Owner { link: id, config }, secret);
        self.put(link, &sealed.unwrap());
    }

    fn sealed(&self, link: &str) -> Sealed {
        let key = (name(link), "ssl.key.password".to_owned());
        let stored = self.store.metadata().get::<LinkSecretKeyspace>(&key);
        stored.unwrap().unwrap()
    }

    /// Reads the secret of that link.
    fn get(&self, vault: &Vault, link: &str) -> Result<String, SecretError> {
        let id = self.link_id(link);
        let config = "ssl.key.password";
        vault.open_secret(Owner { link: id, config }, &self.sealed(link))
    }

    fn data_keys(&self) -> usize {
        let stored = self.store.metadata().scan::<DataKeyKeyspace>();
        stored.unwrap().len()
    }

    fn folder_key(&self) -> Option<String> {
        fs::read_to_string(self.dir.path().join(FOLDER_KEY)).ok()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.dir.path()).unwrap().count()
    }
}

#[test]
fn a_secret_comes_back_after_a_restart_and_never_looks_the_same() {
    let world = World::new();
    let vault = world.vault();
    assert_eq!(
        (world.data_keys(), world.files()),
        (0, 0),
        "nothing before it is needed"
    );
    world.set(&vault, "west", "sesame");
    let first = world.sealed("west");
    world.set(&vault, "west", "sesame");
    assert_ne!(world.sealed("west"), first);
    assert_eq!(world.get(&world.vault(), "west").unwrap(), "sesame");
    let file = fs::metadata(world.dir.path().join(FOLDER_KEY)).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!((world.data_keys(), world.files()), (1, 1));
}

#[test]
fn a_secret_is_of_no_use_elsewhere_or_changed() {
    let world = World::new();
    let vault = world.vault();
    world.set(&vault, "west", "sesame");
    let sealed = world.sealed("west");
    world.link_id("east");
    world.put("east", &sealed);
    assert!(matches!(
        world.get(&vault, "east"),
        Err(SecretError::Damaged)
    ));
    let mut changed = sealed;
    changed.ciphertext[0] ^= 1;
    world.put("west", &changed);
    assert!(matches!(
        world.get(&vault, "west"),
        Err(SecretError::Damaged)
    ));
}

#[test]
fn a_missing_wrong_or_damaged_key_is_reported_by_name_and_stays() {
    let world = World::new();
    let path = world.dir.path().join(FOLDER_KEY);
    world.set(&world.vault(), "west", "sesame");
    fs::remove_file(&path).unwrap();
    let error = world.get(&world.vault(), "west").unwrap_err();
    assert!(matches!(error, SecretError::KeyMissing(_)));
    assert!(error.to_string().contains(FOLDER_KEY));
    world.set(&world.vault(), "east", "other");
    let vault = world.vault();
    let error = world.get(&vault, "west").unwrap_err();
    assert!(error.to_string().contains("different key"), "{error}");
    assert_eq!(
        vault.describe().unwrap().unreadable,
        ["ssl.key.password of link west"]
    );
    for text in ["", "x", "carrick-link-secrets-1 00\n"] {
        fs::write(&path, text).unwrap();
        let vault = world.vault();
        let error = world.get(&vault, "west").unwrap_err();
        assert!(
            matches!(error, SecretError::KeyDamaged(_)),
            "{text}: {error}"
        );
        assert!(vault.sealing().is_err(), "written over");
        assert!(vault.rotate().is_err(), "written over");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn another_passphrase_takes_over_if_the_former_one_is_given() {
    let world = World::new();
    let first = || Some(passphrase("open sesame"));
    let second = || Some(passphrase("open barley"));
    world.set(&world.vault_with(config(first(), None)), "west", "sesame");
    assert_eq!(world.files(), 0, "no key in the data folder");

    let vault = world.vault_with(config(second(), None));
    let error = world.get(&vault, "west").unwrap_err().to_string();
    assert!(error.contains("password.encoder.old.secret"), "{error}");
    assert!(!error.contains("open barley"), "{error}");
    world.set(&vault, "east", "other");

    let vault = world.vault_with(config(second(), first()));
    assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
    let vault = world.vault_with(config(second(), None));
    assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
    assert_eq!(world.get(&vault, "east").unwrap(), "other");
    assert_eq!(world.data_keys(), 1);
    assert!(
        world
            .get(&world.vault_with(config(first(), None)), "west")
            .is_err()
    );
}

#[test]
fn a_key_elsewhere_replaces_the_one_in_the_data_folder_and_back() {
    let world = World::new();
    world.set(&world.vault(), "west", "sesame");
    let vault = world.vault_with(config(Some(key_file(7)), None));
    assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
    assert_eq!(world.files(), 0, "the file in the folder is removed");
    let vault = world.vault_with(config(Some(key_file(8)), Some(key_file(7))));
    assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
    let vault = world.vault_with(config(None, Some(key_file(8))));
    assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
    assert_eq!(world.get(&world.vault(), "west").unwrap(), "sesame");
}

/// Stores a secret as the first version did, under the key file in the data folder.
fn set_former(world: &World, link: &str, secret: &str) {
    let raw = [9; 32];
    let hex = "09".repeat(32);
    fs::write(
        world.dir.path().join(FOLDER_KEY),
        format!("{HEADER}{hex}\n"),
    )
    .unwrap();
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &raw).unwrap());
    let mut ciphertext = secret.as_bytes().to_vec();
    let aad = [&world.link_id(link).as_bytes()[..], b"ssl.key.password"].concat();
    let nonce = Nonce::assume_unique_for_key([3; 12]);
    cipher
        .seal_in_place_append_tag(nonce, Aad::from(aad), &mut ciphertext)
        .unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, &[HEADER.as_bytes(), &raw].concat());
    let mut id = [0; 8];
    id.copy_from_slice(&hash.as_ref()[..8]);
    world.put(
        link,
        &Sealed {
            key: KeyOf::File(id),
            nonce: [3; 12],
            ciphertext,
        },
    );
}

#[test]
fn what_a_former_version_stored_is_encrypted_with_a_data_key_at_the_next_start() {
    for elsewhere in [None, Some(passphrase("open sesame"))] {
        let world = World::new();
        set_former(&world, "west", "sesame");
        let vault = world.vault_with(config(elsewhere.clone(), None));
        assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
        assert_eq!(world.sealed("west").key, KeyOf::Generation(1));
        assert_eq!(world.folder_key().is_some(), elsewhere.is_none());
        assert_eq!(
            world
                .get(&world.vault_with(config(elsewhere, None)), "west")
                .unwrap(),
            "sesame"
        );
    }
}

#[test]
fn a_rotation_replaces_every_key_and_keeps_what_it_cannot_read() {
    let world = World::new();
    world.set(&world.vault(), "lost", "gone");
    fs::remove_file(world.dir.path().join(FOLDER_KEY)).unwrap();
    let vault = world.vault();
    world.set(&vault, "west", "sesame");
    world.set(&vault, "east", "other");
    let (key, lost) = (world.folder_key(), world.sealed("lost"));
    let rotated = vault.rotate().unwrap();
    assert_eq!((rotated.generation, rotated.renewed), (3, 2));
    assert_eq!(rotated.unreadable, ["ssl.key.password of link lost"]);
    assert!(rotated.is_master_new);
    assert_ne!(world.folder_key(), key);
    assert_eq!(world.sealed("lost"), lost);
    assert_eq!(world.sealed("west").key, KeyOf::Generation(3));
    assert_eq!(
        world.data_keys(),
        2,
        "that of what can't be read, and the new one"
    );
    for vault in [vault, world.vault()] {
        assert_eq!(world.get(&vault, "west").unwrap(), "sesame");
        assert_eq!(world.get(&vault, "east").unwrap(), "other");
        let described = vault.describe().unwrap();
        assert_eq!((described.secrets, described.older), (3, 1));
        assert_eq!(described.unreadable.len(), 1);
    }
}

/// Rotates, broken off after that many steps; whether it was.
fn rotate_broken_off(vault: &Vault, steps: u32) -> bool {
    break_after(steps);
    let result = vault.rotate();
    let is_broken = !break_nothing();
    assert_eq!(result.is_err(), is_broken, "{result:?}");
    is_broken
}

#[test]
fn a_rotation_that_is_broken_off_anywhere_leaves_every_secret_readable() {
    for current in [None, Some(passphrase("open sesame")), Some(key_file(4))] {
        let mut steps = 0;
        loop {
            let world = World::new();
            let config = config(current.clone(), None);
            let vault = world.vault_with(config.clone());
            for link in ["a", "b", "c"] {
                world.set(&vault, link, link);
            }
            let is_broken = rotate_broken_off(&vault, steps);
            let all_there = |vault: &Vault| {
                for link in ["a", "b", "c"] {
                    assert_eq!(world.get(vault, link).unwrap(), link, "after {steps} steps");
                }
            };
            // The same process goes on, or a new one starts; either may rotate again.
            all_there(&vault);
            if steps % 2 == 0 {
                vault.rotate().unwrap();
                all_there(&vault);
            }
            let vault = world.vault_with(config.clone());
            all_there(&vault);
            vault.rotate().unwrap();
            all_there(&vault);
            all_there(&world.vault_with(config));
            assert_eq!(world.data_keys(), 1, "after {steps} steps");
            assert_eq!(
                world.files(),
                usize::from(current.is_none()),
                "after {steps} steps"
            );
            if !is_broken {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 6, "only {steps} steps");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Set {
        link: u8,
        secret: String,
    },
    Rotate {
        broken_after: u32,
    },
    /// Starts again with another master key, the former one being named.
    Restart {
        key: u8,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..4_u8, "[a-z]{0,9}").prop_map(|(link, secret)| Act::Set { link, secret }),
        (0..12_u32).prop_map(|broken_after| Act::Rotate { broken_after }),
        (0..3_u8).prop_map(|key| Act::Restart { key }),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_secret_survives_any_order_of_rotations_crashes_and_other_keys(acts in acts()) {
        let world = World::new();
        let of = |key: u8| (key > 0).then(|| key_file(key));
        let (mut key, mut vault) = (0, world.vault());
        let mut model = BTreeMap::new();
        for act in acts {
            match act {
                Act::Set { link, secret } => {
                    let link = format!("link{link}");
                    world.set(&vault, &link, &secret);
                    model.insert(link, secret);
                }
                Act::Rotate { broken_after } => {
                    rotate_broken_off(&vault, broken_after);
                }
                Act::Restart { key: next } => {
                    vault = world.vault_with(config(of(next), of(key)));
                    key = next;
                }
            }
            for (link, secret) in &model {
                prop_assert_eq!(&world.get(&vault, link).unwrap(), secret);
            }
        }
        let vault = world.vault_with(config(of(key), None));
        for (link, secret) in &model {
            prop_assert_eq!(&world.get(&vault, link).unwrap(), secret);
        }
        prop_assert!(world.data_keys() <= 1);
    }
}

#[test]
fn secrets_that_are_stored_during_rotations_stay_readable() {
    let world = World::new();
    let vault = world.vault();
    world.set(&vault, "other", "x");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..200 {
                let secret = number.to_string();
                // The guard is held until the secret is stored.
                let id = world.link_id("west");
                let config = "ssl.key.password";
                let sealing = vault.sealing().unwrap();
                let sealed = sealing.seal(Owner { link: id, config }, &secret);
                world.put("west", &sealed.unwrap());
                drop(sealing);
                assert_eq!(world.get(&vault, "west").unwrap(), secret);
            }
        });
        while !writer.is_finished() {
            vault.rotate().unwrap();
        }
    });
    assert_eq!(world.get(&world.vault(), "west").unwrap(), "199");
    assert_eq!(world.get(&world.vault(), "other").unwrap(), "x");
}
