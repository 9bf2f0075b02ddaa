//! Lines as they are in the file.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::principal::Principal;

fn event(name: &str, outcome: Outcome) -> Event {
    Event {
        who: Principal::anonymous(),
        from: IpAddr::from([10, 0, 0, 7]),
        via: Via::Kafka,
        action: "CreateTopics",
        target: Some(Target::new("topic", name)),
        detail: String::new(),
        is_dry_run: false,
        outcome,
    }
}

fn start(file: &Path) -> Arc<Audit> {
    let file = Some(file.to_owned());
    Audit::start(&AuditConfig { file }).unwrap()
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let each = text.lines().map(|line| serde_json::from_str(line).unwrap());
    each.collect()
}

#[test]
fn a_line_says_who_did_what_from_where_and_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let audit = start(&file);
    audit.note(event("a\n\"b\"", Outcome::Done));
    audit.note(event(
        "b",
        Outcome::Failed("TOPIC_ALREADY_EXISTS".to_owned()),
    ));
    audit.note(event("c", Outcome::Denied("CREATE")));
    audit.stop();
    let lines = lines(&file);
    let part = |line: &Value| {
        let mut line = line.clone();
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        assert_eq!(
            time.as_str().unwrap().len(),
            "2026-11-30T00:00:00.000Z".len()
        );
        line
    };
    let same = |resource: &str, rest: Value| {
        let mut line = json!({"who": "User:ANONYMOUS", "from": "10.0.0.7", "via": "kafka",
            "action": "CreateTopics", "resource_type": "topic", "resource": resource});
        let rest = rest.as_object().unwrap().clone();
        line.as_object_mut().unwrap().extend(rest);
        line
    };
    assert_eq!(
        part(&lines[0]),
        same("a\n\"b\"", json!({"outcome": "done"}))
    );
    let failed = json!({"outcome": "failed", "error": "TOPIC_ALREADY_EXISTS"});
    assert_eq!(part(&lines[1]), same("b", failed));
    let denied = json!({"outcome": "denied", "operation": "CREATE"});
    assert_eq!(part(&lines[2]), same("c", denied));
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_flood_of_refusals_is_cut_short_and_counted_and_hides_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let audit = start(&file);
    for _ in 0..5_000 {
        audit.note(event("x", Outcome::Denied("WRITE")));
    }
    audit.note(event("y", Outcome::Done));
    audit.stop();
    let lines = lines(&file);
    let count_of = |outcome| {
        lines
            .iter()
            .filter(|line| line["outcome"] == outcome)
            .count()
    };
    assert_eq!(count_of("done"), 1);
    let left_out = lines
        .iter()
        .filter_map(|line| line["left_out"]["too_many_refusals"].as_u64());
    let left_out: u64 = left_out.sum();
    assert_eq!(count_of("denied") as u64 + left_out, 5_000);
    assert!(left_out > 4_000, "{left_out}");
}

#[test]
fn a_file_that_was_moved_away_is_created_again() {
    let dir = tempfile::tempdir().unwrap();
    let (file, old) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
    let audit = start(&file);
    audit.note(event("a", Outcome::Done));
    let written = |file: &Path| std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
    let begun = Instant::now();
    while !written(&file) {
        assert!(begun.elapsed().as_secs() < 60, "nothing is written");
        std::thread::yield_now();
    }
    std::fs::rename(&file, &old).unwrap();
    audit.note(event("b", Outcome::Done));
    audit.stop();
    assert_eq!(lines(&old)[0]["resource"], "a");
    assert_eq!(lines(&file)[0]["resource"], "b");
    assert_eq!(lines(&old).len() + lines(&file).len(), 2);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_queue_that_is_full_leaves_events_out_and_counts_them() {
    let (sender, _never_read) = channel::bounded(2);
    let audit = Audit {
        shared: Arc::default(),
        queue: Mutex::new(Some(sender)),
        rates: Mutex::default(),
        thread: Mutex::new(None),
    };
    for _ in 0..5 {
        audit.note(event("a", Outcome::Done));
    }
    let left_out = &audit.shared.left_out;
    assert_eq!(left_out.queue_full.load(Ordering::Relaxed), 3);
    let waiting = audit.shared.waiting_bytes.load(Ordering::Relaxed);
    assert_eq!(waiting, 2 * event("a", Outcome::Done).size_bytes());
}
