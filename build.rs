//! Tells cargo that the embedded migrations are input: refinery's macro alone does not notice a new file.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
