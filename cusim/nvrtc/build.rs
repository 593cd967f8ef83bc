//! Gives the library the SONAME that cudarc asks for first, so that a copy loaded beforehand by
//! path is what cudarc finds. The file keeps its own name: see the README.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvrtc.so");
    }
}
