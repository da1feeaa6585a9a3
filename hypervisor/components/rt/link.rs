//! How a component is linked: every component's `build.rs` includes this file.
//!
//! On the host (`cargo clippy --workspace`) nothing special is linked: there a component is an
//! ordinary program that says what it is.

/// Hands the linker `component.ld`, on bare metal only.
pub fn component() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../rt/component.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let argument = |text: &str| println!("cargo::rustc-link-arg-bins={text}");
        argument(&format!("-T{script}"));
        argument("-zmax-page-size=4096");
        argument("--gc-sections");
        argument("--strip-debug");
        argument("--build-id=none");
    }
}
