use midil_auth::cognito::{AccessToken, IdToken};
use midil_auth::jwt::{Claims, Verifier};

fn access(_: &Claims<AccessToken>) {}

fn handler(verifier: Verifier<IdToken>, token: &str) {
    let claims = verifier.try_verify(token).unwrap();
    access(&claims);
}

fn main() {
    let _ = handler;
}
