//! `oidc-provider`: an OpenID-certified server with every kind of key and of rotation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::Cause;
use midil_auth::jwks::RotationPolicy;
use midil_auth::jwt::{AccessToken, Verifier, VerifierBuilder};
use midil_auth::oauth2::{BasicEncoding, ClientAuth, ClientCredentials, LifetimePolicy};
use midil_auth::{Auth, AuthzProvider};

use crate::harness::{
    Http, Process, Scratch, eventually, free_port, installed, run_node, start_node,
};
use crate::watch::{
    Journal, Reader, Rotation, assert_refused, kid, quick_keys, quick_tokens, refusal, resigned,
};

const ALGORITHMS: [&str; 3] = ["ES256", "EdDSA", "RS256"];
const API: &str = "https://api.example.test";
const BASIC: (&str, &str) = ("svc-basic", "basic-secret-0123456789abcdef");
const POST: (&str, &str) = ("svc-post", "post-secret-0123456789abcdef");
/// Its Basic credentials differ by whether they are form-encoded.
const SPECIAL: (&str, &str) = ("svc:special+id", "p@ss:w/rd+%20&=?~");

/// One provider, signing with the keys `a`.
struct Provider {
    process: Process,
    http: Http,
    scratch: Scratch,
}

impl Provider {
    async fn start(algorithms: &[&str], prefixes: &[&str]) -> Option<Self> {
        if !installed("oidc-provider", "node_modules/oidc-provider", "node") {
            return None;
        }
        let scratch = Scratch::new();
        for prefix in prefixes {
            let file = text(scratch.path(prefix));
            run_node("make-keys.mjs", &[&[&*file, *prefix], algorithms].concat());
        }
        let served = text(scratch.path("served"));
        run_node(
            "make-keys.mjs",
            &["--merge", &served, &text(scratch.path("a"))],
        );
        let port = free_port();
        let args = [&*port.to_string(), &served];
        let process = start_node("oidc-provider.mjs", &args, &scratch).await;
        Some(Self {
            process,
            http: Http::new(port),
            scratch,
        })
    }

    /// Serves the keys of these prefixes; the first ones sign.
    async fn serve(&self, prefixes: &[&str]) {
        let generation = self.count("generation").await;
        let sets: Vec<_> = prefixes
            .iter()
            .map(|prefix| text(self.scratch.path(prefix)))
            .collect();
        let served = text(self.scratch.path("served"));
        let mut args = vec!["--merge", &*served];
        args.extend(sets.iter().map(String::as_str));
        run_node("make-keys.mjs", &args);
        self.process.signal("HUP");
        eventually("the keys are served", async || {
            (self.count("generation").await > generation).then_some(())
        })
        .await;
    }

    async fn count(&self, what: &str) -> u64 {
        let counts = self.http.get("/__counts").await;
        counts[what].as_u64().expect("a count")
    }

    fn client(&self, (id, secret): (&str, &str), resource: &str) -> ClientCredentials {
        ClientCredentials::new(format!("{}/token", self.http.base()), id, secret)
            .resource(resource)
            .scope("api/read")
            .refresh(quick_tokens())
    }

    /// By discovery, for access tokens of RFC 9068.
    fn verifier(&self, audience: &str) -> VerifierBuilder<AccessToken> {
        Verifier::builder(self.http.base())
            .audience(audience)
            .rfc9068()
            .require_scope("api/read")
            .unknown_key_wait(Duration::from_secs(10))
            .refresh(quick_keys())
    }
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("UTF-8")
}

fn kids(prefixes: &[&str]) -> Vec<String> {
    let of_prefix = |prefix: &&str| ALGORITHMS.map(|algorithm| format!("{prefix}-{algorithm}"));
    prefixes.iter().flat_map(of_prefix).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refreshed_and_verified_through_every_rotation() {
    let Some(provider) = Provider::start(&ALGORITHMS, &["a", "b", "c"]).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let journal = Journal::open(&auth);
    let short = |algorithm: &str| format!("{API}/{algorithm}/ttl/4");
    let long = format!("{API}/ttl/3600");

    let mut tokens = Vec::new();
    for algorithm in ALGORITHMS {
        let credential = provider
            .client(BASIC, &short(algorithm))
            // As early as may be, to leave a busy machine time to fetch the next one.
            .lifetime(LifetimePolicy::default().refresh_at(0.65))
            .name(algorithm);
        tokens.push(auth.token(credential).await.expect("a token"));
    }
    // One that would outlive every rotation.
    let outliving = async |name: &str| {
        let credential = provider.client(BASIC, &long).name(name);
        let token = auth.token(credential).await.expect("a token");
        token.current().expect("a token").expose().to_owned()
    };
    let builder = || {
        let builder = provider.verifier(&long);
        ALGORITHMS
            .iter()
            .fold(builder, |builder, alg| builder.audience(short(alg)))
    };
    // The one sees changes on its schedule, the other only when a token makes it look.
    let often = RotationPolicy::default().interval(Duration::from_millis(200));
    let eager = auth.verifier(builder().name("eager").rotation(often)).await;
    let eager = eager.expect("the first keys");
    let patient = auth.verifier(builder().name("patient")).await;
    let patient = patient.expect("the first keys");
    let readers: Vec<_> = tokens
        .iter()
        .map(|token| {
            let verifiers: Vec<Arc<dyn AuthzProvider>> =
                vec![Arc::new(eager.clone()), Arc::new(patient.clone())];
            Reader::start(token, verifiers)
        })
        .collect();

    let by_a = outliving("by a").await;
    let claims = eager.verify(&by_a).await.expect("accepted");
    assert_eq!(claims.issuer(), Some(provider.http.base()));
    assert_eq!(claims.client_id(), Some(BASIC.0));
    assert_eq!(claims.scopes(), ["api/read"]);
    assert!(claims.audience().contains(&long));
    for name in ["eager", "patient"] {
        let first = Rotation {
            added: kids(&["a"]),
            removed: Vec::new(),
            cause: Cause::Schedule,
        };
        assert_eq!(journal.rotation(name, 0).await, first);
    }
    for algorithm in ALGORITHMS {
        journal.refreshed(algorithm, 3).await;
    }

    // Publish: the next key is listed and signs nothing yet.
    provider.serve(&["a", "b"]).await;
    let published = journal.rotation("eager", 1).await;
    assert_eq!(published.added, kids(&["b"]));
    assert!(published.removed.is_empty());
    assert_eq!(published.cause, Cause::Schedule);
    assert_eq!(journal.rotations("patient").len(), 1);

    // Switch: it signs, and the old one is still listed.
    provider.serve(&["b", "a"]).await;
    for (token, algorithm) in tokens.iter().zip(ALGORITHMS) {
        let current = resigned(token, &format!("a-{algorithm}")).await;
        assert_eq!(kid(&current), format!("b-{algorithm}"));
        eager.verify(&current).await.expect("by the new key");
        patient.verify(&current).await.expect("by the new key");
    }
    eager.verify(&by_a).await.expect("by the old key");
    patient.verify(&by_a).await.expect("by the old key");
    let demanded = journal.rotation("patient", 1).await;
    assert_eq!(demanded.added, kids(&["b"]));
    assert!(demanded.removed.is_empty());
    assert_eq!(demanded.cause, Cause::Demand);
    assert_eq!(journal.rotations("eager").len(), 2, "the same keys");

    // Drop: tokens by the old key are refused.
    provider.serve(&["b"]).await;
    let dropped = journal.rotation("eager", 2).await;
    assert!(dropped.added.is_empty());
    assert_eq!(dropped.removed, kids(&["a"]));
    assert_refused(eager.verify(&by_a).await, "unknown_key");
    for reader in readers {
        let seen = reader.finish().await;
        assert!(seen >= 3, "{seen} tokens seen");
    }

    // Hard: every key is another one, at once.
    let by_b = outliving("by b").await;
    patient.verify(&by_b).await.expect("by the current key");
    provider.serve(&["c"]).await;
    for (token, algorithm) in tokens.iter().zip(ALGORITHMS) {
        let current = resigned(token, &format!("b-{algorithm}")).await;
        assert_eq!(kid(&current), format!("c-{algorithm}"));
        eager.verify(&current).await.expect("by the new key");
        patient.verify(&current).await.expect("by the new key");
    }
    for (name, index, removed) in [
        ("eager", 3, kids(&["b"])),
        ("patient", 2, kids(&["a", "b"])),
    ] {
        let rotation = journal.rotation(name, index).await;
        assert_eq!((rotation.added, rotation.removed), (kids(&["c"]), removed));
    }
    assert_eq!(journal.rotation("patient", 2).await.cause, Cause::Demand);
    assert_refused(eager.verify(&by_b).await, "unknown_key");
    assert_refused(patient.verify(&by_b).await, "unknown_key");

    auth.shutdown().await;
    let names = ALGORITHMS.iter().chain(&["by a", "by b"]);
    let refreshes: usize = names.map(|name| journal.refreshes(name)).sum();
    let asked = provider.count("token").await;
    let in_flight = asked.saturating_sub(refreshes as u64);
    assert!(in_flight <= 3, "{asked} requests, {refreshes} refreshes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_prove_themselves_and_tokens_are_for_one_audience() {
    let Some(provider) = Provider::start(&["ES256"], &["a"]).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(provider.verifier(API)).await;
    let verifier = verifier.expect("the first keys");
    let raw = ClientAuth::Basic(BasicEncoding::Raw);
    let encoded = ClientAuth::Basic(BasicEncoding::FormEncoded);

    for (client, method) in [
        (BASIC, encoded),
        (BASIC, raw),
        (POST, ClientAuth::Post),
        (SPECIAL, encoded),
        (SPECIAL, ClientAuth::Post),
    ] {
        let credential = provider.client(client, API).client_auth(method);
        let token = auth.token(credential).await.expect("a token");
        let current = token.current().expect("a token");
        assert_eq!(current.granted_scope(), Some("api/read"));
        let claims = verifier.verify(current.expose()).await.expect("accepted");
        assert_eq!(claims.client_id(), Some(client.0));
    }
    for (client, method) in [
        (SPECIAL, raw),
        ((BASIC.0, "wrong"), encoded),
        (("nobody", "wrong"), ClientAuth::Post),
    ] {
        let credential = provider.client(client, API).client_auth(method);
        let error = refusal(auth.token(credential).await);
        assert_eq!(error.oauth_error(), Some("invalid_client"));
        assert!(!error.is_transient());
    }

    let elsewhere = provider.client(BASIC, &format!("{API}/ttl/60"));
    let elsewhere = auth.token(elsewhere).await.expect("a token");
    let elsewhere = elsewhere.current().expect("a token");
    assert_refused(verifier.verify(elsewhere.expose()).await, "audience");

    let opaque = provider.client(BASIC, &format!("{API}/opaque"));
    let opaque = auth.token(opaque).await.expect("a token");
    let opaque = opaque.current().expect("a token");
    let lifetime = opaque.expires_at().duration_since(opaque.issued_at());
    assert_eq!(lifetime.expect("a lifetime"), Duration::from_secs(300));
    assert_refused(verifier.verify(opaque.expose()).await, "malformed");

    let ungranted = provider.client(BASIC, API).scope("api/unknown");
    let ungranted = auth.token(ungranted).await.expect("a token");
    let ungranted = ungranted.current().expect("a token");
    assert_eq!(ungranted.granted_scope(), None);
    assert_refused(verifier.verify(ungranted.expose()).await, "scope");
}
