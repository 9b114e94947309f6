//! The reader of token responses: two bytes of status, then the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midil_auth::testing::fuzzing;

fuzz_target!(|data: &[u8]| {
    if let Some((status, body)) = data.split_first_chunk::<2>() {
        fuzzing::token_response(u16::from_be_bytes(*status), body);
    }
});
