//! Decisions against a plain model: every ACL is looked at, in the words of Kafka's documentation.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::filter::applies;
use super::*;
use crate::metadata::memory::MemoryMetadata;

/// What `StandardAuthorizerData` decides, without its order and its sections.
struct Model<'a> {
    acls: &'a [Binding],
    config: &'a AuthorizerConfig,
}

impl Model<'_> {
    fn is_about(acl: &Binding, who: &Principal, host: IpAddr) -> bool {
        let is_principal = acl.principal == "User:*" || acl.principal == who.to_string();
        is_principal && (acl.host == "*" || acl.host == host.to_string())
    }

    fn allows(&self, who: &Principal, host: IpAddr, asked: Operation, on: Resource<'_>) -> bool {
        use Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
        if self.config.super_users.contains(&who.to_string()) {
            return true;
        }
        let of_resource = self.acls.iter();
        let of_resource: Vec<_> = of_resource
            .filter(|acl| acl.kind == on.kind() && applies(acl, on.name()))
            .collect();
        if of_resource.is_empty() {
            return self.config.everyone_without_acls;
        }
        let own: Vec<_> = of_resource
            .into_iter()
            .filter(|acl| Self::is_about(acl, who, host))
            .collect();
        let says = |permission, operation| {
            own.iter().any(|acl| {
                let is_meant = acl.operation == operation || acl.operation == Operation::All;
                acl.permission == permission && is_meant
            })
        };
        let implying: &[Operation] = match asked {
            Describe => &[Describe, Read, Write, Delete, Alter],
            DescribeConfigs => &[DescribeConfigs, AlterConfigs],
            _ => &[],
        };
        let is_implied = implying.iter().any(|it| says(Permission::Allow, *it));
        !says(Permission::Deny, asked) && (says(Permission::Allow, asked) || is_implied)
    }

    /// `Authorizer.authorizeByResourceType`.
    fn allows_some(&self, who: &Principal, host: IpAddr, asked: Operation) -> bool {
        let any = Resource::Topic("hardcode");
        if self.allows(who, host, asked, any) {
            return true;
        }
        let own: Vec<_> = self
            .acls
            .iter()
            .filter(|acl| acl.kind == ResourceKind::Topic && Self::is_about(acl, who, host))
            .filter(|acl| [asked, Operation::All].contains(&acl.operation))
            .collect();
        let denying = || own.iter().filter(|it| it.permission == Permission::Deny);
        let is_every = |acl: &Binding| acl.pattern == Pattern::Literal && acl.name == "*";
        if denying().any(|acl| is_every(acl)) {
            return false;
        }
        let mut allowing = own.iter().filter(|it| it.permission == Permission::Allow);
        allowing.any(|allow| {
            is_every(allow)
                || !denying().any(|deny| match (allow.pattern, deny.pattern) {
                    (_, Pattern::Prefixed) => allow.name.starts_with(&deny.name),
                    (Pattern::Literal, Pattern::Literal) => allow.name == deny.name,
                    (Pattern::Prefixed, Pattern::Literal) => false,
                })
        })
    }
}

const HOSTS: &[&str] = &["10.0.0.1", "10.0.0.2", "::1"];
const USERS: &[&str] = &["ann", "bob", "root"];

/// Few letters, so that names and prefixes meet.
const NAME: &str = "[abé*]{1,4}";

fn any_binding() -> impl Strategy<Value = Binding> {
    const PRINCIPALS: &[&str] = &["User:ann", "User:bob", "User:*", "Group:ann", "User:"];
    const ADDRESSES: &[&str] = &["*", "10.0.0.1", "10.0.0.2", "::1", "somewhere"];
    (
        select(const { &[ResourceKind::Topic, ResourceKind::Group] }.as_slice()),
        select(Pattern::ALL),
        prop_oneof![3 => NAME, 1 => Just("*".to_owned())],
        select(PRINCIPALS),
        select(ADDRESSES),
        select(Operation::ALL),
        prop_oneof![2 => Just(Permission::Allow), 1 => Just(Permission::Deny)],
    )
        .prop_map(
            |(kind, pattern, name, principal, host, operation, permission)| Binding {
                kind,
                pattern,
                name,
                principal: principal.to_owned(),
                host: host.to_owned(),
                operation,
                permission,
            },
        )
}

/// A question, by what it is made of.
type Asked = (bool, String, &'static str, &'static str, Operation);

fn any_question() -> impl Strategy<Value = Asked> {
    (
        any::<bool>(),
        "[abé*]{1,6}",
        select(USERS),
        select(HOSTS),
        select(&Operation::ALL[1..]),
    )
}

fn config(everyone_without_acls: bool) -> AuthorizerConfig {
    AuthorizerConfig {
        super_users: ["User:root".to_owned()].into(),
        everyone_without_acls,
    }
}

fn empty() -> Arc<Acls> {
    Arc::new(Acls::open(MemoryMetadata::new().metadata()).unwrap())
}

fn add(binding: &Binding) -> Change {
    Change::Add(binding.clone(), Origin::Local)
}

/// As the access decides and as the model does.
fn both(access: &Access, model: &Model<'_>, asked: &Asked) -> [(bool, bool); 2] {
    let (is_topic, name, user, host, operation) = asked;
    let (who, host) = (Principal::user(user), host.parse().unwrap());
    let resource = match is_topic {
        true => Resource::Topic(name),
        false => Resource::Group(name),
    };
    [
        (
            access.allows(&who, host, *operation, resource),
            model.allows(&who, host, *operation, resource),
        ),
        (
            access.allows_some_topic(&who, host, *operation),
            model.allows_some(&who, host, *operation),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn decisions_are_those_of_the_model_after_every_change(
        first in prop::collection::vec(any_binding(), 0..40),
        steps in prop::collection::vec((any_binding(), any::<prop::sample::Index>(), any::<bool>()), 0..12),
        questions in prop::collection::vec(any_question(), 1..20),
        everyone in any::<bool>(),
    ) {
        let config = config(everyone);
        let access = Access::new(empty(), Some(config.clone()));
        let mut acls = first;
        access.acls().apply(&acls.iter().map(add).collect::<Vec<_>>()).unwrap();
        for (added, removed, is_restart) in steps {
            for asked in &questions {
                let model = Model { acls: &acls, config: &config };
                // Twice: the second time it is remembered.
                for (is, expected) in [both(&access, &model, asked), both(&access, &model, asked)].concat() {
                    prop_assert_eq!(is, expected, "{:?}", asked);
                }
            }
            access.acls().apply(&[add(&added)]).unwrap();
            acls.push(added);
            let gone = removed.get(&acls).clone();
            access.acls().apply(&[Change::Remove(gone.clone())]).unwrap();
            acls.retain(|it| *it != gone);
            if is_restart {
                // A change that is so large that the index is made again.
                let many: Vec<_> = (0..300).map(|i| Binding {
                    name: format!("far-{i}"),
                    ..gone.clone()
                }).collect();
                access.acls().apply(&many.iter().map(add).collect::<Vec<_>>()).unwrap();
                acls.extend(many);
            }
        }
    }
}

fn topic(name: &str, pattern: Pattern, host: &str, permission: Permission) -> Binding {
    Binding {
        kind: ResourceKind::Topic,
        pattern,
        name: name.to_owned(),
        principal: "User:ann".to_owned(),
        host: host.to_owned(),
        operation: Operation::Read,
        permission,
    }
}

#[test]
fn addresses_are_the_same_in_every_form() {
    let access = Access::new(empty(), Some(config(false)));
    let allow = |host| topic("t", Pattern::Literal, host, Permission::Allow);
    let both = [allow("0:0:0:0:0:0:0:1"), allow("10.0.0.1")];
    access.acls().apply(&both.each_ref().map(add)).unwrap();
    let ann = Principal::user("ann");
    let may = |host: &str| {
        let host = host.parse().unwrap();
        access.allows(&ann, host, Operation::Read, Resource::Topic("t"))
    };
    assert!(may("::1") && may("10.0.0.1") && may("::ffff:10.0.0.1"));
    assert!(!may("10.0.0.2"));
    // Two ACLs say the same, and one of them goes.
    access.acls().apply(&[add(&allow("::1"))]).unwrap();
    access
        .acls()
        .apply(&[Change::Remove(allow("::1"))])
        .unwrap();
    assert!(may("::1"));
}

/// What takes memory or time is the decision itself, and the entry that remembers it.
#[test]
fn a_decision_is_made_once_until_acls_change() {
    let access = Access::new(empty(), Some(config(false)));
    let allow = topic("t", Pattern::Literal, "*", Permission::Allow);
    access.acls().apply(&[add(&allow)]).unwrap();
    let who: Vec<_> = (0..20).map(|i| Principal::user(&format!("u{i}"))).collect();
    let hosts = ["10.0.0.1", "::ffff:10.0.0.1", "::1"].map(|host| host.parse().unwrap());
    let ask_all = || {
        for (who, host) in who.iter().flat_map(|who| hosts.map(|host| (who, host))) {
            for operation in [Operation::Read, Operation::Write, Operation::Describe] {
                access.allows(who, host, operation, Resource::Topic("t"));
                access.allows(who, host, operation, Resource::Group("g"));
            }
            access.allows_some_topic(who, host, Operation::Write);
        }
        access.decisions_made()
    };
    // Two addresses, one of them written in two ways; a topic, a group, any topic, and every topic.
    let once = ask_all();
    assert_eq!(once, 20 * 2 * 4);
    for _ in 0..10 {
        assert_eq!(ask_all(), once);
    }
    access.acls().apply(&[Change::Remove(allow)]).unwrap();
    assert_eq!(ask_all(), 2 * once);
}

#[test]
fn without_an_authorizer_acls_have_no_effect() {
    let access = Access::new(empty(), None);
    let deny = topic("t", Pattern::Literal, "*", Permission::Deny);
    access.acls().apply(&[add(&deny)]).unwrap();
    let (ann, host) = (Principal::user("ann"), "10.0.0.1".parse().unwrap());
    assert!(access.allows(&ann, host, Operation::Read, Resource::Topic("t")));
    assert!(access.allows_some_topic(&ann, host, Operation::Read));
}

/// The figures of the fastest of several rounds, so that a busy machine does not spoil them.
#[test]
fn ten_thousand_acls_cost_less_than_five_microseconds_a_decision() {
    const ROUNDS: usize = 100;
    const DECISIONS: usize = 500;
    let access = Access::new(empty(), Some(config(false)));
    let acls: Vec<_> = (0..10_000)
        .map(|i| {
            let (app, pattern) = (i % 500, [Pattern::Literal, Pattern::Prefixed][i % 2]);
            let mut acl = topic(
                &format!("app-{app}.topic-{i}"),
                pattern,
                "*",
                Permission::Allow,
            );
            acl.principal = format!("User:app-{app}");
            acl
        })
        .collect();
    access
        .acls()
        .apply(&acls.iter().map(add).collect::<Vec<_>>())
        .unwrap();
    let host = "10.0.0.1".parse().unwrap();
    let names: Vec<_> = acls.iter().map(|acl| format!("{}-x", acl.name)).collect();
    let who: Vec<_> = (0..500)
        .map(|app| Principal::user(&format!("app-{app}")))
        .collect();
    let per_decision = |decide: &dyn Fn(usize) -> bool| {
        let rounds = (0..ROUNDS).map(|round| {
            let asked = (0..DECISIONS).map(|i| (round * DECISIONS + i) % names.len());
            let begun = std::time::Instant::now();
            let allowed = asked.filter(|i| decide(*i)).count();
            let took = begun.elapsed();
            assert!(allowed > 0 && allowed < DECISIONS);
            took.as_nanos() as f64 / DECISIONS as f64 / 1_000.0
        });
        rounds.fold(f64::INFINITY, f64::min)
    };
    let new_us = per_decision(&|i| {
        let user = who[i % 500].as_user();
        let asker = index::Asker { user, host };
        let judge = |held: &acls::Held| held.index.judge(asker, ResourceKind::Topic, &names[i]);
        let verdict = access.acls().read(judge);
        verdict.allowed(false).has(Operation::Read)
    });
    let known_us = per_decision(&|i| {
        let topic = Resource::Topic(&names[i]);
        access.allows(&who[i % 500], host, Operation::Read, topic)
    });
    println!("10,000 ACLs: {new_us:.3} us for a new decision, {known_us:.3} us for a known one");
    assert!(new_us < 5.0 && known_us < 5.0);
}
