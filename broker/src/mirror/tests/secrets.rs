//! Secrets of links in the real store: on disk only encrypted, and with their key only.

use std::path::Path;

use super::*;
use crate::metadata::Transaction;
use crate::records::link::LinkKeyspace;
use crate::records::link_secret::LinkSecretKeyspace;
use crate::secrets::FOLDER_KEY as KEY_FILE;

const SECRET: &str = "PlainLoginModule required username=\"u\" password=\"open sesame\";";

fn link(name: &str) -> LinkRecord {
    let configs = [
        ("bootstrap.servers", "a:1"),
        ("sasl.jaas.config", SECRET),
        ("ssl.key.password", "open sesame"),
    ];
    LinkRecord {
        name: LinkName::new(name).unwrap(),
        id: Uuid::new_v4(),
        source_cluster_id: None,
        configs: configs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        unreadable: BTreeMap::new(),
        created_ms: 5,
        failure: None,
    }
}

/// The files below `dir` that hold `needle`.
fn files_with(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            if bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn secrets_are_on_disk_only_encrypted_and_go_with_their_link() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(&dir);
    let link = link("west");
    rig.ports.store.save_link(&link).unwrap();
    rig.ports.store.save_link(&link).unwrap();
    assert_eq!(
        rig.ports.store.load_links().unwrap(),
        std::slice::from_ref(&link)
    );
    assert_eq!(files_with(dir.path(), "open sesame"), [""; 0]);
    assert!(!files_with(dir.path(), "bootstrap.servers").is_empty());
    drop(rig);

    let rig = Rig::open(&dir);
    assert_eq!(
        rig.ports.store.load_links().unwrap(),
        std::slice::from_ref(&link)
    );
    let mut without = link.clone();
    without.configs.remove("ssl.key.password");
    rig.ports.store.save_link(&without).unwrap();
    assert_eq!(rig.ports.store.load_links().unwrap(), [without]);
    rig.ports.store.delete_link(&link.name).unwrap();
    assert!(
        rig.metadata
            .scan::<LinkSecretKeyspace>()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_was_stored_as_it_is_is_encrypted_at_the_next_start_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let link = link("west");
    {
        let rig = Rig::open(&dir);
        let mut batch = Transaction::new();
        batch.put::<LinkKeyspace>(&link.name, &link);
        rig.metadata.commit(batch).unwrap();
        assert!(!files_with(dir.path(), "open sesame").is_empty());
    }
    let rig = Rig::open(&dir);
    assert_eq!(rig.ports.store.load_links().unwrap(), [link]);
    assert_eq!(files_with(dir.path(), "open sesame"), [""; 0]);
}

#[test]
fn without_the_right_key_a_secret_is_unreadable_and_stays_until_it_is_set_anew() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join(KEY_FILE);
    let aside = dir.path().join("aside");
    let (west, east) = (link("west"), link("east"));
    Rig::open(&dir).ports.store.save_link(&west).unwrap();
    std::fs::rename(&key, &aside).unwrap();

    let rig = Rig::open(&dir);
    let lost = rig.ports.store.load_links().unwrap().remove(0);
    assert_eq!(
        lost.configs.keys().collect::<Vec<_>>(),
        ["bootstrap.servers"]
    );
    assert_eq!(lost.unreadable.len(), 2);
    assert!(lost.unreadable["sasl.jaas.config"].contains(KEY_FILE));
    // What else is stored of the link leaves its secrets where they are.
    rig.ports.store.save_link(&lost).unwrap();
    assert!(!key.exists());
    drop(rig);

    std::fs::rename(&aside, &key).unwrap();
    let rig = Rig::open(&dir);
    assert_eq!(
        rig.ports.store.load_links().unwrap(),
        std::slice::from_ref(&west)
    );
    drop(rig);

    std::fs::remove_file(&key).unwrap();
    let rig = Rig::open(&dir);
    rig.ports.store.save_link(&east).unwrap();
    let mut links = rig.ports.store.load_links().unwrap();
    assert_eq!(links.remove(0), east);
    let mut mended = links.remove(0);
    assert!(mended.unreadable["sasl.jaas.config"].contains("a different key"));
    mended.unreadable.clear();
    mended.configs = west.configs.clone();
    rig.ports.store.save_link(&mended).unwrap();
    assert_eq!(rig.ports.store.load_links().unwrap(), [east, west]);
}
