//! Random events over several lives of a manager: whatever happens to mirrors, to their source, to
//! the disk and to the process, a status only changes along the table, none is forgotten by a
//! restart, nothing is mirrored once the end has begun, and once all is well again every mirror can
//! be brought to its end.
//!
//! A life is a separate tokio runtime. A kill drops it, with everything in progress.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::task::JoinSet;

use super::*;
use crate::ports::{LinkStore, Ports, StoreError, TargetError};
use crate::testing::RuntimeClock;
use crate::verb::CutKind;

const TOPICS: [&str; 3] = ["eu.orders", "eu.users", "us.orders"];
const BEGAN_MS: i64 = 1_700_000_000_000;

/// What happens. Numbers choose a topic.
#[derive(Debug, Clone)]
enum Event {
    Create(usize),
    Act(Verb, Option<usize>),
    CancelPromotions,
    PauseLink(bool),
    Append(usize),
    Grow(usize),
    SourceDown(bool),
    LeaderMoves(usize),
    DeleteAtSource(usize),
    RecreateAtSource(usize),
    TruncateAtSource(usize),
    StoresFail(bool),
    AppendsFail(bool),
    CutsFail(bool),
    /// Some steps of what is under way.
    Proceed(u8),
    Wait(u64),
    Restart,
    Kill,
}

fn event() -> impl Strategy<Value = Event> {
    let topic = 0..TOPICS.len();
    let action = prop::sample::select(vec![
        Verb::Promote,
        Verb::Failover,
        Verb::Pause,
        Verb::Resume,
        Verb::Resume,
    ]);
    let some = prop::option::weighted(0.8, topic.clone());
    prop_oneof![
        2 => topic.clone().prop_map(Event::Create),
        8 => (action, some).prop_map(|(action, topic)| Event::Act(action, topic)),
        1 => Just(Event::CancelPromotions),
        2 => any::<bool>().prop_map(Event::PauseLink),
        4 => topic.clone().prop_map(Event::Append),
        1 => topic.clone().prop_map(Event::Grow),
        3 => any::<bool>().prop_map(Event::SourceDown),
        1 => topic.clone().prop_map(Event::LeaderMoves),
        1 => topic.clone().prop_map(Event::DeleteAtSource),
        1 => topic.clone().prop_map(Event::RecreateAtSource),
        1 => topic.prop_map(Event::TruncateAtSource),
        2 => any::<bool>().prop_map(Event::StoresFail),
        2 => any::<bool>().prop_map(Event::AppendsFail),
        2 => any::<bool>().prop_map(Event::CutsFail),
        6 => (0_u8..30).prop_map(Event::Proceed),
        4 => prop_oneof![0_u64..300, 1_000_u64..20_000, Just(400_000)].prop_map(Event::Wait),
        1 => Just(Event::Restart),
        2 => Just(Event::Kill),
    ]
}

/// What outlives a process.
struct Outside {
    source: FakeSource,
    here: FakeHere,
    now_ms: i64,
    /// The source has dropped records of it since it was first mirrored.
    rewritten: [bool; TOPICS.len()],
}

/// One process.
struct Life<'a> {
    outside: &'a mut Outside,
    manager: Arc<LinkManager>,
    cancels: Vec<tokio::sync::watch::Sender<bool>>,
    /// What was begun and may be under way still.
    begun: JoinSet<()>,
}

fn ports(outside: &Outside) -> Ports {
    let mut ports = crate::testing::ports(&outside.here, &outside.source);
    ports.clock = Arc::new(RuntimeClock::at(outside.now_ms));
    ports
}

/// Plays events until the process dies, or all are played.
async fn live(
    outside: &mut Outside,
    events: &mut std::slice::Iter<'_, Event>,
) -> Result<bool, TestCaseError> {
    let manager = LinkManager::start(ports(outside)).await.unwrap();
    let mut life = Life {
        outside,
        manager,
        cancels: Vec::new(),
        begun: JoinSet::new(),
    };
    if life.manager.links().is_empty() {
        life.manager.create_link(new_link("dr", &[])).await.unwrap();
    }
    life.shows_what_is_stored().await?;
    for event in events.by_ref() {
        match event {
            Event::Kill => {
                life.keep_time();
                return Ok(false);
            }
            Event::Restart => {
                life.manager.shutdown().await;
                life.keep_time();
                return Ok(false);
            }
            event => life.happen(event).await,
        }
    }
    life.heal().await?;
    for index in 0..TOPICS.len() {
        life.bring_to_its_end(index).await?;
    }
    life.manager.delete_link("dr", false).await.unwrap();
    Ok(true)
}

impl Life<'_> {
    fn keep_time(&mut self) {
        self.outside.now_ms = self.manager.ports.clock.now_ms();
        // A broker that can't read its disk doesn't start.
        self.outside.here.fail_stores(None);
    }

    /// Nothing of what was stored is forgotten.
    async fn shows_what_is_stored(&self) -> Result<(), TestCaseError> {
        let differs = || {
            let link = self.manager.link("dr").unwrap().state;
            let stored = self.outside.here.load_mirrors().unwrap();
            stored.into_iter().find_map(|stored| {
                let shown = self.manager.mirror(&stored.topic).map(|shown| shown.status);
                let is_same = shown
                    .as_ref()
                    .is_ok_and(|it| *it == stored.status.under(link));
                (!is_same).then(|| format!("{stored:?} shows as {shown:?}, the link is {link}"))
            })
        };
        // A change that is under way shows a moment after it is stored.
        for _ in 0..100 {
            if differs().is_none() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        prop_assert_eq!(differs(), None);
        Ok(())
    }

    async fn happen(&mut self, event: &Event) {
        let (source, here) = (&self.outside.source, &self.outside.here);
        let name = |index: &usize| TOPICS[*index];
        match event {
            Event::Create(topic) => {
                let (manager, new) = (Arc::clone(&self.manager), new_mirror(name(topic)));
                self.begin(async move { drop(manager.create_mirror("dr", new).await) });
            }
            Event::Act(action, topic) => self.act(*action, topic.as_ref().map(name)),
            Event::CancelPromotions => {
                for cancel in self.cancels.drain(..) {
                    let _ = cancel.send(true);
                }
            }
            Event::PauseLink(is_paused) => {
                let set = (
                    "cluster.link.paused".to_owned(),
                    Some(is_paused.to_string()),
                );
                let manager = Arc::clone(&self.manager);
                self.begin(async move {
                    drop(
                        manager
                            .alter_link_configs("dr", vec![set], AlterLink::default())
                            .await,
                    );
                });
            }
            Event::Append(topic) => append(source, name(topic)),
            Event::Grow(topic) if source.has_topic(name(topic)) => {
                source.grow_topic(name(topic), 2);
            }
            Event::SourceDown(is_down) => source.set_down(*is_down),
            Event::LeaderMoves(topic) if source.has_topic(name(topic)) => {
                source.lead(name(topic), 0, Some(2));
            }
            Event::DeleteAtSource(topic) => {
                source.delete_topic(name(topic));
                self.outside.rewritten[*topic] = true;
            }
            Event::RecreateAtSource(topic) => {
                source.delete_topic(name(topic));
                source.add_topic(name(topic), 1);
                self.outside.rewritten[*topic] = true;
            }
            Event::TruncateAtSource(topic) if source.has_topic(name(topic)) => {
                let end = source.end(name(topic), 0);
                source.truncate(name(topic), 0, end / 20 * 10);
                self.outside.rewritten[*topic] = true;
            }
            Event::StoresFail(fail) => {
                here.fail_stores(fail.then(|| StoreError("the disk is full".into())));
            }
            Event::AppendsFail(fail) => {
                here.fail_appends(fail.then(|| TargetError::Storage("full".into())));
            }
            Event::CutsFail(fail) => {
                here.fail_cuts(fail.then(|| crate::ports::CatalogError::Storage("full".into())));
            }
            Event::Proceed(steps) => {
                for _ in 0..*steps {
                    tokio::task::yield_now().await;
                }
            }
            Event::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            _ => {}
        }
    }

    /// Begins it, and doesn't wait.
    fn act(&mut self, action: Verb, topic: Option<&str>) {
        let selection = topic.map_or(Selection::All, |topic| {
            Selection::Names(vec![TopicName::new(topic).unwrap()])
        });
        let (cancel, signal) = tokio::sync::watch::channel(false);
        self.cancels.push(cancel);
        let manager = Arc::clone(&self.manager);
        self.begin(async move {
            let done = manager.alter_mirrors("dr", action, selection, false, Some(signal));
            drop(done.await);
        });
    }

    fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.begun.spawn(work);
    }

    /// All is well again, and what was begun comes to its end.
    async fn heal(&mut self) -> Result<(), TestCaseError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (source, here) = (&self.outside.source, &self.outside.here);
        here.fail_stores(None);
        here.fail_appends(None);
        here.fail_cuts(None);
        source.set_down(false);
        let go_on = vec![("cluster.link.paused".to_owned(), Some("false".to_owned()))];
        let manager = &self.manager;
        manager
            .alter_link_configs("dr", go_on, AlterLink::default())
            .await
            .unwrap();
        until("the link to be active", || {
            manager.link("dr").unwrap().state == LinkState::Active
        })
        .await;
        let limit = Duration::from_secs(600);
        let begun = std::mem::take(&mut self.begun);
        tokio::time::timeout(limit, begun.join_all()).await.unwrap();
        self.shows_what_is_stored().await
    }

    /// By the steps that are open: up to date and promoted if that is possible, else failed over.
    async fn bring_to_its_end(&mut self, index: usize) -> Result<(), TestCaseError> {
        let name = TOPICS[index];
        let status = || self.manager.mirror(name).map(|mirror| mirror.status);
        if status().is_err() {
            return Ok(());
        }
        if matches!(status(), Ok(MirrorStatus::Paused | MirrorStatus::Failed)) {
            self.alter(Verb::Resume, name).await.unwrap();
        }
        let is_intact = !self.outside.rewritten[index];
        if is_intact && status().is_ok_and(|status| status != MirrorStatus::Stopped) {
            let promoted = self.alter(Verb::Promote, name).await;
            let is_failing_over = matches!(
                promoted,
                Err(LinkError::IllegalState { .. } | LinkError::PromotionAborted { .. })
            );
            prop_assert!(promoted.is_ok() || is_failing_over, "{promoted:?}");
        }
        if status().is_ok_and(|status| status != MirrorStatus::Stopped) {
            let over = self.alter(Verb::Failover, name).await;
            let is_over = status().is_ok_and(|status| status == MirrorStatus::Stopped);
            prop_assert!(is_over, "{over:?}");
        }
        prop_assert_eq!(status().unwrap(), MirrorStatus::Stopped);
        self.check_end(index)
    }

    async fn alter(&self, action: Verb, topic: &str) -> Result<MirrorDescription, LinkError> {
        let names = Selection::Names(vec![TopicName::new(topic).unwrap()]);
        let altering = self.manager.alter_mirrors("dr", action, names, false, None);
        let limit = Duration::from_secs(600);
        let outcomes = tokio::time::timeout(limit, altering).await.unwrap()?;
        outcomes.into_iter().next().unwrap().result
    }

    fn check_end(&self, index: usize) -> Result<(), TestCaseError> {
        let (name, here) = (TOPICS[index], &self.outside.here);
        let report = self.manager.report(name).unwrap().unwrap();
        for rpo in &report.partitions {
            let end = here.offsets(name, rpo.partition).1;
            prop_assert_eq!(end, rpo.mirror_end, "mirrored after its end had begun");
            prop_assert!(here.cut_epoch(name, rpo.partition).is_some());
            // A promotion that broke off may be finished by a failover, when the source has grown.
            prop_assert!(report.kind == CutKind::Failover || rpo.exact, "{report:?}");
            if !self.outside.rewritten[index] {
                let said = rpo.mirror_end + rpo.missing_records.unwrap_or(0);
                prop_assert!(
                    said <= self.outside.source.end(name, rpo.partition),
                    "{report:?}"
                );
                let theirs = self.outside.source.bytes(name, rpo.partition);
                let ours = here.bytes(name, rpo.partition);
                prop_assert!(theirs.starts_with(&ours), "another history");
            }
        }
        Ok(())
    }
}

fn append(source: &FakeSource, topic: &str) {
    if source.has_topic(topic) {
        let (end, epoch) = (source.end(topic, 0), source.epoch(topic, 0));
        source.append(topic, 0, &batch(end, 10, epoch));
    }
}

fn play(events: &[Event]) -> Result<(), TestCaseError> {
    let mut outside = Outside {
        source: FakeSource::new(),
        here: FakeHere::new(),
        now_ms: BEGAN_MS,
        rewritten: [false; TOPICS.len()],
    };
    for topic in TOPICS {
        outside.source.add_topic(topic, 1);
        append(&outside.source, topic);
    }
    let mut events = events.iter();
    loop {
        let process = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let is_over = process.block_on(live(&mut outside, &mut events))?;
        drop(process);
        outside.here.restarted();
        if is_over {
            break;
        }
    }
    for topic in TOPICS {
        let statuses = outside.here.stored_statuses(topic);
        for pair in statuses.windows(2) {
            prop_assert!(pair[0].may_become(pair[1]), "{topic}: {statuses:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(64, |cases| cases.parse().unwrap()),
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_no_status_is_lost_or_illegal_and_every_mirror_comes_to_its_end(
        events in prop::collection::vec(event(), 1..60)
    ) {
        play(&events)?;
    }
}
