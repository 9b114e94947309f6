//! Every span and line of the log, as it stands in the source and as a subscriber sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::tower::BearerLayer;
use midil_auth::{Auth, Verifier};
use parking_lot::Mutex;
use tower::{Layer as _, Service as _, service_fn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{GUIDE, pieces, rows, sources};

/// Level and fields, by message or name.
type Lines = BTreeMap<String, (String, BTreeSet<String>)>;

fn listed() -> Lines {
    let rows = rows(GUIDE, "Spans and lines of the log").into_iter();
    let rows = rows.filter(|row| row[0] != "span or message");
    rows.map(|row| (row[0].to_owned(), (row[1].to_owned(), pieces(row[2]))))
        .collect()
}

#[test]
fn every_span_and_line_in_the_source_is_listed() {
    let mut found = Lines::new();
    for (path, source) in sources() {
        for (at, _) in source.match_indices("tracing::") {
            let rest = &source[at + "tracing::".len()..];
            let Some((name, rest)) = rest.split_once("!(") else {
                continue;
            };
            let (span, level) = match name.strip_suffix("_span") {
                Some(level) => ("span ", level),
                None => ("", name),
            };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            let mut message = String::new();
            let mut fields = BTreeSet::new();
            let mut stable = false;
            for argument in arguments(rest) {
                stable |= argument.starts_with("target: ");
                if let Some(text) = argument.strip_prefix('"') {
                    message = format!("{span}{}", text.trim_end_matches('"'));
                } else if !argument.contains(": ") || argument.contains(" = ") {
                    let name = argument.split(" = ").next().unwrap_or_default();
                    fields.insert(name.trim_start_matches(['?', '%']).to_owned());
                }
            }
            assert!(
                stable,
                "{message} in {} has no target of its own",
                path.display()
            );
            let line = (level.to_owned(), fields);
            assert!(
                found.insert(message.clone(), line).is_none(),
                "{message} stands twice"
            );
        }
    }
    assert_eq!(listed(), found);
}

/// What a macro is given, up to its closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted) = (0_i32, false);
    let mut found = vec![String::new()];
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        match c {
            _ if depth < 0 => break,
            ',' if depth == 0 && !quoted => found.push(String::new()),
            _ => found.last_mut().expect("one").push(c),
        }
    }
    let found = found.into_iter().map(|argument| argument.trim().to_owned());
    found.filter(|argument| !argument.is_empty()).collect()
}

/// A subscriber that keeps what it is told by this crate.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Reader {
    message: String,
    fields: BTreeSet<String>,
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => drop(self.fields.insert(name.to_owned())),
        }
    }
}

impl Kept {
    fn keep(&self, metadata: &tracing::Metadata<'_>, name: String, fields: BTreeSet<String>) {
        if metadata.target().starts_with("midil_auth") {
            let level = metadata.level().as_str().to_ascii_lowercase();
            self.0.lock().insert(name, (level, fields));
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader::default();
        event.record(&mut reader);
        self.keep(event.metadata(), reader.message, reader.fields);
    }

    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut reader = Reader::default();
        span.record(&mut reader);
        let name = format!("span {}", span.metadata().name());
        self.keep(span.metadata(), name, reader.fields);
    }
}

#[tokio::test]
async fn a_subscriber_sees_what_is_listed() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    let guard = tracing::subscriber::set_default(subscriber);

    let issuer = TestIssuer::start().await.expect("an issuer");
    let auth = Auth::start().await.expect("started");
    issuer.fail_next(Endpoint::Token, 1, Fault::Status(503));
    let client = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
    let _token = auth.token(client).await.expect("a token, the second time");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let inner = service_fn(async |_: http::Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    let mut service = BearerLayer::new(verifier).layer(inner);
    let response = service
        .call(http::Request::new(()))
        .await
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 401);
    drop(guard);

    let (seen, listed) = (kept.0.lock().clone(), listed());
    for wanted in [
        "span midil_auth.fetch",
        "refresh failed",
        "recovered",
        "keys rotated",
        "resource changed",
        "request refused",
    ] {
        assert!(
            seen.contains_key(wanted),
            "{wanted} is not in {:?}",
            seen.keys()
        );
    }
    for (name, line) in &seen {
        assert_eq!(listed.get(name), Some(line), "{name}");
    }
}
