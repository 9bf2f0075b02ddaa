//! The command line's side of the REST API: requests, and errors made readable.

use std::cell::OnceCell;
use std::io::BufReader;
use std::time::Duration;

use carrick_protocol::credentials::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

use super::error::{CliError, CliResult};
use super::reach::Reach;
use crate::http::limits::Times;
use crate::http::model::cluster::ClusterData;
use crate::http::model::{Collection, ErrorBody};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Extra time for a server's answer to travel.
const MARGIN: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const ANSWER_MAX_BYTES: u64 = 64 << 20;

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A look-up or a change: longer than the server takes to answer that the operation continues.
    Short,
    /// A creation of any number of mirrors: the same.
    Long,
    /// A verification waits for the data, and says how far it is: no limit.
    Unlimited,
}

/// A client of one Carrick's REST API.
pub struct Client {
    base: String,
    authorization: Option<Secret>,
    agent: Agent,
    cluster: OnceCell<String>,
}

impl Client {
    /// A client of a server. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CliError::Usage`]: an option is wrong.
    pub fn new(reach: &Reach) -> CliResult<Self> {
        let access = reach.access()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .tls_config(access.tls)
            .build();
        Ok(Client {
            base: access.url.trim_end_matches('/').to_owned(),
            authorization: access.authorization,
            agent: config.into(),
            cluster: OnceCell::new(),
        })
    }

    /// `GET` of a path below the cluster, for example `/links`.
    ///
    /// # Errors
    /// The server's refusal, or that it cannot be reached.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> CliResult<T> {
        let url = self.cluster_url(path)?;
        self.answer(self.call(Method::GET, &url, None::<&()>, Patience::Short)?)
    }

    /// `POST` of `body` to a path below the cluster, with an answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        patience: Patience,
    ) -> CliResult<T> {
        let url = self.cluster_url(path)?;
        self.answer(self.call(Method::POST, &url, Some(body), patience)?)
    }

    /// `POST` whose answer has no body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_quietly<B: Serialize>(&self, path: &str, body: &B) -> CliResult {
        let url = self.cluster_url(path)?;
        self.call(Method::POST, &url, Some(body), Patience::Short)
            .map(drop)
    }

    /// `PUT` of `body` to a path below the cluster.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn put<B: Serialize>(&self, path: &str, body: &B) -> CliResult {
        let url = self.cluster_url(path)?;
        self.call(Method::PUT, &url, Some(body), Patience::Short)
            .map(drop)
    }

    /// `POST` whose answer is a stream of lines.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_lines<B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> CliResult<impl Iterator<Item = std::io::Result<String>> + use<B>> {
        let url = self.cluster_url(path)?;
        let response = self.call(Method::POST, &url, Some(body), Patience::Unlimited)?;
        let reader = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        Ok(std::io::BufRead::lines(BufReader::new(reader)))
    }

    /// `DELETE` of a path below the cluster.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn delete(&self, path: &str) -> CliResult {
        let url = self.cluster_url(path)?;
        self.call(Method::DELETE, &url, None::<&()>, Patience::Short)
            .map(drop)
    }

    /// The same, with the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn delete_answered<T: DeserializeOwned>(&self, path: &str) -> CliResult<T> {
        let url = self.cluster_url(path)?;
        let response = self.call(Method::DELETE, &url, None::<&()>, Patience::Short)?;
        self.answer(response)
    }

    fn cluster_url(&self, path: &str) -> CliResult<String> {
        if self.cluster.get().is_none() {
            let url = format!("{}/kafka/v3/clusters", self.base);
            let response = self.call(Method::GET, &url, None::<&()>, Patience::Short)?;
            let clusters: Collection<ClusterData> = self.answer(response)?;
            let Some(first) = clusters.data.into_iter().next() else {
                return Err(CliError::Failed(format!("{url} returns no cluster")));
            };
            let _ = self.cluster.set(first.cluster_id);
        }
        let id = self.cluster.get().map(String::as_str).unwrap_or_default();
        Ok(format!("{}/kafka/v3/clusters/{id}{path}", self.base))
    }

    fn call<B: Serialize>(
        &self,
        method: Method,
        url: &str,
        body: Option<&B>,
        patience: Patience,
    ) -> CliResult<Response<Body>> {
        let body = match body {
            Some(body) => serde_json::to_vec(body)
                .map_err(|error| CliError::Failed(format!("cannot encode the request: {error}")))?,
            None => Vec::new(),
        };
        let limit = match patience {
            Patience::Short => Some(Times::default().answer + MARGIN),
            Patience::Long => Some(Times::default().creation + MARGIN),
            Patience::Unlimited => None,
        };
        let mut request = Request::builder().method(&method).uri(url);
        if matches!(method, Method::POST | Method::PUT) {
            request = request.header("content-type", "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.expose());
        }
        let result = if body.is_empty() {
            let request = request.body(()).map_err(|error| bad_url(url, &error))?;
            let request = self
                .agent
                .configure_request(request)
                .timeout_global(limit)
                .build();
            self.agent.run(request)
        } else {
            let request = request.body(body).map_err(|error| bad_url(url, &error))?;
            let request = self
                .agent
                .configure_request(request)
                .timeout_global(limit)
                .build();
            self.agent.run(request)
        };
        let response = result.map_err(|error| self.transport_error(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response))
        }
    }

    fn answer<T: DeserializeOwned>(&self, response: Response<Body>) -> CliResult<T> {
        let mut body = response.into_body();
        body.with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_json()
            .map_err(|error| match error {
                ureq::Error::Json(error) => CliError::Failed(format!(
                    "{} returned an answer that this carrick does not understand: {error}",
                    self.base
                )),
                other => self.transport_error(&other),
            })
    }

    fn refusal(&self, response: Response<Body>) -> CliError {
        let status = response.status();
        let mut body = response.into_body();
        let error = body
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_json::<ErrorBody>();
        let message = match error {
            Ok(error) => error.message,
            Err(_) => format!(
                "{} answers {status}: is this Carrick's REST address?",
                self.base
            ),
        };
        CliError::Failed(match status.as_u16() {
            401 => format!("{message}\n  {}", self.how_to_authenticate()),
            403 if message.contains("authorization failed") => format!("{message}\n  {RIGHTS}"),
            _ => message,
        })
    }

    fn how_to_authenticate(&self) -> &'static str {
        match self.authorization {
            None => {
                "give --user (with --password-file, CARRICK_PASSWORD or a prompt), --token-file, or \
                 a --profile with them"
            }
            Some(_) => {
                "check the user and password, or the token; the server's audit log says more"
            }
        }
    }

    fn transport_error(&self, error: &ureq::Error) -> CliError {
        let cause = error.to_string();
        let is_plain = self.base.starts_with("http://");
        let next = TLS_ERRORS.iter().find(|(part, _)| cause.contains(part));
        let next = next.filter(|(part, _)| *part != NO_HTTP || is_plain);
        CliError::Unreachable {
            url: self.base.clone(),
            cause: match next {
                Some((_, next)) => format!("{cause}: {next}"),
                None => cause,
            },
        }
    }
}

/// What to do when a right is missing.
const RIGHTS: &str = "the user lacks a right: an ACL gives it (kafka-acls.sh --add); the server's \
     audit log names the operation and the resource";

/// What a server that expects TLS makes of plain HTTP: its alert is no HTTP.
const NO_HTTP: &str = "invalid HTTP version";

/// What TLS says, and what to do about it.
const TLS_ERRORS: &[(&str, &str)] = &[
    (
        "UnknownIssuer",
        "the server's certificate is not signed by an authority that is trusted here: give that \
         authority's certificate with --ca",
    ),
    (
        "NotValidForName",
        "the server's certificate is for other host names: use one of them in --url",
    ),
    (
        "Expired",
        "the certificate has expired: the server needs a new one",
    ),
    (
        "CertificateRequired",
        "the server wants a client certificate: give --cert and --key",
    ),
    (
        "HandshakeFailure",
        "the server refuses the handshake: it may want a client certificate (--cert and --key)",
    ),
    (
        "InvalidContentType",
        "that port does not speak TLS: try http:// in --url",
    ),
    (
        NO_HTTP,
        "that port seems to speak TLS: begin the address with https://",
    ),
];

fn bad_url(url: &str, error: &ureq::http::Error) -> CliError {
    CliError::Usage(format!("{url} is not an address: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_alert_of_a_server_with_tls_says_that_the_address_is_https() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("accept");
            let mut begun = [0; 16];
            peer.read_exact(&mut begun).expect("read");
            // Fatal, decode_error.
            peer.write_all(&[21, 3, 3, 0, 2, 2, 50]).expect("write");
        });
        let client = Client::new(&Reach::to(&url)).expect("client");
        let error = client.delete("/links/x").expect_err("an alert").to_string();
        server.join().expect("server");
        assert!(error.contains("begin the address with https://"), "{error}");
    }

    #[test]
    fn a_closed_port_is_unreachable_and_the_message_says_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        drop(listener);
        let error = Client::new(&Reach::to(&url))
            .expect("client")
            .delete("/links/x")
            .expect_err("closed");
        assert!(matches!(error, CliError::Unreachable { .. }));
        let message = error.to_string();
        assert!(
            message.contains(&url) && message.contains("--url"),
            "{message}"
        );
    }
}
