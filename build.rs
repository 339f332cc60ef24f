//! When is the program built anew? Also when a migration is added: the compiler watches only those
//! that it has read.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/store/migrations");
}
