//! THE list of routes. The router, what the audit log calls them and which of them are open to
//! everyone are all derived from it; a test takes each row and each right that is missing.

use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};
use carrick_link::verb::Verb;

use super::gate::Gate;
use super::mirror_actions::on;
use super::{
    Shared, clusters, groups, health, link_configs, links, metrics, mirror_creation, mirrors,
    partitions, secrets, topic_configs, topics, users, verify,
};

/// Below what a route is, and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Below [`CLUSTER`].
    Cluster,
    /// On its own.
    Root,
    /// On its own, without credentials: it shows nothing that anybody would want to hide.
    Open,
    /// Metrics: without credentials if `rest.metrics.public` says so.
    Metrics,
}

/// Where the routes of the cluster are.
pub const CLUSTER: &str = "/kafka/v3/clusters/{cluster_id}";

/// One method of one path.
pub struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler knows it, too"))]
    pub method: Method,
    path: &'static str,
    pub scope: Scope,
    /// What it does, in the audit log's words: Kafka's name where Kafka has the API.
    pub name: &'static str,
    /// The kind of what it changes, which the audit log notes; `None` if it only reads. Also the
    /// name of the path's parameter that names it, where one does.
    pub changes: Option<&'static str>,
    pub handler: fn(&Gate) -> MethodRouter<Shared>,
}

impl Route {
    /// The whole path.
    pub fn path(&self) -> String {
        match self.scope {
            Scope::Cluster => format!("{CLUSTER}{}", self.path),
            Scope::Root | Scope::Open | Scope::Metrics => self.path.to_owned(),
        }
    }
}

/// The scope of the routes of a whole path.
pub fn scope_of(path: &str) -> Option<Scope> {
    let is_it = |route: &&Route| match route.scope {
        Scope::Cluster => path.strip_prefix(CLUSTER) == Some(route.path),
        Scope::Root | Scope::Open | Scope::Metrics => path == route.path,
    };
    ROUTES.iter().find(is_it).map(|route| route.scope)
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

const fn row(
    method: Method,
    (scope, path): (Scope, &'static str),
    name: &'static str,
    changes: Option<&'static str>,
    handler: fn(&Gate) -> MethodRouter<Shared>,
) -> Route {
    Route {
        method,
        path,
        scope,
        name,
        changes,
        handler,
    }
}

/// Below [`CLUSTER`].
const fn at(path: &'static str) -> (Scope, &'static str) {
    (Scope::Cluster, path)
}

/// Every route.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    row(GET, (Scope::Open, "/healthz"), "Health", None, |_| get(health::healthz)),
    row(GET, (Scope::Open, "/readyz"), "Readiness", None, |_| get(health::readyz)),
    row(GET, (Scope::Metrics, "/metrics"), "Metrics", None, |_| get(metrics::scrape)),
    row(GET, (Scope::Root, "/kafka/v3/clusters"), "DescribeCluster", None, |_| get(clusters::list)),
    row(GET, at(""), "DescribeCluster", None, |_| get(clusters::read)),
    // Links.
    row(GET, at("/links"), "ListLinks", None, |_| get(links::list)),
    row(POST, at("/links"), "CreateLink", Some("link"), |_| post(links::create)),
    row(GET, at("/links/{link}"), "DescribeLink", None, |_| get(links::read)),
    row(DELETE, at("/links/{link}"), "DeleteLink", Some("link"), |_| delete(links::delete)),
    row(GET, at("/links/{link}/groups"), "ListLinkGroups", None, |_| get(groups::list)),
    row(GET, at("/links/{link}/groups/"), "DescribeLinkGroup", None, |_| get(groups::read_unnamed)),
    row(GET, at("/links/{link}/groups/{group}"), "DescribeLinkGroup", None, |_| get(groups::read)),
    row(GET, at("/links/{link}/configs"), "DescribeLinkConfigs", None, |_| get(link_configs::list)),
    row(PUT, at("/links/{link}/configs:alter"), "AlterLinkConfigs", Some("link"), |_| put(link_configs::alter)),
    row(GET, at("/links/{link}/configs/{name}"), "DescribeLinkConfigs", None, |_| get(link_configs::read)),
    row(PUT, at("/links/{link}/configs/{name}"), "AlterLinkConfigs", Some("link"), |_| put(link_configs::update)),
    row(DELETE, at("/links/{link}/configs/{name}"), "AlterLinkConfigs", Some("link"), |_| delete(link_configs::reset)),
    row(GET, at("/links/{link}/reports"), "ListReports", None, |_| get(mirrors::reports)),
    // Mirrors.
    row(GET, at("/links/{link}/mirrors"), "ListMirrors", None, |_| get(mirrors::list)),
    row(POST, at("/links/{link}/mirrors"), "CreateMirrors", Some("mirror"), |_| post(mirrors::create)),
    row(POST, at("/links/{link}/mirrors:create"), "CreateMirrors", Some("mirror"), |_| post(mirror_creation::create)),
    row(POST, at("/links/{link}/mirrors:promote"), "PromoteMirrors", Some("mirror"), |gate| on(Verb::Promote, gate)),
    row(POST, at("/links/{link}/mirrors:failover"), "FailOverMirrors", Some("mirror"), |gate| on(Verb::Failover, gate)),
    row(POST, at("/links/{link}/mirrors:pause"), "PauseMirrors", Some("mirror"), |gate| on(Verb::Pause, gate)),
    row(POST, at("/links/{link}/mirrors:resume"), "ResumeMirrors", Some("mirror"), |gate| on(Verb::Resume, gate)),
    row(POST, at("/links/{link}/mirrors:cancel-promote"), "CancelPromotions", Some("mirror"), |gate| on(Verb::CancelPromotion, gate)),
    row(GET, at("/links/{link}/mirrors/{topic}"), "DescribeMirror", None, |_| get(mirrors::read)),
    row(POST, at("/links/{link}/mirrors/{topic}"), "VerifyMirror", None, |_| post(verify::verify)),
    row(GET, at("/links/{link}/mirrors/{topic}/report"), "DescribeReport", None, |_| get(mirrors::report)),
    // Secrets.
    row(GET, at("/secrets"), "DescribeSecrets", None, |_| get(secrets::read)),
    row(POST, at("/secrets:rotate"), "RotateSecrets", Some("secrets"), |_| post(secrets::rotate)),
    // Users.
    row(GET, at("/users"), "DescribeUserScramCredentials", None, |_| get(users::list)),
    row(POST, at("/users"), "AlterUserScramCredentials", Some("user"), |_| post(users::set)),
    row(DELETE, at("/users/{user}"), "AlterUserScramCredentials", Some("user"), |_| delete(users::delete)),
    // Topics.
    row(GET, at("/topics"), "ListTopics", None, |_| get(topics::list)),
    row(POST, at("/topics"), "CreateTopics", Some("topic"), |_| post(topics::create)),
    row(GET, at("/topics/{topic}"), "DescribeTopics", None, |_| get(topics::read)),
    row(DELETE, at("/topics/{topic}"), "DeleteTopics", Some("topic"), |_| delete(topics::delete)),
    row(GET, at("/topics/{topic}/partitions"), "DescribeTopics", None, |_| get(partitions::list)),
    row(GET, at("/topics/{topic}/partitions/{partition}"), "DescribeTopics", None, |_| get(partitions::read)),
    row(GET, at("/topics/{topic}/configs"), "DescribeConfigs", None, |_| get(topic_configs::list)),
    row(GET, at("/topics/{topic}/configs/{name}"), "DescribeConfigs", None, |_| get(topic_configs::read)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_route_and_whatever_is_no_get_is_a_change_or_says_why() {
        for verb in Verb::ALL {
            let path = format!("/links/{{link}}/mirrors:{}", verb.name());
            assert!(ROUTES.iter().any(|route| route.path == path), "{path}");
        }
        for route in ROUTES {
            // A comparison with the source changes nothing.
            let reads = route.method == GET || route.name == "VerifyMirror";
            assert_eq!(route.changes.is_none(), reads, "{}", route.path());
        }
    }

    #[test]
    fn only_health_readiness_and_metrics_may_be_open() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| matches!(route.scope, Scope::Open | Scope::Metrics))
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/healthz", "/readyz", "/metrics"]);
        assert_eq!(scope_of(&format!("{CLUSTER}/links")), Some(Scope::Cluster));
        assert_eq!(scope_of("/links"), None);
    }
}
