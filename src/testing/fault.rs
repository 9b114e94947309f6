//! What a [`TestIssuer`](super::TestIssuer) can be told to do wrong.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

/// One of the issuer's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// The metadata document.
    Discovery,
    /// The key set.
    Jwks,
    /// The token endpoint.
    Token,
}

/// A way to misbehave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Answers rightly, but this much later.
    Delay(Duration),
    /// Sends a body of one byte every 50 ms that never ends.
    Drip,
    /// A 200 with random bytes that are not even text.
    Garbage,
    /// Takes the request and never answers.
    Hang,
    /// A 200 with an HTML page.
    Html,
    /// A 200 with a body of this many bytes.
    Huge(usize),
    /// A redirect (307) to this URL.
    Redirect(String),
    /// Closes the connection without an answer.
    Reset,
    /// Any answer: status, headers, body.
    Respond {
        /// The status code.
        status: u16,
        /// Header names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// A status with a small JSON body that says nothing.
    Status(u16),
    /// 429 with `Retry-After`, in seconds.
    Throttle(u64),
    /// Half of the right answer, then the connection closes.
    Truncate,
    /// A key set with other keys under the ids of the right ones; elsewhere the right answer.
    WrongKeys,
}

/// A response body that can be cut short or never end.
#[derive(Debug)]
pub(super) enum FaultyBody {
    Cut(Option<Bytes>),
    Drip(Pin<Box<tokio::time::Sleep>>),
    Whole(Option<Bytes>),
}

impl FaultyBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

/// The connection was cut on purpose.
#[derive(Debug, thiserror::Error)]
#[error("cut by a test")]
pub(super) struct CutShort;

impl From<Infallible> for CutShort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Cut(bytes) => Poll::Ready(Some(match bytes.take() {
                Some(bytes) => Ok(Frame::data(bytes)),
                None => Err(CutShort),
            })),
            Self::Drip(sleep) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                *sleep = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Cut(_) | Self::Drip(_) => SizeHint::default(),
        }
    }
}

/// The response that `fault` makes of `right`, or `None` to close the connection.
pub(super) async fn apply(
    fault: Fault,
    right: Response<FaultyBody>,
) -> Option<Response<FaultyBody>> {
    let answer = |status: u16, body: Bytes| {
        let mut response = Response::new(FaultyBody::whole(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
        response
    };
    Some(match fault {
        Fault::Delay(delay) => {
            tokio::time::sleep(delay).await;
            right
        }
        Fault::Drip => Response::new(FaultyBody::Drip(Box::pin(tokio::time::sleep(
            Duration::ZERO,
        )))),
        Fault::Garbage => {
            let mut bytes = [0xff; 256];
            fastrand::fill(&mut bytes[1..]);
            answer(200, Bytes::copy_from_slice(&bytes))
        }
        Fault::Hang => std::future::pending().await,
        Fault::Html => answer(200, "<!doctype html><title>Sign in</title>".into()),
        Fault::Huge(bytes) => answer(200, "x".repeat(bytes).into()),
        Fault::Redirect(to) => {
            let mut response = answer(307, Bytes::new());
            if let Ok(to) = HeaderValue::from_str(&to) {
                response.headers_mut().insert(header::LOCATION, to);
            }
            response
        }
        Fault::Reset => return None,
        Fault::Respond {
            status,
            headers,
            body,
        } => {
            let mut response = answer(status, body.into());
            for (name, value) in headers {
                let name = http::HeaderName::try_from(name).ok()?;
                response
                    .headers_mut()
                    .append(name, HeaderValue::try_from(value).ok()?);
            }
            response
        }
        Fault::Status(status) => answer(status, "{}".into()),
        Fault::Throttle(seconds) => {
            let mut response = answer(429, "{}".into());
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Fault::Truncate => {
            let (parts, body) = right.into_parts();
            match body {
                // Nothing to halve: the answer ends before it has begun.
                FaultyBody::Whole(Some(bytes)) if bytes.is_empty() => return None,
                FaultyBody::Whole(Some(bytes)) => {
                    let half = bytes.slice(..bytes.len() / 2);
                    Response::from_parts(parts, FaultyBody::Cut(Some(half)))
                }
                other => Response::from_parts(parts, other),
            }
        }
        Fault::WrongKeys => right,
    })
}
