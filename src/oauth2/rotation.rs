//! The secrets of one client while they are rotated: which is tried first, and what became of
//! each.

use std::time::Duration;

use parking_lot::Mutex;

use super::client_secret::{ClientSecret, SLOW_WATCH, WATCH};
use crate::event::{Change, SecretRole};
use crate::fault::FetchError;
use crate::refresh::source::Fetched;
use crate::secret::Secret;

/// The current and, if there is one, the previous secret of a client.
pub(super) struct Secrets {
    current: ClientSecret,
    previous: Option<Box<ClientSecret>>,
    /// How long each may take to come.
    patience: Duration,
    memory: Mutex<Memory>,
}

/// One for each [`SecretRole`], in that order.
type Each<T> = [T; 2];

#[derive(Default)]
struct Memory {
    /// Which is tried first: the one that worked last.
    first: SecretRole,
    accepted: Option<Secret>,
    /// What the last fetch saw.
    seen: Each<Sight>,
    /// What has been refused since one was accepted.
    refused: Each<Option<Secret>>,
    /// How often something else than before was refused.
    refusals: u32,
    /// How often a secret was not sent, since it had been refused.
    spared: u32,
}

/// One in so many fetches tries a refused secret while the other cannot be read.
const ONCE_IN: u32 = 16;

#[derive(Clone, Default, PartialEq)]
enum Sight {
    /// There was no need to look.
    #[default]
    None,
    Secret(Secret),
    Unreadable,
}

impl Secrets {
    pub(super) fn new(
        current: ClientSecret,
        previous: Option<ClientSecret>,
        patience: Duration,
    ) -> Self {
        Self {
            current,
            previous: previous.map(Box::new),
            patience,
            memory: Mutex::default(),
        }
    }

    fn of(&self, role: SecretRole) -> Option<&ClientSecret> {
        match role {
            SecretRole::Current => Some(&self.current),
            SecretRole::Previous => self.previous.as_deref(),
        }
    }

    /// Begins a fetch.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        let first = self.memory.lock().first;
        Attempt {
            secrets: self,
            left: vec![first.other(), first],
            seen: Default::default(),
            refused: Default::default(),
            refusal: None,
            unreadable: Default::default(),
            notes: Vec::new(),
        }
    }

    /// Resolves when one of the secrets that the last fetch looked at has changed. A source that
    /// gives another secret every time, and none that is accepted, is looked at ever more rarely.
    pub(super) async fn changed(&self) {
        let ([current, previous], refusals) = {
            let memory = self.memory.lock();
            (memory.seen.clone(), memory.refusals)
        };
        let pause = (WATCH * (1 << refusals.saturating_sub(1).min(5))).min(SLOW_WATCH);
        tokio::select! {
            () = self.changes(SecretRole::Current, current, pause) => {}
            () = self.changes(SecretRole::Previous, previous, pause) => {}
        }
    }

    async fn changes(&self, role: SecretRole, seen: Sight, pause: Duration) {
        let seen = match seen {
            Sight::None => return std::future::pending().await,
            Sight::Secret(secret) => Some(secret),
            Sight::Unreadable => None,
        };
        match self.of(role) {
            Some(secret) => secret.changed_from(seen, pause, self.patience).await,
            None => std::future::pending().await,
        }
    }
}

/// One fetch's way through the secrets.
pub(super) struct Attempt<'a> {
    secrets: &'a Secrets,
    /// What is still to be tried, the last first.
    left: Vec<SecretRole>,
    seen: Each<Sight>,
    refused: Each<Option<Secret>>,
    refusal: Option<FetchError>,
    unreadable: Each<Option<FetchError>>,
    notes: Vec<Change>,
}

impl Attempt<'_> {
    /// The next secret to try.
    pub(super) async fn next(&mut self) -> Option<(SecretRole, Secret)> {
        while let Some(which) = self.left.pop() {
            let Some(secret) = self.secrets.of(which) else {
                continue;
            };
            match secret.read(self.secrets.patience).await {
                Ok(secret) => {
                    let sight = Sight::Secret(secret.clone());
                    let tried = self.seen.contains(&sight);
                    self.seen[which as usize] = sight;
                    if !tried && !self.is_in_vain(which, &secret) {
                        return Some((which, secret));
                    }
                }
                Err(error) => {
                    self.seen[which as usize] = Sight::Unreadable;
                    self.unreadable[which as usize] = Some(error);
                }
            }
        }
        None
    }

    /// While the current secret cannot be read, a previous one that was refused is sent only now
    /// and then: the failure is one that is soon repeated.
    fn is_in_vain(&self, which: SecretRole, secret: &Secret) -> bool {
        let [current, _] = &self.unreadable;
        let mut memory = self.secrets.memory.lock();
        if current.is_none() || memory.refused[which as usize].as_ref() != Some(secret) {
            return false;
        }
        memory.spared += 1;
        !memory.spared.is_multiple_of(ONCE_IN)
    }

    /// The provider does not know the client by this secret.
    pub(super) fn refused(&mut self, which: SecretRole, secret: Secret, error: FetchError) {
        self.refused[which as usize] = Some(secret);
        self.refusal = Some(error);
        self.notes.push(Change::SecretRejected { which });
    }

    /// The provider knows the client by this secret. Returns what there is to tell.
    pub(super) fn accepted(self, which: SecretRole, secret: Secret) -> Vec<Change> {
        let mut notes = self.notes;
        for (which, error) in SecretRole::ALL.into_iter().zip(self.unreadable) {
            notes.extend(error.map(|error| Change::SecretUnavailable { which, error }));
        }
        let mut memory = self.secrets.memory.lock();
        if memory.accepted.as_ref().is_some_and(|old| *old != secret) {
            notes.push(Change::SecretRotated { which });
        }
        *memory = Memory {
            first: which,
            accepted: Some(secret),
            ..Memory::default()
        };
        notes
    }

    /// There is no token: because of `error`, or else because of the secrets.
    pub(super) fn failed<T>(self, error: Option<FetchError>) -> Fetched<T> {
        let [current, previous] = self.unreadable;
        let because_of_secrets = match (self.refusal, current, previous) {
            // It may well be the right one.
            (_, Some(unreadable), _) => Some(unreadable),
            (Some(refusal), None, Some(unreadable)) => Some(refusal.caused_by(unreadable)),
            (refusal, None, _) => refusal,
        };
        let mut memory = self.secrets.memory.lock();
        memory.seen = self.seen;
        let first = memory.first;
        let [tried, other] =
            [first, first.other()].map(|which| self.refused[which as usize].is_some());
        if tried && !other {
            memory.first = first.other();
        }
        let mut news = false;
        for (refused, before) in self.refused.into_iter().zip(&mut memory.refused) {
            if refused.is_some() && refused != *before {
                *before = refused;
                news = true;
            }
        }
        memory.refusals += u32::from(news);
        drop(memory);
        let error = error.or(because_of_secrets);
        Fetched::failed(error.unwrap_or_else(|| FetchError::transient("there is no client secret")))
            .notes(self.notes)
    }
}

#[cfg(test)]
mod tests;
