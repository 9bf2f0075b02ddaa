//! Profiles: settings of `carrick` by name, in `~/.config/carrick/profiles.properties`.
//!
//! ```properties
//! prod.url=https://carrick.example.com:8090
//! prod.user=ann
//! prod.password.file=/home/ann/.carrick-password
//! prod.ca=/etc/carrick/ca.pem
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carrick_protocol::credentials::Secret;

use super::error::{CliError, CliResult};
use super::settings::read_file;

/// The variable that names another file.
const FILE: &str = "CARRICK_PROFILES";

/// What a profile may say.
const SETTINGS: [&str; 9] = [
    "url",
    "user",
    "password",
    "password.file",
    "token",
    "token.file",
    "ca",
    "cert",
    "key",
];
const SECRETS: [&str; 2] = ["password", "token"];

/// The settings of one profile.
#[derive(Default)]
pub struct Profile(BTreeMap<&'static str, Secret>);

impl Profile {
    /// The profile of that name.
    ///
    /// # Errors
    /// [`CliError::Usage`]: there is none, a setting is unknown, or others may read its secrets.
    pub fn read(name: &str) -> CliResult<Self> {
        let Some(path) = path() else {
            let message = format!("--profile {name}: there is no home folder: set {FILE}");
            return Err(CliError::Usage(message));
        };
        Self::read_from(&path, name)
    }

    fn read_from(path: &Path, name: &str) -> CliResult<Self> {
        let wrong = |reason: String| CliError::Usage(format!("{}: {reason}", path.display()));
        let mut profile = Self::default();
        let prefix = format!("{name}.");
        for (key, value) in read_file(path)? {
            let Some(setting) = key.strip_prefix(&prefix) else {
                continue;
            };
            let known = SETTINGS.iter().find(|known| **known == setting);
            let known = known.ok_or_else(|| {
                let settings = SETTINGS.join(", ");
                wrong(format!("'{key}': a profile has these settings: {settings}"))
            })?;
            profile.0.insert(known, Secret::new(value));
        }
        if profile.0.is_empty() {
            return Err(wrong(format!("has no profile '{name}'")));
        }
        let mode = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        let is_open = mode.permissions().mode() & 0o077 != 0;
        let secret = SECRETS.iter().find(|name| profile.0.contains_key(*name));
        match secret {
            Some(secret) if is_open => Err(wrong(format!(
                "holds '{prefix}{secret}', and others may read the file: chmod 600 it, or use \
                 {secret}.file"
            ))),
            _ => Ok(profile),
        }
    }

    pub fn text(&self, setting: &str) -> Option<String> {
        self.0.get(setting).map(|value| value.expose().to_owned())
    }

    pub fn path(&self, setting: &str) -> Option<PathBuf> {
        self.text(setting).map(PathBuf::from)
    }

    pub fn secret(&self, setting: &str) -> Option<Secret> {
        self.0.get(setting).cloned()
    }
}

/// Where profiles are.
fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = set(FILE) {
        return Some(path.into());
    }
    let config = match set("XDG_CONFIG_HOME") {
        Some(config) => PathBuf::from(config),
        None => PathBuf::from(set("HOME")?).join(".config"),
    };
    Some(config.join("carrick").join("profiles.properties"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(path: &Path, name: &str) -> String {
        match Profile::read_from(path, name) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn a_profile_has_its_own_settings_and_keeps_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.properties");
        let text =
            "dr.url=https://dr:8090\ndr.user=ann\nprod.password=open sesame\nbad.colour=red\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let dr = Profile::read_from(&path, "dr").unwrap();
        assert_eq!(dr.text("url").as_deref(), Some("https://dr:8090"));
        assert_eq!(dr.text("user").as_deref(), Some("ann"));
        assert!(dr.secret("password").is_none());
        let open = failure(&path, "prod");
        assert!(
            open.contains("chmod 600") && !open.contains("sesame"),
            "{open}"
        );
        assert!(failure(&path, "bad").contains("'bad.colour'"));
        assert!(failure(&path, "none").contains("no profile 'none'"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let prod = Profile::read_from(&path, "prod").unwrap();
        assert_eq!(prod.secret("password").unwrap().expose(), "open sesame");
    }
}
