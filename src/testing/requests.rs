//! What a [`TestIssuer`](super::TestIssuer) was asked.

use std::collections::VecDeque;
use std::time::SystemTime;

use http::request::Parts;

use crate::fault::printable;

/// Requests that are remembered; older ones are forgotten.
const MOST: usize = 10_000;

/// A request that an issuer had. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// When it came, on the issuer's clock.
    pub at: SystemTime,
    /// The method.
    pub method: String,
    /// The path, without what follows a `?`.
    pub path: String,
    /// Who asked for a token, right or wrong; `None` at the other endpoints.
    pub client_id: Option<String>,
    /// `grant_type`; `None` at the other endpoints.
    pub grant: Option<String>,
}

impl LoggedRequest {
    pub(super) fn new(at: SystemTime, head: &Parts) -> Self {
        Self {
            at,
            method: printable(head.method.as_str()),
            path: printable(head.uri.path()),
            client_id: None,
            grant: None,
        }
    }

    pub(super) fn asked_by(&mut self, client_id: Option<&str>, grant: Option<&str>) {
        self.client_id = client_id.map(printable);
        self.grant = grant.map(printable);
    }
}

#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<LoggedRequest>);

impl Log {
    pub(super) fn push(&mut self, request: LoggedRequest) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(request);
    }

    pub(super) fn to_vec(&self) -> Vec<LoggedRequest> {
        self.0.iter().cloned().collect()
    }
}
