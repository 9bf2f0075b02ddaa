//! `carrick link …`: create, list, describe, configs, pause, resume, delete.

mod configs;

use std::fmt::Write;
use std::path::PathBuf;

use carrick_link::naming::some_of;
use carrick_link::verb::Verb;
use clap::{Args, Subcommand};

use super::client::Client;
use super::error::{CliError, CliResult};
use super::groups;
use super::mirror::alter::{fail_over_all, render_outcomes};
use super::mirror::rpo::render;
use super::mirror::summary_of;
use super::output::{Output, facts, plural, table, when};
use super::settings::{name_value, read_client_file, refuse_secrets, to_body};
use crate::http::model::link::{CreateLinkRequest, LinkConfigData, LinkData, LinkDeletion};
use crate::http::model::{Collection, escape};

/// What can be done with links.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Create a link to a source cluster
    Create(Create),
    /// List the links
    List,
    /// Show one link: state, tasks, configs
    Describe {
        /// The link's name
        name: String,
    },
    /// Show or change a link's configs while it runs
    #[command(subcommand)]
    Configs(configs::ConfigsCommand),
    /// Pause all mirrors of a link
    Pause {
        /// The link's name
        name: String,
    },
    /// Resume a link; this also clears the failure of a link that has failed
    Resume {
        /// The link's name
        name: String,
    },
    /// Show which group offsets the link has synced
    Groups {
        /// The link's name
        name: String,
        /// A group at the source: show its partitions
        group: Option<String>,
    },
    /// Delete a link
    Delete {
        /// The link's name
        name: String,
        /// If the link still has mirrors, fail them over first. They become ordinary topics, and
        /// records that they lack stay missing
        #[arg(long)]
        fail_over_mirrors: bool,
    },
}

/// `link create`
#[derive(Debug, Args)]
pub struct Create {
    /// The link's name
    name: String,
    /// The source's addresses, HOST:PORT[,…]
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// A Kafka client's properties file for the source
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// A config of the link, but no secret; wins over the file
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_value)]
    configs: Vec<(String, String)>,
    /// Refuse the source if it has a different cluster id
    #[arg(long, value_name = "ID")]
    source_cluster_id: Option<String>,
    /// Do not ask the source whether it answers: it may come later
    #[arg(long)]
    no_validate: bool,
    /// Check everything, including the connection, but create nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs a link command.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, command: LinkCommand) -> CliResult {
    match command {
        LinkCommand::Create(create) => self::create(client, output, create),
        LinkCommand::List => {
            let links: Collection<LinkData> = client.get("/links")?;
            output.print(&links.data, |links| render_list(links))
        }
        LinkCommand::Describe { name } => describe(client, output, &name),
        LinkCommand::Configs(command) => configs::run(client, output, command),
        LinkCommand::Pause { name } => configs::pause(client, output, &name, true),
        LinkCommand::Resume { name } => configs::pause(client, output, &name, false),
        LinkCommand::Groups { name, group } => groups::run(client, output, &name, group.as_deref()),
        LinkCommand::Delete {
            name,
            fail_over_mirrors,
        } => delete(client, output, &name, fail_over_mirrors),
    }
}

fn create(client: &Client, output: Output, create: Create) -> CliResult {
    refuse_secrets(&create.configs)?;
    let mut configs = match &create.config_file {
        Some(path) => read_client_file(path)?,
        None => Default::default(),
    };
    configs.extend(create.configs);
    if let Some(servers) = create.bootstrap_server {
        configs.insert("bootstrap.servers".to_owned(), servers);
    }
    if !configs.contains_key("bootstrap.servers") {
        return Err(CliError::Usage(
            "no source is given: use --bootstrap-server HOST:PORT, or a --config-file with \
             bootstrap.servers"
                .to_owned(),
        ));
    }
    let body = CreateLinkRequest {
        source_cluster_id: create.source_cluster_id,
        remote_cluster_id: None,
        configs: to_body(configs),
    };
    let name = escape(&create.name);
    let path = format!(
        "/links?link_name={name}&validate_link={}&validate_only={}",
        !create.no_validate, create.dry_run
    );
    client.post_quietly(&path, &body)?;
    if create.dry_run {
        let answer = serde_json::json!({ "link_name": create.name, "valid": true });
        return output.print(&answer, |_| {
            let source = match create.no_validate {
                true => "the source was not asked",
                false => "the source answers",
            };
            format!(
                "link {} can be created: its configs are valid and {source}",
                create.name
            )
        });
    }
    let link: LinkData = client.get(&format!("/links/{name}"))?;
    output.print(&link, |link| {
        let id = link.source_cluster_id.as_deref().unwrap_or("not known yet");
        format!(
            "link {} created: {}, source cluster {id}",
            link.link_name, link.link_state
        )
    })
}

/// Deletes a link. Its mirrors, if they may be failed over, are so first, each with its report.
fn delete(client: &Client, output: Output, name: &str, fail_over_mirrors: bool) -> CliResult {
    let outcomes = match fail_over_mirrors {
        true => fail_over_all(client, name)?,
        false => Vec::new(),
    };
    let path = format!("/links/{}?force={fail_over_mirrors}", escape(name));
    let deleted: CliResult<LinkDeletion> = client.delete_answered(&path);
    // For mirrors that had to be cut by force.
    let reports = deleted.as_ref().map_or(&[][..], |it| &it.reports);
    let groups = deleted.as_ref().map_or(&[][..], |it| &it.prefixed_groups);
    let answer = serde_json::json!({
        "link_name": name,
        "deleted": deleted.is_ok(),
        "mirrors": outcomes,
        "reports": reports,
        "prefixed_groups": groups,
    });
    output.print(&answer, |_| {
        let mut text = match outcomes.is_empty() {
            true => String::new(),
            false => render_outcomes(&outcomes, Verb::Failover, false),
        };
        for report in reports {
            text.push_str(&render(report));
        }
        if deleted.is_ok() {
            text.push_str(&format!("link {name} deleted"));
            text.push_str(&groups_that_stay(groups));
        }
        text
    })?;
    deleted.map(drop)
}

/// The message about groups that a deleted link created under a prefix.
fn groups_that_stay(groups: &[String]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    format!(
        "\n{} that it made under a prefix stay, with their offsets: {}\n\
         delete one with: kafka-consumer-groups.sh --bootstrap-server HOST:PORT --delete --group NAME",
        plural(groups.len(), "group"),
        some_of(groups),
    )
}

fn describe(client: &Client, output: Output, name: &str) -> CliResult {
    let name = escape(name);
    let link: LinkData = client.get(&format!("/links/{name}?include_tasks=true"))?;
    let configs: Collection<LinkConfigData> = client.get(&format!("/links/{name}/configs"))?;
    let mut answer = serde_json::json!({ "link": link });
    answer["configs"] = serde_json::json!(configs.data);
    output.print(&answer, |_| render_link(&link, &configs.data))
}

fn render_list(links: &[LinkData]) -> String {
    if links.is_empty() {
        return "no links; create one with: carrick link create NAME --bootstrap-server HOST:PORT"
            .to_owned();
    }
    table(
        [
            "NAME",
            "STATE",
            "SOURCE CLUSTER",
            "BOOTSTRAP",
            "MIRRORS",
            "LAG",
            "ERROR",
        ],
        links.iter().map(|link| {
            [
                link.link_name.clone(),
                link.link_state.clone(),
                link.source_cluster_id
                    .clone()
                    .unwrap_or_else(|| "-".to_owned()),
                link.bootstrap_servers.clone(),
                link.topic_names.len().to_string(),
                summary_of(&link.lag_summary, "at most"),
                error_of(link),
            ]
        }),
    )
}

fn error_of(link: &LinkData) -> String {
    match (&*link.link_error, &link.link_error_message) {
        ("NO_ERROR", _) => link.problem.clone().unwrap_or_else(|| "-".to_owned()),
        (code, Some(message)) => format!("{code}: {message}"),
        (code, None) => code.to_owned(),
    }
}

fn groups_of(link: &LinkData) -> String {
    let counts = link.group_counts;
    format!(
        "{} synced, {} skipped (in use here), {} failed, {} gone from the source",
        counts.synced, counts.skipped, counts.failed, counts.gone
    )
}

/// Topics that are named.
const BEYOND_NAMED_MAX: usize = 5;

/// Records that the source holds beyond the cuts of its mirrors.
fn beyond_of(link: &LinkData) -> String {
    let Some(seen_ms) = link.beyond_cuts.iter().map(|it| it.seen_time_ms).min() else {
        return "-".to_owned();
    };
    let mut beyond: Vec<_> = link
        .beyond_cuts
        .iter()
        .filter(|it| it.records > 0)
        .collect();
    if beyond.is_empty() {
        return format!("nothing at the source, as of {}", when(seen_ms));
    }
    beyond.sort_by_key(|it| std::cmp::Reverse(it.records));
    let named = beyond.iter().take(BEYOND_NAMED_MAX);
    let mut named: Vec<String> = named
        .map(|it| format!("{} of {}", it.records, it.topic_name))
        .collect();
    if beyond.len() > named.len() {
        named.push(format!("and {} more topics", beyond.len() - named.len()));
    }
    format!(
        "records only at the source: {}; as of {}",
        named.join(", "),
        when(seen_ms)
    )
}

fn render_link(link: &LinkData, configs: &[LinkConfigData]) -> String {
    let unknown = || "not known yet".to_owned();
    let mut text = facts(&[
        ("link", link.link_name.clone()),
        ("id", link.cluster_link_id.clone()),
        (
            "state",
            format!(
                "{} since {}",
                link.link_state,
                when(link.link_state_time_ms)
            ),
        ),
        ("error", error_of(link)),
        (
            "source cluster",
            link.source_cluster_id.clone().unwrap_or_else(unknown),
        ),
        ("bootstrap", link.bootstrap_servers.clone()),
        (
            "source seen",
            link.source_seen_time_ms
                .map_or_else(|| "never".to_owned(), when),
        ),
        ("mirrors", plural(link.topic_names.len(), "topic")),
        ("groups", groups_of(link)),
        ("beyond the cuts", beyond_of(link)),
        (
            "lag",
            summary_of(&link.lag_summary, "of the partition furthest behind"),
        ),
    ]);
    if let Some(tasks) = &link.tasks {
        text.push('\n');
        text.push_str(&table(
            ["TASK", "STATE", "SINCE", "ERROR"],
            tasks.iter().map(|task| {
                let message = |error: &crate::http::model::link::LinkTaskError| {
                    format!("{}: {}", error.error_code, error.error_message)
                };
                let errors: Vec<String> = task.errors.iter().map(message).collect();
                let errors = if errors.is_empty() {
                    "-".to_owned()
                } else {
                    errors.join("; ")
                };
                [
                    task.task_name.clone(),
                    task.state.clone(),
                    when(task.since_ms),
                    errors,
                ]
            }),
        ));
        text.push('\n');
        for task in tasks {
            if let Some(note) = &task.note {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}: {note}", task.task_name);
            }
        }
    }
    let set: Vec<&LinkConfigData> = configs.iter().filter(|config| !config.is_default).collect();
    text.push('\n');
    text.push_str(&configs::render(&set));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;
    use crate::http::model::link::BeyondCutData;

    fn link() -> LinkData {
        LinkData {
            kind: LinkData::KIND.to_owned(),
            metadata: ResourceMetadata::new("http://x/links/west"),
            source_cluster_id: Some("src".to_owned()),
            destination_cluster_id: Some("dst".to_owned()),
            remote_cluster_id: Some("src".to_owned()),
            link_name: "west".to_owned(),
            link_id: "id".to_owned(),
            cluster_link_id: "id".to_owned(),
            topic_names: vec!["a".to_owned(), "b".to_owned()],
            link_state: "UNAVAILABLE".to_owned(),
            link_error: "TIMEOUT_ERROR".to_owned(),
            link_error_message: Some("no answer from a:1 in 30 s".to_owned()),
            problem: None,
            tasks: None,
            link_state_time_ms: 0,
            bootstrap_servers: "a:1".to_owned(),
            source_seen_time_ms: None,
            lag_summary: Default::default(),
            group_counts: Default::default(),
            beyond_cuts: Vec::new(),
        }
    }

    #[test]
    fn a_problem_here_shows_where_an_error_would() {
        let mut link = link();
        link.link_error = "NO_ERROR".to_owned();
        link.problem = Some("1 partition can't be written here".to_owned());
        assert!(render_list(&[link]).contains("1 partition can't be written here"));
    }

    #[test]
    fn what_the_source_took_after_the_cuts_is_named() {
        let beyond = |topic: &str, records| BeyondCutData {
            topic_name: topic.to_owned(),
            records,
            seen_time_ms: 0,
        };
        let mut link = link();
        assert_eq!(beyond_of(&link), "-");
        link.beyond_cuts = vec![beyond("quiet", 0)];
        assert!(beyond_of(&link).starts_with("nothing at the source"));
        link.beyond_cuts
            .extend([beyond("users", 126), beyond("orders", 353)]);
        let text = beyond_of(&link);
        assert!(
            text.contains("353 of orders, 126 of users; as of 1970"),
            "{text}"
        );
    }

    #[test]
    fn the_list_shows_state_and_cause() {
        let text = render_list(&[link()]);
        assert!(
            text.starts_with("NAME  STATE        SOURCE CLUSTER"),
            "{text}"
        );
        assert!(
            text.contains("TIMEOUT_ERROR: no answer from a:1 in 30 s"),
            "{text}"
        );
    }

    #[test]
    fn groups_that_stay_are_named_with_what_deletes_them() {
        assert_eq!(groups_that_stay(&[]), "");
        let text = groups_that_stay(&["west.app".to_owned()]);
        assert!(
            text.contains("1 group that it made under a prefix stay, with their offsets: west.app"),
            "{text}"
        );
        assert!(text.contains("--delete --group"), "{text}");
    }

    #[test]
    fn an_empty_list_says_what_to_do_next() {
        assert!(render_list(&[]).contains("carrick link create"));
    }

    #[test]
    fn a_sensitive_value_is_never_printed() {
        let config = LinkConfigData {
            kind: LinkConfigData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            cluster_id: String::new(),
            name: "sasl.jaas.config".to_owned(),
            value: "secret".to_owned(),
            is_default: false,
            is_read_only: false,
            is_sensitive: true,
            default: false,
            read_only: false,
            sensitive: true,
            source: String::new(),
            synonyms: Vec::new(),
            link_name: "west".to_owned(),
        };
        let text = render_link(&link(), &[config]);
        assert!(
            text.contains("sasl.jaas.config") && !text.contains("secret"),
            "{text}"
        );
    }
}
