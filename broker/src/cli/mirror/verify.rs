//! `carrick mirror verify`: proof of byte identity.

use clap::Args;
use indicatif::HumanBytes;

use super::get;
use crate::cli::client::Client;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Output, table};
use crate::cli::progress::Progress;
use crate::http::model::escape;
use crate::http::model::verify::{VerifyEvent, VerifyRequest};
use carrick_link::verify::{
    BatchSummary, Difference, PartitionVerify, VerifyOutcome, VerifyReport,
};

/// `mirror verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The mirror topic
    topic: String,
    /// Compare only this many spots per partition [100 if no number is given]
    #[arg(long, value_name = "SPOTS", num_args = 0..=1, require_equals = true,
          default_missing_value = "100")]
    sample: Option<u32>,
    /// Only this partition
    #[arg(long)]
    partition: Option<i32>,
    /// From this offset
    #[arg(long, value_name = "OFFSET")]
    from: Option<i64>,
    /// Up to this offset, not included
    #[arg(long, value_name = "OFFSET")]
    to: Option<i64>,
}

/// Runs the comparison and prints its report.
///
/// # Errors
/// A difference, or that the comparison could not be made.
pub fn run(client: &Client, output: Output, verify: &Verify) -> CliResult {
    match compare(client, output, verify) {
        Ok(outcome) => conclude(outcome, &verify.topic),
        // Only a difference has the exit code of one.
        Err(CliError::Failed(cause)) => Err(CliError::Unproven(cause)),
        Err(other) => Err(other),
    }
}

/// One exit code for each outcome.
fn conclude(outcome: VerifyOutcome, topic: &str) -> CliResult {
    match outcome {
        VerifyOutcome::Identical => Ok(()),
        VerifyOutcome::Different => {
            Err(CliError::Failed(format!("{topic} differs from its source")))
        }
        VerifyOutcome::NothingCompared => Err(CliError::Unproven(format!(
            "nothing of {topic} was compared: neither side holds anything in that range"
        ))),
    }
}

/// The comparison's outcome, once its report is printed.
fn compare(client: &Client, output: Output, verify: &Verify) -> CliResult<VerifyOutcome> {
    let mirror = get(client, "-", &verify.topic)?;
    let (link, topic) = (escape(&mirror.link_name), escape(&verify.topic));
    let body = VerifyRequest {
        sample: verify.sample,
        partition: verify.partition,
        from: verify.from,
        to: verify.to,
    };
    let lines = client.post_lines(&format!("/links/{link}/mirrors/{topic}:verify"), &body)?;
    let report = follow(lines, mirror.num_partitions)?;
    output.print(&report, render_report)?;
    Ok(report.outcome)
}

fn follow(
    lines: impl Iterator<Item = std::io::Result<String>>,
    partitions: i32,
) -> CliResult<VerifyReport> {
    let mut progress = Progress::start("verifying");
    let cut_off = |cause: String| {
        CliError::Failed(format!(
            "the comparison was interrupted, nothing is proven: {cause}"
        ))
    };
    for line in lines {
        let line = line.map_err(|error| cut_off(error.to_string()))?;
        let event = serde_json::from_str(&line).map_err(|error| cut_off(error.to_string()))?;
        match event {
            VerifyEvent::Progress(at) => {
                // Partitions are compared one after the other: the share of the current one.
                let done = u64::try_from(at.offset).unwrap_or(0);
                let total = u64::try_from(at.end).unwrap_or(0);
                let which = format!("partition {} of {partitions}", at.partition);
                let note = format!("{which}, {} compared", HumanBytes(at.bytes));
                progress.update(done, total, &note);
            }
            VerifyEvent::Report(report) => {
                progress.finish(&format!("{} compared", HumanBytes(report.bytes)));
                return Ok(report);
            }
            VerifyEvent::Error(error) => {
                progress.abandon();
                return Err(CliError::Failed(error.message));
            }
        }
    }
    progress.abandon();
    Err(cut_off("the server ended the answer early".to_owned()))
}

fn render_report(report: &VerifyReport) -> String {
    let verdict = words(report.outcome);
    let mut text = format!(
        "{} and source topic {}: {verdict}; {} batches, {} bytes compared\n\n",
        report.topic, report.source_topic, report.batches, report.bytes
    );
    text.push_str(&table(
        [
            "PARTITION",
            "FROM",
            "TO",
            "BATCHES",
            "BYTES",
            "COMPACTED",
            "RESULT",
        ],
        report.partitions.iter().map(|partition| {
            [
                partition.partition.to_string(),
                partition.from.to_string(),
                partition.to.to_string(),
                partition.batches.to_string(),
                partition.bytes.to_string(),
                partition.compacted_batches.to_string(),
                words(partition.outcome()).to_owned(),
            ]
        }),
    ));
    text.push_str(&notes(report));
    for partition in &report.partitions {
        if let Some(difference) = &partition.difference {
            text.push_str(&render_difference(partition.partition, difference));
        }
    }
    text
}

fn words(outcome: VerifyOutcome) -> &'static str {
    match outcome {
        VerifyOutcome::Identical => "identical",
        VerifyOutcome::Different => "DIFFERENT",
        VerifyOutcome::NothingCompared => "nothing compared",
    }
}

/// What the figures alone don't say.
fn notes(report: &VerifyReport) -> String {
    let sum = |of: fn(&PartitionVerify) -> u64| report.partitions.iter().map(of).sum::<u64>();
    let cleaned = sum(|partition| partition.compacted_batches);
    let mut text = String::new();
    if cleaned > 0 {
        let records = sum(|partition| partition.compacted_records);
        text.push_str(&format!(
            "\n\nthe topic is compacted: {cleaned} batches were cleaned by one side or both, and \
             can't be compared byte for byte; of these, the {records} records that both sides \
             still hold were compared one by one"
        ));
    }
    text
}

fn render_difference(partition: i32, difference: &Difference) -> String {
    let side = |batch: &Option<BatchSummary>| match batch {
        Some(batch) => format!(
            "offsets {} to {}, {} bytes, CRC {:08x}, leader epoch {}",
            batch.base_offset, batch.last_offset, batch.length_bytes, batch.crc, batch.leader_epoch
        ),
        None => "no batch".to_owned(),
    };
    format!(
        "\n\nfirst difference of partition {partition} at offset {}: {}\n  source: {}\n  here:   {}",
        difference.offset,
        difference.what,
        side(&difference.source),
        side(&difference.mirror)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(difference: Option<Difference>) -> VerifyReport {
        VerifyReport {
            topic: "orders".to_owned(),
            source_topic: "orders".to_owned(),
            outcome: match difference {
                None => VerifyOutcome::Identical,
                Some(_) => VerifyOutcome::Different,
            },
            identical: difference.is_none(),
            batches: 3,
            bytes: 300,
            partitions: vec![PartitionVerify {
                partition: 0,
                from: 0,
                to: 30,
                batches: 3,
                bytes: 300,
                compacted_batches: 0,
                compacted_records: 0,
                difference,
            }],
        }
    }

    fn lines(events: &[VerifyEvent]) -> Vec<std::io::Result<String>> {
        events
            .iter()
            .map(|event| Ok(serde_json::to_string(event).expect("JSON")))
            .collect()
    }

    #[test]
    fn a_stream_that_ends_early_proves_nothing() {
        let error = follow(lines(&[]).into_iter(), 1).expect_err("cut off");
        assert!(error.to_string().contains("nothing is proven"));
    }

    #[test]
    fn the_report_ends_the_stream() {
        let events = [VerifyEvent::Report(report(None))];
        assert_eq!(
            follow(lines(&events).into_iter(), 1).expect("report"),
            report(None)
        );
    }

    #[test]
    fn what_compaction_has_changed_is_said_in_words_and_nothing_is_no_proof() {
        let mut compacted = report(None);
        compacted.partitions[0].compacted_batches = 2;
        compacted.partitions[0].compacted_records = 9;
        let text = render_report(&compacted);
        assert!(text.contains("2 batches were cleaned"), "{text}");
        assert!(text.contains("the 9 records"), "{text}");
        let mut nothing = report(None);
        (nothing.batches, nothing.partitions[0].batches) = (0, 0);
        nothing.outcome = VerifyOutcome::of(&nothing.partitions);
        let text = render_report(&nothing);
        assert!(
            text.contains("nothing compared") && !text.contains("identical"),
            "{text}"
        );
    }

    #[test]
    fn only_a_difference_has_the_exit_code_of_one() {
        let differs = conclude(VerifyOutcome::Different, "orders");
        assert!(matches!(differs, Err(CliError::Failed(_))));
        let nothing = conclude(VerifyOutcome::NothingCompared, "orders");
        assert!(matches!(nothing, Err(CliError::Unproven(_))));
        assert!(conclude(VerifyOutcome::Identical, "orders").is_ok());
    }

    #[test]
    fn a_difference_is_shown_with_both_sides() {
        let batch = BatchSummary {
            base_offset: 10,
            last_offset: 19,
            length_bytes: 100,
            crc: 0xab,
            leader_epoch: 2,
        };
        let text = render_report(&report(Some(Difference {
            offset: 10,
            what: "CRC".to_owned(),
            source: Some(batch),
            mirror: None,
        })));
        assert!(text.contains("DIFFERENT"), "{text}");
        assert!(
            text.contains("first difference of partition 0 at offset 10: CRC"),
            "{text}"
        );
        assert!(
            text.contains("offsets 10 to 19, 100 bytes, CRC 000000ab"),
            "{text}"
        );
        assert!(text.contains("here:   no batch"), "{text}");
    }
}
