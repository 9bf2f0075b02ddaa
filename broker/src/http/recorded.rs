//! The metrics that the broker reports to the recorder, and what each means. Counters exist from
//! the start, at 0: a rate or an alert on an absent one says nothing. A test checks the code
//! against this list.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

use crate::api::table::APIS;

/// The type of a metric.
#[derive(Clone, Copy)]
enum Kind {
    /// Grows from 0, without labels.
    Counter,
    /// Grows from 0, one for each API.
    CounterOfApis,
    /// Grows from 0, one for each of these values of a label.
    CounterOf(&'static str, &'static [&'static str]),
    /// Goes up and down.
    Gauge,
    Histogram,
}

use Kind::{Counter, CounterOf, CounterOfApis, Gauge, Histogram};

/// Name, type and meaning of each.
#[rustfmt::skip]
static RECORDED: &[(&str, Kind, &str)] = &[
    ("carrick_audit_left_out_total", CounterOf("reason", &["queue_full", "too_many_refusals", "not_written"]), "Events that are not in the audit log."),
    ("carrick_bytes_in_total", Counter, "Bytes of requests."),
    ("carrick_bytes_out_total", Counter, "Bytes of responses."),
    ("carrick_compacted_bytes_total", Counter, "Bytes of batches that compaction read."),
    ("carrick_connections", Gauge, "Client connections."),
    ("carrick_fetched_bytes_total", Counter, "Bytes of batches that were fetched."),
    ("carrick_http_connections_cut_total", Counter, "HTTP connections closed to make room, or because the client did not read its answer."),
    ("carrick_logins_total", Counter, "Clients that have connected and logged in with SASL."),
    ("carrick_produced_bytes_total", Counter, "Bytes of batches that were produced."),
    ("carrick_relogins_total", CounterOf("outcome", &["ok", "refused"]), "Logins of clients that log in once more, before their session ends."),
    ("carrick_request_seconds", Histogram, "Time from reading a request to its answer, long polls included."),
    ("carrick_requests_total", CounterOfApis, "Requests answered."),
    ("carrick_sessions_expired_total", Counter, "Connections closed because the client did not log in once more in time."),
    ("carrick_tls_certificate_not_after_seconds", Gauge, "When the certificate of a listener ends, in seconds since 1970."),
    ("carrick_transactions_total", CounterOf("outcome", &["commit", "abort"]), "Transactions that have ended."),
    ("carrick_unauthenticated_connections", Gauge, "Connections that have not finished the TLS handshake or logged in."),
    ("carrick_unauthenticated_connections_cut_total", Counter, "Connections closed before they had logged in, because another one needed the place."),
];

/// Describes all metrics to the recorder, and starts the counters at 0.
pub fn describe() {
    for &(name, kind, help) in RECORDED {
        match kind {
            Gauge => describe_gauge!(name, help),
            Histogram => describe_histogram!(name, help),
            Counter | CounterOfApis | CounterOf(..) => describe_counter!(name, help),
        }
        match kind {
            Gauge | Histogram => {}
            Counter => counter!(name).increment(0),
            CounterOfApis => {
                for api in APIS {
                    counter!(name, "api" => api.name).increment(0);
                }
            }
            CounterOf(label, values) => {
                for value in values {
                    counter!(name, label => *value).increment(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::http::metrics::recorder;

    /// Names that the sources below `dir` report.
    fn reported(dir: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                reported(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for call in ["counter!(", "gauge!(", "histogram!("] {
                let after = product.split(call).skip(1);
                let names_of =
                    after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
                names.extend(names_of.map(str::to_owned));
            }
        }
    }

    #[test]
    fn everything_that_is_reported_is_on_the_list_and_nothing_else() {
        // Asked when it runs, not when it is compiled: clones may share a target folder.
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let mut names = Vec::new();
        reported(&Path::new(&package).join("src"), &mut names);
        names.sort();
        names.dedup();
        let listed: Vec<_> = RECORDED.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, listed);
    }

    #[test]
    fn every_counter_is_there_from_the_start_and_has_its_meaning() {
        let text = recorder().render();
        for (name, kind, help) in RECORDED {
            match kind {
                Gauge | Histogram => continue,
                _ => {}
            }
            assert!(
                text.contains(&format!("# HELP {name} {help}\n")),
                "{name}: {text}"
            );
            assert!(
                text.contains(&format!("# TYPE {name} counter\n")),
                "{name}: {text}"
            );
        }
        for sample in [
            "carrick_transactions_total{outcome=\"abort\"} ",
            "carrick_requests_total{api=\"DescribeQuorum\"} ",
            "carrick_compacted_bytes_total ",
        ] {
            assert!(text.contains(&format!("\n{sample}")), "{sample}: {text}");
        }
    }
}
