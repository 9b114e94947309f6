//! `ministack`: an emulator of Amazon Cognito, with machine and user tokens of one pool.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use midil_auth::cognito::{ClientCredentials, UserPool};
use midil_auth::event::Cause;
use midil_auth::jwt::{Verifier, VerifyError};
use midil_auth::{Auth, AuthError, FetchErrorKind};
use serde_json::{Value, json};

use crate::harness::{Http, Process, Scratch, eventually, free_port, installed, servers};
use crate::watch::{
    Journal, Reader, assert_refused, keep_renewing, kid, quick_keys, quick_tokens, refusal,
    resigned,
};

const USER: &str = "ada";
const PASSWORD: &str = "Passw0rd!x";
const EMAIL: &str = "ada@example.test";

/// One emulator with one pool, one machine client and one client for users.
struct Cognito {
    process: Process,
    port: u16,
    http: Http,
    state: Scratch,
    pool: String,
    machine: (String, String),
    users: String,
}

async fn launch(port: u16, http: &Http, state: &Scratch) -> Process {
    let mut command = Command::new(servers().join(".venv/bin/ministack"));
    command
        .current_dir(state.path(""))
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("SERVICES", "cognito-idp")
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", state.path(""))
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0");
    let mut process = Process::start(&mut command, state.path("log"));
    process
        .in_service(async |_| {
            let health = http.request("/_ministack/health").send().await;
            health.is_ok_and(|health| health.status().is_success())
        })
        .await;
    process
}

/// One call of the API of Cognito user pools.
async fn call(http: &Http, action: &str, request: Value) -> Value {
    let target = format!("AWSCognitoIdentityProviderService.{action}");
    // The region is read from it; the signature is not checked.
    let signed = "AWS4-HMAC-SHA256 \
        Credential=test/20260101/eu-west-1/cognito-idp/aws4_request, \
        SignedHeaders=host, Signature=00";
    let headers = [
        ("x-amz-target", &*target),
        ("content-type", "application/x-amz-json-1.1"),
        ("authorization", signed),
    ];
    http.post("/", &headers, &request).await
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

impl Cognito {
    /// With machine tokens that live for `lifetime` seconds.
    async fn start(lifetime: u32) -> Option<Self> {
        let python = servers().join(".venv/bin/python");
        let python = python.to_str().expect("UTF-8");
        if !installed("ministack", ".venv/bin/ministack", python) {
            return None;
        }
        let port = free_port();
        let (http, state) = (Http::new(port), Scratch::new());
        let process = launch(port, &http, &state).await;

        let pool = call(&http, "CreateUserPool", json!({"PoolName": "interop"})).await;
        let pool = text(&pool["UserPool"]["Id"]);
        let scope = |name| json!({"ScopeName": name, "ScopeDescription": name});
        call(
            &http,
            "CreateResourceServer",
            json!({"UserPoolId": pool, "Identifier": "api", "Name": "api",
                "Scopes": [scope("read"), scope("write")]}),
        )
        .await;
        let machine = call(
            &http,
            "CreateUserPoolClient",
            json!({"UserPoolId": pool, "ClientName": "machine", "GenerateSecret": true,
                "AllowedOAuthFlows": ["client_credentials"],
                "AllowedOAuthFlowsUserPoolClient": true,
                "AllowedOAuthScopes": ["api/read", "api/write"],
                "AccessTokenValidity": lifetime,
                "TokenValidityUnits": {"AccessToken": "seconds"}}),
        )
        .await;
        let machine = &machine["UserPoolClient"];
        let users = call(
            &http,
            "CreateUserPoolClient",
            json!({"UserPoolId": pool, "ClientName": "users",
                "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]}),
        )
        .await;
        for (action, request) in [
            ("CreateGroup", json!({"GroupName": "admins"})),
            (
                "AdminCreateUser",
                json!({"Username": USER, "MessageAction": "SUPPRESS", "UserAttributes": [
                    {"Name": "email", "Value": EMAIL},
                    {"Name": "email_verified", "Value": "true"}]}),
            ),
            (
                "AdminSetUserPassword",
                json!({"Username": USER, "Password": PASSWORD, "Permanent": true}),
            ),
            (
                "AdminAddUserToGroup",
                json!({"Username": USER, "GroupName": "admins"}),
            ),
        ] {
            let mut request = request;
            request["UserPoolId"] = json!(pool);
            call(&http, action, request).await;
        }
        Some(Self {
            machine: (text(&machine["ClientId"]), text(&machine["ClientSecret"])),
            users: text(&users["UserPoolClient"]["ClientId"]),
            process,
            port,
            http,
            state,
            pool,
        })
    }

    /// Replaces both keys of the pool, for which the server must be down; it stays down until
    /// `noticed`.
    async fn rotate(self, noticed: impl Future<Output = ()>) -> Self {
        self.process.stop().await;
        noticed.await;
        for key in ["access", "id"] {
            let file = format!("cognito-pool-keys/{}-{key}.pem", self.pool);
            fs::remove_file(self.state.path(&file)).expect("the pool's key");
        }
        Self {
            process: launch(self.port, &self.http, &self.state).await,
            ..self
        }
    }

    fn pool(&self) -> UserPool {
        let pool = UserPool::new(&*self.pool).expect("the id of a pool");
        pool.endpoint(self.http.base())
    }

    fn client(&self, secret: &str) -> ClientCredentials {
        let domain = "interop.auth.eu-west-1.amazoncognito.com";
        ClientCredentials::new(domain, &*self.machine.0, secret)
            .token_url(format!("{}/oauth2/token", self.http.base()))
            .scope("api/read")
            .refresh(quick_tokens())
            .name("machine")
    }

    /// The access and the ID token of the user.
    async fn sign_in(&self) -> (String, String) {
        let answer = call(
            &self.http,
            "InitiateAuth",
            json!({"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": self.users,
                "AuthParameters": {"USERNAME": USER, "PASSWORD": PASSWORD}}),
        )
        .await;
        let tokens = &answer["AuthenticationResult"];
        (text(&tokens["AccessToken"]), text(&tokens["IdToken"]))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_tokens_outlast_an_outage_that_replaces_every_key() {
    let Some(mut cognito) = Cognito::start(60).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let journal = Journal::open(&auth);
    let token = auth.token(cognito.client(&cognito.machine.1)).await;
    let token = token.expect("a token");
    let renewing = keep_renewing(&token);
    let pool = cognito.pool().client_id(&*cognito.machine.0);
    let builder = pool.access_tokens().require_scope("api/read").name("keys");
    let verifier = auth.verifier(builder.refresh(quick_keys())).await;
    let verifier = verifier.expect("the first keys");
    let ids = pool.id_tokens().refresh(quick_keys());
    let ids = auth.verifier(ids).await.expect("the first keys");

    let reader = Reader::start(&token, vec![Arc::new(verifier.clone())]);
    let first = token.current().expect("a token");
    let claims = verifier.verify(first.expose()).await.expect("accepted");
    assert_eq!(claims.issuer(), Some(&*pool.issuer()));
    assert_eq!(claims.subject(), Some(&*cognito.machine.0));
    assert_eq!(claims.client_id(), Some(&*cognito.machine.0));
    assert_eq!(claims.scopes(), ["api/read"]);
    assert!(claims.groups().is_empty() && claims.audience().is_empty());
    assert_refused(
        ids.verify(first.expose()).await,
        "the claim `aud` is missing",
    );
    journal.refreshed("machine", 3).await;
    assert_eq!(journal.rotations("keys").len(), 1);

    let (old_user, _) = cognito.sign_in().await;
    let old = token.current().expect("a token");
    let old_kids = journal.rotation("keys", 0).await.added;
    assert_eq!(old_kids.len(), 2, "one for access, one for ID tokens");
    let outage = eventually("a refresh fails", async || {
        (!journal.failures("machine").is_empty()).then_some(())
    });
    cognito = cognito.rotate(outage).await;
    let new = resigned(&token, &kid(old.expose())).await;
    verifier.verify(&new).await.expect("by the new key");
    let rotation = journal.rotation("keys", 1).await;
    assert_eq!(rotation.removed, old_kids);
    assert_eq!(rotation.added.len(), 2);
    assert_eq!(rotation.cause, Cause::Demand);
    assert_refused(verifier.verify(old.expose()).await, "unknown_key");
    for (error, holding) in journal.failures("machine") {
        assert_eq!(error.kind(), FetchErrorKind::Connection);
        assert!(holding, "{error:?}");
    }
    let seen = reader.finish().await;
    assert!(seen >= 3, "{seen} tokens seen");
    renewing.abort();

    // The users of the pool see the same.
    let pool = cognito.pool().client_id(&*cognito.users);
    let builder = pool.access_tokens().name("users").refresh(quick_keys());
    let users = auth.verifier(builder).await.expect("keys");
    let (new_user, _) = cognito.sign_in().await;
    users.verify(&new_user).await.expect("by the new key");
    assert_refused(users.verify(&old_user).await, "unknown_key");
    auth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_tokens_of_seconds_are_refreshed_in_time() {
    let Some(cognito) = Cognito::start(4).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let journal = Journal::open(&auth);
    let token = auth.token(cognito.client(&cognito.machine.1)).await;
    let token = token.expect("a token");
    let pool = cognito.pool().client_id(&*cognito.machine.0);
    let verifier = auth.verifier(pool.access_tokens()).await;
    let reader = Reader::start(&token, vec![Arc::new(verifier.expect("the first keys"))]);
    journal.refreshed("machine", 4).await;
    assert!(reader.finish().await >= 3);
    assert!(journal.failures("machine").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_tokens_are_told_apart_by_use_client_and_group() {
    let Some(cognito) = Cognito::start(3600).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let (access, id) = cognito.sign_in().await;
    assert_ne!(kid(&access), kid(&id), "each kind has its own key");
    let ours = cognito.pool().client_id(&*cognito.users);
    let accesses = auth.verifier(ours.access_tokens().require_group("admins"));
    let accesses = accesses.await.expect("the first keys");
    let ids = auth.verifier(ours.id_tokens().require_group("admins"));
    let ids = ids.await.expect("the first keys");

    let claims = accesses.verify(&access).await.expect("accepted");
    assert_eq!(claims.username(), Some(USER));
    assert_eq!(claims.groups(), ["admins"]);
    assert_eq!(claims.client_id(), Some(&*cognito.users));
    let sub = claims.subject().expect("a subject").to_owned();
    let claims = ids.verify(&id).await.expect("accepted");
    assert_eq!(claims.username(), Some(USER));
    assert_eq!(claims.groups(), ["admins"]);
    assert_eq!(claims.email(), Some(EMAIL));
    assert_eq!(claims.subject(), Some(&*sub));
    assert!(claims.audience().contains(&cognito.users));

    // The one is no substitute for the other, whoever they are for.
    let keys = || accesses.keys().expect("keys");
    assert_refused(
        accesses.verify(&id).await,
        "the claim `client_id` is missing",
    );
    assert_refused(ids.verify(&access).await, "the claim `aud` is missing");
    let anybody = cognito.pool().any_client();
    let anybodys = anybody.access_tokens().fixed(keys()).expect("a verifier");
    assert_refused(anybodys.try_verify(&id), "token_use");
    assert!(anybodys.try_verify(&access).is_ok());
    let anybodys = anybody.id_tokens().fixed(keys()).expect("a verifier");
    assert_refused(anybodys.try_verify(&access), "token_use");
    assert!(anybodys.try_verify(&id).is_ok());

    let other = cognito.pool().client_id(&*cognito.machine.0);
    let others = other.access_tokens().fixed(keys()).expect("a verifier");
    assert_refused(others.try_verify(&access), "client_id");
    let others = other.id_tokens().fixed(keys()).expect("a verifier");
    assert_refused(others.try_verify(&id), "audience");

    let owners = ours.access_tokens().require_group("owners");
    let owners = owners.fixed(keys()).expect("a verifier");
    let error = owners.try_verify(&access).expect_err("not an owner");
    assert!(matches!(&error, VerifyError::Group), "{error:?}");
    assert_eq!(error.status(), 403);

    let error = refusal(auth.token(cognito.client("wrong")).await);
    assert_eq!(error.oauth_error(), Some("invalid_client"));
    assert!(!error.is_transient(), "though it came as a 400");
    let error = refusal(
        auth.token(cognito.client(&cognito.machine.1).scope("api/admin"))
            .await,
    );
    assert_eq!(error.oauth_error(), Some("invalid_scope"));
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_another_issuer_is_refused() {
    let Some(cognito) = Cognito::start(3600).await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let local = format!("{}/{}", cognito.http.base(), cognito.pool);
    let builder = Verifier::builder(&*local)
        .client_id(&*cognito.users)
        .refresh(quick_keys().ready_timeout(Duration::from_secs(1)));
    let refused = auth.verifier(builder).await;
    match refused.expect_err("names Amazon's issuer") {
        AuthError::Unavailable(VerifyError::KeysUnavailable {
            cause: Some(cause), ..
        }) => assert_eq!(cause.kind(), FetchErrorKind::Unusable),
        other => panic!("{other:?}"),
    }

    // Told the true issuer and where its metadata is, the same document serves.
    let (access, _) = cognito.sign_in().await;
    let builder = Verifier::builder(cognito.pool().issuer())
        .discovery_url(format!("{local}/.well-known/openid-configuration"))
        .client_id(&*cognito.users);
    let verifier = auth.verifier(builder).await.expect("the first keys");
    verifier.verify(&access).await.expect("accepted");
}
