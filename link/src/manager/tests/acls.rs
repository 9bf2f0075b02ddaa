//! `AclSync`: which ACLs come here, under which names, and what the task's note says.

use carrick_protocol::error_code::ErrorCode;

use super::*;
use crate::acls::{Acl, AclPattern, AclPermission, AclResource, acl};
use crate::description::TaskDescription;

const EVERY_ACL: &str = r#"{"aclFilters":[{"resourceFilter":{"resourceType":"any"},"accessFilter":{"operation":"any"}}]}"#;
const ORDERS: &str = r#"{"aclFilters":[{"resourceFilter":{"resourceType":"topic","patternType":"match","name":"orders"},"accessFilter":{}}]}"#;

fn topic(name: &str) -> Acl {
    acl(AclResource::Topic, AclPattern::Literal, name)
}

fn syncing(filters: &str) -> [(&str, &str); 3] {
    [
        ("acl.sync.enable", "true"),
        ("acl.sync.ms", "1000"),
        ("acl.filters", filters),
    ]
}

impl World {
    /// With a link that syncs ACLs, `source_acls` of them being at the source.
    async fn syncing_acls(filters: &str, source_acls: &[Acl]) -> Self {
        let world = Self::new().await;
        world.source.set_acls(source_acls.to_vec(), 0);
        world.set_configs("dr", &syncing(filters)).await.unwrap();
        world
    }

    async fn set_configs(&self, link: &str, configs: &[(&str, &str)]) -> Result<(), LinkError> {
        let change = |(name, value): &(&str, &str)| ((*name).into(), Some((*value).into()));
        let changes = configs.iter().map(change).collect();
        let altered = self
            .manager
            .alter_link_configs(link, changes, AlterLink::default());
        altered.await
    }

    /// Waits until these ACLs and no others are in force here.
    async fn acls_here(&self, expected: &[Acl]) {
        until(&format!("{expected:?} to be here"), || {
            self.here.acls() == expected
        })
        .await;
    }

    fn acl_task(&self, link: &str) -> TaskDescription {
        let tasks = self.manager.link(link).unwrap().tasks;
        let mut tasks = tasks.into_iter();
        tasks.find(|task| task.name == "AclSync").unwrap()
    }

    async fn acl_error(&self, error: TaskErrorCode) -> TaskDescription {
        until(&format!("AclSync to have {error:?}"), || {
            self.acl_task("dr").error == error
        })
        .await;
        self.acl_task("dr")
    }
}

#[test]
fn the_fake_keeps_acls_as_every_cluster_must() {
    struct Fake(FakeHere);
    impl crate::testing::contract::acls::Harness for Fake {
        fn store(&self) -> &dyn crate::ports::AclStore {
            &self.0
        }

        fn add(&self, acl: &Acl) {
            self.0.add_acl(acl);
        }

        fn remove(&self, acl: &Acl) {
            self.0.remove_acl(acl);
        }

        fn all(&self) -> Vec<Acl> {
            self.0.acls()
        }
    }
    crate::testing::contract::acls::all(&Fake(FakeHere::new()));
}

#[tokio::test(start_paused = true)]
async fn acls_that_the_filters_select_come_and_go_with_those_of_the_source() {
    let prefixed = acl(AclResource::Topic, AclPattern::Prefixed, "ord");
    let group = acl(AclResource::Group, AclPattern::Literal, "app");
    let all = [
        topic("orders"),
        topic("users"),
        prefixed.clone(),
        group.clone(),
    ];
    let world = World::syncing_acls(ORDERS, &all).await;
    world.acls_here(&[topic("orders"), prefixed.clone()]).await;
    let said = "2 ACLs of the source are in force here";
    until(said, || world.acl_task("dr").note == said).await;

    world
        .source
        .set_acls(vec![topic("orders"), group.clone()], 0);
    world.acls_here(&[topic("orders")]).await;
    world
        .set_configs("dr", &[("acl.filters", EVERY_ACL)])
        .await
        .unwrap();
    world.acls_here(&[topic("orders"), group.clone()]).await;
    // Switched off, they stay as they are.
    world
        .set_configs("dr", &[("acl.sync.enable", "false")])
        .await
        .unwrap();
    world.source.set_acls(Vec::new(), 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.here.acls(), [topic("orders"), group]);
    assert_eq!(world.acl_task("dr").state, TaskState::NotConfigured);
}

#[tokio::test(start_paused = true)]
async fn a_prefix_renames_the_acls_of_topics_as_it_renames_topics() {
    let world = World::new().await;
    let every = acl(AclResource::Topic, AclPattern::Literal, "*");
    let group = acl(AclResource::Group, AclPattern::Literal, "app");
    world
        .source
        .set_acls(vec![every, topic("orders"), group.clone()], 0);
    let mut configs = syncing(EVERY_ACL).to_vec();
    configs.push(("cluster.link.prefix", "west."));
    world
        .manager
        .create_link(new_link("west", &configs))
        .await
        .unwrap();
    let of_prefix = acl(AclResource::Topic, AclPattern::Prefixed, "west.");
    world
        .acls_here(&[topic("west.orders"), of_prefix.clone(), group])
        .await;
    world
        .set_configs("west", &[("consumer.group.prefix.enable", "true")])
        .await
        .unwrap();
    let group = acl(AclResource::Group, AclPattern::Literal, "west.app");
    world
        .acls_here(&[topic("west.orders"), of_prefix, group])
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_an_authorizer_here_the_sync_is_refused_by_name() {
    let world = World::new().await;
    world.here.enforce_acls(false);
    let refused = |error: LinkError| {
        let text = error.to_string();
        assert!(text.contains("acl.sync.enable"), "{text}");
        assert!(text.contains("authorizer.class.name"), "{text}");
    };
    refused(
        world
            .set_configs("dr", &syncing(EVERY_ACL))
            .await
            .unwrap_err(),
    );
    let new = new_link("west", &syncing(EVERY_ACL));
    refused(world.manager.create_link(new).await.unwrap_err());

    // Switched off later, it shows in the task; the link's other configs can be changed.
    world.here.enforce_acls(true);
    world.set_configs("dr", &syncing(EVERY_ACL)).await.unwrap();
    world.here.enforce_acls(false);
    let task = world.acl_error(TaskErrorCode::MisconfigurationError).await;
    assert!(
        task.error_detail.contains("authorizer.class.name"),
        "{}",
        task.error_detail
    );
    world
        .set_configs("dr", &[("acl.sync.ms", "2000")])
        .await
        .unwrap();
    world.here.enforce_acls(true);
    world.acl_error(TaskErrorCode::NoError).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_list_its_acls_leaves_those_here_as_they_are() {
    let world = World::syncing_acls(EVERY_ACL, &[topic("orders")]).await;
    world.acls_here(&[topic("orders")]).await;
    world.source.set_acls(Vec::new(), 0);
    world
        .source
        .refuse_acls(Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    let task = world.acl_error(TaskErrorCode::AuthorizationError).await;
    assert!(
        task.error_detail.contains("DESCRIBE the cluster"),
        "{}",
        task.error_detail
    );
    assert_eq!(world.manager.link("dr").unwrap().state, LinkState::Active);
    world.source.refuse_acls(Some(ErrorCode::SECURITY_DISABLED));
    let task = world.acl_error(TaskErrorCode::MisconfigurationError).await;
    assert!(
        task.error_detail.contains("no authorizer"),
        "{}",
        task.error_detail
    );
    assert_eq!(world.here.acls(), [topic("orders")]);
    world.source.refuse_acls(None);
    world.acls_here(&[]).await;
    world.acl_error(TaskErrorCode::NoError).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_set_here_stays_and_what_contradicts_is_named() {
    let mut denied = topic("orders");
    denied.permission = AclPermission::Deny;
    let world = World::new().await;
    world.here.add_acl(&denied);
    world.here.add_acl(&topic("users"));
    world
        .source
        .set_acls(vec![topic("orders"), topic("users")], 3);
    world.set_configs("dr", &syncing(EVERY_ACL)).await.unwrap();
    world
        .acls_here(&[denied.clone(), topic("orders"), topic("users")])
        .await;
    let says = |part: &str| world.acl_task("dr").note.contains(part);
    until("the note", || {
        says(&denied.to_string()) && says("3 of a kind unknown")
    })
    .await;
    world.source.set_acls(Vec::new(), 0);
    world.acls_here(&[denied, topic("users")]).await;
}

#[tokio::test(start_paused = true)]
async fn the_acls_of_a_deleted_link_stay_and_belong_to_this_cluster() {
    let mut world = World::syncing_acls(EVERY_ACL, &[topic("orders")]).await;
    world.acls_here(&[topic("orders")]).await;
    world.restart().await;
    world.manager.delete_link("dr", false).await.unwrap();
    assert_eq!(world.here.acls(), [topic("orders")]);
    world.source.set_acls(vec![topic("users")], 0);
    let again = world
        .manager
        .create_link(new_link("dr", &syncing(EVERY_ACL)));
    again.await.unwrap();
    world.acls_here(&[topic("orders"), topic("users")]).await;
}
