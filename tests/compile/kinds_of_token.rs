use midil_auth::cognito;
use midil_auth::jwt::{AccessToken, Claims, IdToken, Verifier};

fn access(_: &Claims<AccessToken>) {}
fn id(_: &Claims<IdToken>) {}
fn cognito_access(_: &Claims<cognito::AccessToken>) {}
fn cognito_id(_: &Claims<cognito::IdToken>) {}

fn handlers(
    a: Verifier<AccessToken>,
    b: Verifier<IdToken>,
    c: Verifier<cognito::AccessToken>,
    d: Verifier<cognito::IdToken>,
    token: &str,
) {
    let _ = a.try_verify(token).map(|claims| access(&claims));
    let _ = b.try_verify(token).map(|claims| id(&claims));
    let _ = c.try_verify(token).map(|claims| cognito_access(&claims));
    let _ = d.try_verify(token).map(|claims| cognito_id(&claims));
}

fn main() {
    let _ = handlers;
}
