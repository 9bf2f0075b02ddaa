//! The commands against live brokers: what they answer, and with which exit code.

use clap::CommandFactory;

use super::error::CliError;
use super::*;
use crate::http::tests::{Rig, runtime};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

/// Runs a command line against `url`.
fn carrick(url: &str, line: &str) -> CliResult {
    let cli = parse(&format!("carrick {} --url {url}", line.trim())).unwrap();
    run(&cli.reach, Output::new(cli.output), cli.command)
}

/// What a command line leads to: its error's text.
pub(crate) fn outcome(url: &str, line: &str) -> Result<(), String> {
    carrick(url, line).map_err(|error| error.to_string())
}

fn refusal(url: &str, line: &str) -> String {
    match carrick(url, line) {
        Err(CliError::Failed(message) | CliError::Unproven(message)) => message,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_documented_forms_parse() {
    for line in [
        "carrick serve --config carrick.properties --override a=b --override c=d",
        "carrick link create l --bootstrap-server a:1,b:2 --config x=y --dry-run",
        "carrick link create l --config-file client.properties --no-validate",
        "carrick link list -o json",
        "carrick link describe l",
        "carrick link delete l --fail-over-mirrors",
        "carrick link groups l",
        "carrick link groups l billing -o json",
        "carrick mirror create a b --link l",
        "carrick mirror create a --link l --mirror-topic b --config x=y --wait",
        "carrick mirror create --pattern a.* --link l --dry-run",
        "carrick mirror create --all --link l --wait",
        "carrick mirror list",
        "carrick mirror list --link l",
        "carrick mirror describe t",
        "carrick mirror pause a b --link l",
        "carrick mirror resume --pattern a.* --link l --dry-run",
        "carrick mirror promote --all --link l",
        "carrick mirror promote a --cancel --link l",
        "carrick mirror report",
        "carrick mirror report a b --json",
        "carrick mirror report --link l",
        "carrick link configs describe l --all",
        "carrick link configs alter l --set a=b --delete c --config-file f --dry-run --no-validate",
        "carrick link pause l",
        "carrick link resume l",
        "carrick mirror failover a --link l --dry-run",
        "carrick mirror verify t --sample --from 1 --to 9",
        "carrick topic list --url http://127.0.0.1:1",
        "carrick topic create t --partitions 3 --config a=b",
        "carrick topic describe t",
        "carrick topic delete t",
        "carrick topic delete t --delete-mirror",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn a_choice_of_mirrors_is_exactly_one_of_names_pattern_and_all() {
    for line in [
        "carrick mirror pause --link l",
        "carrick mirror pause a --all --link l",
        "carrick mirror pause --pattern a --all --link l",
        "carrick mirror pause a",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn topics_come_and_go_and_refusals_name_their_cause() {
    let runtime = runtime();
    let rig = runtime.block_on(Rig::start());
    let url = rig.url();
    carrick(
        &url,
        "topic create orders --partitions 2 --config retention.ms=60000",
    )
    .unwrap();
    carrick(&url, "topic list").unwrap();
    carrick(&url, "topic describe orders -o json").unwrap();
    assert!(refusal(&url, "topic create orders").contains("already exists"));
    let said = refusal(&url, "mirror list --status bogus");
    assert!(
        said.starts_with("'BOGUS' is not a mirror status; the statuses are: ACTIVE, PAUSED,"),
        "{said}"
    );
    carrick(&url, "mirror list --status failed").unwrap();
    assert!(refusal(&url, "topic create x --config no.such=1").contains("no.such"));
    carrick(&url, "topic delete orders").unwrap();
    assert!(refusal(&url, "topic describe orders").contains("orders"));
    runtime.block_on(rig.running.shutdown());
}

#[test]
fn a_link_to_nowhere_is_refused_and_one_without_address_is_a_usage_error() {
    let runtime = runtime();
    let rig = runtime.block_on(Rig::start());
    let url = rig.url();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = refusal(&url, &format!("link create a --bootstrap-server {closed}"));
    assert!(said.contains(&closed.to_string()), "{said}");
    let said = refusal(
        &url,
        &format!("link create a --bootstrap-server {closed} --config x.y=1"),
    );
    assert!(said.contains("x.y"), "{said}");
    assert!(matches!(
        carrick(&url, "link create a"),
        Err(CliError::Usage(_))
    ));
    carrick(&url, "link list").unwrap();
    assert!(refusal(&url, "mirror create orders --link a").contains('a'));
    assert!(refusal(&url, "mirror describe orders").contains("orders"));
    runtime.block_on(rig.running.shutdown());
}

#[test]
fn a_mirror_is_created_waited_for_verified_and_promoted() {
    let runtime = runtime();
    let (source, rig) = runtime.block_on(async { (Rig::start().await, Rig::start().await) });
    runtime.block_on(source.topic_with_records("orders", 10));
    let url = rig.url();
    let bootstrap = source.bootstrap();
    carrick(
        &url,
        &format!("link create west --bootstrap-server {bootstrap} --dry-run"),
    )
    .unwrap();
    carrick(
        &url,
        &format!("link create west --bootstrap-server {bootstrap}"),
    )
    .unwrap();
    carrick(&url, "link describe west").unwrap();
    carrick(
        &url,
        "mirror create orders --link west --wait --wait-timeout 20",
    )
    .unwrap();
    carrick(&url, "mirror list --link west --status active").unwrap();
    carrick(&url, "mirror describe orders").unwrap();
    carrick(&url, "mirror verify orders").unwrap();
    carrick(&url, "mirror verify orders --sample=3 -o json").unwrap();
    let said = refusal(&url, "mirror verify orders --partition 9");
    assert!(said.contains("no partition 9"), "{said}");
    assert!(refusal(&url, "mirror verify orders --from 5 --to 5").contains("no offset"));
    for nothing in ["--from 5000", "--partition 9"] {
        let unproven = carrick(&url, &format!("mirror verify orders {nothing}"));
        assert!(
            matches!(unproven, Err(CliError::Unproven(_))),
            "{nothing}: {unproven:?}"
        );
    }
    let cancel = "mirror promote orders --cancel --link west";
    assert!(refusal(&url, cancel).contains("not being promoted"));
    assert!(refusal(&url, "mirror report orders").contains("neither promoted"));
    carrick(&url, "mirror report").unwrap();
    carrick(&url, "mirror promote orders --link west --dry-run").unwrap();
    let catalog = &rig.running.broker.topics;
    assert!(catalog.topic("orders").unwrap().is_mirror());
    carrick(&url, "mirror promote orders --link west").unwrap();
    assert!(!catalog.topic("orders").unwrap().is_mirror());
    carrick(&url, "mirror describe orders -o json").unwrap();
    carrick(&url, "mirror report").unwrap();
    carrick(&url, "mirror report orders --json").unwrap();
    assert!(refusal(&url, "mirror pause orders --link west").contains("orders"));
    carrick(&url, "link delete west").unwrap();
    // Reports outlive their link.
    carrick(&url, "mirror report").unwrap();
    carrick(&url, "mirror report orders").unwrap();
    runtime.block_on(async {
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
    let gone = carrick(&url, "topic list");
    assert!(
        matches!(gone, Err(CliError::Unreachable { .. })),
        "{gone:?}"
    );
}

#[test]
fn a_source_that_is_away_proves_nothing_and_may_be_linked_when_asked() {
    let runtime = runtime();
    let (source, rig) = runtime.block_on(async { (Rig::start().await, Rig::start().await) });
    runtime.block_on(source.topic_with_records("orders", 10));
    let (url, bootstrap) = (rig.url(), source.bootstrap());
    let create = format!("link create west --bootstrap-server {bootstrap}");
    carrick(&url, &create).unwrap();
    carrick(
        &url,
        "mirror create orders --link west --wait --wait-timeout 20",
    )
    .unwrap();
    carrick(&url, "mirror verify orders").unwrap();
    runtime.block_on(source.running.shutdown());
    let away = carrick(&url, "mirror verify orders").unwrap_err();
    assert_eq!(away.exit_code(), 4, "{away}");

    let later = format!("link create later --bootstrap-server {bootstrap}");
    assert!(refusal(&url, &later).contains(&bootstrap));
    carrick(&url, &format!("{later} --no-validate --dry-run")).unwrap();
    assert!(refusal(&url, "link describe later").contains("later"));
    carrick(&url, &format!("{later} --no-validate")).unwrap();
    carrick(&url, "link describe later").unwrap();
    runtime.block_on(rig.running.shutdown());
}

#[test]
fn commands_that_end_mirrors_need_a_flag_that_says_so() {
    let runtime = runtime();
    let (source, rig) = runtime.block_on(async { (Rig::start().await, Rig::start().await) });
    for topic in ["orders", "payments"] {
        runtime.block_on(source.topic_with_records(topic, 10));
    }
    let (url, bootstrap) = (rig.url(), source.bootstrap());
    let create = format!("link create west --bootstrap-server {bootstrap}");
    carrick(&url, &create).unwrap();
    let create = "mirror create orders payments --link west --wait --wait-timeout 20";
    carrick(&url, create).unwrap();
    let catalog = &rig.running.broker.topics;

    let said = refusal(&url, "topic delete orders");
    assert!(said.contains("active mirror of link west"), "{said}");
    assert!(
        said.contains("carrick topic delete orders --delete-mirror"),
        "{said}"
    );
    assert!(catalog.topic("orders").unwrap().is_mirror());
    carrick(&url, "topic delete orders --delete-mirror").unwrap();
    assert!(catalog.topic("orders").is_none());

    let said = refusal(&url, "link delete west");
    assert!(said.contains("--fail-over-mirrors"), "{said}");
    assert!(parse("carrick link delete west --force").is_err());
    assert!(catalog.topic("payments").unwrap().is_mirror());
    carrick(&url, "link delete west --fail-over-mirrors").unwrap();
    assert!(!catalog.topic("payments").unwrap().is_mirror());
    assert!(refusal(&url, "link describe west").contains("west"));
    carrick(&url, "topic delete payments").unwrap();
    runtime.block_on(async {
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
}

#[test]
fn a_link_s_configs_are_changed_while_it_runs_all_or_none() {
    let runtime = runtime();
    let (source, rig) = runtime.block_on(async { (Rig::start().await, Rig::start().await) });
    let (url, bootstrap) = (rig.url(), source.bootstrap());
    carrick(
        &url,
        &format!("link create west --bootstrap-server {bootstrap}"),
    )
    .unwrap();
    let links = &rig.running.broker.links;
    let value = |name: &str| {
        let entries = links.link_configs("west").unwrap();
        let entry = entries.into_iter().find(|entry| entry.name == name);
        entry.unwrap().value.unwrap_or_default()
    };
    carrick(&url, "link configs describe west").unwrap();
    let alter = "link configs alter west --set retry.backoff.ms=7 --set client.id=x";
    carrick(&url, &format!("{alter} --dry-run")).unwrap();
    assert_eq!(value("retry.backoff.ms"), "100");
    carrick(&url, alter).unwrap();
    assert_eq!(value("retry.backoff.ms"), "7");
    for dry_run in ["", " --dry-run"] {
        let nowhere = "link configs alter west --set bootstrap.servers=127.0.0.1:1";
        let said = refusal(&url, &format!("{nowhere}{dry_run}"));
        assert!(said.contains("--no-validate"), "{said}");
        assert_eq!(value("bootstrap.servers"), bootstrap);
    }
    let unseen = "link configs alter west --set bootstrap.servers=127.0.0.1:1 --no-validate";
    carrick(&url, &format!("{unseen} --dry-run")).unwrap();
    let said = refusal(
        &url,
        "link configs alter west --delete client.id --set no.such=1",
    );
    assert!(said.contains("no.such"), "{said}");
    assert_eq!(value("client.id"), "x");
    carrick(&url, "link configs alter west --delete retry.backoff.ms").unwrap();
    assert_eq!(value("retry.backoff.ms"), "100");
    carrick(&url, "link pause west").unwrap();
    assert_eq!(value("cluster.link.paused"), "true");
    carrick(&url, "link resume west -o json").unwrap();
    assert_eq!(value("cluster.link.paused"), "false");
    runtime.block_on(async {
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
}
