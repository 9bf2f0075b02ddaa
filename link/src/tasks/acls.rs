//! `AclSync`: the ACLs here that the source has. Set there, they are set here; removed there, they
//! are removed here.
//!
//! Invariants:
//! - They are in force from the sync on: a failover needs no step for them.
//! - A sync that fails changes nothing: the ACLs of the last one stay.
//! - ACLs that clients have set here are never changed. One that says the opposite of a synced one
//!   is named in the task's note.
//! - One sync of a link at a time ([`LinkShared::acls`]), to the end of its write: an older answer
//!   never overwrites a newer one.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;

use super::{Job, Run};
use crate::acls::{Acl, AclsSynced, SourceAcls};
use crate::config::LinkConfig;
use crate::ports::AclRefusal;
use crate::shared::{JobPlan, LinkShared, Note};
use crate::source::{SourceError, answered};
use crate::state::{TaskError, TaskErrorCode};
use crate::tasks::source_code;

/// Every `acl.sync.ms`, once it is switched on.
pub(crate) const JOB: Job = Job {
    plan: JobPlan {
        name: "AclSync",
        interval_ms: |config| config.acl_sync_enable.then_some(config.acl_sync_ms),
    },
    run: |link| {
        let link = Arc::clone(link);
        let run: Run = Box::pin(async move { sync(&link).await });
        Some(run)
    },
};

/// ACLs of one link, at most.
const ACLS_MAX: usize = 100_000;

pub(crate) const NO_AUTHORIZER: &str = "ACLs have no effect in this cluster: set \
     authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer in the broker's \
     properties and restart it, or leave this at false";

/// One sync.
async fn sync(link: &Arc<LinkShared>) -> Result<Note, TaskError> {
    let turn = Arc::clone(&link.acls).lock_owned().await;
    let (config, source, expected) = {
        let inner = link.inner();
        let expected = inner.record.source_cluster_id.clone();
        (
            Arc::clone(&inner.config),
            Arc::clone(&inner.source),
            expected,
        )
    };
    let misconfigured = |detail: &str| (TaskErrorCode::MisconfigurationError, detail.to_owned());
    if !link.ports.acls.is_enforced() {
        return Err(misconfigured(NO_AUTHORIZER));
    }
    if !config.acl_filters.includes_any() {
        return Err(misconfigured(
            "acl.filters selects no ACL: set the filters of those to be synced",
        ));
    }
    let cluster = source.describe().await.map_err(of_source)?;
    if expected.is_some() && cluster.cluster_id.is_some() && cluster.cluster_id != expected {
        let detail = "a different cluster answers than the one that the link was created for";
        return Err((TaskErrorCode::UnknownError, detail.to_owned()));
    }
    let found = source.acls().await.map_err(of_source)?;
    let Wanted { acls, left_out } = wanted(&config, found)?;
    let (name, count) = (link.name.clone(), acls.len());
    let synced = link.blocking(move |ports| {
        let _turn = turn;
        ports.acls.sync(&name, &acls)
    });
    let stopped = |_| {
        (
            TaskErrorCode::UnknownError,
            "the task was stopped".to_owned(),
        )
    };
    let synced = synced.await.map_err(stopped)?.map_err(of_refusal)?;
    if synced.added + synced.released > 0 {
        let (added, removed) = (synced.added, synced.released);
        tracing::info!(link = %link.name, added, removed, synced = count, "ACLs synced");
    }
    Ok(note(count, left_out, &synced))
}

/// The ACLs that are to be here.
struct Wanted {
    acls: Vec<Acl>,
    /// Those that the filters may select, and that this version does not know.
    left_out: usize,
}

fn wanted(config: &LinkConfig, found: SourceAcls) -> Result<Wanted, TaskError> {
    let selected = found.acls.into_iter();
    let selected = selected.filter(|acl| config.acl_filters.include(acl));
    let with_groups = config.consumer_group_prefix_enable;
    let renamed: BTreeSet<Acl> = selected
        .map(|acl| acl.renamed(&config.prefix, with_groups))
        .collect();
    if renamed.len() > ACLS_MAX {
        let count = renamed.len();
        let detail = format!("acl.filters selects {count} ACLs, but only {ACLS_MAX} can be synced");
        return Err((TaskErrorCode::MisconfigurationError, detail));
    }
    Ok(Wanted {
        acls: renamed.into_iter().collect(),
        left_out: found.unknown,
    })
}

fn note(count: usize, left_out: usize, synced: &AclsSynced) -> Note {
    let mut note = match count {
        1 => "1 ACL of the source is in force here".to_owned(),
        _ => format!("{count} ACLs of the source are in force here"),
    };
    if left_out > 0 {
        note.push_str(&format!("; {left_out} of a kind unknown here are not"));
    }
    if synced.conflict_count > 0 {
        let named = synced.conflicts.iter().map(ToString::to_string);
        let mut named: Vec<String> = named.collect();
        if synced.conflict_count > named.len() {
            named.push(format!("and {} more", synced.conflict_count - named.len()));
        }
        note.push_str(&format!(
            "; these ACLs that were set here say the opposite of synced ones (a DENY wins), and stay: {}",
            named.join(", ")
        ));
    }
    note
}

fn of_source(error: SourceError) -> TaskError {
    if let SourceError::Broker { code, .. } = &error {
        if *code == ErrorCode::CLUSTER_AUTHORIZATION_FAILED {
            let answer = answered(*code, "DESCRIBE the cluster");
            let detail = format!(
                "asked for its ACLs, {answer}. Allow that with kafka-acls.sh --add --operation \
                 Describe --cluster"
            );
            return (TaskErrorCode::AuthorizationError, detail);
        }
        if *code == ErrorCode::SECURITY_DISABLED {
            let detail = "the source has no authorizer, and so no ACLs. What was synced before \
                          stays; to sync none, set acl.sync.enable=false";
            return (TaskErrorCode::MisconfigurationError, detail.to_owned());
        }
    }
    (source_code(&error), error.to_string())
}

fn of_refusal(refusal: AclRefusal) -> TaskError {
    let code = match &refusal {
        AclRefusal::Refused(_) => TaskErrorCode::MisconfigurationError,
        AclRefusal::Storage(_) => TaskErrorCode::UnknownError,
    };
    (code, refusal.to_string())
}
