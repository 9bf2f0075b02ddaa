//! `POST /links/{link}/mirrors/{topic}:verify`: compares a mirror with its source and streams the
//! progress ([`super::model::verify`]).

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body as HttpBody, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use carrick_link::verify::VerifyOptions;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::App;
use super::error::ApiError;
use super::extract::{Body, Path};
use super::mirrors::{MirrorPath, find};
use super::model::verify::{VerifyEvent, VerifyRequest};

/// Lines that may wait for a slow client; progress beyond that is left out.
const WAITING_LINES: usize = 16;

/// Starts a comparison. It ends early when the client goes away.
///
/// # Errors
/// 404 for an unknown link or mirror; later errors are the stream's last line.
pub async fn verify(
    app: App,
    Path(mut path): Path<MirrorPath>,
    Body(body): Body<VerifyRequest>,
) -> Result<Response, ApiError> {
    let Some(topic) = path.topic.strip_suffix(":verify") else {
        return Err(ApiError::wrong_method());
    };
    path.topic = topic.to_owned();
    let mirror = find(&app, &path)?;
    let (sender, receiver) = mpsc::channel(WAITING_LINES);
    tokio::spawn(async move {
        tokio::select! {
            // The client has disconnected.
            () = sender.closed() => {}
            () = compare(&app, &mirror.topic, body, &sender) => {}
        }
    });
    let lines = HttpBody::from_stream(Lines(receiver));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn compare(app: &App, topic: &str, body: VerifyRequest, sender: &mpsc::Sender<Bytes>) {
    let options = VerifyOptions {
        sample: body.sample,
        partition: body.partition,
        from: body.from,
        to: body.to,
    };
    let mut progress = |at| {
        let _ = sender.try_send(line(&VerifyEvent::Progress(at)));
    };
    let last = match app.links.verify(topic, options, &mut progress).await {
        Ok(report) => VerifyEvent::Report(report),
        Err(error) => VerifyEvent::Error(ApiError::from(error).into_body()),
    };
    let _ = sender.send(line(&last)).await;
}

fn line(event: &VerifyEvent) -> Bytes {
    // The event's types hold nothing that JSON cannot; were it otherwise, an empty line would make
    // the client report a comparison that was cut off.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

struct Lines(mpsc::Receiver<Bytes>);

impl Stream for Lines {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}
