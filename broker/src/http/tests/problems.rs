//! What an operator sees when a disk is full or partitions are offline, and which mirrors a promotion still promotes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::linking::mirroring;
use super::*;

/// A small file system in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounted at `path`; `None` where that may not be done.
    fn mount(path: &Path, megabytes: u32) -> Option<SmallDisk> {
        let disk = SmallDisk(path.to_owned());
        let done = disk.run(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        done.then_some(disk)
    }

    fn resize(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        assert!(self.run(&["-o", &size]), "remounted");
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mount = Command::new("mount").args(arguments).arg(&self.0).output();
        mount.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

async fn text(rig: &Rig, path: &str) -> String {
    let (status, text) = send("GET", &format!("{}/{path}", rig.url()), &[], None).await;
    assert_eq!(status, 200, "{text}");
    text.as_str().unwrap_or_default().to_owned()
}

async fn mirror(rig: &Rig, topic: &str) -> Value {
    let path = format!("/links/-/mirrors/{topic}");
    rig.call("GET", &path, None).await.1
}

/// Waits until a mirror shows that error, and shows its words.
async fn error_of(rig: &Rig, topic: &str, error: &str) -> String {
    let begun = Instant::now();
    loop {
        let mirror = mirror(rig, topic).await;
        if mirror["mirror_topic_error"] == error {
            let words = mirror["mirror_topic_error_message"].as_str();
            return words.unwrap_or_default().to_owned();
        }
        assert!(begun.elapsed() < LIMIT, "{mirror}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Promotes all: `left_out` is refused with `why`, all others are promoted.
async fn all_promoted_but(rig: &Rig, left_out: &str, why: &str) {
    let path = "/links/west/mirrors:promote?wait=60";
    let (_, answer) = rig.call("POST", path, Some(json!({"all": true}))).await;
    for outcome in answer["data"].as_array().unwrap() {
        if outcome["mirror_topic_name"] == left_out {
            let words = outcome["error_message"].as_str().unwrap();
            assert!(words.contains(left_out) && words.contains(why), "{words}");
        } else {
            assert_eq!(outcome["mirror_status"], "STOPPED", "{answer}");
        }
    }
    let mirror = mirror(rig, left_out).await;
    assert_eq!(mirror["mirror_status"], "ACTIVE", "{mirror}");
}

/// A source with 40 MB in one topic and little in another, both mirrored.
async fn mirrored(rig: &Rig) -> Rig {
    let source = Rig::start().await;
    source.topic_with_records("small", 1).await;
    source.topic_with_records("big", 1).await;
    let topic = source.running.broker.topic("big").unwrap();
    let partition = topic.partition(0).unwrap();
    for _ in 0..40 {
        let batch = BatchBuilder::new().record(1_000, None, Some(&[7; 1_000_000]));
        let bytes: Bytes = batch.build().freeze();
        drop(append(&partition, &bytes, 5_000).unwrap());
    }
    let body = json!({"configs": [{"name": "bootstrap.servers", "value": source.bootstrap()}]});
    let (status, answer) = rig.call("POST", "/links?link_name=west", Some(body)).await;
    assert_eq!(status, 204, "{answer}");
    for topic in ["small", "big"] {
        let body = json!({"source_topic_name": topic});
        let (status, answer) = rig.call("POST", "/links/west/mirrors", Some(body)).await;
        assert_eq!(status, 204, "{answer}");
    }
    source
}

#[test]
fn a_full_disk_is_seen_everywhere_and_holds_up_only_what_needs_it() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(dir.path(), 40) else {
            eprintln!("skipped: no file system can be mounted here");
            return;
        };
        let rig = Rig::start_in(dir).await;
        let source = mirrored(&rig).await;
        let words = error_of(&rig, "big", "UNKNOWN").await;
        assert!(words.contains("no space left on the disk"), "{words}");
        assert!(words.contains("big-0"), "{words}");
        let (_, links) = rig.call("GET", "/links", None).await;
        let problem = links["data"][0]["problem"].as_str().unwrap();
        assert!(problem.contains("big-0"), "{links}");
        let ready = text(&rig, "readyz").await;
        assert!(ready.starts_with("ready, but disk_full: big-0"), "{ready}");
        let metrics = text(&rig, "metrics").await;
        for sample in [
            "carrick_problems{kind=\"disk_full\"} ",
            "carrick_mirror_topic_blocked_partitions{link=\"west\",topic=\"big\"} 1\n",
        ] {
            let at = metrics
                .find(sample)
                .unwrap_or_else(|| panic!("{sample}{metrics}"));
            assert!(
                !metrics[at..].starts_with(&format!("{sample}0")),
                "{metrics}"
            );
        }
        all_promoted_but(&rig, "big", "no space left on the disk").await;

        disk.resize(400);
        rig.wait_for_end("big", 43).await;
        error_of(&rig, "big", "NO_ERROR").await;
        assert_eq!(text(&rig, "readyz").await, "ready\n");
        let path = "/links/west/mirrors:promote?wait=60";
        let names = json!({"mirror_topic_names": ["big"]});
        let (_, answer) = rig.call("POST", path, Some(names)).await;
        assert_eq!(answer["data"][0]["mirror_status"], "STOPPED", "{answer}");
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
}

#[test]
fn an_offline_partition_is_seen_everywhere_and_holds_up_no_other_promotion() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let Rig { running, dir } = rig;
        running.shutdown().await;
        std::fs::remove_dir_all(dir.path().join("data/a-0")).unwrap();
        let rig = Rig::start_in(dir).await;
        let words = error_of(&rig, "a", "UNKNOWN").await;
        assert!(
            words.contains("a-0") && words.contains("missing"),
            "{words}"
        );
        assert!(words.contains("restart"), "{words}");
        assert_eq!(text(&rig, "readyz").await, "ready, but offline: a-0\n");
        let metrics = text(&rig, "metrics").await;
        assert!(
            metrics.contains("carrick_problems{kind=\"offline\"} 1\n"),
            "{metrics}"
        );
        all_promoted_but(&rig, "a", "could not be opened").await;
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
}
