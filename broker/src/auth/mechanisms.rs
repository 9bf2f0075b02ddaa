//! The SASL mechanisms of a listener, as its properties say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::credentials::{Mechanism, Secret, jaas};

use super::oauth::Tokens;
use crate::config::{ConfigError, ListenerValues};

const ENABLED: &str = "sasl.enabled.mechanisms";
const JAAS: &str = "sasl.jaas.config";
const HANDLER: &str = "sasl.server.callback.handler.class";
const REAUTH: &str = "connections.max.reauth.ms";

/// What a listener with SASL accepts.
#[derive(Debug)]
pub struct Mechanisms {
    /// In the order of `sasl.enabled.mechanisms`.
    enabled: Vec<Enabled>,
    /// Mechanisms that are enabled and that Carrick does not have.
    left_out: Vec<String>,
    /// `sasl.server.max.receive.size`: longest frame of a login.
    pub receive_max_bytes: usize,
}

/// One mechanism.
#[derive(Debug)]
pub(super) struct Enabled {
    pub mechanism: Mechanism,
    pub checks: Checks,
    /// `connections.max.reauth.ms`: how long a login is good for.
    pub session: Option<Duration>,
}

/// What a mechanism checks its clients by.
#[derive(Debug)]
pub(super) enum Checks {
    Plain(PlainUsers),
    /// The users in the cluster's metadata.
    Scram,
    OAuthBearer(Arc<Tokens>),
}

impl Mechanisms {
    /// Those of the listener with this name.
    ///
    /// # Errors
    /// None that Carrick has is enabled, or one that is enabled has no users.
    pub fn of(listener: &ListenerValues<'_>, name: &str) -> Result<Self, ConfigError> {
        let (mut enabled, mut left_out) = (Vec::<Enabled>::new(), Vec::new());
        for word in listener.list(ENABLED) {
            match Mechanism::named(&word) {
                Some(mechanism) if enabled.iter().any(|it| it.mechanism == mechanism) => {}
                Some(mechanism) => enabled.push(Enabled::of(listener, mechanism)?),
                None if word == "GSSAPI" => left_out.push(word),
                None => {
                    let reason = format!("'{word}' is not a mechanism: {}", one_of());
                    return Err(listener.wrong(ENABLED, reason));
                }
            }
        }
        if enabled.is_empty() {
            let own = listener.own_name(ENABLED);
            let reason = format!(
                "listener {name} asks for SASL, and Carrick has no Kerberos (GSSAPI, Kafka's \
                 default). Set {own} to what its clients use: {}",
                one_of()
            );
            return Err(listener.wrong(ENABLED, reason));
        }
        Ok(Self {
            enabled,
            left_out,
            receive_max_bytes: listener.size("sasl.server.max.receive.size"),
        })
    }

    /// The names that the answer to SaslHandshake lists.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.enabled.iter().map(|it| it.mechanism.name())
    }

    /// Mechanisms that the properties enable, and that Carrick does not have.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(super) fn named(&self, name: &str) -> Option<&Enabled> {
        let mut enabled = self.enabled.iter();
        enabled.find(|it| it.mechanism.name() == name)
    }
}

fn one_of() -> String {
    let names = Mechanism::ALL.map(Mechanism::name);
    format!("one or several of {}", names.join(", "))
}

impl Enabled {
    fn of(listener: &ListenerValues<'_>, mechanism: Mechanism) -> Result<Self, ConfigError> {
        let of = listener.mechanism(mechanism.name());
        let handler = of.own(HANDLER).unwrap_or_default();
        if !handler.is_empty() && mechanism != Mechanism::OAuthBearer {
            let reason = "Java classes are not loaded: remove it, and give users to the mechanism";
            return Err(ConfigError::value(&of.own_name(HANDLER), &handler, reason));
        }
        let module = module(&of, mechanism)?;
        let checks = match mechanism {
            Mechanism::Plain => Checks::Plain(PlainUsers::of(&of, module)?),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => Checks::Scram,
            Mechanism::OAuthBearer => Checks::OAuthBearer(Arc::new(Tokens::of(listener)?)),
        };
        let session_ms = u64::try_from(of.long(REAUTH)).unwrap_or_default();
        Ok(Self {
            mechanism,
            checks,
            session: (session_ms > 0).then(|| Duration::from_millis(session_ms)),
        })
    }
}

/// The login module that the listener has for this mechanism. As in Kafka, only the name with the
/// mechanism counts.
fn module(
    of: &ListenerValues<'_>,
    mechanism: Mechanism,
) -> Result<Option<jaas::LoginModule>, ConfigError> {
    let Some(text) = of.own(JAAS).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = |reason: String| ConfigError::value(&of.own_name(JAAS), "[hidden]", reason);
    let module = jaas::parse(&text).map_err(wrong)?;
    let wanted = mechanism.login_module();
    if module.class.rsplit('.').next() != Some(wanted) {
        return Err(wrong(format!(
            "must name the {wanted} of Kafka for {}: other login modules are Java classes, which \
             are not loaded",
            mechanism.name()
        )));
    }
    Ok(Some(module))
}

/// Users of PLAIN with their passwords.
#[derive(Debug)]
pub(super) struct PlainUsers {
    by_name: BTreeMap<String, Secret>,
}

impl PlainUsers {
    fn of(of: &ListenerValues<'_>, module: Option<jaas::LoginModule>) -> Result<Self, ConfigError> {
        let wrong = |shown: &str, reason: String| {
            Err(ConfigError::value(&of.own_name(JAAS), shown, reason))
        };
        let example = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                       user_alice=\"alice's password\";";
        let Some(module) = module else {
            return wrong(
                "",
                format!(
                    "PLAIN is enabled and has no users: set it, as in `{example}`. A JAAS file is \
                     not read"
                ),
            );
        };
        let options = module.options.into_iter();
        let users = options.filter_map(|(option, password)| {
            let name = option.strip_prefix("user_")?;
            Some((name.to_owned(), Secret::new(password)))
        });
        let by_name: BTreeMap<_, _> = users.collect();
        if by_name.is_empty() {
            return wrong(
                "[hidden]",
                format!("names no users, each as user_<name>=\"<password>\": `{example}`"),
            );
        }
        Ok(Self { by_name })
    }

    /// The password of a user.
    pub fn password(&self, user: &str) -> Option<&Secret> {
        self.by_name.get(user)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::values;

    pub fn of(properties: &[&str]) -> Result<Mechanisms, ConfigError> {
        Mechanisms::of(&values(properties).listener("INSIDE"), "INSIDE")
    }

    fn refused(properties: &[&str]) -> String {
        let error = of(properties).err();
        error.map_or_else(String::new, |error| error.to_string())
    }

    const PLAIN: &str = "listener.name.inside.plain.sasl.jaas.config=\
        org.apache.kafka.common.security.plain.PlainLoginModule required \
        username=\"admin\" password=\"a\" user_admin=\"a\" user_ann=\"sesame\";";

    #[test]
    fn mechanisms_are_those_of_the_listener_with_their_own_lifetimes() {
        let mechanisms = of(&[
            "sasl.enabled.mechanisms=GSSAPI",
            "listener.name.inside.sasl.enabled.mechanisms=SCRAM-SHA-512, PLAIN,GSSAPI,PLAIN",
            "connections.max.reauth.ms=1000",
            "listener.name.inside.scram-sha-512.connections.max.reauth.ms=2000",
            "listener.name.inside.sasl.server.max.receive.size=5000",
            PLAIN,
        ])
        .unwrap();
        let names: Vec<_> = mechanisms.names().collect();
        assert_eq!(names, ["SCRAM-SHA-512", "PLAIN"]);
        assert_eq!(mechanisms.left_out(), ["GSSAPI"]);
        assert_eq!(mechanisms.receive_max_bytes, 5000);
        let session = |name| mechanisms.named(name).unwrap().session;
        assert_eq!(session("PLAIN"), Some(Duration::from_secs(1)));
        assert_eq!(session("SCRAM-SHA-512"), Some(Duration::from_secs(2)));
        assert!(mechanisms.named("SCRAM-SHA-256").is_none());
        let Checks::Plain(users) = &mechanisms.named("PLAIN").unwrap().checks else {
            panic!("PLAIN has users");
        };
        assert_eq!(users.password("ann").unwrap().expose(), "sesame");
        assert!(users.password("username").is_none());
        assert!(!format!("{mechanisms:?}").contains("sesame"));
    }

    #[test]
    fn what_lets_nobody_in_or_is_not_there_is_refused_with_the_next_step() {
        let scram = "sasl.enabled.mechanisms=SCRAM-SHA-256";
        let plain = "sasl.enabled.mechanisms=PLAIN";
        for (properties, parts) in [
            (
                &[][..],
                &["INSIDE", "Kerberos", "listener.name.inside.sasl.enabled"][..],
            ),
            (&["sasl.enabled.mechanisms="], &["SCRAM-SHA-512"]),
            (
                &["sasl.enabled.mechanisms=DIGEST-MD5"],
                &["'DIGEST-MD5'", "OAUTHBEARER"],
            ),
            (
                &[plain],
                &["listener.name.inside.plain.sasl.jaas.config", "user_alice"],
            ),
            (
                &[
                    plain,
                    "listener.name.inside.plain.sasl.jaas.config=a.PlainLoginModule required user=\"sesame\";",
                ],
                &["names no users"],
            ),
            (
                &[
                    plain,
                    "listener.name.inside.plain.sasl.jaas.config=a.Own required user_a=\"sesame\";",
                ],
                &["PlainLoginModule"],
            ),
            (
                &[
                    scram,
                    "listener.name.inside.scram-sha-256.sasl.jaas.config=sesame",
                ],
                &["required"],
            ),
            (
                &[
                    scram,
                    "listener.name.inside.scram-sha-256.sasl.server.callback.handler.class=a.B",
                ],
                &[
                    "scram-sha-256.sasl.server.callback.handler.class",
                    "Java classes",
                ],
            ),
        ] {
            let error = refused(properties);
            for part in parts {
                assert!(error.contains(part), "{properties:?}: {error}");
            }
            assert!(!error.contains("sesame"), "{error}");
        }
        let module = "listener.name.inside.scram-sha-256.sasl.jaas.config=\
                      org.apache.kafka.common.security.scram.ScramLoginModule required;";
        assert_eq!(refused(&[scram, module]), "");
    }
}
