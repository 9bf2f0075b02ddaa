//! AlterUserScramCredentials and DescribeUserScramCredentials.

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
};

use crate::testing::{TestBroker, TestClient, wire};

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(wire(user).into())
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(b"salt".as_slice().into())
        .with_salted_password(b"salted".as_slice().into())
}

fn deletion(user: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default()
        .with_name(wire(user).into())
        .with_mechanism(mechanism)
}

async fn alter(
    client: &mut TestClient,
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<(String, ErrorCode)> {
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(deletions)
        .with_upsertions(upsertions);
    let answer = client.call(0, &request).await;
    let results = answer.results.iter();
    results
        .map(|it| (it.user.to_string(), ErrorCode(it.error_code)))
        .collect()
}

/// Each user with its error, or its mechanisms and iterations.
async fn describe(
    client: &mut TestClient,
    users: Option<&[&str]>,
) -> Vec<(String, ErrorCode, Vec<(i8, i32)>)> {
    let users = users.map(|names| {
        let names = names.iter();
        names
            .map(|name| UserName::default().with_name(wire(name).into()))
            .collect()
    });
    let request = DescribeUserScramCredentialsRequest::default().with_users(users);
    let answer = client.call(0, &request).await;
    let results = answer.results.iter().map(|it| {
        let infos = it.credential_infos.iter();
        let infos = infos.map(|info| (info.mechanism, info.iterations));
        (
            it.user.to_string(),
            ErrorCode(it.error_code),
            infos.collect(),
        )
    });
    results.collect()
}

// Follows AlterUserScramCredentialsRequestTest and DescribeUserScramCredentialsRequestTest.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_altered_and_described_with_the_codes_of_kafka() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let both = vec![upsertion("bob", 2, 16_384), upsertion("ann", 1, 4096)];
    let done = |user: &str| (user.to_owned(), ErrorCode::NONE);
    assert_eq!(
        alter(&mut client, vec![], both).await,
        [done("ann"), done("bob")]
    );
    assert_eq!(
        alter(&mut client, vec![], vec![upsertion("ann", 2, 5000)]).await,
        [done("ann")]
    );
    let ann = (
        "ann".to_owned(),
        ErrorCode::NONE,
        vec![(1, 4096), (2, 5000)],
    );
    let bob = ("bob".to_owned(), ErrorCode::NONE, vec![(2, 16_384)]);
    for all in [None, Some(&[][..])] {
        let described = describe(&mut client, all).await;
        assert_eq!(described, [ann.clone(), bob.clone()]);
    }
    let refused = |user: &str, code| (user.to_owned(), code, vec![]);
    let some = ["bob", "eve", "ann", "ann"];
    assert_eq!(
        describe(&mut client, Some(&some)).await,
        [
            refused("ann", ErrorCode::DUPLICATE_RESOURCE),
            bob,
            refused("eve", ErrorCode::RESOURCE_NOT_FOUND),
        ]
    );
    let users = &it.broker().users;
    assert!(users.credential("ann", Mechanism::ScramSha512).is_some());
    assert_eq!(
        alter(
            &mut client,
            vec![deletion("ann", 1), deletion("bob", 1)],
            vec![]
        )
        .await,
        [
            done("ann"),
            ("bob".to_owned(), ErrorCode::RESOURCE_NOT_FOUND)
        ]
    );
    assert!(users.credential("ann", Mechanism::ScramSha256).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn unacceptable_credentials_are_refused_one_by_one() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let deletions = vec![
        deletion("", 1),
        deletion("unknown", 9),
        deletion("twice", 9),
    ];
    let upsertions = vec![
        upsertion("few", 1, 4095),
        upsertion("many", 1, 16_385),
        upsertion("zero", 0, 4096),
        upsertion("same", 1, 4096),
        upsertion("same", 2, 4096),
        upsertion("twice", 1, 4096),
        upsertion("unsalted", 1, 4096).with_salt(Default::default()),
        upsertion("good", 1, 4096),
    ];
    let answers = alter(&mut client, deletions, upsertions).await;
    let expected = [
        ("", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("few", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("good", ErrorCode::NONE),
        ("many", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("same", ErrorCode::DUPLICATE_RESOURCE),
        ("twice", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
        ("unknown", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
        ("unsalted", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("zero", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
    ];
    assert_eq!(
        answers,
        expected.map(|(user, code)| (user.to_owned(), code))
    );
    assert_eq!(it.broker().users.names(), ["good"]);
}
