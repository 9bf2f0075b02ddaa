//! HTTP to an identity provider (OAuth): a small request, a small answer, within a time limit. For both sides of a login:
//! a link fetches its token, a listener the keys that tokens are checked with.
//!
//! It blocks: not for threads that serve connections. Invariant: no error has any part of a request's headers or body, or
//! of an answer.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::credentials::store::{FILE_MAX_BYTES, TrustStore};
use rustls::pki_types::CertificateDer;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use crate::authorities;

/// Who may sign the certificate of the other side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that this host trusts.
    #[default]
    ThisHost,
    /// Those in a store, which is read for each client.
    Store(TrustStore),
}

impl Trust {
    /// By the options `ssl.truststore.…` of a JAAS line, as in Kafka.
    ///
    /// # Errors
    /// What is wrong with them, or another option for TLS.
    pub fn of_options(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut tls = options.keys().filter(|name| name.starts_with("ssl."));
        if let Some(other) = tls.find(|name| !name.starts_with("ssl.truststore.")) {
            return Err(format!(
                "has the option {other}, which is not supported: only ssl.truststore.location, type, password and \
                 certificates are"
            ));
        }
        let store = TrustStore::of(|name| options.get(name).cloned());
        let store =
            store.map_err(|error| format!("has the option {}: {}", error.setting, error.reason))?;
        Ok(store.map_or(Self::ThisHost, Self::Store))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, WebError> {
        match self {
            Self::ThisHost => Ok(authorities::of_this_host().to_vec()),
            Self::Store(store) => store
                .certificates(read)
                .map_err(|error| WebError(format!("{}: {}", error.setting, error.reason))),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut start = file.take(FILE_MAX_BYTES + 1);
    start
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match bytes.len() as u64 > FILE_MAX_BYTES {
        true => Err(format!("it has more than {FILE_MAX_BYTES} bytes")),
        false => Ok(bytes),
    }
}

/// The authorities that this host trusts.
pub fn trusted_by_this_host() -> &'static [CertificateDer<'static>] {
    authorities::of_this_host()
}

/// What one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// To wait for the answer, and as long again for its body.
    pub read: Duration,
    pub answer_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(10),
            answer_max_bytes: 1 << 20,
        }
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WebError(String);

/// A client with its settings.
pub struct Client {
    agent: Agent,
    answer_max_bytes: u64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Checks that requests can be sent to a URL.
///
/// # Errors
/// What is wrong with it. The URL is no part of the text.
pub fn check_url(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match uri.scheme_str() {
        Some("https" | "http") if authority.contains('@') => {
            Err("must not have a user or password in it".to_owned())
        }
        Some("https" | "http") if !authority.is_empty() => Ok(()),
        _ => Err("must be an https: or http: URL with a host".to_owned()),
    }
}

/// The path of a `file:` URL: `file:/a`, `file:///a` or `file://localhost/a`, without `%` in it.
pub fn file_path(url: &str) -> Option<PathBuf> {
    let (scheme, rest) = url.split_once(':')?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    let is_path =
        scheme.eq_ignore_ascii_case("file") && path.starts_with('/') && !path.contains('%');
    is_path.then(|| path.into())
}

impl Client {
    /// # Errors
    /// The trust store can't be read.
    pub fn new(trust: &Trust, limits: Limits) -> Result<Self, WebError> {
        let trusted = trust.certificates()?;
        let trusted = trusted
            .iter()
            .map(|der| Certificate::from_der(der).to_owned());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(trusted.collect())))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A provider that has moved is named by its new URL: nothing is sent to where an answer points.
            .max_redirects(0)
            .proxy(None)
            .user_agent("carrick")
            .timeout_global(Some(limits.connect + 2 * limits.read))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.read))
            .timeout_recv_body(Some(limits.read))
            .max_idle_connections(0)
            .build();
        Ok(Self {
            agent: config.into(),
            answer_max_bytes: limits.answer_max_bytes,
        })
    }

    /// # Errors
    /// No answer, or one that is too large.
    pub fn get(&self, url: &str) -> Result<Answer, WebError> {
        let sent = self.agent.get(url).header("accept", "application/json");
        self.read(sent.call())
    }

    /// Posts a form with Basic authentication: `authorization` is the header's value.
    ///
    /// # Errors
    /// No answer, or one that is too large.
    pub fn post_form(
        &self,
        url: &str,
        authorization: &str,
        form: &str,
    ) -> Result<Answer, WebError> {
        let request = self.agent.post(url);
        let sent = request
            .header("accept", "application/json")
            .header("authorization", authorization)
            .header("cache-control", "no-cache")
            .header("content-type", "application/x-www-form-urlencoded")
            .send(form);
        self.read(sent)
    }

    fn read(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Answer, WebError> {
        let failed = |error: ureq::Error| WebError(error.to_string());
        let mut answer = sent.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(self.answer_max_bytes);
        let body = body.read_to_vec().map_err(failed)?;
        Ok(Answer { status, body })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// Answers each connection with the next of these, then stops. The request comes back.
    fn serve(answers: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap();
                requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
                let _ = stream.write_all(answer.as_bytes());
            }
            requests
        });
        (url, server)
    }

    fn http(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }

    #[test]
    fn an_answer_comes_back_with_its_status_and_no_redirect_is_followed() {
        let (url, server) = serve(vec![
            http("200 OK", "{}"),
            http("302 Found\r\nlocation: http://127.0.0.1:1/", "away"),
            http("401 No", "why"),
        ]);
        let client = Client::new(&Trust::ThisHost, Limits::default()).unwrap();
        for (status, body) in [(200, "{}"), (302, "away"), (401, "why")] {
            let answer = client.get(&url).unwrap();
            assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
        }
        assert_eq!(server.join().unwrap().len(), 3);
    }

    #[test]
    fn a_form_is_posted_with_its_credentials() {
        let (url, server) = serve(vec![http("200 OK", "")]);
        let client = Client::new(&Trust::ThisHost, Limits::default()).unwrap();
        client.post_form(&url, "Basic eHg=", "a=b").unwrap();
        let request = server.join().unwrap().remove(0).to_ascii_lowercase();
        assert!(request.starts_with("post /x http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: basic ehg="), "{request}");
        assert!(
            request.contains("application/x-www-form-urlencoded"),
            "{request}"
        );
    }

    #[test]
    fn an_answer_has_a_limit_in_bytes_and_in_time() {
        let (url, server) = serve(vec![http("200 OK", &"x".repeat(101))]);
        let limits = Limits {
            connect: Duration::from_millis(200),
            read: Duration::from_millis(200),
            answer_max_bytes: 100,
        };
        let client = Client::new(&Trust::ThisHost, limits).unwrap();
        assert!(client.get(&url).is_err());
        server.join().unwrap();
        // Accepts and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let began = Instant::now();
        let error = client.get(&url).err().unwrap();
        assert!(error.to_string().contains("timeout"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn trust_is_by_options_of_a_jaas_line_and_others_are_refused() {
        let of = |options: &[(&str, &str)]| {
            let options = options.iter();
            let options = options.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Trust::of_options(&options.collect())
        };
        assert_eq!(of(&[("clientId", "x")]), Ok(Trust::ThisHost));
        let location = ("ssl.truststore.location", "/nowhere.pem");
        let trust = of(&[location, ("ssl.truststore.type", "PEM")]).unwrap();
        let error = Client::new(&trust, Limits::default()).unwrap_err();
        assert!(
            error.to_string().starts_with("ssl.truststore.location: "),
            "{error}"
        );
        let refused = of(&[location, ("ssl.keystore.password", "sesame")]).unwrap_err();
        assert!(refused.contains("ssl.keystore.password") && !refused.contains("sesame"));
    }

    #[test]
    fn a_file_is_named_by_a_whole_path_on_this_host() {
        for url in ["file:/a/b", "file:///a/b", "FILE://localhost/a/b"] {
            assert_eq!(file_path(url), Some("/a/b".into()), "{url}");
        }
        for url in [
            "",
            "/a",
            "file:",
            "file:a",
            "file://host/a",
            "file:///a%20b",
            "http:///a",
        ] {
            assert_eq!(file_path(url), None, "{url}");
        }
    }

    #[test]
    fn a_url_has_a_host_and_no_password() {
        for url in ["https://id.example/keys", "http://127.0.0.1:80/?a=b"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "id.example",
            "ftp://a/b",
            "https:///x",
            "https://a:sesame@b/",
            "file:///x",
        ] {
            let reason = check_url(url).unwrap_err();
            assert!(!reason.contains("sesame"), "{reason}");
        }
    }
}
