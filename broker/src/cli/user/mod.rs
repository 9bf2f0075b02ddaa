//! `carrick user …`: users who log in with SCRAM. A running broker is asked over REST; `--data-dir`
//! opens the folder of one that does not run, for the first user.

mod written;

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carrick_protocol::credentials::scram::{Credential, ITERATIONS_MAX, ITERATIONS_MIN};
use carrick_protocol::credentials::{Mechanism, Secret};
use clap::{Args, Subcommand};

use super::client::{Client, Patience};
use super::error::{CliError, CliResult};
use super::output::{Output, plural, table};
use crate::auth::{Given, random_text};
use crate::http::model::users::{
    CredentialData, CredentialKind, CredentialsSet, SetCredentialsRequest, UserData,
};
use crate::http::model::{Collection, ResourceMetadata, escape};
use crate::run::{StartError, UsersOnDisk};

/// The largest file of credentials that is read: a dump holds all of a cluster's metadata.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// Longest password.
const PASSWORD_MAX_BYTES: usize = 4096;

/// Credentials in one request.
const AT_A_TIME: usize = 500;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, or give one another password
    Add(Add),
    /// List users and their mechanisms
    List(Place),
    /// Remove a user's credentials
    Delete(Delete),
    /// Bring users along from Kafka, with their passwords: the output of `kafka-dump-log
    /// --cluster-metadata-decoder`, or lines `<user> <what ZooKeeper has at /config/users/<user>>`
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Place {
    /// Data folder of a broker that does not run, instead of the REST API
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Add {
    /// The user's name
    name: String,
    /// Mechanism that the user logs in with; may be given twice
    #[arg(long = "mechanism", value_name = "NAME", default_value = "SCRAM-SHA-512", value_parser = scram)]
    mechanisms: Vec<Mechanism>,
    /// How often the password is hashed
    #[arg(long, default_value_t = ITERATIONS_MIN, value_parser = clap::value_parser!(u32).range(i64::from(ITERATIONS_MIN)..=i64::from(ITERATIONS_MAX)))]
    iterations: u32,
    #[command(flatten)]
    password: PasswordFrom,
    #[command(flatten)]
    place: Place,
}

/// Where a password comes from: never the command line, which others can read.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PasswordFrom {
    /// File whose first line is the user's password
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Environment variable that holds the user's password
    #[arg(long, value_name = "NAME")]
    new_password_env: Option<String>,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The user's name
    name: String,
    /// Only the credential for this mechanism
    #[arg(long, value_name = "NAME", value_parser = scram)]
    mechanism: Option<Mechanism>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file; - is standard input
    file: PathBuf,
    /// Replace credentials that exist here already
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Place,
}

fn scram(name: &str) -> Result<Mechanism, String> {
    match Mechanism::named(name) {
        Some(known @ (Mechanism::ScramSha256 | Mechanism::ScramSha512)) => Ok(known),
        _ => Err("one of SCRAM-SHA-256 and SCRAM-SHA-512".to_owned()),
    }
}

/// Runs a user command.
///
/// # Errors
/// What is refused, or that the server or the folder cannot be reached.
pub fn run(
    client: impl FnOnce() -> CliResult<Client>,
    output: Output,
    command: UserCommand,
) -> CliResult {
    match command {
        UserCommand::Add(add) => {
            let password = add.password.read()?;
            let mechanisms = add.mechanisms.iter();
            let given = mechanisms.map(|it| made(&add.name, *it, add.iterations, &password));
            let given = given.collect::<CliResult<Vec<_>>>()?;
            let set = Target::of_new(add.place, client)?.set(given, false)?;
            output.print(&set, |_| format!("user {} can log in", add.name))
        }
        UserCommand::Import(import) => {
            let text = read_text(&import.file)?;
            let shown = import.file.display();
            let written = written::all(&text)
                .map_err(|reason| CliError::Usage(format!("{shown}: {reason}")))?;
            let given = written::remaining(written);
            if given.is_empty() {
                let text = format!(
                    "{shown} holds no SCRAM credential: it should be the output of kafka-dump-log \
                     --cluster-metadata-decoder, or lines `<user> <JSON of /config/users/<user>>`"
                );
                return Err(CliError::Failed(text));
            }
            let set = Target::of_new(import.place, client)?.set(given, !import.replace)?;
            output.print(&set, imported)
        }
        UserCommand::List(place) => {
            let users = Target::of(place, client)?.list()?;
            output.print(&users, rendered)
        }
        UserCommand::Delete(delete) => {
            Target::of(delete.place, client)?.delete(&delete.name, delete.mechanism)
        }
    }
}

fn made(user: &str, mechanism: Mechanism, iterations: u32, password: &Secret) -> CliResult<Given> {
    let failed = |error: String| CliError::Failed(error);
    let salt = random_text().map_err(|error| failed(error.to_string()))?;
    let work = (salt.as_bytes(), i64::from(iterations));
    let credential = Credential::of_password(mechanism, work, password.expose());
    Ok(Given {
        user: user.to_owned(),
        mechanism,
        credential: credential
            .map_err(|error| failed(error.to_string()))?
            .into(),
    })
}

fn imported(set: &CredentialsSet) -> String {
    let mut text = format!("{} set", plural(set.set, "credential"));
    if set.kept > 0 {
        text.push_str(&format!(
            ", {} kept that were here already (--replace replaces them)",
            set.kept
        ));
    }
    text
}

fn rendered(users: &Collection<UserData>) -> String {
    let rows = users.data.iter().flat_map(|user| {
        user.credentials.iter().map(|credential| {
            [
                user.user_name.clone(),
                credential.mechanism.clone(),
                credential.iterations.to_string(),
            ]
        })
    });
    table(["USER", "MECHANISM", "ITERATIONS"], rows)
}

impl PasswordFrom {
    /// The password: from the file or variable, typed twice, or the first line of standard input.
    fn read(&self) -> CliResult<Secret> {
        let password = match (&self.new_password_file, &self.new_password_env) {
            (Some(file), _) => password_file(file)?,
            (None, Some(name)) => std::env::var(name)
                .map_err(|_| CliError::Usage(format!("{name} is not set, or not UTF-8")))?,
            (None, None) if std::io::stdin().is_terminal() => typed()?,
            (None, None) => first_line(std::io::stdin().lock())?,
        };
        match password.is_empty() {
            true => Err(CliError::Usage("the password is empty".to_owned())),
            false => Ok(Secret::new(password)),
        }
    }
}

fn typed() -> CliResult<String> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map_err(|error| CliError::Failed(format!("cannot read the password: {error}")))
    };
    let password = ask("Password: ")?;
    match ask("Once more: ")? == password {
        true => Ok(password),
        false => Err(CliError::Usage("the two passwords differ".to_owned())),
    }
}

/// The first line of a file.
///
/// # Errors
/// It cannot be read, or is no password.
fn password_file(path: &Path) -> CliResult<String> {
    let file = std::fs::File::open(path)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    first_line(std::io::BufReader::new(file))
}

fn first_line(from: impl BufRead) -> CliResult<String> {
    let mut line = String::new();
    // Two bytes more for the line's end.
    from.take(PASSWORD_MAX_BYTES as u64 + 2)
        .read_line(&mut line)
        .map_err(|error| CliError::Usage(format!("cannot read the password: {error}")))?;
    let password = line.trim_end_matches(['\n', '\r']);
    match password.len() > PASSWORD_MAX_BYTES {
        true => Err(CliError::Usage(format!(
            "the password has more than {PASSWORD_MAX_BYTES} bytes: take a shorter one"
        ))),
        false => Ok(password.to_owned()),
    }
}

fn read_text(path: &Path) -> CliResult<String> {
    let wrong = |error: std::io::Error| CliError::Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin()
            .take(FILE_MAX_BYTES + 1)
            .read_to_string(&mut text),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)),
    };
    let bytes = read.map_err(wrong)?;
    match bytes as u64 > FILE_MAX_BYTES {
        true => Err(CliError::Usage(format!(
            "{} has more than {FILE_MAX_BYTES} bytes: give it only the lines of the users' credentials",
            path.display()
        ))),
        false => Ok(text),
    }
}

fn failed(error: StartError) -> CliError {
    CliError::Failed(error.to_string())
}

/// Where users are changed.
enum Target {
    Server(Client),
    Folder(Box<UsersOnDisk>),
}

impl Target {
    fn of(place: Place, client: impl FnOnce() -> CliResult<Client>) -> CliResult<Self> {
        match place.data_dir {
            None => client().map(Self::Server),
            Some(folder) if UsersOnDisk::is_new(&folder).map_err(failed)? => {
                Err(CliError::Failed(format!(
                    "{} is no data folder: --data-dir must name the folder that log.dirs has",
                    folder.display()
                )))
            }
            Some(folder) => Self::folder(&folder),
        }
    }

    /// The same for users to be added: also in a folder that is made for them.
    fn of_new(place: Place, client: impl FnOnce() -> CliResult<Client>) -> CliResult<Self> {
        let Some(folder) = place.data_dir else {
            return client().map(Self::Server);
        };
        let is_new = UsersOnDisk::is_new(&folder).map_err(failed)?;
        let target = Self::folder(&folder)?;
        if is_new {
            eprintln!(
                "carrick: a new data folder was made in {}: log.dirs must name it",
                folder.display()
            );
        }
        Ok(target)
    }

    fn folder(folder: &Path) -> CliResult<Self> {
        let opened = UsersOnDisk::open(folder).map_err(failed)?;
        Ok(Self::Folder(Box::new(opened)))
    }

    fn set(&self, given: Vec<Given>, keep_existing: bool) -> CliResult<CredentialsSet> {
        let client = match self {
            Self::Folder(folder) => return bring(folder, given, keep_existing),
            Self::Server(client) => client,
        };
        let mut all = CredentialsSet::default();
        for some in given.chunks(AT_A_TIME) {
            let request = SetCredentialsRequest {
                data: some.iter().map(to_data).collect(),
                keep_existing,
            };
            let set: CredentialsSet = client.post("/users", &request, Patience::Short)?;
            all.set += set.set;
            all.kept += set.kept;
        }
        Ok(all)
    }

    fn list(&self) -> CliResult<Collection<UserData>> {
        let users = match self {
            Self::Server(client) => return client.get("/users"),
            Self::Folder(folder) => &folder.users,
        };
        let data = users.names().into_iter().map(|name| UserData {
            kind: UserData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            credentials: users
                .mechanisms(&name)
                .into_iter()
                .map(|(mechanism, iterations)| CredentialKind {
                    mechanism: mechanism.name().to_owned(),
                    iterations,
                })
                .collect(),
            user_name: name,
        });
        Ok(Collection::new(UserData::LIST_KIND, "", data.collect()))
    }

    fn delete(&self, name: &str, mechanism: Option<Mechanism>) -> CliResult {
        match self {
            Self::Server(client) => {
                let mut path = format!("/users/{}", escape(name));
                if let Some(mechanism) = mechanism {
                    path.push_str(&format!("?mechanism={}", mechanism.name()));
                }
                client.delete(&path)
            }
            Self::Folder(folder) => folder
                .users
                .forget(name, mechanism)
                .map_err(|error| CliError::Failed(format!("user {name}: {error}"))),
        }
    }
}

fn bring(
    folder: &UsersOnDisk,
    given: Vec<Given>,
    keep_existing: bool,
) -> CliResult<CredentialsSet> {
    let brought = folder.users.bring(given, keep_existing);
    let brought =
        brought.map_err(|(user, error)| CliError::Failed(format!("user {user}: {error}")))?;
    Ok(CredentialsSet {
        set: brought.set,
        kept: brought.kept,
    })
}

fn to_data(given: &Given) -> CredentialData {
    let credential = &given.credential;
    CredentialData {
        user_name: given.user.clone(),
        mechanism: given.mechanism.name().to_owned(),
        iterations: i64::from(credential.iterations().get()),
        salt: STANDARD.encode(credential.salt()),
        stored_key: STANDARD.encode(credential.stored_key().bytes()),
        server_key: STANDARD.encode(credential.server_key().bytes()),
    }
}

/// `--add-scram`: `SCRAM-SHA-512=[name=admin,password-file=…]`, as `kafka-storage format` has it but
/// for the password.
///
/// # Errors
/// What is wrong with it.
pub(super) fn add_scram(text: &str) -> CliResult<Given> {
    let wrong = |reason: &str| CliError::Usage(format!("--add-scram: {reason}"));
    let form = "must be SCRAM-SHA-512=[name=…,password-file=…]: the password may also come from \
                password-env=<variable>, or be salt=…,stored_key=…,server_key=…,iterations=…";
    let (name, rest) = text.split_once('=').ok_or_else(|| wrong(form))?;
    let mechanism = scram(name.trim()).map_err(|reason| wrong(&reason))?;
    let inner = rest
        .trim()
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'));
    let fields = written::fields(inner.ok_or_else(|| wrong(form))?);
    if fields.contains_key("password") || fields.contains_key("saltedpassword") {
        return Err(wrong(
            "takes no password and no salted password: other users can read command lines. Use \
             password-file=<file> or password-env=<variable>",
        ));
    }
    let user = fields.get("name").filter(|name| !name.is_empty());
    let user = user.ok_or_else(|| wrong(form))?;
    let from = PasswordFrom {
        new_password_file: fields.get("password-file").map(PathBuf::from),
        new_password_env: fields.get("password-env").cloned(),
    };
    if from.new_password_file.is_none() && from.new_password_env.is_none() {
        return written::of_fields(user, mechanism, &fields).map_err(|reason| wrong(&reason));
    }
    let iterations = match fields.get("iterations").map(|text| text.parse()) {
        None => ITERATIONS_MIN,
        Some(Ok(iterations)) => iterations,
        Some(Err(_)) => return Err(wrong("iterations must be a number")),
    };
    made(user, mechanism, iterations, &from.read()?)
}

/// Adds the users of `--add-scram` that are not there yet.
///
/// # Errors
/// The folder cannot be opened.
pub(super) fn add_at_first_start(folder: &Path, given: Vec<Given>) -> CliResult {
    let folder = UsersOnDisk::open(folder).map_err(failed)?;
    let set = bring(&folder, given, true)?;
    tracing::info!(set.set, set.kept, "users of --add-scram");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_is_added_without_a_password_on_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "open sesame\nmore\n").unwrap();
        let text = format!(
            "SCRAM-SHA-256=[name=admin,password-file={},iterations=5000]",
            file.display()
        );
        let given = add_scram(&text).unwrap();
        assert_eq!(
            (given.user.as_str(), given.mechanism),
            ("admin", Mechanism::ScramSha256)
        );
        assert_eq!(given.credential.iterations().get(), 5000);
        assert!(given.credential.is_of("open sesame"));
        let data = to_data(&given);
        let stored = format!(
            "SCRAM-SHA-256=[name=admin,salt=\"{}\",stored_key={},server_key={},iterations=5000]",
            data.salt, data.stored_key, data.server_key
        );
        assert_eq!(add_scram(&stored).unwrap().credential, given.credential);
        for (wrong, part) in [
            (
                "SCRAM-SHA-512=[name=admin,password=sesame]",
                "password-file",
            ),
            (
                "SCRAM-SHA-512=[name=admin,salt=AAAA,saltedpassword=sesame]",
                "password-file",
            ),
            ("PLAIN=[name=admin,password-file=x]", "SCRAM-SHA-512"),
            ("SCRAM-SHA-512=name=admin", "must be"),
            ("SCRAM-SHA-512=[password-file=x]", "must be"),
            (
                "SCRAM-SHA-512=[name=a,password-file=/does/not/exist]",
                "/does/not/exist",
            ),
            ("SCRAM-SHA-512=[name=a]", "no iterations"),
        ] {
            let error = add_scram(wrong).unwrap_err().to_string();
            assert!(error.contains(part), "{wrong}: {error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn only_users_to_be_added_make_a_data_folder() {
        let outside = tempfile::tempdir().unwrap();
        let at = outside.path().join("data");
        let place = || Place {
            data_dir: Some(at.clone()),
        };
        let no_client = || -> CliResult<Client> { Err(CliError::Usage("no client".to_owned())) };
        let Err(error) = Target::of(place(), no_client) else {
            panic!("it is no data folder");
        };
        assert!(error.to_string().contains("log.dirs"), "{error}");
        assert!(!at.exists());
        drop(Target::of_new(place(), no_client).unwrap());
        assert!(Target::of(place(), no_client).is_ok());
    }

    #[test]
    fn users_are_kept_in_the_folder_of_a_broker_that_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("data");
        let given =
            |password: &str| made("ann", Mechanism::ScramSha512, 4096, &Secret::new(password));
        add_at_first_start(&at, vec![given("one").unwrap()]).unwrap();
        add_at_first_start(&at, vec![given("two").unwrap()]).unwrap();
        let opened = UsersOnDisk::open(&at).unwrap();
        let credential = opened.users.credential("ann", Mechanism::ScramSha512);
        assert!(
            credential.unwrap().is_of("one"),
            "it is the first that counts"
        );
        let locked = add_at_first_start(&at, vec![given("three").unwrap()]);
        assert!(locked.is_err(), "the folder is in use");
    }
}
