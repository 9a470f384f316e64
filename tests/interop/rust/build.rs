//! Writes the stubs of testing.proto, whose descriptors are in the file that `INTEROP_DESCRIPTORS` names.

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=INTEROP_DESCRIPTORS");
    let path = std::env::var("INTEROP_DESCRIPTORS")
        .map_err(|_| "INTEROP_DESCRIPTORS names a file of `python -m tests.interop.messages FILE`")?;
    println!("cargo::rerun-if-changed={path}");
    let set = FileDescriptorSet::decode(std::fs::read(path)?.as_slice())?;
    tonic_prost_build::configure().build_server(false).compile_fds(set)?;
    Ok(())
}
