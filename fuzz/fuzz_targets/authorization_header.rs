//! `bearer::token`: every line of the input is the value of one `Authorization` header.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use midil_auth::bearer::{self, Rejection};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::AUTHORIZATION, value);
        }
    }
    match bearer::token(&headers) {
        Ok(token) => {
            assert_eq!(headers.len(), 1);
            assert!(!token.is_empty());
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
            assert!(token.bytes().all(allowed));
        }
        Err(error) => assert!(Rejection::from(error).status().is_client_error()),
    }
});
