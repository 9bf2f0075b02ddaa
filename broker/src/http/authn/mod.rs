//! Who the caller of a request is: by password (Basic), token (Bearer) or certificate.
//!
//! Invariants:
//! - With a method set, every route but the open ones refuses a request without accepted
//!   credentials, before its body is read: 401, and how to authenticate.
//! - An address that fails is answered later and later, and only a few of its attempts are in
//!   progress at a time ([`attempts`]).
//! - No credential is in an answer, a log or `Debug`.

mod attempts;
pub mod basic;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::caller::{Caller, Peer};
use super::error::{ApiError, RETRIABLE, UNAUTHENTICATED};
use super::routes::{Scope, scope_of};
use crate::audit::{Event, Outcome, Target, Via};
use crate::auth::PasswordError;
use crate::auth::oauth::{TokenError, Tokens};
use crate::principal::Principal;
pub use attempts::Attempts;

/// The ways to authenticate that are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Methods {
    pub basic: bool,
    pub bearer: bool,
    pub mtls: bool,
}

impl Methods {
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Their names in properties.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("basic", self.basic),
            ("bearer", self.bearer),
            ("mtls", self.mtls),
        ];
        let on = all.into_iter().filter(|(_, is_on)| *is_on);
        on.map(|(name, _)| name).collect()
    }

    /// As `WWW-Authenticate` names them.
    fn challenges(self) -> impl Iterator<Item = HeaderValue> {
        const BASIC: HeaderValue =
            HeaderValue::from_static("Basic realm=\"carrick\", charset=\"UTF-8\"");
        const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"carrick\"");
        // Not a registered scheme: an answer of 401 must name one.
        const MTLS: HeaderValue = HeaderValue::from_static("Mutual realm=\"carrick\"");
        let all = [
            (BASIC, self.basic),
            (BEARER, self.bearer),
            (MTLS, self.mtls),
        ];
        all.into_iter()
            .filter_map(|(challenge, is_on)| is_on.then_some(challenge))
    }
}

/// Who may use the REST API.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub methods: Methods,
    /// `/metrics` needs neither credentials nor a right.
    pub are_metrics_public: bool,
    /// What bearer tokens are checked with.
    pub tokens: Option<Arc<Tokens>>,
}

impl Policy {
    /// Whether routes of this scope are for callers without credentials, too.
    fn is_open(&self, scope: Option<Scope>) -> bool {
        match scope {
            Some(Scope::Open) => true,
            Some(Scope::Metrics) => self.are_metrics_public,
            _ => self.methods.is_empty(),
        }
    }
}

/// What the layer needs.
#[derive(Clone)]
pub struct Authn {
    pub shared: Shared,
    pub policy: Policy,
    pub attempts: Arc<Attempts>,
}

const NO_CREDENTIALS: &str = "there are no credentials";

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// There are no credentials.
    None,
    /// They were looked at and not accepted: why, and whom they name.
    Wrong {
        why: &'static str,
        detail: String,
        user: Option<String>,
    },
    /// There is too much to do for this address, or in all.
    Busy(&'static str),
}

impl Refusal {
    fn wrong(why: &'static str) -> Self {
        let detail = String::new();
        let user = None;
        Self::Wrong { why, detail, user }
    }

    /// Forgets what the answer does not say: the caller decides how long it is.
    fn shorten(&mut self) {
        if let Self::Wrong { user, .. } = self {
            *user = None;
        }
    }
}

/// Finds out who the caller is, and lets it in if it may be anybody or is somebody.
pub async fn authenticate(
    State(authn): State<Authn>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let host = peer.as_ref().map_or(UNKNOWN, |peer| peer.address.ip());
    let scope = route.and_then(|route| scope_of(route.as_str()));
    let is_open = authn.policy.is_open(scope);
    let header = request.headers().get(AUTHORIZATION).cloned();
    let has_header = header.is_some();
    let found = match header {
        _ if authn.policy.methods.is_empty() => Ok(Principal::anonymous()),
        None => authn.by_certificate(peer.as_ref()),
        Some(header) => authn.by_header(host, header).await,
    };
    let is_known = found.is_ok();
    let principal = match found {
        Ok(principal) => principal,
        Err(_) if is_open => Principal::anonymous(),
        Err(refusal) => {
            if !has_header {
                authn.note(host, &refusal);
            }
            return authn.refuse(refusal);
        }
    };
    request.extensions_mut().insert(Caller {
        principal,
        host,
        is_known,
    });
    next.run(request).await
}

/// The address of a connection that has none, as in tests of the router alone.
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

impl Authn {
    /// Who the header says the caller is. What fails takes a while and is in the audit log, also if
    /// the caller does not wait for it: else it could try the next password at once.
    async fn by_header(&self, host: IpAddr, header: HeaderValue) -> Result<Principal, Refusal> {
        let Some(attempt) = self.attempts.begin(host) else {
            return Err(Refusal::Busy("too many attempts of this address at a time"));
        };
        let authn = self.clone();
        let checking = tokio::spawn(async move {
            let mut checked = authn.check(host, &header).await;
            drop(header);
            if let Err(refusal @ Refusal::Wrong { .. }) = &mut checked {
                authn.note(host, refusal);
                refusal.shorten();
                attempt.failed().await;
            }
            checked
        });
        let checked = checking.await;
        checked.unwrap_or(Err(Refusal::Busy("the credentials could not be checked")))
    }

    async fn check(&self, host: IpAddr, header: &HeaderValue) -> Result<Principal, Refusal> {
        let (scheme, credentials) = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or_else(|| Refusal::wrong("the Authorization header is malformed"))?;
        let methods = self.policy.methods;
        if methods.basic && scheme.eq_ignore_ascii_case("basic") {
            return self.by_password(host, credentials.trim()).await;
        }
        if methods.bearer && scheme.eq_ignore_ascii_case("bearer") {
            return self.by_token(credentials.trim()).await;
        }
        Err(Refusal::wrong(
            "the Authorization header has a scheme that is not on",
        ))
    }

    async fn by_password(&self, host: IpAddr, credentials: &str) -> Result<Principal, Refusal> {
        let Some((user, password)) = basic::decode(credentials) else {
            return Err(Refusal::wrong("the Authorization header is malformed"));
        };
        let host = Arc::from(host.to_string());
        let users = &self.shared.broker().users;
        let checked = users.check_password(&host, &user, &password).await;
        checked.map_err(|error| match error {
            PasswordError::Busy => Refusal::Busy("too many passwords are being checked"),
            PasswordError::Wrong => Refusal::Wrong {
                why: "wrong user or password",
                detail: String::new(),
                user: Some(user),
            },
        })
    }

    /// Who the certificate of the connection says the caller is.
    fn by_certificate(&self, peer: Option<&Peer>) -> Result<Principal, Refusal> {
        let shown = peer.and_then(|peer| peer.certificate.clone());
        match shown.filter(|_| self.policy.methods.mtls) {
            None => Err(Refusal::None),
            Some(Ok(principal)) => Ok(principal),
            Some(Err(error)) => Err(Refusal::Wrong {
                why: "the client's certificate is not accepted",
                detail: error.to_string(),
                user: None,
            }),
        }
    }

    async fn by_token(&self, token: &str) -> Result<Principal, Refusal> {
        let Some(tokens) = &self.policy.tokens else {
            return Err(Refusal::wrong("no token can be checked"));
        };
        match tokens.verify(token).await {
            Ok(verified) => Ok(Principal::user(&verified.user)),
            Err(TokenError::NoKeys) => Err(Refusal::Busy(
                "the identity provider's keys have not been fetched yet",
            )),
            Err(error) => Err(Refusal::Wrong {
                why: "the token is not accepted",
                detail: error.to_string(),
                user: None,
            }),
        }
    }

    /// Writes it to the audit log, unless the credentials were not looked at.
    fn note(&self, host: IpAddr, refusal: &Refusal) {
        let (why, detail, user) = match refusal {
            Refusal::Busy(_) => return,
            Refusal::None => (NO_CREDENTIALS, "", None),
            Refusal::Wrong { why, detail, user } => (*why, detail.as_str(), user.as_deref()),
        };
        self.shared.broker().audit.note(Event {
            who: Principal::anonymous(),
            from: host,
            via: Via::Rest,
            action: "Authenticate",
            target: user.map(|user| Target::new("user", user)),
            detail: detail.to_owned(),
            is_dry_run: false,
            outcome: Outcome::NotAuthenticated(why),
        });
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        let (why, detail) = match refusal {
            Refusal::Busy(why) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let refusal = ApiError::new(status, RETRIABLE, format!("{why}: try again"));
                return ([(RETRY_AFTER, "1")], refusal).into_response();
            }
            Refusal::None => (NO_CREDENTIALS, String::new()),
            Refusal::Wrong { why, detail, .. } => (why, detail),
        };
        let ways = self.policy.methods.names().join(", ");
        let message = match detail.is_empty() {
            true => format!("{why}. Ways to authenticate here: {ways}"),
            false => format!("{why}: {detail}. Ways to authenticate here: {ways}"),
        };
        let refusal = ApiError::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, message);
        let mut headers = HeaderMap::new();
        for challenge in self.policy.methods.challenges() {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        (headers, refusal).into_response()
    }
}
