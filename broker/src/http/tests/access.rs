//! Links and mirrors are reached by those alone who may do that with the cluster.

use super::*;
use crate::access::Operation::{Alter, AlterConfigs, Describe, DescribeConfigs};
use crate::access::{Operation, Resource, ResourceKind};

/// Method, path and body, and what must be allowed on the cluster.
#[rustfmt::skip]
const NEEDS: &[(&str, &str, &str, Operation)] = &[
    ("GET", "/links", "", Describe),
    ("POST", "/links?link_name=a", r#"{"configs": []}"#, Alter),
    ("GET", "/links/none", "", Describe),
    ("DELETE", "/links/none", "", Alter),
    ("GET", "/links/none/groups", "", Describe),
    ("GET", "/links/none/groups/", "", Describe),
    ("GET", "/links/none/groups/g", "", Describe),
    ("GET", "/links/none/configs", "", DescribeConfigs),
    ("GET", "/links/none/configs/a", "", DescribeConfigs),
    ("PUT", "/links/none/configs/a", r#"{"value": "b"}"#, AlterConfigs),
    ("DELETE", "/links/none/configs/a", "", AlterConfigs),
    ("PUT", "/links/none/configs:alter", r#"{"data": []}"#, AlterConfigs),
    ("GET", "/links/none/mirrors", "", Describe),
    ("POST", "/links/none/mirrors", r#"{"source_topic_name": "t"}"#, Alter),
    ("POST", "/links/none/mirrors:create", r#"{"all": true}"#, Alter),
    ("POST", "/links/none/mirrors:promote", r#"{"all": true}"#, Alter),
    ("POST", "/links/none/mirrors:failover", r#"{"all": true}"#, Alter),
    ("POST", "/links/none/mirrors:pause", r#"{"all": true}"#, Alter),
    ("POST", "/links/none/mirrors:resume", r#"{"all": true}"#, Alter),
    ("POST", "/links/none/mirrors:cancel-promote", r#"{"all": true}"#, Alter),
    ("GET", "/links/none/mirrors/t", "", Describe),
    ("POST", "/links/none/mirrors/t:verify", "{}", Describe),
    ("GET", "/links/none/mirrors/t/report", "", Describe),
    ("GET", "/links/none/reports", "", Describe),
];

#[test]
fn links_and_mirrors_are_reached_by_those_alone_who_may() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        let access = &rig.running.broker.access;
        for (method, path, body, needed) in NEEDS {
            let body = || (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
            access.refuse(*needed, Resource::Cluster);
            let (status, answer) = rig.call(method, path, body()).await;
            assert_eq!(status, 403, "{method} {path}: {answer}");
            assert_eq!(answer["error_code"], json!(40303), "{method} {path}");
            access.refuse_nothing();
            let others = ResourceKind::Cluster.operations().iter();
            for other in others.filter(|operation| *operation != needed) {
                access.refuse(*other, Resource::Cluster);
            }
            let (status, answer) = rig.call(method, path, body()).await;
            assert_ne!(status, 403, "{method} {path}: {answer}");
            assert!(status < 500, "{method} {path}: {answer}");
            access.refuse_nothing();
        }
        rig.running.shutdown().await;
    });
}
