//! Where the key comes from that protects the others: a passphrase, a key file, or a credential of
//! systemd. Without any of them it is in the data folder.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carrick_protocol::credentials::Secret;

use super::cipher::{KEY_BYTES, Material, RawKey};
use crate::config::{ConfigError, Values};

/// A passphrase, by Kafka's name.
pub const PASSPHRASE: &str = "password.encoder.secret";
const OLD_PASSPHRASE: &str = "password.encoder.old.secret";
/// The path of a key file.
pub const KEY_FILE: &str = "secrets.key.file";
const OLD_KEY_FILE: &str = "secrets.old.key.file";

/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Their names for our two key files.
pub const CREDENTIAL: &str = "carrick.secrets.key";
const OLD_CREDENTIAL: &str = "carrick.secrets.old.key";

/// No key file is longer.
const KEY_FILE_MAX_BYTES: u64 = 4096;

/// How the key file in the data folder begins, before the key in hexadecimal.
pub(super) const HEADER: &str = "carrick-link-secrets-1 ";

/// What the operator has given, and where.
#[derive(Debug, Clone)]
pub struct Given {
    /// For messages: the property or credential, and its file if it has one.
    pub name: String,
    pub material: Material,
}

/// The keys that the operator has given.
#[derive(Debug, Clone, Default)]
pub struct SecretsConfig {
    /// What protects secrets from now on; `None`: a file in the data folder.
    pub current: Option<Given>,
    /// What may have protected them so far.
    pub older: Vec<Given>,
}

impl SecretsConfig {
    /// Reads the key files.
    ///
    /// # Errors
    /// Two keys are given, or one that is none.
    pub fn of(values: &Values) -> Result<Self, ConfigError> {
        let credentials = std::env::var_os(CREDENTIALS);
        Self::with(values, credentials.as_ref().map(Path::new))
    }

    fn with(values: &Values, credentials: Option<&Path>) -> Result<Self, ConfigError> {
        let passphrase = passphrase(values, PASSPHRASE);
        let file = key_file(values, KEY_FILE)?;
        if passphrase.is_some() && file.is_some() {
            let reason = format!("{PASSPHRASE} is set, too: remove one of them");
            let value = values.text(KEY_FILE).unwrap_or_default();
            return Err(ConfigError::value(KEY_FILE, &value, reason));
        }
        let current = passphrase.or(file);
        let current = match current {
            None => credential(credentials, CREDENTIAL)?,
            given => given,
        };
        let older = [
            self::passphrase(values, OLD_PASSPHRASE),
            key_file(values, OLD_KEY_FILE)?,
            credential(credentials, OLD_CREDENTIAL)?,
        ];
        Ok(Self {
            current,
            older: older.into_iter().flatten().collect(),
        })
    }
}

fn passphrase(values: &Values, name: &'static str) -> Option<Given> {
    // Kafka's own files set it to nothing.
    let text = values.text(name).filter(|text| !text.is_empty())?;
    Some(Given {
        name: name.to_owned(),
        material: Material::Passphrase(Secret::new(text)),
    })
}

fn key_file(values: &Values, name: &'static str) -> Result<Option<Given>, ConfigError> {
    let Some(path) = values.text(name).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let key = read_key(Path::new(&path));
    let key = key.map_err(|reason| ConfigError::value(name, &path, reason))?;
    let mode = fs::metadata(&path).map(|it| it.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(
            path,
            "other users may read the key that protects secrets: run chmod 600 on it"
        );
    }
    Ok(Some(Given {
        name: format!("{name} ({path})"),
        material: Material::File(key),
    }))
}

fn credential(folder: Option<&Path>, name: &'static str) -> Result<Option<Given>, ConfigError> {
    let Some(path) = folder.map(|folder| folder.join(name)) else {
        return Ok(None);
    };
    if !path.exists() {
        return Ok(None);
    }
    let shown = path.display().to_string();
    let key = read_key(&path);
    let key = key.map_err(|reason| ConfigError::value(CREDENTIALS, &shown, reason))?;
    Ok(Some(Given {
        name: format!("the systemd credential {name}"),
        material: Material::File(key),
    }))
}

/// A key file: 32 bytes, or 64 hexadecimal digits.
fn read_key(path: &Path) -> Result<RawKey, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("it can't be opened: {error}"))?;
    file.take(KEY_FILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it can't be read: {error}"))?;
    parse_key(&bytes).ok_or_else(|| {
        "the file must contain 32 bytes, or 64 hexadecimal digits; make one with: \
         (umask 077; openssl rand -hex 32 > FILE)"
            .to_owned()
    })
}

pub(super) fn parse_key(bytes: &[u8]) -> Option<RawKey> {
    if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(bytes) {
        return Some(RawKey(raw));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    RawKey::of_hex(text.strip_prefix(HEADER).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    fn of(overrides: &[&str], credentials: Option<&Path>) -> Result<SecretsConfig, String> {
        SecretsConfig::with(&values(overrides), credentials).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_file_holds_bytes_or_hexadecimal_digits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let set = format!("{KEY_FILE}={}", path.display());
        let hex = "0a".repeat(KEY_BYTES);
        let ours = format!("{HEADER}{hex}\n");
        for text in [&[10_u8; KEY_BYTES][..], hex.as_bytes(), ours.as_bytes()] {
            fs::write(&path, text).unwrap();
            let given = of(&[&set], None).unwrap().current.unwrap();
            assert_eq!(given.material, Material::File(RawKey([10; KEY_BYTES])));
            assert!(given.name.contains(KEY_FILE));
        }
        for text in [&b""[..], b"open sesame", &[b'0'; 5000]] {
            fs::write(&path, text).unwrap();
            let error = of(&[&set], None).unwrap_err();
            assert!(
                error.contains(KEY_FILE) && error.contains("64 hexadecimal"),
                "{error}"
            );
            assert!(!error.contains("sesame"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(of(&[&set], None).unwrap_err().contains("can't be opened"));
    }

    #[test]
    fn a_credential_counts_where_no_property_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let own = |config: SecretsConfig| config.current.map(|given| given.name);
        assert_eq!(own(of(&[], Some(dir.path())).unwrap()), None);
        fs::write(dir.path().join(CREDENTIAL), [1; KEY_BYTES]).unwrap();
        fs::write(dir.path().join(OLD_CREDENTIAL), [2; KEY_BYTES]).unwrap();
        let config = of(&[], Some(dir.path())).unwrap();
        assert_eq!(config.older.len(), 1);
        assert!(own(config).unwrap().contains(CREDENTIAL));
        let set = of(&["password.encoder.secret=sesame"], Some(dir.path()));
        assert_eq!(own(set.unwrap()).unwrap(), PASSPHRASE);
    }

    #[test]
    fn two_keys_are_refused_and_an_empty_passphrase_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, [1; KEY_BYTES]).unwrap();
        let file = format!("{KEY_FILE}={}", path.display());
        let error = of(&[&file, "password.encoder.secret=sesame"], None).unwrap_err();
        assert!(
            error.contains(KEY_FILE) && error.contains(PASSPHRASE),
            "{error}"
        );
        assert!(!error.contains("sesame"), "{error}");
        let config = of(&["password.encoder.secret="], None).unwrap();
        assert!(config.current.is_none());
        let config = of(&["password.encoder.secret=sesame"], None).unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
