//! Prints the public API that a JSON file of rustdoc describes, an item a line.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: api RUSTDOC.json")?;
    let api = public_api::Builder::from_rustdoc_json(path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    for item in api.items().map(ToString::to_string) {
        // Guides are prose.
        if !item.starts_with("pub mod midil_auth::guide") {
            println!("{item}");
        }
    }
    Ok(())
}
