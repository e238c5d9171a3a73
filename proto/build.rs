//! Compiles the `.proto` files in pure Rust: no `protoc` is needed on the building machine.

use std::path::PathBuf;

const FILES: &[&str] = &[
    "common",
    "registry",
    "sidecar",
    "workflows",
    "rollouts",
    "schedules",
    "context",
    "artifacts",
    "routes",
    "orchestrator",
    "budgets",
    "operations",
    "drills",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = FILES.iter().map(|file| format!("proto/mainstay/v1/{file}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost_encode(&descriptors))?;
    tonic_prost_build::configure()
        // Payloads are passed on, not looked into: reference-counted slices of what came off the wire.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

fn prost_encode(descriptors: &impl prost::Message) -> Vec<u8> {
    descriptors.encode_to_vec()
}
