//! Reading the current token of an outbound call: midil-auth beside one bare `ArcSwap::load` and
//! beside the caches of two cloud SDKs.

use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::http::Token;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityFuture, ResolveCachedIdentity, ResolveIdentity, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use google_cloud_auth::credentials::{CacheableResource, user_account};
use http::Extensions;
use http::header::AUTHORIZATION;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::SourceFn;
use midil_auth::{Auth, Fetched};
use serde_json::json;

use crate::middleware::at_once;
use crate::table::{Entrant, Table};

const OURS: &str = "authorization()";
const LIFETIME: Duration = Duration::from_secs(3600);
pub(crate) const TOKEN_PATH: &str = "/token";

/// A token of a kilobyte.
fn value() -> String {
    "0".repeat(1000)
}

/// What the server's token endpoint answers.
pub(crate) fn token_response() -> String {
    let seconds = LIFETIME.as_secs();
    json!({"access_token": value(), "token_type": "Bearer", "expires_in": seconds}).to_string()
}

pub(crate) async fn table(auth: &Auth, server: &str) -> Table<'static> {
    let mut table = Table::new("reading the token");
    let floor = ArcSwap::from_pointee(1_u64);
    let load = move || Ok::<_, String>(**floor.load());
    table.enter(Entrant::new("ArcSwap::load", load, |loaded| loaded == 1));
    table.enter(ours(auth).await.at_most(2.5));
    table.enter(google_cloud_auth(server).await);
    table.pair(OURS, "google-cloud-auth headers()", Some(12.0));
    table.enter(aws_identity_cache());
    table.pair(OURS, "AWS lazy identity cache", Some(10.0));
    table
}

async fn ours(auth: &Auth) -> Entrant<'static> {
    let source = SourceFn::new(async |_| {
        Ok(Fetched::new(
            AccessToken::bearer(value())?.expires_in(LIFETIME),
        ))
    });
    let token = auth.token(Credential::new("peers", source)).await;
    let token = token.expect("a token");
    let bearer = format!("Bearer {}", value());
    let read = move || token.authorization();
    Entrant::new(OURS, read, move |header| header == bearer)
}

/// The credentials that `gcloud auth application-default login` leaves.
async fn google_cloud_auth(server: &str) -> Entrant<'static> {
    let user = json!({
        "type": "authorized_user", "client_id": "peers", "client_secret": "secret",
        "refresh_token": "refresh", "token_uri": format!("{server}{TOKEN_PATH}"),
    });
    let credentials = user_account::Builder::new(user).build();
    let credentials = credentials.expect("credentials");
    // The first call waits for the token.
    let first = credentials.headers(Extensions::new()).await;
    first.expect("a token");
    let bearer = format!("Bearer {}", value());
    let read = move || at_once(credentials.headers(Extensions::new()));
    Entrant::new("google-cloud-auth headers()", read, move |headers| {
        let CacheableResource::New { data, .. } = headers else {
            return false;
        };
        data.get(AUTHORIZATION).is_some_and(|it| *it == bearer)
    })
}

#[derive(Debug)]
struct Resolver;

impl ResolveIdentity for Resolver {
    fn resolve_identity<'a>(
        &'a self,
        _: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let expiry = SystemTime::now() + LIFETIME;
        let token = Token::new(value(), Some(expiry));
        IdentityFuture::ready(Ok(Identity::new(token, Some(expiry))))
    }
}

/// What every request of an AWS client asks; it gets an identity, and the header is not made yet.
fn aws_identity_cache() -> Entrant<'static> {
    let cache = IdentityCache::lazy().build();
    let components = RuntimeComponentsBuilder::for_tests()
        .with_time_source(Some(SharedTimeSource::new(SystemTimeSource::new())))
        .with_sleep_impl(Some(SharedAsyncSleep::new(TokioSleep::new())))
        .build()
        .expect("components");
    let config = ConfigBag::base();
    let resolver = SharedIdentityResolver::new(Resolver);
    let read = move || -> Result<Identity, BoxError> {
        at_once(cache.resolve_cached_identity(resolver.clone(), &components, &config))
    };
    Entrant::new("AWS lazy identity cache", read, |identity| {
        identity
            .data()
            .is_some_and(|token: &Token| token.token() == value())
    })
}
