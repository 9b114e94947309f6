//! `[auth]` in an application's own file: by figment, by the `config` crate, from the environment.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../examples/config/settings.rs"]
mod settings;

use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use midil_auth::AuthConfig;
use serde::Deserialize;
use settings::Settings;

const SAMPLE: &str = include_str!("../examples/config/orders.toml");

/// A file that goes with the test.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let file = format!("midil-auth-config-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn load(&self) -> Result<Settings, String> {
        undisturbed(|| settings::load(&self.0).map_err(|error| error.to_string()))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Tests share the environment: none may set a variable while another reads them all.
fn undisturbed<R>(read: impl FnOnce() -> R) -> R {
    temp_env::with_var_unset("ORDERS_NOTHING", read)
}

/// By the `config` crate: the same file, the same variables.
fn by_config(text: &str) -> Result<Service, String> {
    let environment = Environment::with_prefix("ORDERS")
        .prefix_separator("_")
        .separator("__");
    let builder = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment);
    undisturbed(|| builder.build())
        .and_then(Config::try_deserialize)
        .map_err(|error| error.to_string())
}

#[derive(Debug, Deserialize)]
struct Service {
    listen: String,
    auth: AuthConfig,
}

#[test]
fn the_sample_is_valid_for_both_loaders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sample = root.join("examples/config/orders.toml");
    let settings = undisturbed(|| settings::load(&sample)).expect("loaded");
    let (pool, credentials) = settings.auth().expect("valid");
    assert_eq!(pool.region(), "eu-west-1");
    assert!(format!("{credentials:?}").contains("/run/secrets/cognito"));
    assert_eq!(settings.listen.port(), 8080);
    assert!(settings.database.url.starts_with("postgres://"));

    let service = by_config(SAMPLE).expect("loaded");
    service.auth.validate().expect("valid");
    assert_eq!(service.listen, "127.0.0.1:8080");
    assert_eq!(
        service.auth.user_pool().expect("a pool").region(),
        "eu-west-1"
    );
}

#[test]
fn a_variable_of_the_application_overrides_its_file() {
    let file = Written::new("override", SAMPLE);
    let variable = "ORDERS_AUTH__COGNITO_CLIENT_ID";
    temp_env::with_var(variable, Some("another"), || {
        for auth in [
            file.load().expect("loaded").auth,
            by_config(SAMPLE).expect("loaded").auth,
        ] {
            assert_eq!(auth.cognito_client_id.as_deref(), Some("another"));
            auth.validate().expect("valid");
        }
    });
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let misspelt = SAMPLE.replace("cognito_client_id", "cognito_clientid");
    let file = Written::new("unknown", &misspelt);
    for error in [
        file.load().expect_err("figment"),
        by_config(&misspelt).expect_err("config"),
        toml_error(&misspelt),
    ] {
        assert!(
            error.contains("unknown field") && error.contains("cognito_clientid"),
            "{error}"
        );
    }
    // In the environment, too.
    let file = Written::new("unknown-variable", SAMPLE);
    temp_env::with_var("ORDERS_AUTH__COGNITO_POOL", Some("x"), || {
        for error in [
            file.load().expect_err("figment"),
            by_config(SAMPLE).expect_err("config"),
        ] {
            assert!(error.contains("cognito_pool"), "{error}");
        }
    });
}

/// Of the section alone, by serde and nothing else.
fn toml_error(text: &str) -> String {
    let section = text.split_once("[auth]").expect("a section").1;
    let pairs = section.lines().filter_map(|line| line.split_once(" = "));
    let members: serde_json::Map<_, _> = pairs
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').into()))
        .collect();
    let error = serde_json::from_value::<AuthConfig>(members.into());
    error.expect_err("unknown").to_string()
}

#[test]
fn what_is_missing_is_said_under_the_name_it_has_in_the_file() {
    for (field, remedy) in [
        ("cognito_user_pool_id", "us-east-1_abcd1234"),
        ("cognito_client_id", "the id of the app client"),
        ("cognito_client_secret", "the app client's secret"),
        ("cognito_domain", "the user pool's domain"),
    ] {
        let lines = SAMPLE.lines().filter(|line| !line.starts_with(field));
        let file = Written::new(field, &lines.collect::<Vec<_>>().join("\n"));
        let error = file.load().expect("loaded").auth().expect_err(field);
        assert_eq!(error.field(), field);
        assert!(error.remedy().contains(remedy), "{error}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_without_a_network() {
    for (right, wrong, field) in [
        ("eu-west-1_abcd1234", "abcd1234", "cognito_user_pool_id"),
        (
            "orders.auth.eu-west-1.amazoncognito.com",
            "http://orders.example.com",
            "cognito_domain",
        ),
    ] {
        let file = Written::new("unusable", &SAMPLE.replace(right, wrong));
        let error = file.load().expect("loaded").auth().expect_err(wrong);
        assert_eq!(error.field(), field, "{error}");
    }
}

#[test]
fn a_secret_is_in_no_error_whatever_it_was_written_as() {
    for written in ["8675309", "-8675309", "8675309.5", "[8675309]", "true"] {
        let line = format!("cognito_client_secret = {written}");
        let text = SAMPLE.replace(
            "cognito_client_secret_file = \"/run/secrets/cognito\"",
            &line,
        );
        let file = Written::new("secret", &text);
        let json = format!("{{\"cognito_client_secret\": {written}}}");
        for error in [
            file.load().expect_err("figment"),
            by_config(&text).expect_err("config"),
            serde_json::from_str::<AuthConfig>(&json)
                .expect_err("serde_json")
                .to_string(),
        ] {
            assert!(!error.contains("8675309"), "{error}");
        }
    }
}
