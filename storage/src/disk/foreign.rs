//! Whether a folder without a stamp may become a data folder.
//!
//! An empty one may. Files that a file system or an interrupted start leaves there do not count.
//! Anything else belongs to another program or person: it could be a Kafka broker's folder, or a
//! home folder.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::{DiskError, io_error};
use super::files::temporary_path;
use super::{LOCK_FILE, META_FOLDER, PROPERTIES_FILE, parse_folder_name};

/// Names that an error lists.
const NAMES_MAX: usize = 5;

/// What a new file system has in its root.
const OF_FILE_SYSTEMS: &[&str] = &["lost+found"];

/// Files that brokers of Kafka's keep in each of their log folders.
const OF_KAFKA: &[&str] = &[
    ".kafka_cleanshutdown",
    "__cluster_metadata-0",
    "bootstrap.checkpoint",
    "cleaner-offset-checkpoint",
    "log-start-offset-checkpoint",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
];

/// Refuses a folder without a stamp that holds anything that is not ours. A missing one is fine.
pub(super) fn check_unstamped(path: &Path) -> Result<(), DiskError> {
    let names = foreign_names(path)?;
    if names.is_empty() {
        return Ok(());
    }
    Err(DiskError::Foreign {
        path: path.to_owned(),
        reason: reason(&names),
    })
}

/// Refuses a folder whose stamp another program wrote.
pub(super) fn foreign_stamp(path: &Path, text: &str) -> DiskError {
    let has = |key: &str| {
        let names = text.lines().filter_map(|line| line.split_once('='));
        names.map(|(name, _)| name.trim()).any(|name| name == key)
    };
    let reason = match has("cluster.id") && (has("broker.id") || has("node.id")) {
        true => format!("its {PROPERTIES_FILE} belongs to a broker of Apache Kafka. {KAFKA_NEXT}"),
        false => format!("its {PROPERTIES_FILE} was written by another program. {NEXT}"),
    };
    DiskError::Foreign {
        path: path.parent().unwrap_or(path).to_owned(),
        reason,
    }
}

const NEXT: &str = "Set log.dirs to a folder that is empty or does not exist yet";
const KAFKA_NEXT: &str = "Kafka's files cannot be taken over: set log.dirs to a folder that is \
     empty or does not exist yet, and link to that cluster";

fn reason(names: &[String]) -> String {
    let is_kafka =
        |name: &String| OF_KAFKA.contains(&name.as_str()) || parse_folder_name(name).is_some();
    if names.iter().any(|name| name == META_FOLDER) {
        return format!(
            "it holds {META_FOLDER}, but no {PROPERTIES_FILE}. If it is Carrick's, put that file back"
        );
    }
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.iter().any(is_kafka) {
        true => format!(
            "it looks like a log folder of Apache Kafka: it holds {named}{more}. {KAFKA_NEXT}"
        ),
        false => format!("it holds {named}{more}. {NEXT}"),
    }
}

/// The names in the folder that are not ours.
fn foreign_names(path: &Path) -> Result<Vec<String>, DiskError> {
    let failed = || io_error("list", path);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let temporary = temporary_path(Path::new(PROPERTIES_FILE));
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed())?.file_name();
        let is_ours = name == LOCK_FILE || name == temporary.as_os_str();
        if !is_ours && OF_FILE_SYSTEMS.iter().all(|known| name != *known) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::DataDir;
    use super::*;

    /// A folder that holds these; a name that ends in `/` is a folder.
    fn folder(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        fs::create_dir(&path).unwrap();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => fs::create_dir(path.join(name)).unwrap(),
                None => fs::write(path.join(name), "theirs").unwrap(),
            }
        }
        (temp, path)
    }

    fn refusal(names: &[&str]) -> String {
        let (_temp, path) = folder(names);
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, DiskError::Foreign { .. }), "{error}");
        let left: Vec<_> = fs::read_dir(&path).unwrap().collect();
        assert_eq!(left.len(), names.len(), "it is left as it was: {left:?}");
        error.to_string()
    }

    #[test]
    fn an_empty_folder_is_taken_and_so_is_the_root_of_a_file_system() {
        for names in [
            &[][..],
            &["lost+found/"],
            &[".lock"],
            &["lost+found/", ".lock", "meta.properties.tmp"],
        ] {
            let (_temp, path) = folder(names);
            DataDir::open(&path).unwrap();
            DataDir::open(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_with_files_of_somebody_else_is_refused_and_left_alone() {
        let text = refusal(&["notes.txt", "photos/"]);
        assert!(
            text.contains("it holds notes.txt, photos. Set log.dirs"),
            "{text}"
        );
        let text = refusal(&["a", "b", "c", "d", "e", "f", "g"]);
        assert!(text.contains("it holds a, b, c, d, e and 2 more"), "{text}");
        refusal(&[".bashrc"]);
        refusal(&["lost+found/", "x"]);
    }

    #[test]
    fn a_log_folder_of_kafka_is_named_as_such() {
        for names in [
            &["orders-0/"][..],
            &["recovery-point-offset-checkpoint", "something"],
            &[".kafka_cleanshutdown"],
            &["__cluster_metadata-0/", "bootstrap.checkpoint"],
        ] {
            let text = refusal(names);
            assert!(text.contains("a log folder of Apache Kafka"), "{text}");
            assert!(text.contains("cannot be taken over"), "{text}");
        }
    }

    #[test]
    fn a_stamp_of_kafka_is_named_as_such_and_any_other_as_foreign() {
        for (text, expected) in [
            (
                "version=0\nbroker.id=0\ncluster.id=x\n",
                "a broker of Apache Kafka",
            ),
            (
                "version=1\nnode.id=1\ncluster.id=x\n",
                "a broker of Apache Kafka",
            ),
            ("colour=blue\n", "another program"),
        ] {
            let (_temp, path) = folder(&[]);
            fs::write(path.join(PROPERTIES_FILE), text).unwrap();
            let said = DataDir::open(&path).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
            assert!(!path.join(LOCK_FILE).exists(), "it is left as it was");
        }
    }

    #[test]
    fn metadata_without_a_stamp_asks_for_the_stamp() {
        let text = refusal(&["__carrick_meta/", "orders-0/"]);
        assert!(text.contains("put that file back"), "{text}");
    }

    #[test]
    fn files_added_to_a_data_folder_later_do_not_matter() {
        let (_temp, path) = folder(&[]);
        DataDir::open(&path).unwrap();
        fs::write(path.join("README"), "mine").unwrap();
        DataDir::open(&path).unwrap();
    }
}
