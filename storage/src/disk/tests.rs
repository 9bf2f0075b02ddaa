//! The data folder: lock, format, names, deletion.

use super::*;

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new(topic).unwrap(),
        partition,
    }
}

#[test]
fn a_new_folder_is_stamped_and_opens_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("deep/data");
    drop(DataDir::open(&path).unwrap());
    let text = fs::read_to_string(path.join(PROPERTIES_FILE)).unwrap();
    assert!(text.lines().any(|line| line == "version=1"), "{text}");
    DataDir::open(&path).unwrap();
}

#[test]
fn a_new_folder_is_for_its_owner_alone_and_others_keep_their_mode() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (made, given) = (temp.path().join("made"), temp.path().join("given"));
    fs::create_dir(&given).unwrap();
    fs::set_permissions(&given, fs::Permissions::from_mode(0o750)).unwrap();
    for path in [&made, &given] {
        let dir = DataDir::open(path).unwrap();
        assert_eq!(mode(&dir.meta_dir()), 0o700);
    }
    assert_eq!((mode(&made), mode(&given)), (0o700, 0o750));
}

#[test]
fn a_folder_in_use_is_refused_by_name_until_it_is_released() {
    let temp = tempfile::tempdir().unwrap();
    let first = DataDir::open(temp.path()).unwrap();
    let error = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(temp.path().to_str().unwrap()),
        "{error}"
    );
    drop(first);
    DataDir::open(temp.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_naming_both_versions() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(
        temp.path().join(PROPERTIES_FILE),
        "format=carrick\nversion=7\n",
    )
    .unwrap();
    let error = DataDir::open(temp.path()).unwrap_err();
    assert!(
        matches!(
            error,
            DiskError::NewerFormat {
                found: 7,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("version 7"), "{error}");
    assert!(error.to_string().contains("up to 1"), "{error}");
}

#[test]
fn a_damaged_version_is_refused() {
    for version in ["version=0", "version=one", "version=", "", "version=-1"] {
        let temp = tempfile::tempdir().unwrap();
        let text = format!("format=carrick\n{version}\n");
        fs::write(temp.path().join(PROPERTIES_FILE), text).unwrap();
        let error = DataDir::open(temp.path()).unwrap_err();
        assert!(
            matches!(error, DiskError::BadProperties { .. }),
            "{version}: {error}"
        );
    }
}

#[test]
fn folders_of_kafka_are_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let properties = "#\nnode.id=1\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n";
    fs::write(temp.path().join(PROPERTIES_FILE), properties).unwrap();
    let error = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(error, DiskError::Foreign { .. }), "{error}");

    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("orders-0")).unwrap();
    let error = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(error, DiskError::Foreign { .. }), "{error}");
    assert!(temp.path().join("orders-0").exists());
    assert!(!temp.path().join(PROPERTIES_FILE).exists());
}

#[test]
fn partitions_are_found_by_their_folders() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temp.path()).unwrap();
    for found in [
        partition("b-side", 0),
        partition("a", 10),
        partition("a", 2),
    ] {
        fs::create_dir(dir.partition_dir(&found)).unwrap();
    }
    for other in [
        "a-",
        "a-01",
        "a-x",
        "a-+1",
        "-3",
        "lost+found",
        "a b-1",
        META_FOLDER,
    ] {
        fs::create_dir_all(temp.path().join(other)).unwrap();
    }
    fs::write(temp.path().join("file-4"), "").unwrap();
    let expected = vec![
        partition("a", 2),
        partition("a", 10),
        partition("b-side", 0),
    ];
    assert_eq!(dir.partitions().unwrap(), expected);
}

#[test]
fn a_retired_partition_is_gone_at_once_and_its_files_later() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temp.path()).unwrap();
    let orders = partition("orders", 3);
    let make = || {
        fs::create_dir(dir.partition_dir(&orders)).unwrap();
        fs::write(dir.partition_dir(&orders).join("0.log"), "data").unwrap();
    };

    make();
    let first = dir.retire(&orders).unwrap().unwrap();
    make();
    let second = dir.retire(&orders).unwrap().unwrap();
    assert!(dir.retire(&orders).unwrap().is_none());
    assert!(dir.partitions().unwrap().is_empty());
    assert!(first.path().join("0.log").exists());
    assert_ne!(first.path(), second.path());

    let (first_path, second_path) = (first.path().to_owned(), second.path().to_owned());
    first.remove().unwrap();
    assert!(!first_path.exists());
    drop(second);
    drop(dir);
    DataDir::open(temp.path()).unwrap();
    assert!(!second_path.exists(), "the next open sweeps what was left");
}

#[test]
fn the_longest_topic_name_can_be_retired() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temp.path()).unwrap();
    let long = partition(&"t".repeat(244), 123_456_789);
    fs::create_dir(dir.partition_dir(&long)).unwrap();
    let retired = dir.retire(&long).unwrap().unwrap();
    assert!(is_retired_name(
        retired.path().file_name().unwrap().to_str().unwrap()
    ));
}

#[test]
fn sweeping_spares_partitions_of_topics_with_a_telling_name() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temp.path()).unwrap();
    let tricky = partition("a.1-delete", 0);
    fs::create_dir(dir.partition_dir(&tricky)).unwrap();
    drop(dir);
    let dir = DataDir::open(temp.path()).unwrap();
    assert_eq!(dir.partitions().unwrap(), vec![tricky]);
}
