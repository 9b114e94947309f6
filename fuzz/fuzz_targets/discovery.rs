//! The reader of metadata documents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midil_auth::testing::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::discovery(data));
