use std::sync::Arc;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::refresh::source::Fetched;

/// Where a secret is kept, and changed by the test.
#[derive(Clone)]
struct Place(Arc<Mutex<Option<&'static str>>>);

impl Place {
    fn new(holds: Option<&'static str>) -> Self {
        Self(Arc::new(Mutex::new(holds)))
    }

    fn secret(&self) -> ClientSecret {
        let place = self.clone();
        ClientSecret::from_fn(move || {
            let held = *place.0.lock();
            async move { held.ok_or("nothing here") }
        })
    }
}

fn refusal() -> FetchError {
    FetchError::refused("invalid_client", "invalid_client", true)
}

/// One fetch from a provider that knows these secrets: what it was asked with, and what became
/// of it.
async fn fetch(
    secrets: &Secrets,
    known: &[&str],
) -> (Vec<String>, Result<Vec<Change>, Fetched<()>>) {
    let (mut attempt, mut asked) = (secrets.attempt(), Vec::new());
    while let Some((which, secret)) = attempt.next().await {
        asked.push(secret.expose().to_owned());
        if known.contains(&secret.expose()) {
            return (asked, Ok(attempt.accepted(which, secret)));
        }
        attempt.refused(which, secret, refusal());
    }
    (asked, Err(attempt.failed(None)))
}

fn count(notes: &[Change], label: &str) -> usize {
    notes.iter().filter(|note| note.as_str() == label).count()
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    #[test]
    fn whatever_becomes_of_the_secrets_one_that_is_known_is_found(
        steps in prop::collection::vec((0..6_usize, 0..6_usize, 0..16_u8), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let [current, previous] = [(); 2].map(|()| Place::new(None));
            let patience = Duration::from_secs(1);
            let secrets = Secrets::new(current.secret(), Some(previous.secret()), patience);
            let mut accepted: Option<String> = None;
            let mut last: (Option<&str>, Option<&str>, Option<String>) = (None, None, None);
            for (c, p, mask) in steps {
                let (c, p) = (NAMES.get(c).copied(), NAMES.get(p).copied());
                (*current.0.lock(), *previous.0.lock()) = (c, p);
                let known: Vec<_> = (0..4).filter(|n| mask & (1 << n) != 0).map(|n| NAMES[n]).collect();
                let is_known = |name: Option<&str>| name.is_some_and(|name| known.contains(&name));
                let (asked, outcome) = fetch(&secrets, &known).await;

                prop_assert!(asked.len() <= 2 && (asked.len() < 2 || asked[0] != asked[1]));
                match &outcome {
                    Ok(notes) => {
                        let found = asked.last().cloned();
                        prop_assert_eq!(count(notes, "secret_rejected"), asked.len() - 1);
                        let rotated = accepted.is_some() && accepted != found;
                        prop_assert_eq!(count(notes, "secret_rotated"), usize::from(rotated));
                        accepted = found.clone();
                        last = (c, p, found);
                    }
                    Err(failed) => {
                        prop_assert_eq!(count(&failed.notes, "secret_rejected"), asked.len());
                        let error = failed.value.as_ref().expect_err("no value");
                        prop_assert_eq!(error.is_transient(), c.is_none());
                        // What one cannot read, one cannot know; what was refused while it
                        // could not be read was not sent again.
                        prop_assert!(!is_known(c) && (c.is_none() || !is_known(p)));
                        last.2 = None;
                    }
                }
                // Nothing has changed: the one that worked is asked with at once.
                if let Some(name) = &last.2 && (last.0, last.1) == (c, p) && known.contains(&&**name) {
                    let (asked, _) = fetch(&secrets, &known).await;
                    prop_assert_eq!(asked, [name.clone()]);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_refusal_of_the_only_secret_that_can_be_read_is_not_for_ever() {
    let (sealed, value) = (Place::new(None), ClientSecret::from("a"));
    let secrets = Secrets::new(sealed.secret(), Some(value), Duration::from_secs(1));
    let (asked, outcome) = fetch(&secrets, &[]).await;
    assert!(asked == ["a"] && outcome.is_err());
    let mut spared = 0;
    while fetch(&secrets, &["a"]).await.1.is_err() {
        spared += 1;
    }
    assert_eq!(spared, ONCE_IN - 1);
}

/// How long the watch takes to see a change.
async fn watched(secrets: &Secrets) -> u64 {
    let begun = Instant::now();
    secrets.changed().await;
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_source_that_gives_another_secret_every_time_is_watched_ever_more_rarely() {
    let count = Arc::new(Mutex::new(0));
    let next = ClientSecret::from_fn(move || {
        *count.lock() += 1;
        let secret = count.lock().to_string();
        async { Ok::<_, FetchError>(secret) }
    });
    let secrets = Secrets::new(next, None, Duration::from_secs(1));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (_, outcome) = fetch(&secrets, &[]).await;
        assert!(outcome.is_err());
        pauses.push(watched(&secrets).await);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_refused_again_is_watched_as_closely_as_before() {
    let place = Place::new(Some("a"));
    let secrets = Secrets::new(place.secret(), None, Duration::from_secs(1));
    for _ in 0..9 {
        assert!(fetch(&secrets, &[]).await.1.is_err());
    }
    *place.0.lock() = Some("b");
    assert_eq!(watched(&secrets).await, 2);
    assert!(fetch(&secrets, &["b"]).await.1.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_asked_ever_more_rarely_and_a_value_never_changes() {
    let place = Place::new(Some("a"));
    let value = ClientSecret::from("b");
    let secrets = Secrets::new(place.secret(), Some(value), Duration::from_secs(1));
    assert!(fetch(&secrets, &[]).await.1.is_err());
    let begun = Instant::now();
    tokio::join!(secrets.changed(), async {
        // After 2, 6, 14, 30, 62 s and then once a minute.
        tokio::time::sleep(Duration::from_secs(200)).await;
        *place.0.lock() = Some("c");
    });
    assert_eq!(begun.elapsed().as_secs(), 242);
}
