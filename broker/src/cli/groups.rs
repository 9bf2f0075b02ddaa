//! `carrick link groups`: what a link has synced of groups' offsets.

use super::client::Client;
use super::error::CliResult;
use super::output::{Output, facts, table, when};
use crate::http::model::group::{LinkGroupData, LinkGroupPartition};
use crate::http::model::{Collection, escape};

/// Shows every group of a link, or one with its partitions.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, link: &str, group: Option<&str>) -> CliResult {
    let link = escape(link);
    let Some(group) = group else {
        let groups: Collection<LinkGroupData> = client.get(&format!("/links/{link}/groups"))?;
        return output.print(&groups.data, |groups| render_list(groups));
    };
    let path = format!("/links/{link}/groups/{}", escape(group));
    let group: LinkGroupData = client.get(&path)?;
    output.print(&group, render_group)
}

fn render_list(groups: &[LinkGroupData]) -> String {
    if groups.is_empty() {
        return "no group has been synced; set consumer.offset.sync.enable and \
                consumer.offset.group.filters on the link"
            .to_owned();
    }
    table(
        [
            "GROUP",
            "GROUP HERE",
            "STATE",
            "LAST SYNC",
            "SOURCE AS OF",
            "PARTITIONS",
            "CLAMPED",
            "READS AGAIN",
            "AT MOST",
            "REASON",
        ],
        groups.iter().map(|group| {
            [
                group.source_group_id.clone(),
                group.group_id.clone(),
                group.sync_state.clone(),
                last_sync(group),
                as_of(group),
                group.partitions.len().to_string(),
                group.clamped_partitions.to_string(),
                group.will_read_again.to_string(),
                group.reads_again_at_most.to_string(),
                error_of(group),
            ]
        }),
    )
}

fn render_group(group: &LinkGroupData) -> String {
    let state = format!("{} since {}", group.sync_state, when(group.state_time_ms));
    let again = format!(
        "{} records, as the source last reported; at most {}",
        group.will_read_again, group.reads_again_at_most
    );
    let mut text = facts(&[
        ("group", group.source_group_id.clone()),
        ("group here", group.group_id.clone()),
        ("state", state),
        ("error", error_of(group)),
        ("last sync", last_sync(group)),
        ("source as of", as_of(group)),
        ("reads again", again),
    ]);
    text.push('\n');
    text.push_str(&table(
        [
            "TOPIC",
            "PARTITION",
            "AT THE SOURCE",
            "HERE",
            "CLAMPED BY",
            "MIRROR END",
            "READS AGAIN",
            "AT MOST",
            "LEFT OUT BECAUSE",
        ],
        group.partitions.iter().map(row),
    ));
    text
}

fn row(part: &LinkGroupPartition) -> [String; 9] {
    let known = |figure: Option<i64>| figure.map_or_else(|| "-".to_owned(), |it| it.to_string());
    [
        part.topic_name.clone(),
        part.partition.to_string(),
        part.source_offset.to_string(),
        known(part.synced_offset),
        known(part.clamped_by),
        part.mirror_end_offset.to_string(),
        known(part.will_read_again),
        known(part.reads_again_at_most),
        part.skipped_reason
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
    ]
}

fn last_sync(group: &LinkGroupData) -> String {
    let never = || "never".to_owned();
    group.last_sync_time_ms.map_or_else(never, when)
}

/// The time that the source's offsets are of.
fn as_of(group: &LinkGroupData) -> String {
    let never = || "unknown".to_owned();
    group.source_told_time_ms.map_or_else(never, when)
}

fn error_of(group: &LinkGroupData) -> String {
    match &group.error_message {
        // Nothing is wrong: why it is skipped.
        Some(message) if group.error_code == "NO_ERROR" => message.clone(),
        Some(message) => format!("{}: {message}", group.error_code),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;

    fn group() -> LinkGroupData {
        LinkGroupData {
            kind: LinkGroupData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            link_name: "west".to_owned(),
            source_group_id: "billing".to_owned(),
            group_id: "eu-billing".to_owned(),
            sync_state: "SKIPPED".to_owned(),
            state_time_ms: 0,
            error_code: "CONSUMER_GROUP_IN_USE_ERROR".to_owned(),
            error_message: Some("it has members".to_owned()),
            last_sync_time_ms: None,
            source_told_time_ms: Some(0),
            will_read_again: 40,
            reads_again_at_most: 90,
            clamped_partitions: 1,
            partitions: vec![LinkGroupPartition {
                topic_name: "orders".to_owned(),
                partition: 3,
                source_offset: 100,
                synced_offset: Some(60),
                mirror_end_offset: 150,
                clamped_by: Some(40),
                will_read_again: Some(40),
                reads_again_at_most: Some(90),
                skipped_reason: None,
            }],
        }
    }

    #[test]
    fn a_group_shows_what_it_reads_again_and_why_it_was_skipped() {
        let text = render_group(&group());
        assert!(
            text.contains("40 records, as the source last reported; at most 90"),
            "{text}"
        );
        assert!(
            text.contains("CONSUMER_GROUP_IN_USE_ERROR: it has members"),
            "{text}"
        );
        assert!(text.contains("1970-01-01T00:00:00.000Z"), "{text}");
        let list = render_list(&[group()]);
        assert!(
            list.contains("eu-billing") && list.contains("never"),
            "{list}"
        );
    }

    #[test]
    fn what_is_left_out_shows_why() {
        let mut group = group();
        group.error_code = "NO_ERROR".to_owned();
        group.error_message = Some("the group's name is empty".to_owned());
        group.partitions[0].skipped_reason = Some("it is not mirrored yet".to_owned());
        let text = render_group(&group);
        assert!(text.contains("it is not mirrored yet"), "{text}");
        assert!(text.contains("the group's name is empty"), "{text}");
        assert!(!text.contains("NO_ERROR"), "{text}");
    }

    #[test]
    fn an_empty_list_says_what_to_do_next() {
        assert!(render_list(&[]).contains("consumer.offset.sync.enable"));
    }
}
