//! Tells the linker where the functions of the program go: those that every start executes side by side (contrib/order.ld,
//! written by contrib/bench/order). The kernel maps a program by pieces of 64 KiB; spread over the whole of it, they made a start
//! hold, and fault in, all of the program. A name in the list that no longer exists is passed over.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=contrib/order.ld");
    let directory = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let order = Path::new(&directory).join("contrib/order.ld");
    // Where the functions of a test lie does not matter.
    if env::var("PROFILE").as_deref() == Ok("release") && env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bin=coracle=-Wl,-T,{}", order.display());
    }
}
