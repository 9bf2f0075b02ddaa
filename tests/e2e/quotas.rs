//! Client quotas hold real clients back.

use harness::Carrick;
use harness::Result;
use harness::kafka::run_tool;

const RECORD_BYTES: f64 = 1_000.0;
const RECORDS: f64 = 2_000.0;

/// Bytes per second, of both quotas.
const QUOTA: f64 = 200_000.0;

/// The value of a client's metric, as the tools print it.
fn metric(output: &str, name: &str) -> f64 {
    let line = output.lines().find(|line| line.contains(name));
    let value = line.and_then(|line| line.rsplit(':').next());
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0.0)
}

/// The number before these words, on the last line that has them.
fn number_before(output: &str, words: &str) -> f64 {
    let before = output
        .lines()
        .filter_map(|line| line.split_once(words))
        .next_back();
    let number = before.and_then(|(before, _)| before.rsplit([' ', ',']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Whether a rate is the quota's, as far as a busy machine lets it: never far above, for that is
/// what the quota is for; below, anything that is not standing still.
fn is_near_quota(bytes_per_second: f64) -> bool {
    (QUOTA * 0.2..QUOTA * 1.4).contains(&bytes_per_second)
}

/// A producer as fast as it can be; its rate in bytes per second, and what it printed.
fn produce(bootstrap: &str, client_id: &str) -> Result<(f64, String)> {
    let (count, client) = (RECORDS.to_string(), format!("client.id={client_id}"));
    #[rustfmt::skip]
    let args = [
        "--bootstrap-server", bootstrap, "--topic", "t", "--num-records", &count, "--record-size", "1000",
        "--throughput", "-1", "--print-metrics", "--command-property", &client,
    ];
    let printed = run_tool("org.apache.kafka.tools.ProducerPerformance", &args)?;
    Ok((
        number_before(&printed, " records/sec") * RECORD_BYTES,
        printed,
    ))
}

/// A consumer of all that was produced; the same.
fn consume(bootstrap: &str, client_id: &str) -> Result<(f64, String)> {
    let (count, client) = (RECORDS.to_string(), format!("client.id={client_id}"));
    #[rustfmt::skip]
    let args = [
        "--bootstrap-server", bootstrap, "--topic", "t", "--num-records", &count, "--timeout", "60000",
        "--print-metrics", "--command-property", &client,
    ];
    let printed = run_tool("org.apache.kafka.tools.ConsumerPerformance", &args)?;
    let row = printed.lines().find(|line| line.starts_with("20"));
    let fetch_ms = row.and_then(|row| row.split(", ").nth(7)?.parse::<f64>().ok());
    // What may come at once for free is two seconds' worth.
    let bytes = RECORDS * RECORD_BYTES - 2.0 * QUOTA;
    Ok((bytes / (fetch_ms.unwrap_or(0.0) / 1e3), printed))
}

#[test]
fn a_java_producer_and_consumer_go_at_the_rate_of_their_quotas() -> Result<()> {
    // Three samples: little may come at once before the quota is felt.
    let carrick = Carrick::start_with(&["quota.window.num=3", "num.partitions=2"])?;
    let bootstrap = carrick.bootstrap();
    let quotas = format!("producer_byte_rate={QUOTA},consumer_byte_rate={QUOTA}");
    #[rustfmt::skip]
    let alter = [
        "--bootstrap-server", &bootstrap, "--alter", "--entity-type", "clients", "--entity-name", "slow",
        "--add-config", &quotas,
    ];
    run_tool("kafka.admin.ConfigCommand", &alter)?;

    let (rate, printed) = produce(&bootstrap, "slow")?;
    assert!(is_near_quota(rate), "{rate} bytes/s\n{printed}");
    let waited_ms = metric(&printed, "produce-throttle-time-max");
    assert!(waited_ms > 0.0, "{printed}");

    let (rate, printed) = consume(&bootstrap, "slow")?;
    assert!(is_near_quota(rate), "{rate} bytes/s\n{printed}");
    let waited_ms = metric(&printed, "fetch-throttle-time-max");
    assert!(waited_ms > 0.0, "{printed}");

    let (_, printed) = produce(&bootstrap, "free")?;
    let waited_ms = metric(&printed, "produce-throttle-time-max");
    assert!(waited_ms == 0.0, "another client id is not held\n{printed}");
    Ok(())
}
