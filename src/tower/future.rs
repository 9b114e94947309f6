//! What the services return: an enum, not a box.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::bearer::{BearerLayer, pass};
use super::{Refuse, answer, dress};
use crate::bearer::admission::{TokenVerifier, Verdict, refuse};

pin_project! {
    /// What became of a request: the response of the service it was let in to, or a refusal. With
    /// `private` no shared cache may keep the response; `refuse` dresses refusals from within.
    #[project = AnswerProj]
    pub(super) enum Answer<F, B> {
        Passed {
            #[pin]
            future: F,
            private: bool,
            refuse: Option<Refuse<B>>,
        },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B> Answer<F, B> {
    pub(super) const fn passed(future: F) -> Self {
        Self::Passed {
            future,
            private: false,
            refuse: None,
        }
    }

    pub(super) const fn refused(response: Response<B>) -> Self {
        Self::Refused {
            response: Some(response),
        }
    }
}

impl<F, B, E> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProj::Passed {
                future,
                private,
                refuse,
            } => {
                let mut response = ready!(future.poll(context))?;
                if let Some(refuse) = refuse {
                    dress(&mut response, refuse);
                }
                if *private {
                    keep_private(&mut response);
                }
                Poll::Ready(Ok(response))
            }
            AnswerProj::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled after it was ready, which nobody may.
                None => Poll::Pending,
            },
        }
    }
}

/// Unless the response already says that no shared cache may have it.
fn keep_private<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    let kept = headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        let said = value.to_str().unwrap_or_default().to_ascii_lowercase();
        let mut directives = said.split(',').map(str::trim);
        directives.any(|directive| matches!(directive, "private" | "no-store"))
    });
    if !kept {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

pin_project! {
    /// The response of a [`RequireService`](super::RequireService).
    pub struct RequireFuture<F, B> {
        #[pin]
        pub(super) answer: Answer<F, B>,
    }
}

impl<F, B, E> Future for RequireFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().answer.poll(context)
    }
}

pin_project! {
    /// The response of a [`BearerService`](super::BearerService).
    pub struct BearerFuture<S, V, Q, B>
    where
        S: Service<Request<Q>>,
        V: TokenVerifier,
    {
        #[pin]
        state: State<S, V, Q, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, V, Q, B>
    where
        S: Service<Request<Q>>,
        V: TokenVerifier,
    {
        Decided {
            #[pin]
            answer: Answer<S::Future, B>,
        },
        Waiting {
            verdict: Verdict<V::Claims>,
            held: Option<Held<S, V, Q, B>>,
        },
    }
}

/// A request on which there is no verdict yet, and what is to become of it.
pub(super) struct Held<S, V, Q, B> {
    pub(super) layer: Arc<BearerLayer<V, B>>,
    pub(super) service: S,
    pub(super) request: Request<Q>,
}

impl<S: Service<Request<Q>>, V: TokenVerifier, Q, B> BearerFuture<S, V, Q, B> {
    pub(super) const fn decided(answer: Answer<S::Future, B>) -> Self {
        Self {
            state: State::Decided { answer },
        }
    }

    pub(super) const fn waiting(verdict: Verdict<V::Claims>, held: Held<S, V, Q, B>) -> Self {
        Self {
            state: State::Waiting {
                verdict,
                held: Some(held),
            },
        }
    }
}

impl<S, V, Q, B> Future for BearerFuture<S, V, Q, B>
where
    S: Service<Request<Q>, Response = Response<B>>,
    V: TokenVerifier,
    B: Default,
{
    type Output = Result<Response<B>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Decided { answer } => return answer.poll(context),
                StateProj::Waiting { verdict, held } => {
                    let verdict = ready!(verdict.as_mut().poll(context));
                    let Some(mut held) = held.take() else {
                        return Poll::Pending;
                    };
                    let answer = match verdict {
                        Ok(claims) => {
                            pass(&held.layer, &mut held.service, held.request, Some(claims))
                        }
                        Err(error) => Answer::refused(answer(
                            refuse(&error),
                            held.request.headers(),
                            held.layer.refuse.as_ref(),
                        )),
                    };
                    state.set(State::Decided { answer });
                }
            }
        }
    }
}

impl<F, B> fmt::Debug for RequireFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}

impl<S: Service<Request<Q>>, V: TokenVerifier, Q, B> fmt::Debug for BearerFuture<S, V, Q, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerFuture").finish_non_exhaustive()
    }
}
