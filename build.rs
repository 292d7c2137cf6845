//! Writes where libtorch lies into the binaries as run paths, so that they start without `LD_LIBRARY_PATH`: beside the
//! binary, as in an image or a release, or else where it was built with.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib/tailwater");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        // libtorch.so is a stub whose only content is what it needs: without this the linker drops it.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch_cpu");
        println!("cargo:rustc-link-arg=-lc10");
    }
    println!("cargo:rustc-env=TAILWATER_LIBTORCH={}", libtorch_version());
}

/// The version that libtorch's own `build-version` file states, for `tailwater_build_info`.
fn libtorch_version() -> String {
    std::env::var("LIBTORCH")
        .ok()
        .and_then(|home| std::fs::read_to_string(format!("{home}/build-version")).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
