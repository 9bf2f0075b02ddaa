//! CreateAcls, DescribeAcls and DeleteAcls: after `AclAuthorizerTest`, `AclControlManagerTest` and
//! `SaslSslAdminIntegrationTest`.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use crate::access::{Operation, Pattern, Permission, ResourceKind};
use crate::testing::{TestBroker, TestClient};

/// The code of filters for every one.
const ANY: i8 = 1;
const MATCH: i8 = 2;

fn creation(pattern: Pattern, name: &str) -> AclCreation {
    AclCreation::default()
        .with_resource_type(ResourceKind::Topic.code())
        .with_resource_pattern_type(pattern.code())
        .with_resource_name(name.to_owned().into())
        .with_principal("User:ann".into())
        .with_host("*".into())
        .with_operation(Operation::Read.code())
        .with_permission_type(Permission::Allow.code())
}

async fn create(client: &mut TestClient, creations: Vec<AclCreation>) -> Vec<(i16, String)> {
    let request = CreateAclsRequest::default().with_creations(creations);
    let results = client.call(3, &request).await.results.into_iter();
    let result = |code, message: Option<kafka_protocol::protocol::StrBytes>| {
        (code, message.map(|it| it.to_string()).unwrap_or_default())
    };
    results
        .map(|it| result(it.error_code, it.error_message))
        .collect()
}

fn everything() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(ANY)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(ANY)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY)
}

/// Pattern type and name of each resource, with how many ACLs it has.
async fn described(
    client: &mut TestClient,
    request: DescribeAclsRequest,
) -> Vec<(i8, String, usize)> {
    let answer = client.call(3, &request).await;
    assert_eq!(answer.error_code, 0);
    let resources = answer.resources.into_iter();
    resources
        .map(|it| (it.pattern_type, it.resource_name.to_string(), it.acls.len()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_set_shown_and_removed_and_outlive_a_restart() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let mut write = creation(Pattern::Literal, "t");
    write.operation = Operation::Write.code();
    let all = vec![
        creation(Pattern::Literal, "t"),
        write,
        creation(Pattern::Prefixed, "t"),
        creation(Pattern::Literal, "*"),
        creation(Pattern::Literal, "t"),
    ];
    assert_eq!(create(&mut client, all).await, vec![(0, String::new()); 5]);
    let shown = |pattern: i8, name: &str, count| (pattern, name.to_owned(), count);
    let expected = [shown(3, "*", 1), shown(3, "t", 2), shown(4, "t", 1)];
    assert_eq!(described(&mut client, everything()).await, expected);
    let it = it.restart(&[]).await;
    let mut client = it.client().await;
    assert_eq!(described(&mut client, everything()).await, expected);
    let matching = everything()
        .with_pattern_type_filter(MATCH)
        .with_resource_name_filter(Some("table".into()));
    let applying = [shown(3, "*", 1), shown(4, "t", 1)];
    assert_eq!(described(&mut client, matching).await, applying);
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(ResourceKind::Topic.code())
        .with_pattern_type_filter(Pattern::Literal.code())
        .with_resource_name_filter(Some("t".into()))
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY);
    let unknown = filter.clone().with_operation(0);
    let filters = vec![filter.clone(), unknown, filter];
    let request = DeleteAclsRequest::default().with_filters(filters);
    let results = client.call(3, &request).await.filter_results;
    let found: Vec<_> = results
        .iter()
        .map(|it| (it.error_code, it.matching_acls.len()))
        .collect();
    let invalid = ErrorCode::INVALID_REQUEST.0;
    assert_eq!(found, [(0, 2), (invalid, 0), (0, 2)]);
    let rest = described(&mut client, everything()).await;
    assert_eq!(rest, [shown(3, "*", 1), shown(4, "t", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_acl_is_refused_one_by_one() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let wrong = |change: fn(&mut AclCreation)| {
        let mut creation = creation(Pattern::Literal, "t");
        change(&mut creation);
        creation
    };
    let creations = vec![
        wrong(|it| it.resource_type = ANY),
        wrong(|it| it.resource_pattern_type = MATCH),
        wrong(|it| it.operation = 99),
        wrong(|it| it.permission_type = ANY),
        wrong(|it| it.resource_name = "".into()),
        wrong(|it| it.resource_type = ResourceKind::Cluster.code()),
        wrong(|it| it.principal = "ann".into()),
        wrong(|_| {}),
    ];
    let results = create(&mut client, creations).await;
    let (last, refused) = results.split_last().unwrap();
    assert_eq!(last.0, 0, "valid ones are set all the same");
    let invalid = ErrorCode::INVALID_REQUEST.0;
    assert!(refused.iter().all(|it| it.0 == invalid), "{refused:?}");
    let messages: Vec<_> = refused.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(
        &messages[..6],
        [
            "Invalid resourceType ANY",
            "Invalid patternType MATCH",
            "Invalid operation UNKNOWN",
            "Invalid permissionType ANY",
            "Invalid empty resource name",
            "The only valid name for the CLUSTER resource is kafka-cluster",
        ]
    );
    assert!(messages[6].starts_with("Could not parse principal from `ann`"));
    let too_many = vec![creation(Pattern::Literal, "t"); 10_001];
    let results = create(&mut client, too_many).await;
    let policy = ErrorCode::POLICY_VIOLATION.0;
    assert!(results.iter().all(|it| it.0 == policy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_loses_and_regains_its_rights_while_it_lives() {
    let it = TestBroker::start(&["super.users=User:root"]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let batch = || crate::testing::batch(&["a"]);
    assert_eq!(client.produce("t", 0, -1, batch()).await.error_code, 0);
    let access = &it.broker().access;
    access.refuse(Operation::Write, crate::access::Resource::Topic("t"));
    let refused = client.produce("t", 0, -1, batch()).await.error_code;
    assert_eq!(refused, ErrorCode::TOPIC_AUTHORIZATION_FAILED.0);
    access.refuse_nothing();
    assert_eq!(client.produce("t", 0, -1, batch()).await.error_code, 0);
}
