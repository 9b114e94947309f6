//! What must not compile: the claims of one kind of token where those of another are wanted
//! (RFC 8725 §3.12).
//!
//! The compiler builds the crate once more for this, and its messages differ between releases, so
//! it runs where it is asked for: `MIDIL_COMPILE=required cargo test --test compile`.

#[test]
fn kinds_of_token_cannot_be_confused() {
    if std::env::var("MIDIL_COMPILE").as_deref() != Ok("required") {
        println!("SKIPPED compile-time checks: set MIDIL_COMPILE=required");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/kinds_of_token.rs");
    cases.compile_fail("tests/compile/confused_*.rs");
}
