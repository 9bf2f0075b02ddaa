//! `GET /kafka/v3/clusters` and `/kafka/v3/clusters/{cluster_id}`.

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::extract::Base;
use super::model::Collection;
use super::model::cluster::ClusterData;

/// The list of clusters, which holds this one.
pub async fn list(State(app): State<Shared>, base: Base) -> Json<Collection<ClusterData>> {
    let own = base.at("");
    let list = own
        .rsplit_once('/')
        .map_or_else(String::new, |(list, _)| list.to_owned());
    let data = vec![ClusterData::new(own, &app.cluster_id)];
    Json(Collection::new(ClusterData::LIST_KIND, list, data))
}

pub async fn read(State(app): State<Shared>, base: Base) -> Json<ClusterData> {
    Json(ClusterData::new(base.at(""), &app.cluster_id))
}
