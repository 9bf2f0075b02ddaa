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
        .last();
    let number = before.and_then(|(before, _)| before.rsplit([' ', ',']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Whether a rate is the quota's, as far as a busy machine lets it: never far above, for that is
/// what the quota is for; below, anything that is not standing still.
fn is_near_quota(bytes_per_second: f64) -> bool {
    (QUOTA * 0.2..QUOTA * 1.4).contains(&bytes_per_second)
}

#[test]
fn a_java_producer_and_consumer_go_at_the_rate_of_their_quotas() -> Result<()> {
    // Three samples: little may come at once before the quota is felt.
    let carrick = Carrick::start_with(&["quota.window.num=3", "num.partitions=2"])?;
    let bootstrap = carrick.bootstrap();
    let server = ["--bootstrap-server", &bootstrap];
    let quotas = format!("producer_byte_rate={QUOTA},consumer_byte_rate={QUOTA}");
    let alter = [
        "--alter",
        "--entity-type",
        "clients",
        "--entity-name",
        "slow",
    ];
    let alter = [&server[..], &alter, &["--add-config", &quotas]].concat();
    run_tool("kafka.admin.ConfigCommand", &alter)?;

    let count = RECORDS.to_string();
    let produce = [
        "--topic",
        "t",
        "--num-records",
        &count,
        "--record-size",
        "1000",
        "--throughput",
        "-1",
        "--print-metrics",
        "--command-property",
        "client.id=slow",
    ];
    let produced = run_tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[&server[..], &produce].concat(),
    )?;
    let rate = number_before(&produced, " records/sec") * RECORD_BYTES;
    assert!(is_near_quota(rate), "{rate} bytes/s\n{produced}");
    assert!(
        metric(&produced, "produce-throttle-time-max") > 0.0,
        "{produced}"
    );

    let consume = [
        "--topic",
        "t",
        "--num-records",
        &count,
        "--timeout",
        "60000",
        "--print-metrics",
        "--command-property",
        "client.id=slow",
    ];
    let consumed = run_tool(
        "org.apache.kafka.tools.ConsumerPerformance",
        &[&server[..], &consume].concat(),
    )?;
    assert!(
        metric(&consumed, "fetch-throttle-time-max") > 0.0,
        "{consumed}"
    );
    let row = consumed.lines().find(|line| line.starts_with("20"));
    let columns: Vec<&str> = row.unwrap_or_default().split(", ").collect();
    let fetch_seconds = columns
        .get(7)
        .and_then(|ms| ms.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e3;
    // What may come at once for free is two seconds' worth.
    let rate = (RECORDS * RECORD_BYTES - 2.0 * QUOTA) / fetch_seconds;
    assert!(is_near_quota(rate), "{rate} bytes/s\n{consumed}");

    // Another client id is free of it.
    let free: Vec<&str> = produce
        .iter()
        .map(|word| {
            if *word == "client.id=slow" {
                "client.id=free"
            } else {
                word
            }
        })
        .collect();
    let produced = run_tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[&server[..], &free].concat(),
    )?;
    assert!(
        metric(&produced, "produce-throttle-time-max") == 0.0,
        "{produced}"
    );
    Ok(())
}
