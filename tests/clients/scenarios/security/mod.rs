//! TLS and each SASL mechanism: who is let in, who is not and with which of the library's errors, and rights, passwords
//! and tokens that change while a client is connected.

pub mod failover;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::peer::Kind;
use harness::tokens::Issuer;
use harness::{Peer, Result, wait_until};
use serde_json::{Value, json};

use self::world::{ALICE, Listener, OTHER_PASSWORD, PASSWORD, TOPIC, World};
use super::{Capability, LIMIT};
use crate::library::Library;
use crate::matrix::Stage;

pub use world::measure_kafka;

/// A refusal that takes longer is a hang to whoever waits for it.
const PROMPT: Duration = Duration::from_secs(20);
const TLS_ERROR: Option<Kind> = Some(Kind::Tls);
const LOGIN_ERROR: Option<Kind> = Some(Kind::Authentication);

/// The broker alone shows who it is.
pub const TLS: Capability = Capability {
    name: "TLS",
    ops: &[],
    run: server_certificates,
};

/// Both do.
pub const MTLS: Capability = Capability {
    name: "mTLS",
    ops: &["refusal of its certificate"],
    run: client_certificates,
};

pub const PLAIN: Capability = Capability {
    name: "PLAIN",
    ops: &[],
    run: |library, stage| passwords(library, stage, "PLAIN"),
};

pub const SCRAM_256: Capability = Capability {
    name: "SCRAM-SHA-256",
    ops: &[],
    run: |library, stage| passwords(library, stage, "SCRAM-SHA-256"),
};

pub const SCRAM_512: Capability = Capability {
    name: "SCRAM-SHA-512",
    ops: &[],
    run: |library, stage| passwords(library, stage, "SCRAM-SHA-512"),
};

pub const OAUTHBEARER: Capability = Capability {
    name: "OAUTHBEARER",
    ops: &["refusal of a token"],
    run: tokens,
};

fn server_certificates(library: &Library, stage: &mut Stage) -> Result<()> {
    let listeners = [Listener::Tls, Listener::Expired, Listener::Elsewhere];
    let world = World::start(&listeners, None, stage)?;
    let mut client = Client::of(library, &world, Listener::Tls)?;
    client.peer.secure(world.tls());
    client.works()?;
    client.stop()?;

    let mut stranger = world.tls();
    stranger["ca"] = world.file("strangers.pem");
    for (what, listener, security) in [
        ("an expired certificate", Listener::Expired, world.tls()),
        (
            "another host's certificate",
            Listener::Elsewhere,
            world.tls(),
        ),
        ("an unknown authority", Listener::Tls, stranger),
    ] {
        client.refused(what, &world.address(listener), &security, TLS_ERROR)?;
    }
    Ok(())
}

fn client_certificates(library: &Library, stage: &mut Stage) -> Result<()> {
    let world = World::start(&[Listener::Mtls], None, stage)?;
    world.allow(stage, "CN=alice")?;
    let mut client = Client::of(library, &world, Listener::Mtls)?;
    let of = |identity: &str| {
        let mut security = world.tls();
        security["identity"] = world.file(identity);
        security
    };
    client.peer.secure(of("alice.pem"));
    client.works()?;
    client.loses_and_regains_rights(stage, "CN=alice")?;
    client.stop()?;

    let at = world.address(Listener::Mtls);
    for (what, security) in [
        ("no certificate", world.tls()),
        ("an expired certificate", of("expired-alice.pem")),
        ("a stranger's certificate", of("stranger.pem")),
    ] {
        let tells = library.lacks("refusal of its certificate").is_none();
        client.refused(what, &at, &security, tells.then_some(Kind::Tls))?;
    }
    Ok(())
}

fn passwords(library: &Library, stage: &mut Stage, mechanism: &'static str) -> Result<()> {
    let world = World::start(&[Listener::Sasl], Some(mechanism), stage)?;
    let is_scram = mechanism.starts_with("SCRAM");
    if is_scram {
        world.set_password(stage, mechanism, PASSWORD)?;
    }
    world.allow(stage, ALICE)?;
    let mut client = Client::of(library, &world, Listener::Sasl)?;
    client.peer.secure(world.login(mechanism, ALICE, PASSWORD));
    client.works()?;
    client.loses_and_regains_rights(stage, ALICE)?;

    let at = world.address(Listener::Sasl);
    let wrong = world.login(mechanism, ALICE, "wrong");
    let unknown = world.login(mechanism, "nobody", PASSWORD);
    client.refused("a wrong password", &at, &wrong, LOGIN_ERROR)?;
    client.refused("an unknown user", &at, &unknown, LOGIN_ERROR)?;
    if is_scram {
        client.outlives_a_new_password(stage, mechanism)?;
    }
    client.stop()
}

fn tokens(library: &Library, stage: &mut Stage) -> Result<()> {
    /// Of a token that ends while its client is connected.
    const VALID_S: i64 = 6;

    let world = World::start(&[Listener::Sasl], Some("OAUTHBEARER"), stage)?;
    world.allow(stage, ALICE)?;
    let mut client = Client::of(library, &world, Listener::Sasl)?;
    client.peer.secure(world.bearer(ALICE, 3600)?);
    client.works()?;
    client.loses_and_regains_rights(stage, ALICE)?;
    client.stop()?;

    let at = world.address(Listener::Sasl);
    let tells = library.lacks("refusal of a token").is_none();
    if tells {
        let expired = world.bearer(ALICE, -60)?;
        client.refused("an expired token", &at, &expired, LOGIN_ERROR)?;
        let mut foreign = world.bearer(ALICE, 3600)?;
        foreign["token"] = json!(Issuer::new()?.token(ALICE, 3600)?);
        client.refused("a stranger's token", &at, &foreign, LOGIN_ERROR)?;
    }

    // It is refused on the connections that it has, or, where the library goes on trying, gets no answer.
    client.peer.secure(world.bearer(ALICE, VALID_S)?);
    let record = json!({"topic": TOPIC, "count": 1, "keep": "short"});
    client.peer.call("produce", record.clone())?;
    wait_until("the token's end ends its connections", LIMIT, || {
        let answer = client.peer.try_call("produce", record.clone())?;
        Ok(match answer {
            Err(_) => Ok(()),
            Ok(_) => Err("they go on".to_owned()),
        })
    })?;
    client.peer.secure(world.bearer(ALICE, 3600)?);
    client
        .peer
        .call("produce", json!({"topic": TOPIC, "count": 1}))
        .map(drop)
}

/// A client process of the library under test, with a producer that keeps its connections and a member of a group.
struct Client<'a> {
    peer: Peer,
    world: &'a World,
    produced: u64,
}

impl<'a> Client<'a> {
    fn of(library: &Library, world: &'a World, listener: Listener) -> Result<Self> {
        let peer = (library.start)(&world.address(listener))?;
        let produced = 0;
        Ok(Self {
            peer,
            world,
            produced,
        })
    }

    /// Produces, and consumes it in a group.
    fn works(&mut self) -> Result<()> {
        let member = json!({"name": "m", "group": "g", "topic": TOPIC, "session_ms": 6000});
        self.peer.call("member_start", member)?;
        self.produce(20)?;
        self.wait_consumed()
    }

    fn produce(&mut self, count: u64) -> Result<()> {
        let records = json!({"topic": TOPIC, "count": count, "keep": "live"});
        let answer = self.peer.call("produce", records)?;
        self.produced += answer["acked"].as_u64().context("acked")?;
        Ok(())
    }

    fn wait_consumed(&mut self) -> Result<()> {
        let wanted = self.produced;
        wait_until(&format!("{wanted} are consumed"), LIMIT, || {
            let state = self.state()?;
            let consumed = state["consumed"].as_u64().unwrap_or(0);
            Ok(if consumed >= wanted {
                Ok(())
            } else {
                Err(state.to_string())
            })
        })
    }

    fn state(&mut self) -> Result<Value> {
        self.peer.call("member_state", json!({"name": "m"}))
    }

    /// Takes the rights to write and to read from the two that are connected, and gives them back: both go on, on the
    /// connections that they had.
    fn loses_and_regains_rights(&mut self, stage: &mut Stage, user: &str) -> Result<()> {
        let world = self.world;
        world.acl(stage, "remove", user, "WRITE")?;
        wait_until("the producer is refused", LIMIT, || {
            let record = json!({"topic": TOPIC, "count": 1, "keep": "live"});
            Ok(match self.peer.try_call("produce", record)? {
                Err(e) if e.kind == Kind::Authorization => Ok(()),
                Err(e) => bail!("refused with another error: {e:?}"),
                Ok(_) => {
                    self.produced += 1;
                    Err("it is not".to_owned())
                }
            })
        })?;
        world.acl(stage, "remove", user, "READ")?;
        wait_until("the consumer is refused", LIMIT, || {
            let state = self.state()?;
            Ok(match Kind::of(&state["failure_kind"]) {
                Kind::Authorization => Ok(()),
                _ => Err(state.to_string()),
            })
        })?;
        world.acl(stage, "add", user, "READ")?;
        world.acl(stage, "add", user, "WRITE")?;
        wait_until("the producer is let write again", LIMIT, || {
            let record = json!({"topic": TOPIC, "count": 1, "keep": "live"});
            Ok(match self.peer.try_call("produce", record)? {
                Ok(_) => {
                    self.produced += 1;
                    Ok(())
                }
                Err(e) if e.kind == Kind::Authorization => Err(e.to_string()),
                Err(e) => bail!("refused with another error: {e:?}"),
            })
        })?;
        self.wait_consumed()
    }

    /// A new connection needs the new password; those that there are go on.
    fn outlives_a_new_password(
        &mut self,
        stage: &mut Stage,
        mechanism: &'static str,
    ) -> Result<()> {
        let world = self.world;
        world.set_password(stage, mechanism, OTHER_PASSWORD)?;
        self.produce(1)?;
        let record = json!({"topic": TOPIC, "count": 1});
        wait_until("the old password is refused", LIMIT, || {
            Ok(match self.peer.try_call("produce", record.clone())? {
                Err(e) if e.kind == Kind::Authentication => Ok(()),
                Err(e) => Err(e.to_string()),
                Ok(_) => {
                    self.produced += 1;
                    Err("it is not".to_owned())
                }
            })
        })?;
        self.peer
            .secure(world.login(mechanism, ALICE, OTHER_PASSWORD));
        self.peer.call("produce", record)?;
        self.produced += 1;
        self.produce(1)?;
        self.wait_consumed()
    }

    /// A new client with this security is refused, soon, and the library says what about, where `kind` names that.
    fn refused(
        &mut self,
        what: &str,
        at: &str,
        security: &Value,
        kind: Option<Kind>,
    ) -> Result<()> {
        self.peer.point_at(at);
        self.peer.secure(security.clone());
        let started = Instant::now();
        let refusal = self
            .peer
            .refusal("produce", json!({"topic": TOPIC, "count": 1}));
        let refusal = refusal.with_context(|| what.to_owned())?;
        let took = started.elapsed();
        ensure!(
            kind.is_none_or(|kind| kind == refusal.kind),
            "{what}: {kind:?} is expected: {refusal:?}"
        );
        ensure!(took < PROMPT, "{what} took {took:?}");
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.peer
            .call("member_stop", json!({"name": "m"}))
            .map(drop)
    }
}
