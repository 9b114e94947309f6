use midil_auth::cognito;
use midil_auth::jwt::{AccessToken, Claims, Verifier};

fn access(_: &Claims<AccessToken>) {}

fn handler(verifier: Verifier<cognito::AccessToken>, token: &str) {
    let claims = verifier.try_verify(token).unwrap();
    access(&claims);
}

fn main() {
    let _ = handler;
}
