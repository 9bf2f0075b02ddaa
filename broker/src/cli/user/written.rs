//! Credentials as other programs write them: Kafka's metadata log, ZooKeeper, `--add-scram`.
//!
//! Invariant: no error contains a salt, a key or a password.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::Credential;
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Given;

/// A credential that a line sets, or removes.
#[derive(Debug)]
pub enum Written {
    Set(Given),
    Removed { user: String, mechanism: Mechanism },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScramRecord {
    name: String,
    mechanism: i8,
    #[serde(default)]
    salt: String,
    #[serde(default)]
    stored_key: String,
    #[serde(default)]
    server_key: String,
    #[serde(default)]
    iterations: i64,
}

/// Everything that a text has to say about credentials, in its order: the output of `kafka-dump-log
/// --cluster-metadata-decoder`, or lines `<user> <what ZooKeeper has at /config/users/<user>>`.
///
/// # Errors
/// The first line that names a credential which cannot be one, by its number.
pub fn all(text: &str) -> Result<Vec<Written>, String> {
    let mut written = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let found = one_line(line.trim());
        written.extend(found.map_err(|reason| format!("line {}: {reason}", index + 1))?);
    }
    Ok(written)
}

/// What remains in the end: the last word on each user and mechanism counts.
pub fn remaining(written: Vec<Written>) -> Vec<Given> {
    let mut last = BTreeMap::new();
    for one in written {
        match one {
            Written::Set(given) => {
                last.insert((given.user.clone(), given.mechanism.name()), given);
            }
            Written::Removed { user, mechanism } => drop(last.remove(&(user, mechanism.name()))),
        }
    }
    last.into_values().collect()
}

fn one_line(line: &str) -> Result<Vec<Written>, String> {
    if line.contains("_SCRAM_CREDENTIAL_RECORD") {
        let json = line.find('{').map_or("", |start| &line[start..]);
        return kafka_record(json).map(|one| vec![one]);
    }
    let Some((name, rest)) = line.split_once(char::is_whitespace) else {
        return Ok(Vec::new());
    };
    let (name, rest) = (name.trim_end_matches(':'), rest.trim());
    let configs = match rest.starts_with('{') {
        true => match serde_json::from_str::<Value>(rest) {
            Ok(value) => strings(value.get("config").unwrap_or(&value)),
            Err(_) => return Err("holds no JSON behind the user's name".to_owned()),
        },
        false => match rest.split_once('=') {
            Some((mechanism, value)) => vec![(mechanism.to_owned(), value.to_owned())],
            None => Vec::new(),
        },
    };
    let scram = configs
        .into_iter()
        .filter_map(|(config, value)| Some((scram_mechanism(&config)?, value)));
    let name = zookeeper_name(name)?;
    scram
        .map(|(mechanism, value)| {
            let value = value.trim_start_matches('[').trim_end_matches(']');
            let fields = fields(value);
            let given = of_fields(&name, mechanism, &fields)?;
            Ok(Written::Set(given))
        })
        .collect()
}

fn strings(object: &Value) -> Vec<(String, String)> {
    let entries = object.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn scram_mechanism(name: &str) -> Option<Mechanism> {
    let is_scram = |it: &Mechanism| matches!(it, Mechanism::ScramSha256 | Mechanism::ScramSha512);
    Mechanism::named(name.trim()).filter(is_scram)
}

fn kafka_record(json: &str) -> Result<Written, String> {
    let wrong = |_| "holds a SCRAM record that is no JSON of kafka-dump-log".to_owned();
    // More may follow: the decoder reads one value.
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let value = values
        .next()
        .transpose()
        .map_err(wrong)?
        .unwrap_or_default();
    let data = value.get("data").cloned().unwrap_or_default();
    let record: ScramRecord = serde_json::from_value(data).map_err(wrong)?;
    let mechanism = match record.mechanism {
        1 => Mechanism::ScramSha256,
        2 => Mechanism::ScramSha512,
        other => return Err(format!("holds the unknown SCRAM mechanism {other}")),
    };
    let is_removed = value
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.starts_with("REMOVE_"));
    if is_removed {
        let user = record.name;
        return Ok(Written::Removed { user, mechanism });
    }
    let texts = (record.salt, record.stored_key, record.server_key);
    given(record.name, mechanism, texts, record.iterations).map(Written::Set)
}

/// `name=value` pairs between commas. Values are base64, names and numbers: none has a comma.
pub fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            let value = value.trim().trim_matches('"');
            (
                name.trim().to_ascii_lowercase().replace('_', ""),
                value.to_owned(),
            )
        })
        .collect()
}

/// A credential of `salt=…,stored_key=…,server_key=…,iterations=…`.
///
/// # Errors
/// What is missing or cannot be.
pub fn of_fields(
    user: &str,
    mechanism: Mechanism,
    fields: &BTreeMap<String, String>,
) -> Result<Given, String> {
    let field = |name: &str| {
        let value = fields.get(&name.replace('_', "")).cloned();
        value.ok_or_else(|| format!("the credential of user {user} has no {name}"))
    };
    let iterations = field("iterations")?.parse();
    let iterations = iterations.map_err(|_| format!("user {user}: iterations is no number"))?;
    let texts = (field("salt")?, field("stored_key")?, field("server_key")?);
    given(user.to_owned(), mechanism, texts, iterations)
}

fn given(
    user: String,
    mechanism: Mechanism,
    (salt, stored_key, server_key): (String, String, String),
    iterations: i64,
) -> Result<Given, String> {
    let bytes = |name: &str, text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|_| format!("user {user}: the {name} is not base64"))
    };
    let salt = bytes("salt", &salt)?;
    let (stored_key, server_key) = (
        bytes("stored key", &stored_key)?,
        bytes("server key", &server_key)?,
    );
    let work = (&salt[..], iterations);
    let credential = Credential::stored(mechanism, work, (&stored_key, &server_key));
    let credential = credential.map_err(|error| format!("user {user}: {error}"))?;
    Ok(Given {
        user,
        mechanism,
        credential: credential.into(),
    })
}

/// A name in a path of ZooKeeper, where Kafka writes it as URLs do.
fn zookeeper_name(text: &str) -> Result<String, String> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(Option::unwrap_or_default);
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16)
                    .map_err(|_| "holds a name with a % that is not followed by two digits")?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "holds a name that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, &'static str)> {
        let given = remaining(all(text).unwrap());
        let names = given.into_iter();
        names.map(|it| (it.user, it.mechanism.name())).collect()
    }

    /// Key of a hash of that many bytes.
    fn key(bytes: usize) -> String {
        STANDARD.encode(vec![7; bytes])
    }

    fn record(kind: &str, name: &str, mechanism: i8, bytes: usize) -> String {
        let key = key(bytes);
        format!(
            "| offset: 4 CreateTime: 1 keySize: -1 valueSize: 9 sequence: -1 headerKeys: [] payload: \
             {{\"type\":\"{kind}\",\"version\":0,\"data\":{{\"name\":\"{name}\",\"mechanism\":{mechanism},\
             \"salt\":\"c2FsdA==\",\"storedKey\":\"{key}\",\"serverKey\":\"{key}\",\"iterations\":4096}}}}"
        )
    }

    #[test]
    fn the_dump_of_a_metadata_log_is_read_to_its_end() {
        let (set, removed) = (
            "USER_SCRAM_CREDENTIAL_RECORD",
            "REMOVE_USER_SCRAM_CREDENTIAL_RECORD",
        );
        let text = [
            "Dumping /tmp/kraft/__cluster_metadata-0/00000000000000000000.log".to_owned(),
            "baseOffset: 0 lastOffset: 1 count: 2 baseSequence: -1".to_owned(),
            "| offset: 1 payload: {\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{}}".to_owned(),
            record(set, "ann", 1, 32),
            record(set, "ann", 2, 64),
            record(set, "bob", 1, 32),
            record(removed, "ann", 1, 32),
        ];
        assert_eq!(
            names(&text.join("\n")),
            [
                ("ann".to_owned(), "SCRAM-SHA-512"),
                ("bob".to_owned(), "SCRAM-SHA-256")
            ]
        );
    }

    #[test]
    fn what_zookeeper_has_is_read_in_both_forms() {
        let credential = format!(
            "salt=c2FsdA==,stored_key={0},server_key={0},iterations=4096",
            key(32)
        );
        let text = format!(
            "/config/users/a%3Db {{\"version\":1,\"config\":{{\"SCRAM-SHA-256\":\"{credential}\",\
             \"producer_byte_rate\":\"1\"}}}}\n\
             bob: SCRAM-SHA-256={credential}\n\
             cat SCRAM-SHA-256=[{credential}]\n\
             \n\
             dan {{\"version\":1,\"config\":{{\"producer_byte_rate\":\"1\"}}}}\n"
        );
        let of = |name: &str| (name.to_owned(), "SCRAM-SHA-256");
        assert_eq!(names(&text), [of("a=b"), of("bob"), of("cat")]);
    }

    #[test]
    fn a_credential_that_cannot_be_one_is_named_and_not_shown() {
        for (text, part) in [
            (
                record("USER_SCRAM_CREDENTIAL_RECORD", "ann", 1, 31),
                "line 1: user ann: the stored key",
            ),
            (
                record("USER_SCRAM_CREDENTIAL_RECORD", "ann", 9, 32),
                "mechanism 9",
            ),
            (
                "USER_SCRAM_CREDENTIAL_RECORD {".to_owned(),
                "kafka-dump-log",
            ),
            ("ann SCRAM-SHA-256=salt=sesame".to_owned(), "no iterations"),
            (
                "ann SCRAM-SHA-256=salt=sesame,stored_key=x,server_key=y,iterations=4096"
                    .to_owned(),
                "not base64",
            ),
            ("ann {sesame".to_owned(), "no JSON"),
        ] {
            let error = all(&text).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(
                !error.contains("sesame") && !error.contains("BwcH"),
                "{error}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s)(ann |SCRAM-SHA-256=|salt=|%|\\{|\\}|USER_SCRAM_CREDENTIAL_RECORD|.{0,5}){0,12}") {
            let _ = all(&text);
        }
    }
}
