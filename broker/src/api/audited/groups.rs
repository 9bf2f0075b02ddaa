//! Groups and their offsets.

use kafka_protocol::messages::{DeleteGroupsRequest, OffsetDeleteRequest};

use super::{Audited, Lines, first_error, names};
use crate::api::ResponseOf;
use crate::api::delete_groups::DeleteGroups;
use crate::api::offset_delete::OffsetDelete;

const GROUP: &str = "group";

impl Audited for DeleteGroups {
    fn audit(_: &DeleteGroupsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for group in &answer.results {
            let target = (GROUP, group.group_id.as_str());
            lines.add(target, group.error_code, String::new());
        }
    }
}

impl Audited for OffsetDelete {
    fn audit(asked: &OffsetDeleteRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        let topics = asked.topics.iter().map(|topic| topic.name.as_str());
        let of_partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let codes = of_partitions.map(|it| it.error_code);
        let code = first_error([answer.error_code].into_iter().chain(codes));
        let target = (GROUP, asked.group_id.as_str());
        lines.add(target, code, names("offsets of", topics));
    }
}
