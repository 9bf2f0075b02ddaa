//! What every request passes before it is served: its body is read, and there must be room.
//!
//! A request that changes something runs to its end whether or not its client waits for it: it runs
//! on a separate task. A request that only reads ends with its client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connections::{Permits, Serving, Slot};
use super::error::{ApiError, RETRIABLE};
use super::limits::{
    BODY_MAX_BYTES, LARGE_BODIES_MAX, Room, SMALL_BODY_MAX_BYTES, Times, WAITING_MAX,
};

/// The rooms, and what is left of them. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate {
    times: Times,
    rooms: [Arc<Semaphore>; Room::ALL.len()],
    waiting: [Arc<Semaphore>; Room::ALL.len()],
    large_bodies: Arc<Semaphore>,
}

impl Gate {
    /// All rooms empty.
    pub fn new(times: Times) -> Self {
        Gate {
            times,
            rooms: Room::ALL.map(|room| Arc::new(Semaphore::new(room.requests_max()))),
            waiting: Room::ALL.map(|_| Arc::new(Semaphore::new(WAITING_MAX))),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
        }
    }

    /// The right to wait for what a request has begun; `None` if too many wait.
    pub fn wait(&self, room: Room) -> Option<OwnedSemaphorePermit> {
        let waiting = Arc::clone(&self.waiting[room as usize]);
        waiting.try_acquire_owned().ok()
    }

    async fn pass(&self, room: Room, request: Request, next: Next) -> Result<Response, Response> {
        let mut permits = Permits::new();
        let request = self.read(request, &mut permits).await?;
        permits.push(Arc::new(self.enter(room).await?));
        let slot = request.extensions().get::<Arc<Slot>>().cloned();
        let serving =
            slot.map(|slot| Serving::begin(&slot, permits.clone(), room == Room::Verification));
        let limit = match room {
            Room::Creation => self.times.creation,
            _ => self.times.answer,
        };
        let response = serve(limit, request, next, permits).await?;
        if let Some(serving) = &serving {
            serving.answered();
        }
        Ok(response.map(|body| Body::new(Counted { body, serving })))
    }

    async fn enter(&self, room: Room) -> Result<OwnedSemaphorePermit, Response> {
        let entering = Arc::clone(&self.rooms[room as usize]).acquire_owned();
        match tokio::time::timeout(self.times.room, entering).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(busy(format!(
                "{} {} are being served, which is the limit",
                room.requests_max(),
                room.name()
            ))),
        }
    }

    /// The request with the whole of its body.
    async fn read(&self, request: Request, permits: &mut Permits) -> Result<Request, Response> {
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced: Option<usize> =
            announced.and_then(|length| length.to_str().ok()?.parse().ok());
        if request.body().is_end_stream() {
            return Ok(request);
        }
        match announced {
            // Before any of it is read: who is still sending when the connection closes may never
            // see the answer.
            Some(bytes) if bytes > BODY_MAX_BYTES => {
                let message =
                    format!("the body has {bytes} bytes, but at most {BODY_MAX_BYTES} are allowed");
                let refusal = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, 413, message);
                return Err(refusal.into_response());
            }
            Some(bytes) if bytes <= SMALL_BODY_MAX_BYTES => {}
            _ => {
                let permit = Arc::clone(&self.large_bodies).try_acquire_owned();
                let permit = permit.map_err(|_| {
                    busy(format!(
                        "{LARGE_BODIES_MAX} bodies above {SMALL_BODY_MAX_BYTES} bytes are being \
                         read, which is the limit"
                    ))
                })?;
                permits.push(Arc::new(permit));
            }
        }
        let (parts, body) = request.into_parts();
        let mut body = Request::new(body);
        // The limit is among them.
        *body.extensions_mut() = parts.extensions.clone();
        let reading = Bytes::from_request(body, &());
        match tokio::time::timeout(self.times.body, reading).await {
            Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
            Ok(Err(rejection)) => {
                let code = i32::from(rejection.status().as_u16());
                let refusal = ApiError::new(rejection.status(), code, rejection.body_text());
                Err(refusal.into_response())
            }
            Err(_) => {
                let seconds = self.times.body.as_secs();
                let message = format!("the body did not arrive within {seconds} s");
                let refusal = ApiError::new(StatusCode::REQUEST_TIMEOUT, 408, message);
                Err(refusal.into_response())
            }
        }
    }
}

/// Serves a request, and answers after `limit` at the latest.
async fn serve(
    limit: Duration,
    request: Request,
    next: Next,
    permits: Permits,
) -> Result<Response, Response> {
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_reading {
        let served = tokio::time::timeout(limit, next.run(request)).await;
        return served.map_err(|_| too_long(limit.as_secs(), "ask again later"));
    }
    let work = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(permits);
        response
    });
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(ApiError::internal(error.to_string()).into_response()),
        Err(_) => Err(too_long(
            limit.as_secs(),
            "it continues: check later what it has changed",
        )),
    }
}

/// Serves a request once it is whole and there is room.
pub async fn pass(
    State(gate): State<Gate>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let room = route.and_then(|route| Room::of(request.method(), route.as_str()));
    let passed = match room {
        // Always answered immediately: health, readiness, a refusal.
        None => return next.run(request).await,
        Some(_) if is_dry_run(&request) => gate.pass(Room::Ordinary, request, next).await,
        Some(room) => gate.pass(room, request, next).await,
    };
    passed.unwrap_or_else(|refusal| refusal)
}

/// Whether it says that it is a dry run: that is never urgent, and its answers may be large.
fn is_dry_run(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "validate_only=true")
}

fn busy(message: String) -> Response {
    let refusal = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, RETRIABLE, message);
    ([(RETRY_AFTER, "1")], refusal).into_response()
}

fn too_long(seconds: u64, what_next: &str) -> Response {
    let message = format!("not done within {seconds} s; {what_next}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, RETRIABLE, message).into_response()
}

/// The body of an answer, which counts as being served until it is sent.
struct Counted {
    body: Body,
    serving: Option<Serving>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let _ = &self.serving;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tokio::sync::{Notify, mpsc};

    use super::*;

    /// Routes that wait until they are released, behind a gate.
    struct Rig {
        gate: Gate,
        routes: TowerToHyperService<Router>,
        go: Arc<Notify>,
        done: Arc<AtomicUsize>,
    }

    impl Rig {
        fn new(times: Times) -> Self {
            let gate = Gate::new(times);
            let (go, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
            let (waits, counts) = (Arc::clone(&go), Arc::clone(&done));
            let slow = move || async move {
                waits.notified().await;
                counts.fetch_add(1, Ordering::SeqCst);
            };
            let routes = Router::new()
                .route("/slow", get(slow.clone()).post(slow.clone()))
                .route("/mirrors:failover", post(slow))
                .route("/echo", post(async |body: Bytes| body))
                .route("/healthz", get(async || "ok"))
                .layer(from_fn_with_state(gate.clone(), pass))
                .layer(DefaultBodyLimit::max(BODY_MAX_BYTES));
            Rig {
                gate,
                routes: TowerToHyperService::new(routes),
                go,
                done,
            }
        }

        fn call(
            &self,
            method: Method,
            path: &str,
            body: impl Into<Body>,
        ) -> impl Future<Output = Response> + Send + 'static {
            let request = Request::builder().method(method).uri(path);
            let body = body.into();
            let request = match HttpBody::size_hint(&body).exact() {
                Some(length) => request.header(CONTENT_LENGTH, length),
                None => request,
            };
            let answer = self.routes.call(request.body(body).unwrap());
            async move { answer.await.unwrap() }
        }

        /// Waits until that many places of a room are taken.
        async fn taken(&self, room: Room, count: usize) {
            let left = room.requests_max() - count;
            while self.gate.rooms[room as usize].available_permits() != left {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_room_refuses_and_leaves_the_others_alone() {
        let rig = Rig::new(Times::default());
        let many: Vec<_> = (0..Room::Ordinary.requests_max())
            .map(|_| tokio::spawn(rig.call(Method::GET, "/slow", "")))
            .collect();
        rig.taken(Room::Ordinary, many.len()).await;
        let refused = rig.call(Method::GET, "/slow", "").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        let healthy = rig.call(Method::GET, "/healthz", "").await;
        assert_eq!(healthy.status(), StatusCode::OK);
        let dry = "/mirrors:failover?validate_only=true";
        let dry = rig.call(Method::POST, dry, "").await;
        assert_eq!(dry.status(), StatusCode::SERVICE_UNAVAILABLE);
        let cut = tokio::spawn(rig.call(Method::POST, "/mirrors:failover", ""));
        rig.taken(Room::Failover, 1).await;
        rig.go.notify_waiters();
        assert_eq!(cut.await.unwrap().status(), StatusCode::OK);
        for one in many {
            assert_eq!(one.await.unwrap().status(), StatusCode::OK);
        }
        rig.taken(Room::Ordinary, 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_goes_on_without_its_client_and_a_look_up_ends_with_it() {
        let rig = Rig::new(Times::default());
        for (method, ends) in [(Method::GET, 0), (Method::POST, 1)] {
            let client = tokio::spawn(rig.call(method, "/slow", ""));
            rig.taken(Room::Ordinary, 1).await;
            client.abort();
            let _ = client.await;
            rig.go.notify_waiters();
            rig.taken(Room::Ordinary, 0).await;
            assert_eq!(rig.done.load(Ordering::SeqCst), ends);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_request_is_answered_and_goes_on() {
        let rig = Rig::new(Times::default());
        let answer = rig.call(Method::POST, "/slow", "").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        rig.taken(Room::Ordinary, 1).await;
        rig.go.notify_waiters();
        rig.taken(Room::Ordinary, 0).await;
        assert_eq!(rig.done.load(Ordering::SeqCst), 1);
    }

    /// A body that never ends.
    fn endless() -> (mpsc::Sender<Bytes>, Body) {
        struct Chunks(mpsc::Receiver<Bytes>);
        impl futures_core::Stream for Chunks {
            type Item = Result<Bytes, std::convert::Infallible>;
            fn poll_next(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
            }
        }
        let (sender, receiver) = mpsc::channel(1);
        (sender, Body::from_stream(Chunks(receiver)))
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_are_few_at_a_time_and_small_ones_always_find_room() {
        let rig = Rig::new(Times::default());
        let (senders, reading): (Vec<_>, Vec<_>) = (0..LARGE_BODIES_MAX)
            .map(|_| {
                let (sender, body) = endless();
                (sender, tokio::spawn(rig.call(Method::POST, "/echo", body)))
            })
            .unzip();
        while rig.gate.large_bodies.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let large = vec![b'x'; SMALL_BODY_MAX_BYTES + 1];
        let refused = rig.call(Method::POST, "/echo", large.clone()).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let small = vec![b'x'; SMALL_BODY_MAX_BYTES];
        let echoed = rig.call(Method::POST, "/echo", small).await;
        assert_eq!(echoed.status(), StatusCode::OK);
        for one in reading {
            let status = one.await.unwrap().status();
            assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        }
        drop(senders);
        let echoed = rig.call(Method::POST, "/echo", large).await;
        assert_eq!(echoed.status(), StatusCode::OK);
    }
}
