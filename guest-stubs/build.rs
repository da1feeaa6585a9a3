//! Gives each stub its linker script, on bare metal only.
//!
//! A host build (`cargo clippy --workspace`) links nothing special: there the stubs are
//! ordinary programs that say they are guests.

use std::{env, fs, path::Path};

/// The one stub that is a flat real-mode image, not an ELF file.
const FLAT: &str = "real-mode-hello";

fn main() {
    println!("cargo::rerun-if-changed=link");
    println!("cargo::rerun-if-changed=src/bin");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        stub_names(&Path::new(&here).join("src/bin"))
            .iter()
            .for_each(|name| link(&here, name));
    }
}

fn stub_names(bins: &Path) -> Vec<String> {
    let entries = fs::read_dir(bins).expect("src/bin is readable");
    entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(String::from))
        .collect()
}

fn link(here: &str, name: &str) {
    let argument = |text: &str| println!("cargo::rustc-link-arg-bin={name}={text}");
    argument("--gc-sections");
    argument("--strip-debug");
    if name == FLAT {
        argument(&format!("-T{here}/link/flat.ld"));
        argument("--oformat=binary");
    } else {
        argument(&format!("-T{here}/link/stub.ld"));
        argument("-zmax-page-size=4096");
    }
}
