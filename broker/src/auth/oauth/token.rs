//! A token (a JWT in compact form, RFC 7519), checked as Kafka's `BrokerJwtValidator` and the library below it do.
//!
//! Order: form and size, algorithm, signature, claims. Invariant: no claim is read before the signature is right, and no
//! error holds a part of the token beside its key id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{KEY_ID_MAX_CHARS, Keys, Signature};
use super::settings::Expected;

/// The longest token.
pub const TOKEN_MAX_BYTES: usize = 64 << 10;
/// The longest name of a user.
const USER_MAX_BYTES: usize = 1024;

/// A token that was let pass: who shows it, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name of the user (`sasl.oauthbearer.sub.claim.name`).
    pub user: String,
    /// When the token expires, in ms since the epoch. Tolerance for clocks is not part of it.
    pub expires_ms: i64,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// For ever.
    #[error("{0}")]
    Invalid(String),
    /// No key has signed it, as far as is known now: the provider may have a new one.
    #[error("none of the provider's keys fits the token's {0}")]
    UnknownKey(String),
    /// The provider has not been reached since the start.
    #[error("the provider's keys have not been fetched yet")]
    NoKeys,
}

fn invalid(reason: &str) -> TokenError {
    TokenError::Invalid(reason.to_owned())
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Names of extensions that one must understand (RFC 7515, 4.1.11). None is.
    crit: Option<Value>,
}

/// Checks a token with these keys.
///
/// # Errors
/// Any [`TokenError`] but `NoKeys`.
pub fn check(
    token: &str,
    keys: &Keys,
    expected: &Expected,
    now_ms: i64,
) -> Result<Verified, TokenError> {
    let token = token.trim();
    if token.len() > TOKEN_MAX_BYTES {
        return Err(TokenError::Invalid(format!(
            "it has more than {TOKEN_MAX_BYTES} bytes"
        )));
    }
    let parts = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let is_whole = !claims.contains('.')
            && [header, claims, signature]
                .iter()
                .all(|part| !part.is_empty());
        is_whole.then_some((signed, header, claims, signature))
    };
    let (signed, header, claims, signature) =
        parts().ok_or_else(|| invalid("it has no three parts separated by dots"))?;
    let header: Header = part(header).ok_or_else(|| invalid("its header can't be read"))?;
    if header.crit.is_some() {
        return Err(invalid(
            "its header names extensions that must be understood (crit)",
        ));
    }
    let algorithm = Signature::named(&header.alg)
        .ok_or_else(|| invalid("it is not signed with an algorithm that is accepted (alg)"))?;
    let key_id = header.kid.as_deref();
    if key_id.is_some_and(|id| id.chars().count() > KEY_ID_MAX_CHARS) {
        return Err(invalid("its key id is too long (kid)"));
    }
    match keys.verify(key_id, algorithm, signed, signature) {
        Some(true) => {}
        Some(false) => return Err(invalid("its signature is wrong")),
        None => return Err(TokenError::UnknownKey(shown(key_id, &header.alg))),
    }
    let claims: Map<String, Value> =
        part(claims).ok_or_else(|| invalid("its claims can't be read"))?;
    Claims(&claims).check(expected, now_ms)
}

fn part<T: for<'a> Deserialize<'a>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// A key id for a log.
fn shown(key_id: Option<&str>, algorithm: &str) -> String {
    let Some(id) = key_id else {
        return format!("algorithm {algorithm} (it names no key)");
    };
    let id: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
    format!("key id '{id}' and algorithm {algorithm}")
}

/// When a token was issued, holds, and expires: in seconds since the epoch.
struct Times {
    issued: i64,
    not_before: Option<i64>,
    expires: i64,
}

struct Claims<'a>(&'a Map<String, Value>);

impl Claims<'_> {
    fn check(&self, expected: &Expected, now_ms: i64) -> Result<Verified, TokenError> {
        self.check_audience(&expected.audiences)?;
        if let Some(issuer) = &expected.issuer
            && self.text("iss")? != Some(issuer.as_str())
        {
            return Err(invalid(
                "it is from another issuer than sasl.oauthbearer.expected.issuer (iss)",
            ));
        }
        let times = self.times()?;
        let now = now_ms.div_euclid(1000);
        let skew = i64::from(expected.clock_skew_seconds);
        if now.saturating_sub(skew) >= times.expires {
            return Err(invalid("it has expired (exp)"));
        }
        if times
            .not_before
            .is_some_and(|from| now.saturating_add(skew) < from)
        {
            return Err(invalid("it does not hold yet (nbf)"));
        }
        let is_ordered = times.expires >= times.issued
            && times.not_before.is_none_or(|from| times.expires >= from);
        if !is_ordered {
            return Err(invalid("it expires before it begins (exp, iat, nbf)"));
        }
        self.text("sub")?;
        self.text("jti")?;
        self.check_scopes(&expected.scope_claim)?;
        Ok(Verified {
            user: self.user(&expected.user_claim)?,
            expires_ms: times.expires.saturating_mul(1000),
        })
    }

    /// With no audience expected, a token for somebody is for somebody else.
    fn check_audience(&self, expected: &[String]) -> Result<(), TokenError> {
        let is_ours = |name: &Value| {
            name.as_str()
                .is_some_and(|name| expected.iter().any(|known| known == name))
        };
        let is_right = match self.0.get("aud") {
            None => expected.is_empty(),
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string) && names.iter().any(is_ours)
            }
            Some(name) => is_ours(name),
        };
        is_right.then_some(()).ok_or_else(|| {
            invalid("it is not for an audience in sasl.oauthbearer.expected.audience (aud)")
        })
    }

    fn times(&self) -> Result<Times, TokenError> {
        let required = |name| self.time(name)?.ok_or_else(|| missing(name));
        Ok(Times {
            issued: required("iat")?,
            not_before: self.time("nbf")?,
            expires: required("exp")?,
        })
    }

    /// Seconds; a fraction does not count.
    fn time(&self, name: &str) -> Result<Option<i64>, TokenError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let seconds = value
            .as_i64()
            .or_else(|| value.as_f64().map(|seconds| seconds as i64));
        match seconds {
            Some(seconds @ 0..) => Ok(Some(seconds)),
            _ => Err(TokenError::Invalid(format!("its claim {name} is no time"))),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Invalid(format!("its claim {name} is no text"))),
        }
    }

    /// Scopes mean nothing here; malformed ones are refused, as in Kafka.
    fn check_scopes(&self, claim: &str) -> Result<(), TokenError> {
        let scopes: Vec<Option<&str>> = match self.0.get(claim) {
            Some(Value::String(scope)) => vec![Some(scope)],
            Some(Value::Array(scopes)) => scopes.iter().map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut seen = std::collections::HashSet::new();
        for scope in scopes {
            let scope = scope.map(str::trim).filter(|scope| !scope.is_empty());
            if !scope.is_some_and(|scope| seen.insert(scope)) {
                let reason = format!("its claim {claim} has an empty scope, or one twice");
                return Err(TokenError::Invalid(reason));
            }
        }
        Ok(())
    }

    fn user(&self, claim: &str) -> Result<String, TokenError> {
        let user = self.text(claim)?.map(str::trim);
        let user = user
            .filter(|user| !user.is_empty())
            .ok_or_else(|| missing(claim))?;
        if user.len() > USER_MAX_BYTES || user.contains(char::is_control) {
            let reason = format!("its claim {claim} can't be the name of a user");
            return Err(TokenError::Invalid(reason));
        }
        Ok(user.to_owned())
    }
}

fn missing(claim: &str) -> TokenError {
    TokenError::Invalid(format!("it has no claim {claim}"))
}
