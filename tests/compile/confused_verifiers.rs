use midil_auth::jwt::{Issuers, Jwt, Verifier};

fn main() {
    let builder = Verifier::builder("https://idp.example.com").audience("orders");
    let keys = midil_auth::jwks::KeySet::from_json(b"").unwrap();
    let ids = builder.id_token().fixed(keys).unwrap();
    Issuers::<Jwt>::new().insert(ids);
}
