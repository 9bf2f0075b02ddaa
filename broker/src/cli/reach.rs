//! Which server a command talks to, and as whom: options, variables and profiles.
//!
//! Invariant: a secret is never an argument, because every process of the machine can read those. It
//! comes from a file, a variable, a profile or a prompt.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::credentials::Secret;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use super::error::{CliError, CliResult};
use super::profile::Profile;
use crate::http::authn::basic;

/// The address without any setting.
const DEFAULT_URL: &str = "http://127.0.0.1:8090";

/// Variables with secrets: not options, which would show them in `--help`.
const PASSWORD: &str = "CARRICK_PASSWORD";
const TOKEN: &str = "CARRICK_TOKEN";

/// The largest file with a secret or a certificate, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The options that every command has.
#[derive(Debug, Default, clap::Args)]
pub struct Reach {
    /// Address of the server's REST API [default: http://127.0.0.1:8090]
    #[arg(long, global = true, env = "CARRICK_URL")]
    url: Option<String>,
    /// Profile whose settings are used where no option is given
    #[arg(long, global = true, value_name = "NAME", env = "CARRICK_PROFILE")]
    profile: Option<String>,
    /// User to authenticate as. The password comes from --password-file, CARRICK_PASSWORD, the
    /// profile or a prompt
    #[arg(long, global = true, value_name = "NAME", env = "CARRICK_USER")]
    user: Option<String>,
    /// File whose first line is the password
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File whose first line is a bearer token; or CARRICK_TOKEN
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "user")]
    token_file: Option<PathBuf>,
    /// PEM file with the authorities that may sign the server's certificate, instead of this
    /// machine's
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file with a client certificate
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// PEM file with the key of --cert, if the key is not in the same file
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// A server, and what to show it.
pub struct Access {
    pub url: String,
    /// The value of the Authorization header.
    pub authorization: Option<Secret>,
    pub tls: TlsConfig,
}

impl Reach {
    /// The server at an address, without credentials.
    #[cfg(test)]
    pub fn to(url: &str) -> Self {
        Self {
            url: Some(url.to_owned()),
            ..Self::default()
        }
    }

    /// Resolves options, variables and the profile. Prompts if a password is missing and there is
    /// somebody to ask.
    ///
    /// # Errors
    /// [`CliError::Usage`] that names the option, and what to do.
    pub fn access(&self) -> CliResult<Access> {
        let profile = match &self.profile {
            Some(name) => Profile::read(name)?,
            None => Profile::default(),
        };
        let url = self.url.clone().or_else(|| profile.text("url"));
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let is_tls = url.starts_with("https://");
        if !is_tls && !url.starts_with("http://") {
            return Err(usage(format!(
                "--url {url}: must begin with http:// or https://"
            )));
        }
        let authorization = self.authorization(&profile)?;
        if authorization.is_some() && !is_tls && !is_loopback(&url) {
            eprintln!(
                "carrick: {url} is not https: others on the network can read the password or token"
            );
        }
        let file = |option: &Option<PathBuf>, name| option.clone().or_else(|| profile.path(name));
        let (cert, key) = (file(&self.cert, "cert"), file(&self.key, "key"));
        Ok(Access {
            tls: tls(is_tls, file(&self.ca, "ca"), cert, key)?,
            url,
            authorization,
        })
    }

    fn authorization(&self, profile: &Profile) -> CliResult<Option<Secret>> {
        if let Some(file) = &self.token_file {
            return Ok(Some(bearer(&first_line("--token-file", file)?)));
        }
        if let Some(user) = &self.user {
            let own = profile.text("user").as_ref() == Some(user);
            let of_profile = own.then_some(profile);
            return Ok(Some(basic_of(user, &self.password(user, of_profile)?)));
        }
        if let Some(token) = variable(TOKEN) {
            return Ok(Some(bearer(&token)));
        }
        if let Some(token) = profile.secret("token") {
            return Ok(Some(bearer(&token)));
        }
        if let Some(file) = profile.path("token.file") {
            return Ok(Some(bearer(&first_line("token.file", &file)?)));
        }
        match profile.text("user") {
            Some(user) => {
                let password = self.password(&user, Some(profile))?;
                Ok(Some(basic_of(&user, &password)))
            }
            None if self.password_file.is_some() => {
                Err(usage("--password-file needs --user".to_owned()))
            }
            None => Ok(None),
        }
    }

    fn password(&self, user: &str, profile: Option<&Profile>) -> CliResult<Secret> {
        if let Some(file) = &self.password_file {
            return first_line("--password-file", file);
        }
        if let Some(password) = variable(PASSWORD) {
            return Ok(password);
        }
        if let Some(password) = profile.and_then(|profile| profile.secret("password")) {
            return Ok(password);
        }
        if let Some(file) = profile.and_then(|profile| profile.path("password.file")) {
            return first_line("password.file", &file);
        }
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!(
                "there is no password for user {user}, and nobody to ask: use --password-file or \
                 {PASSWORD}"
            )));
        }
        let prompted = rpassword::prompt_password(format!("Password of {user}: "));
        prompted
            .map(Secret::new)
            .map_err(|error| usage(format!("the password can't be read: {error}")))
    }
}

fn usage(message: String) -> CliError {
    CliError::Usage(message)
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<Secret> {
    let value = std::env::var(name).ok()?;
    (!value.is_empty()).then(|| Secret::new(value))
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}

fn basic_of(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", basic::encode(user, password.expose())))
}

/// Whether what is sent to that address stays on this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<ureq::http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The text of a file that is not too large.
fn text_of(option: &str, path: &Path) -> CliResult<String> {
    let wrong = |reason: String| usage(format!("{option} {}: {reason}", path.display()));
    let size_bytes = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if size_bytes.len() > FILE_MAX_BYTES {
        return Err(wrong("the file is too large".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))
}

fn first_line(option: &str, path: &Path) -> CliResult<Secret> {
    let text = text_of(option, path)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(usage(format!(
            "{option} {}: the first line is empty",
            path.display()
        ))),
    }
}

fn tls(
    is_tls: bool,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> CliResult<TlsConfig> {
    if key.is_some() && cert.is_none() {
        return Err(usage("--key needs --cert".to_owned()));
    }
    let mut tls = TlsConfig::builder().provider(TlsProvider::Rustls);
    if !is_tls {
        return Ok(tls.build());
    }
    let trusted = match &ca {
        Some(path) => certificates("--ca", path)?,
        None => carrick_link::web::trusted_by_this_host()
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect(),
    };
    tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
    if let Some(cert) = &cert {
        let key = private_key(key.as_ref().unwrap_or(cert))?;
        let chain = certificates("--cert", cert)?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(tls.build())
}

fn certificates(option: &str, path: &Path) -> CliResult<Vec<Certificate<'static>>> {
    let text = text_of(option, path)?;
    let wrong = |reason: &str| usage(format!("{option} {}: {reason}", path.display()));
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(text.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(wrong("is no PEM file")),
        }
    }
    match certificates.is_empty() {
        true => Err(wrong("holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

fn private_key(path: &Path) -> CliResult<PrivateKey<'static>> {
    let text = text_of("--key", path)?;
    let reason = match text.contains("ENCRYPTED") {
        true => "holds an encrypted key, which can't be used here: `openssl pkey` decrypts it",
        false => "holds no private key in PEM",
    };
    PrivateKey::from_pem(text.as_bytes())
        .map_err(|_| usage(format!("--key {}: {reason}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn failure(reach: &Reach) -> String {
        match reach.access() {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn a_password_or_token_comes_from_the_first_line_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let reach = Reach {
            user: Some("ann".to_owned()),
            password_file: Some(file(&dir, "password", "open sesame\nmore\n")),
            ..Reach::default()
        };
        let access = reach.access().unwrap();
        let expected = format!("Basic {}", basic::encode("ann", "open sesame"));
        assert_eq!(access.authorization.unwrap().expose(), expected);
        assert_eq!(access.url, DEFAULT_URL);
        let reach = Reach {
            token_file: Some(file(&dir, "token", "e30.e30.x\n")),
            ..Reach::default()
        };
        let access = reach.access().unwrap();
        assert_eq!(access.authorization.unwrap().expose(), "Bearer e30.e30.x");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_option() {
        let dir = tempfile::tempdir().unwrap();
        let reach = |url: &str| Reach {
            url: Some(url.to_owned()),
            ..Reach::default()
        };
        assert!(failure(&reach("ftp://x")).contains("http:// or https://"));
        let https = || reach("https://localhost:1");
        let with_ca = Reach {
            ca: Some(file(&dir, "ca", "nothing")),
            ..https()
        };
        assert!(failure(&with_ca).contains("--ca"), "{}", failure(&with_ca));
        let with_key = Reach {
            key: Some(file(&dir, "key", "x")),
            ..https()
        };
        assert_eq!(failure(&with_key), "--key needs --cert");
        let empty = Reach {
            user: Some("ann".to_owned()),
            password_file: Some(file(&dir, "empty", "\n")),
            ..Reach::default()
        };
        assert!(failure(&empty).contains("the first line is empty"));
        let missing = Reach {
            token_file: Some(dir.path().join("none")),
            ..Reach::default()
        };
        assert!(failure(&missing).starts_with("--token-file"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for here in [
            "http://127.0.0.1:8090",
            "http://localhost",
            "http://[::1]:1/x",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for there in [
            "http://10.0.0.7",
            "http://localhost.evil.example",
            "nonsense",
        ] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
