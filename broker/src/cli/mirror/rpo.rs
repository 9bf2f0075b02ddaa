//! The RPO report as text: what a promotion or failover lost, or would lose.
//!
//! Invariant: an unknown figure is shown as unknown, with a lower bound; never 0, never negative.
//! The JSON form is [`RpoReport`] itself.

use std::fmt::Write;

use carrick_link::naming::some_of;
use carrick_link::report::{
    PartitionRpo, RpoReport, SourceReaders, SourceWrites, UnmirroredPartition,
};
use carrick_link::verb::CutKind;

use crate::cli::output::{lasting, when};

/// The report as text: a headline, one line per partition, a total, and notes.
pub fn render(report: &RpoReport) -> String {
    let mut text = String::new();
    let action = match report.kind {
        CutKind::Promote => "promotion",
        CutKind::Failover => "failover",
    };
    let made = when(report.made_at_ms);
    let dry = if report.dry_run {
        ", dry run: nothing was changed"
    } else {
        ""
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{action} of {} (link {}, source topic {}) at {made}{dry}",
        report.topic, report.link, report.source_topic
    );
    for partition in &report.partitions {
        let _ = writeln!(
            text,
            "  partition {}: {}",
            partition.partition,
            partition_line(partition)
        );
    }
    let _ = writeln!(text, "  total: {}", total(&[report]));
    if let Some(writes) = report.writes {
        let _ = writeln!(text, "  writes at the source: {}", writes_line(writes));
    }
    for note in notes(report) {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

fn partition_line(partition: &PartitionRpo) -> String {
    let last = match (
        partition.last_mirrored_offset,
        partition.last_mirrored_timestamp_ms,
    ) {
        (Some(offset), Some(time_ms)) => {
            format!("last mirrored offset {offset}, written {}", when(time_ms))
        }
        (Some(offset), None) => format!("last mirrored offset {offset}"),
        (None, _) => "nothing mirrored".to_owned(),
    };
    let source = match (partition.source_high_watermark, partition.source_seen_at_ms) {
        (Some(end), Some(seen_ms)) => {
            format!("source high watermark {end}, seen {}", when(seen_ms))
        }
        (Some(end), None) => format!("source high watermark {end}"),
        (None, _) => "source high watermark never seen".to_owned(),
    };
    format!("{last}; {source}; missing: {}", missing(partition))
}

fn missing(partition: &PartitionRpo) -> String {
    let records = partition.missing_records.unwrap_or(0).max(0);
    let time = partition.missing_ms.map(|ms| lasting(ms.max(0)));
    if is_exact(partition) {
        return match time {
            _ if records == 0 => "nothing".to_owned(),
            Some(time) => format!("{} ({time})", records_of(records)),
            None => records_of(records),
        };
    }
    let Some(seen_ms) = partition.source_seen_at_ms else {
        return "unknown, the source was never seen".to_owned();
    };
    let known = match time {
        _ if records == 0 => "nothing".to_owned(),
        Some(time) => format!("at least {}, of the last {time},", records_of(records)),
        None => format!("at least {}", records_of(records)),
    };
    format!(
        "{known} of what the source had when last seen at {}; what it accepted after that is \
         unknown",
        when(seen_ms)
    )
}

fn records_of(count: i64) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

/// How much is missing in all these reports, in one line.
pub fn total(reports: &[&RpoReport]) -> String {
    let partitions = || reports.iter().flat_map(|report| &report.partitions);
    let unmirrored = || reports.iter().flat_map(|report| &report.unmirrored);
    let missing: i64 = partitions()
        .map(|it| it.missing_records)
        .chain(unmirrored().map(|it| it.records))
        .map(|records| records.unwrap_or(0).max(0))
        .fold(0, i64::saturating_add);
    let untold = unmirrored().filter(|it| it.records.is_none());
    let inexact = partitions().filter(|it| !is_exact(it)).count() + untold.count();
    if inexact == 0 {
        return match missing {
            0 => "nothing missing".to_owned(),
            _ => format!("{} missing", records_of(missing)),
        };
    }
    let known = match missing {
        0 => "nothing known to be missing".to_owned(),
        _ => format!("at least {} missing", records_of(missing)),
    };
    let earliest_ms = partitions()
        .filter(|partition| !is_exact(partition))
        .map(|partition| partition.source_seen_at_ms)
        .min()
        .flatten();
    let unknown = match earliest_ms {
        _ if partitions().all(is_exact) => {
            "how much partitions without a mirror hold is unknown".to_owned()
        }
        Some(seen_ms) => format!(
            "what the source accepted after {} is unknown",
            when(seen_ms)
        ),
        None => "the source was never seen".to_owned(),
    };
    let count = partitions().count() + unmirrored().count();
    format!("{known}; {unknown} ({inexact} of {count} partitions)")
}

fn writes_line(writes: SourceWrites) -> String {
    let over = lasting(writes.over_ms);
    match writes.records {
        0 => format!("none in the last {over}"),
        records => format!(
            "{} in the last {over}; records written there after the cut are not here",
            records_of(records)
        ),
    }
}

/// What the source holds beyond the cut.
fn after_cut(report: &RpoReport) -> Vec<String> {
    let Some(after) = &report.after_cut else {
        return Vec::new();
    };
    let seen = when(after.seen_at_ms);
    let mut notes = Vec::new();
    match after.records() {
        0 if after.problem.is_some() => {}
        0 => notes.push(format!(
            "nothing beyond the cut at the source, as of {seen}"
        )),
        records => {
            let all = after.partitions.iter();
            let all: Vec<String> = all
                .map(|part| format!("{} on {}", part.records, part.partition))
                .collect();
            let missing = match report.kind {
                CutKind::Promote => "",
                CutKind::Failover => ", including those that were missing",
            };
            notes.push(format!(
                "the source holds {} beyond the cut ({}), as of {seen}{missing}; they exist only there",
                records_of(records),
                all.join(", ")
            ));
        }
    }
    let problem = after.problem.iter();
    notes.extend(problem.map(|why| format!("the source is no longer watched: {why}")));
    notes
}

fn is_exact(partition: &PartitionRpo) -> bool {
    partition.exact && partition.missing_records.is_some()
}

fn notes(report: &RpoReport) -> Vec<String> {
    let problems = report.source_problem.iter().chain(&report.identity_problem);
    let mut notes: Vec<String> = problems.cloned().collect();
    let outcome = match (report.kind, report.dry_run) {
        (CutKind::Promote, true) => "a promotion mirrors it first",
        (_, true) => "a failover would leave it behind",
        (_, false) => "it was left behind",
    };
    notes.extend(after_cut(report));
    for UnmirroredPartition { partition, records } in &report.unmirrored {
        let held = records.map_or_else(|| "an unknown number of records".to_owned(), records_of);
        notes.push(format!(
            "partition {partition} of the source, with {held}, has no mirror: {outcome}"
        ));
    }
    notes.extend(
        report
            .readers
            .iter()
            .flat_map(|it| readers(it, report.dry_run)),
    );
    for partition in &report.partitions {
        if partition.lost_to_retention > 0 {
            notes.push(format!(
                "partition {}: {} had been deleted at the source before they could be mirrored",
                partition.partition,
                records_of(partition.lost_to_retention)
            ));
        }
    }
    let open: Vec<String> = report
        .partitions
        .iter()
        .filter(|partition| partition.open_transactions > 0)
        .map(|partition| format!("{} on {}", partition.open_transactions, partition.partition))
        .collect();
    if !open.is_empty() {
        let aborted = if report.dry_run {
            "would be aborted"
        } else {
            "were aborted"
        };
        notes.push(format!(
            "open transactions {aborted} ({}): one that spans partitions may be committed on some \
             and aborted on others",
            open.join(", ")
        ));
    }
    notes
}

/// Groups that a note names.
const READERS_NAMED_MAX: usize = 10;

/// Groups that still read at the source.
fn readers(readers: &SourceReaders, is_dry_run: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if readers.count > 0 {
        let named = readers.groups.iter().take(READERS_NAMED_MAX);
        let mut named: Vec<&str> = named.map(String::as_str).collect();
        if readers.count > named.len() {
            named.push("…");
        }
        let groups = match readers.count {
            1 => "1 group has".to_owned(),
            count => format!("{count} groups have"),
        };
        let advice = match is_dry_run {
            true => "stop the consumers before the promotion, or they read records again here",
            false => "they read again here what they read there after the last sync",
        };
        notes.push(format!(
            "{groups} members at the source ({}): {advice}",
            named.join(", ")
        ));
    }
    if !readers.without_commits.is_empty() {
        let groups = some_of(&readers.without_commits);
        notes.push(format!(
            "these groups have members at the source and have committed nothing there: {groups}. \
             What they read is not known; here they begin where auto.offset.reset says"
        ));
    }
    notes.extend(readers.problem.clone());
    notes
}

#[cfg(test)]
mod tests {
    use carrick_link::record::LinkName;
    use carrick_link::report::{AfterCut, BeyondCut};

    use super::*;

    fn partition(exact: bool, missing_records: Option<i64>) -> PartitionRpo {
        PartitionRpo {
            partition: 3,
            mirror_end: 100,
            last_mirrored_offset: Some(99),
            last_mirrored_timestamp_ms: Some(1_000),
            source_high_watermark: Some(150),
            source_seen_at_ms: Some(2_000),
            missing_records,
            missing_ms: Some(4_200),
            exact,
            lost_to_retention: 0,
            open_transactions: 0,
        }
    }

    fn report(partitions: Vec<PartitionRpo>) -> RpoReport {
        RpoReport {
            topic: "orders".to_owned(),
            link: LinkName::new("west").expect("a name"),
            source_topic: "orders".to_owned(),
            kind: CutKind::Failover,
            made_at_ms: 5_000,
            dry_run: false,
            partitions,
            unmirrored: Vec::new(),
            source_problem: None,
            identity_problem: None,
            readers: None,
            writes: None,
            after_cut: None,
        }
    }

    #[test]
    fn a_source_that_is_gone_makes_the_loss_unknown_with_a_lower_bound() {
        let text = render(&report(vec![partition(false, Some(50))]));
        assert!(
            text.contains(
                "missing: at least 50 records, of the last 4.2 s, of what the source had when last \
                 seen at 1970-01-01T00:00:02.000Z; what it accepted after that is unknown\n"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "total: at least 50 records missing; what the source accepted after \
                 1970-01-01T00:00:02.000Z is unknown (1 of 1 partitions)\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_known_to_be_missing_is_not_shown_as_nothing_missing() {
        let text = render(&report(vec![partition(false, Some(0))]));
        assert!(
            text.contains(
                "missing: nothing of what the source had when last seen at \
                 1970-01-01T00:00:02.000Z; what it accepted after that is unknown\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("total: nothing known to be missing; what"),
            "{text}"
        );
    }

    #[test]
    fn a_source_never_seen_is_said_to_be_never_seen() {
        let mut unseen = partition(false, None);
        unseen.source_high_watermark = None;
        unseen.source_seen_at_ms = None;
        unseen.missing_ms = None;
        let text = render(&report(vec![unseen]));
        assert!(text.contains("source high watermark never seen"), "{text}");
        assert!(
            text.contains("the source was never seen (1 of 1 partitions)"),
            "{text}"
        );
    }

    #[test]
    fn an_exact_report_is_plain() {
        let text = render(&report(vec![
            partition(true, Some(1)),
            partition(true, Some(0)),
        ]));
        assert!(text.contains("missing: 1 record (4.2 s)"), "{text}");
        assert!(text.contains("total: 1 record missing\n"), "{text}");
        let text = render(&report(vec![partition(true, Some(0))]));
        assert!(text.contains("missing: nothing\n"), "{text}");
        assert!(text.contains("total: nothing missing\n"), "{text}");
    }

    #[test]
    fn a_negative_count_is_never_shown() {
        let text = render(&report(vec![partition(true, Some(-5))]));
        assert!(!text.contains("-5"), "{text}");
    }

    #[test]
    fn aborted_transactions_and_records_lost_to_retention_are_named() {
        let mut lossy = partition(true, Some(0));
        lossy.open_transactions = 2;
        lossy.lost_to_retention = 7;
        let text = render(&report(vec![lossy]));
        assert!(
            text.contains("open transactions were aborted (2 on 3)"),
            "{text}"
        );
        assert!(
            text.contains("partition 3: 7 records had been deleted"),
            "{text}"
        );
    }

    #[test]
    fn a_source_partition_without_a_mirror_is_named_and_its_records_are_missing() {
        let mut grown = report(vec![partition(true, Some(0))]);
        let [known, untold] = [(1, Some(50)), (2, None)];
        grown.unmirrored = [known]
            .map(|(partition, records)| UnmirroredPartition { partition, records })
            .to_vec();
        let text = render(&grown);
        assert!(text.contains("total: 50 records missing\n"), "{text}");
        let note = "note: partition 1 of the source, with 50 records, has no mirror: it was left \
                    behind";
        assert!(text.contains(note), "{text}");
        let (partition, records) = untold;
        grown
            .unmirrored
            .push(UnmirroredPartition { partition, records });
        let text = render(&grown);
        assert!(
            text.contains("total: at least 50 records missing;"),
            "{text}"
        );
        assert!(text.contains("(1 of 3 partitions)"), "{text}");
    }

    #[test]
    fn why_a_source_says_nothing_of_the_loss_is_said() {
        let mut other = report(vec![partition(false, Some(0))]);
        other.source_problem = Some("the topic was recreated".to_owned());
        other.identity_problem = Some("nobody knows".to_owned());
        let text = render(&other);
        assert!(text.contains("note: the topic was recreated\n"), "{text}");
        assert!(text.contains("note: nobody knows\n"), "{text}");
        assert!(
            text.contains("total: nothing known to be missing; what"),
            "{text}"
        );
    }

    #[test]
    fn groups_that_read_at_the_source_are_named() {
        let mut planned = report(vec![partition(true, Some(0))]);
        planned.dry_run = true;
        planned.readers = Some(SourceReaders {
            count: 2,
            groups: vec!["billing".to_owned(), "audit".to_owned()],
            without_commits: vec!["fresh".to_owned()],
            problem: None,
        });
        let text = render(&planned);
        assert!(text.contains("committed nothing there: fresh. "), "{text}");
        let note = "note: 2 groups have members at the source (billing, audit): stop";
        assert!(text.contains(note), "{text}");
        planned.readers = Some(SourceReaders {
            problem: Some("the source did not say".to_owned()),
            ..SourceReaders::default()
        });
        let text = render(&planned);
        assert!(text.contains("note: the source did not say\n"), "{text}");
    }

    #[test]
    fn writers_that_are_active_at_the_source_show_before_the_cut_and_after_it() {
        let mut promoted = report(vec![partition(true, Some(0))]);
        promoted.kind = CutKind::Promote;
        promoted.writes = Some(SourceWrites {
            records: 353,
            over_ms: 10_000,
        });
        let text = render(&promoted);
        let line = "\n  writes at the source: 353 records in the last 10.0 s; records";
        assert!(text.contains(line), "{text}");
        promoted.writes = Some(SourceWrites {
            records: 0,
            over_ms: 10_000,
        });
        let beyond = |records| BeyondCut {
            partition: 3,
            records,
        };
        promoted.after_cut = Some(AfterCut {
            seen_at_ms: 2_000,
            partitions: vec![beyond(126)],
            problem: None,
        });
        let text = render(&promoted);
        assert!(
            text.contains("writes at the source: none in the last 10.0 s"),
            "{text}"
        );
        let note = "note: the source holds 126 records beyond the cut (126 on 3), as of \
                    1970-01-01T00:00:02.000Z; they exist only there\n";
        assert!(text.contains(note), "{text}");
        promoted.after_cut = Some(AfterCut {
            seen_at_ms: 2_000,
            ..AfterCut::default()
        });
        let text = render(&promoted);
        let note = "note: nothing beyond the cut at the source, as of 1970-01-01T00:00:02.000Z\n";
        assert!(text.contains(note), "{text}");
    }
}
