//! Writes Rust for a set of descriptors: `stubs DESCRIPTORS FOLDER`, called by `tools/rust_stubs.py`.

use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(descriptors), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: stubs DESCRIPTORS FOLDER".into());
    };
    let mut set = FileDescriptorSet::decode(std::fs::read(descriptors)?.as_slice())?;
    let configured = || tonic_prost_build::configure().build_server(false).bytes(".").out_dir(&folder);
    // Ours, which finds in the crate what is not; then that, of which the first pass leaves an empty file.
    configured().extern_path(".google.longrunning", "crate::longrunning").compile_fds(set.clone())?;
    set.file.retain(|file| !file.package().starts_with("jobqueue."));
    // Its comments have indented text that is no Rust, and would be run as examples.
    let mut config = tonic_prost_build::Config::new();
    config.disable_comments(["."]);
    configured().extern_path(".google.rpc", "::tonic_types").compile_fds_with_config(set, config)?;
    Ok(())
}
