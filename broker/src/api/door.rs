//! The door: how handlers reach what a request names.
//!
//! Topics, partitions, groups, transactional ids and the cluster are looked up here and nowhere
//! else in the APIs. A caller says what it is going to do, in the terms of Kafka's ACLs, and gets
//! the thing, or the reason why not: it does not exist, it is on another broker, or the principal is
//! not allowed to.
//!
//! Whether an operation on a name is allowed is checked before the name is looked up, so a refusal
//! does not reveal whether it exists. Ids of topics are not secret, as in Kafka.
//!
//! Lists contain what the caller may see: nothing is refused by name.

use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use carrick_link::LinkManager;
use carrick_protocol::ids::{GroupId, NodeId, TopicId, TopicName, TopicPartition};
use kafka_protocol::messages::{self, ApiKey};

use super::{Context, audited, table};
use crate::access::{Access, Acls, Operation, Resource, ResourceKind};
use crate::audit::{Audit, Event, Outcome, Via};
use crate::auth::Users;
use crate::broker::Broker;
use crate::cluster::{Coordinated, Leader, View};
use crate::config::PropertiesError;
use crate::config::change::Change;
use crate::group::coordinator::ListedGroup;
use crate::group::{Coordinator, MaySee};
use crate::mirror::delete_topic;
use crate::partition::{Hosted, Partition, Partitions};
use crate::principal::Principal;
use crate::secrets::Vault;
use crate::topic::{Topic, TopicError, Topics};
use crate::transaction::TxnError;
use crate::transaction::coordinator::{ListFilter, Listed};
use crate::{topic, transaction};

/// Before the first request of a connection.
const NO_API: i16 = -1;

/// How a request names a topic.
#[derive(Debug, Clone, Copy)]
pub enum TopicRef<'a> {
    /// Before ids, and where people write it.
    Name(&'a str),
    /// Since KIP-516: a topic made again under the name is another one.
    Id(TopicId),
}

impl<'a> From<&'a str> for TopicRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a TopicName> for TopicRef<'a> {
    fn from(name: &'a TopicName) -> Self {
        Self::Name(name.as_str())
    }
}

impl<'a> From<&'a messages::TopicName> for TopicRef<'a> {
    fn from(name: &'a messages::TopicName) -> Self {
        Self::Name(name.as_str())
    }
}

impl From<TopicId> for TopicRef<'_> {
    fn from(id: TopicId) -> Self {
        Self::Id(id)
    }
}

/// Why the door stays shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// No topic has that name.
    #[error("This server does not host this topic-partition.")]
    NoSuchTopic,
    /// No topic has that id.
    #[error("This server does not host this topic ID.")]
    NoSuchTopicId,
    /// The topic has fewer partitions.
    #[error("This server does not host this topic-partition.")]
    NoSuchPartition,
    /// The partition is not on this broker: who leads it.
    #[error(
        "For requests intended only for the leader, this error indicates that the broker is not the \
             current leader."
    )]
    Elsewhere(Leader),
    /// Another broker coordinates that, or none.
    #[error("This is not the correct coordinator.")]
    OtherCoordinator,
    /// The principal may not do that with a resource of this kind.
    #[error("{} authorization failed.", name_of(*.0))]
    NotAllowed(ResourceKind),
}

impl DoorError {
    /// Who leads a partition that is not here, if somebody does.
    pub fn leader(self) -> Option<Leader> {
        match self {
            Self::Elsewhere(leader) => Some(leader).filter(|it| it.broker.is_some()),
            _ => None,
        }
    }

    /// Whether what was asked for does not exist, as far as the asker may know.
    pub fn is_not_there(self) -> bool {
        matches!(
            self,
            Self::NoSuchTopic | Self::NoSuchTopicId | Self::NoSuchPartition
        )
    }
}

fn name_of(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Cluster => "Cluster",
        ResourceKind::Topic => "Topic",
        ResourceKind::Group => "Group",
        ResourceKind::TransactionalId => "Transactional Id",
        ResourceKind::DelegationToken => "Delegation Token",
        ResourceKind::User => "User",
    }
}

/// The cluster, for a principal that is allowed the operation it asked for. That needs no
/// permission on single topics.
#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    door: &'a Door,
}

impl<'a> Cluster<'a> {
    /// A topic by name or id.
    ///
    /// # Errors
    /// `NoSuchTopic`, `NoSuchTopicId`.
    pub fn topic<'t>(self, asked: impl Into<TopicRef<'t>>) -> Result<Arc<Topic>, DoorError> {
        let topics = &self.door.topics;
        match asked.into() {
            TopicRef::Name(name) => topics.topic(name).ok_or(DoorError::NoSuchTopic),
            TopicRef::Id(id) => topics.by_id(id).ok_or(DoorError::NoSuchTopicId),
        }
    }

    /// All topics, by name.
    pub fn topics(self) -> Vec<Arc<Topic>> {
        self.door.topics.list()
    }

    /// The partitions without a leader.
    pub fn leaderless(self) -> Vec<TopicPartition> {
        let view = self.door.view();
        let is_led = |topic: &Topic, number| {
            let placement = view.placement(topic, number);
            placement.is_none_or(|it| it.leader.broker.is_some())
        };
        let topics = self.topics();
        let leaderless = topics.iter().flat_map(|topic| {
            let numbers = (0..topic.partition_count()).filter(|number| !is_led(topic, *number));
            numbers.map(|number| TopicPartition::new(topic.name().clone(), number))
        });
        leaderless.collect()
    }

    /// The coordinator of transactional ids.
    pub fn transactions(self) -> &'a Arc<transaction::Coordinator> {
        &self.door.transactions
    }

    /// The ACLs; `None` without an authorizer.
    pub fn acls(self) -> Option<Arc<Acls>> {
        let access = &self.door.access;
        access.has_authorizer().then(|| Arc::clone(access.acls()))
    }

    /// The groups that have configs of their own.
    pub fn groups_with_configs(self) -> Vec<GroupId> {
        self.door.groups.groups_with_configs()
    }

    /// What encrypts stored secrets.
    pub fn vault(self) -> &'a Arc<Vault> {
        &self.door.vault
    }

    /// Users with their SCRAM credentials.
    pub fn users(self) -> &'a Arc<Users> {
        &self.door.users
    }

    /// Logs that a user's credentials were removed, if that is a super user.
    pub fn note_removed(self, user: &str) {
        self.door.access.note_removed(user);
    }

    /// Changes the broker's properties; topics that do not override them follow. Blocks on disk.
    ///
    /// # Errors
    /// Nothing is changed.
    pub fn alter_properties(
        self,
        own: bool,
        change: Change,
        validate_only: bool,
    ) -> Result<(), PropertiesError> {
        let topics = &self.door.topics;
        if topics.properties().alter(own, change, validate_only)? {
            topics.defaults_changed();
        }
        Ok(())
    }
}

/// What one connection, or the REST API, reaches by name.
#[derive(Clone)]
pub struct Door {
    topics: Arc<Topics>,
    hosted: Arc<Hosted>,
    view: Arc<dyn View>,
    groups: Arc<Coordinator>,
    transactions: Arc<transaction::Coordinator>,
    links: Arc<LinkManager>,
    vault: Arc<Vault>,
    users: Arc<Users>,
    access: Arc<Access>,
    audit: Arc<Audit>,
    principal: Principal,
    host: IpAddr,
    doing: Doing,
}

/// What the door is asked for at the moment.
#[derive(Clone)]
enum Doing {
    /// The key of the API whose request is handled. A connection has one kind at a time.
    Kafka(Arc<AtomicI16>),
    /// The name of the route: there is a door for each request.
    Rest(&'static str),
}

/// `ctx.topic(name, Operation::Read)`.
impl Deref for Context {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl Door {
    /// The door of a broker, as it opens for the client of a connection.
    pub fn of(broker: &Broker, principal: Principal, host: IpAddr) -> Self {
        let doing = Doing::Kafka(Arc::new(AtomicI16::new(NO_API)));
        Self::for_caller(broker, principal, host, doing)
    }

    /// The same for a request of REST that does `action`.
    pub fn for_rest(
        broker: &Broker,
        principal: Principal,
        host: IpAddr,
        action: &'static str,
    ) -> Self {
        Self::for_caller(broker, principal, host, Doing::Rest(action))
    }

    fn for_caller(broker: &Broker, principal: Principal, host: IpAddr, doing: Doing) -> Self {
        Self {
            topics: Arc::clone(&broker.topics),
            hosted: Arc::clone(&broker.hosted),
            view: Arc::clone(&broker.view),
            groups: Arc::clone(&broker.groups),
            transactions: Arc::clone(&broker.transactions),
            vault: Arc::clone(&broker.vault),
            users: Arc::clone(&broker.users),
            links: Arc::clone(&broker.links),
            access: Arc::clone(&broker.access),
            audit: Arc::clone(&broker.audit),
            principal,
            host,
            doing,
        }
    }

    /// From now on the door is asked on behalf of a request to this API.
    pub(super) fn begin(&self, api: ApiKey) {
        if let Doing::Kafka(doing) = &self.doing {
            doing.store(api as i16, Ordering::Relaxed);
        }
    }

    /// The same door, with another view of the cluster.
    #[cfg(test)]
    pub(super) fn with_view(&self, view: Arc<dyn View>) -> Self {
        Self {
            view,
            ..self.clone()
        }
    }

    /// Who the brokers are, and what each of them does.
    pub fn view(&self) -> &dyn View {
        &*self.view
    }

    fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.access
            .allows(&self.principal, self.host, operation, resource)
    }

    /// As [`Self::may`], for what a request names: the decision is logged.
    fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), DoorError> {
        let may = self.may(operation, resource);
        let action = || self.doing().1;
        self.access
            .note(&self.principal, self.host, operation, resource, may, action);
        match may {
            true => Ok(()),
            false => {
                self.note_refusal(operation, resource);
                Err(DoorError::NotAllowed(resource.kind()))
            }
        }
    }

    /// The name of the API or the route.
    fn doing(&self) -> (Via, &'static str) {
        match &self.doing {
            Doing::Rest(action) => (Via::Rest, *action),
            Doing::Kafka(key) => {
                let api = table::entry(key.load(Ordering::Relaxed));
                (Via::Kafka, api.map_or("Unknown", |api| api.name))
            }
        }
    }

    fn note_refusal(&self, operation: Operation, resource: Resource<'_>) {
        let (via, action) = self.doing();
        self.audit.note(Event {
            who: self.principal.clone(),
            from: self.host,
            via,
            action,
            target: Some(audited::target(resource)),
            detail: String::new(),
            is_dry_run: false,
            outcome: Outcome::Denied(operation.name()),
        });
    }

    /// The operations that the principal may do with a resource, as bits by their codes.
    pub fn operations(&self, resource: Resource<'_>) -> i32 {
        let all = resource.kind().operations().iter();
        let allowed = all.filter(|operation| self.may(**operation, resource));
        allowed.fold(0, |bits, operation| bits | 1 << *operation as i32)
    }

    /// The cluster as a whole, to do something with it.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub fn cluster(&self, operation: Operation) -> Result<Cluster<'_>, DoorError> {
        self.check(operation, Resource::Cluster)?;
        Ok(Cluster { door: self })
    }

    /// The same where it is no refusal if the principal may not: less is shown, or another right is
    /// enough.
    ///
    /// # Errors
    /// `NotAllowed`, which is neither logged nor in the audit log.
    pub fn cluster_if_allowed(&self, operation: Operation) -> Result<Cluster<'_>, DoorError> {
        match self.may(operation, Resource::Cluster) {
            true => Ok(Cluster { door: self }),
            false => Err(DoorError::NotAllowed(ResourceKind::Cluster)),
        }
    }

    /// A topic by name or id, to do something with it.
    ///
    /// # Errors
    /// `NotAllowed`, `NoSuchTopic`, `NoSuchTopicId`.
    pub fn topic<'a>(
        &self,
        asked: impl Into<TopicRef<'a>>,
        operation: Operation,
    ) -> Result<Arc<Topic>, DoorError> {
        match asked.into() {
            TopicRef::Name(name) => {
                self.check(operation, Resource::Topic(name))?;
                self.topics.topic(name).ok_or(DoorError::NoSuchTopic)
            }
            TopicRef::Id(id) => {
                let topic = self.topics.by_id(id).ok_or(DoorError::NoSuchTopicId)?;
                self.check(operation, Resource::Topic(topic.name()))?;
                Ok(topic)
            }
        }
    }

    /// Why the principal may not see a topic of that name, whether there is one or not.
    pub fn hides_topic(&self, name: &str) -> Option<DoorError> {
        self.check(Operation::Describe, Resource::Topic(name)).err()
    }

    /// Whether a list has a topic of that name for the principal.
    pub fn shows_topic(&self, name: &str) -> bool {
        self.may(Operation::Describe, Resource::Topic(name))
    }

    /// The topics that the principal may see, as ACLs say at the time.
    pub fn may_see(&self) -> MaySee {
        let (access, principal, host) =
            (Arc::clone(&self.access), self.principal.clone(), self.host);
        MaySee::new(move |name| {
            access.allows(&principal, host, Operation::Describe, Resource::Topic(name))
        })
    }

    /// Why an answer to the principal leaves out the configs of a topic of that name.
    pub fn hides_configs(&self, name: &str) -> Option<DoorError> {
        let may = self.may(Operation::DescribeConfigs, Resource::Topic(name));
        (!may).then_some(DoorError::NotAllowed(ResourceKind::Topic))
    }

    /// A partition of a topic that the door has let through.
    ///
    /// # Errors
    /// `NoSuchPartition`, `Elsewhere`.
    pub fn partition(&self, topic: &Topic, number: i32) -> Result<Arc<Partition>, DoorError> {
        let here = self.hosted.get(topic.id(), number);
        here.ok_or_else(|| match self.view.placement(topic, number) {
            Some(placement) => DoorError::Elsewhere(placement.leader),
            None => DoorError::NoSuchPartition,
        })
    }

    /// The partitions that are on this broker of a topic that the door has let through.
    pub fn partitions_here(&self, topic: &Topic) -> Partitions {
        self.hosted.of(topic.id())
    }

    /// The topic that the door was asked for, if it has a partition of that number, wherever that is.
    ///
    /// # Errors
    /// The topic's, and `NoSuchPartition`.
    pub fn has<'t>(
        &self,
        topic: &'t Result<Arc<Topic>, DoorError>,
        number: i32,
    ) -> Result<&'t Arc<Topic>, DoorError> {
        let topic = topic.as_ref().map_err(|error| *error)?;
        match topic.has_partition(number) {
            true => Ok(topic),
            false => Err(DoorError::NoSuchPartition),
        }
    }

    /// The topics with which something may be done, by name.
    pub fn topics(&self, operation: Operation) -> Vec<Arc<Topic>> {
        let mut topics = self.topics.list();
        topics.retain(|topic| self.may(operation, Resource::Topic(topic.name())));
        topics
    }

    /// Whether the principal may write to any topic at all, which need not exist.
    pub fn may_write_somewhere(&self) -> bool {
        self.access
            .allows_some_topic(&self.principal, self.host, Operation::Write)
    }

    /// Where a topic of that name may be created. The topics themselves say whether it can be.
    ///
    /// # Errors
    /// `NotAllowed`: neither any topic nor this one.
    pub fn creating(&self, name: &str) -> Result<&Arc<Topics>, DoorError> {
        if !self.may(Operation::Create, Resource::Cluster) {
            self.check(Operation::Create, Resource::Topic(name))?;
        }
        Ok(&self.topics)
    }

    /// Access for changing the topic of that name. The topics themselves say whether it exists.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub fn changing(&self, name: &str, operation: Operation) -> Result<&Arc<Topics>, DoorError> {
        self.check(operation, Resource::Topic(name))?;
        Ok(&self.topics)
    }

    /// A topic by name or id, to delete it. Who may delete in the whole cluster needs no permission on
    /// the topic; and to name a topic one must be allowed to see it.
    ///
    /// # Errors
    /// `NotAllowed`, `NoSuchTopic`, `NoSuchTopicId`.
    pub fn deletable<'a>(&self, asked: impl Into<TopicRef<'a>>) -> Result<Arc<Topic>, DoorError> {
        let asked = asked.into();
        if self.may(Operation::Delete, Resource::Cluster) {
            return Cluster { door: self }.topic(asked);
        }
        if let TopicRef::Name(name) = asked {
            self.check(Operation::Describe, Resource::Topic(name))?;
        }
        self.topic(asked, Operation::Delete)
    }

    /// Deletes a topic that passed the door, mirror or not. Blocks on disk. The future ends when
    /// its committed offsets are removed, too.
    ///
    /// # Errors
    /// Nothing is deleted.
    pub fn delete(
        &self,
        topic: &Topic,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<>, TopicError> {
        delete_topic(&self.topics, &self.links, &self.groups, topic)
    }

    /// Links and their mirrors, to do something with them: that needs permission on the cluster.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub fn links(&self, operation: Operation) -> Result<&Arc<LinkManager>, DoorError> {
        self.check(operation, Resource::Cluster)?;
        Ok(&self.links)
    }

    /// The coordinator of a group, to do something with the group.
    ///
    /// # Errors
    /// `NotAllowed`, `OtherCoordinator`.
    pub fn group(
        &self,
        group: &GroupId,
        operation: Operation,
    ) -> Result<&Arc<Coordinator>, DoorError> {
        self.check(operation, Resource::Group(group.as_str()))?;
        self.check_here(Coordinated::Group(group.as_str()))?;
        Ok(&self.groups)
    }

    /// A group that is synced from a source, by its id there. Any broker knows of it.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub fn describable_group(&self, group: &str) -> Result<(), DoorError> {
        self.check(Operation::Describe, Resource::Group(group))
    }

    fn check_here(&self, of: Coordinated<'_>) -> Result<(), DoorError> {
        match self.view.coordinator(of) == Some(self.view.here()) {
            true => Ok(()),
            false => Err(DoorError::OtherCoordinator),
        }
    }

    /// Who coordinates that, if the principal may know; `None` while nobody does.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub fn coordinator(&self, of: Coordinated<'_>) -> Result<Option<NodeId>, DoorError> {
        let resource = match of {
            Coordinated::Group(group) => Resource::Group(group),
            Coordinated::TransactionalId(id) => Resource::TransactionalId(id),
        };
        self.check(Operation::Describe, resource)?;
        Ok(self.view.coordinator(of))
    }

    /// The groups that the principal may see.
    pub fn groups(&self) -> Vec<ListedGroup> {
        let mut groups = self.groups.list();
        if !self.may(Operation::Describe, Resource::Cluster) {
            groups
                .retain(|it| self.may(Operation::Describe, Resource::Group(it.group_id.as_str())));
        }
        groups
    }

    /// Whether groups of the consumer protocol are served (KIP-848).
    pub fn offers_consumer_protocol(&self) -> bool {
        self.groups.offers_consumer_protocol()
    }

    /// The topics that groups know, as they are now.
    pub fn topics_of_groups(&self) -> Arc<topic::TopicImage> {
        self.groups.topics()
    }

    /// The coordinator of a transactional id, to do something with the id.
    ///
    /// # Errors
    /// `NotAllowed`, `OtherCoordinator`.
    pub fn transactional_id(
        &self,
        id: &str,
        operation: Operation,
    ) -> Result<&Arc<transaction::Coordinator>, DoorError> {
        self.check(operation, Resource::TransactionalId(id))?;
        self.check_here(Coordinated::TransactionalId(id))?;
        Ok(&self.transactions)
    }

    /// The transactional ids that pass the filter and that the principal may see.
    ///
    /// # Errors
    /// As the coordinator.
    pub fn transactional_ids(&self, filter: &ListFilter) -> Result<Vec<Listed>, TxnError> {
        let mut listed = self.transactions.list(filter)?;
        listed.retain(|it| {
            self.may(
                Operation::Describe,
                Resource::TransactionalId(it.id.as_str()),
            )
        });
        Ok(listed)
    }
}
