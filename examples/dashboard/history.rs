//! What has happened in the last minutes, as the page draws it. Holds no token and no secret.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use midil_auth::bearer::Rejection;
use midil_auth::event::{Change, Event, Refreshed};
use serde::Serialize;

/// How far back the page looks, in seconds.
const MEMORY: f64 = 180.0;
const LINES: usize = 60;

/// Times are in seconds since the start.
#[derive(Serialize)]
pub(crate) struct History {
    #[serde(skip)]
    began: SystemTime,
    /// By credential.
    tokens: BTreeMap<String, VecDeque<Token>>,
    /// By issuer.
    keys: BTreeMap<String, VecDeque<Key>>,
    /// Fetches that failed, by credential or issuer.
    failures: BTreeMap<String, VecDeque<f64>>,
    /// What the issuers were told to do.
    moods: VecDeque<Mood>,
    verdicts: VecDeque<Second>,
    totals: Totals,
    log: VecDeque<Line>,
}

#[derive(Serialize)]
struct Token {
    version: u64,
    issued: f64,
    refresh: f64,
    ends: f64,
    /// When another took its place.
    replaced: Option<f64>,
}

#[derive(Serialize)]
struct Key {
    kid: String,
    added: f64,
    removed: Option<f64>,
}

#[derive(Serialize)]
struct Mood {
    mood: &'static str,
    since: f64,
    until: Option<f64>,
}

/// Verdicts of one second.
#[derive(Serialize)]
struct Second {
    at: f64,
    accepted: u32,
    refused: u32,
    undecided: u32,
}

#[derive(Default, Serialize)]
struct Totals {
    /// Requests of the clients.
    answered: u64,
    failed: u64,
    /// Verdicts of the API.
    accepted: u64,
    undecided: u64,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Line {
    /// Counts all lines.
    number: u64,
    at: f64,
    what: &'static str,
    text: String,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            began: SystemTime::now(),
            tokens: BTreeMap::new(),
            keys: BTreeMap::new(),
            failures: BTreeMap::new(),
            moods: VecDeque::from([Mood {
                mood: "up",
                since: 0.0,
                until: None,
            }]),
            verdicts: VecDeque::new(),
            totals: Totals::default(),
            log: VecDeque::new(),
        }
    }

    fn since_start(&self, at: SystemTime) -> f64 {
        at.duration_since(self.began)
            .unwrap_or_default()
            .as_secs_f64()
    }

    pub(crate) fn now(&self) -> f64 {
        self.since_start(SystemTime::now())
    }

    /// What the issuers have been told last.
    pub(crate) fn mood(&self) -> &'static str {
        self.moods.back().map_or("up", |mood| mood.mood)
    }

    pub(crate) fn happened(&mut self, event: &Event) {
        let at = self.since_start(event.at);
        match &event.change {
            Change::Acquired(token) | Change::Refreshed(token) => {
                self.issued(&event.name, at, token);
            }
            Change::RefreshFailed { .. } => {
                let failures = self.failures.entry(event.name.to_string()).or_default();
                failures.push_back(at);
                forget(failures, |failed| *failed < at - MEMORY);
            }
            Change::Rotated { added, removed, .. } => {
                let keys = self.keys.entry(event.name.to_string()).or_default();
                for key in keys.iter_mut().filter(|key| key.removed.is_none()) {
                    key.removed = removed.contains(&key.kid).then_some(at);
                }
                keys.extend(added.iter().map(|kid| Key {
                    kid: kid.clone(),
                    added: at,
                    removed: None,
                }));
                keys.retain(|key| key.removed.is_none_or(|removed| removed > at - MEMORY));
            }
            _ => {}
        }
        let what = event.change.as_str();
        let text = match &event.change {
            Change::Acquired(token) | Change::Refreshed(token) => {
                let (version, took) = (token.version, token.took);
                format!("{}, token {version}, fetched in {took:.1?}", event.name)
            }
            Change::RefreshFailed { error, .. } => format!("{}: {error}", event.name),
            _ => {
                let text = event.to_string();
                text.trim_start_matches(what).trim().to_owned()
            }
        };
        self.log(at, what, text);
    }

    fn issued(&mut self, name: &str, at: f64, token: &Refreshed) {
        let tokens = self.tokens.entry(name.to_owned()).or_default();
        if let Some(last) = tokens.back_mut() {
            last.replaced = Some(at);
        }
        tokens.push_back(Token {
            version: token.version,
            issued: at - token.took.as_secs_f64(),
            refresh: at + token.refresh_in.as_secs_f64(),
            ends: at + token.usable_for.as_secs_f64(),
            replaced: None,
        });
        forget(tokens, |token| token.ends < at - MEMORY);
    }

    /// The issuers were told to be so.
    pub(crate) fn turned(&mut self, mood: &'static str) {
        let now = self.now();
        if let Some(last) = self.moods.back_mut() {
            last.until = Some(now);
        }
        self.moods.push_back(Mood {
            mood,
            since: now,
            until: None,
        });
        forget(&mut self.moods, |mood| {
            mood.until.is_some_and(|until| until < now - MEMORY)
        });
        self.note("you", format!("the issuers are {mood}"));
    }

    /// A verdict of the API.
    pub(crate) fn accepted(&mut self) {
        self.totals.accepted += 1;
        self.second().accepted += 1;
    }

    /// A verdict of the API.
    pub(crate) fn refused(&mut self, rejection: &Rejection) {
        let (status, reason) = (rejection.status(), rejection.reason());
        let what = if status.is_server_error() {
            self.totals.undecided += 1;
            self.second().undecided += 1;
            "undecided"
        } else {
            *self.totals.refused.entry(reason).or_default() += 1;
            self.second().refused += 1;
            "refused"
        };
        self.note(what, format!("{reason}, {status}"));
    }

    fn second(&mut self) -> &mut Second {
        let now = self.now();
        forget(&mut self.verdicts, |second| second.at < now - MEMORY);
        let at = now.floor();
        if self.verdicts.back().is_none_or(|last| last.at < at) {
            self.verdicts.push_back(Second {
                at,
                accepted: 0,
                refused: 0,
                undecided: 0,
            });
        }
        let last = self.verdicts.len() - 1;
        &mut self.verdicts[last]
    }

    /// What came of a request of a client.
    pub(crate) fn called(&mut self, problem: Option<String>) {
        match problem {
            None => self.totals.answered += 1,
            Some(problem) => {
                self.totals.failed += 1;
                // One line for a row of them.
                if self.log.back().is_none_or(|line| line.what != "failed") {
                    self.note("failed", problem);
                }
            }
        }
    }

    pub(crate) fn note(&mut self, what: &'static str, text: String) {
        self.log(self.now(), what, text);
    }

    fn log(&mut self, at: f64, what: &'static str, text: String) {
        let number = self.log.back().map_or(0, |line| line.number + 1);
        self.log.push_back(Line {
            number,
            at,
            what,
            text,
        });
        if self.log.len() > LINES {
            self.log.pop_front();
        }
    }
}

fn forget<T>(queue: &mut VecDeque<T>, old: impl Fn(&T) -> bool) {
    while queue.front().is_some_and(&old) {
        queue.pop_front();
    }
}
