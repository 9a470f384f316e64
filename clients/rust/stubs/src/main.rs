//! Writes Rust for a set of descriptors: `stubs DESCRIPTORS FOLDER`, called by `tools/rust_stubs.py`.

use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(descriptors), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: stubs DESCRIPTORS FOLDER".into());
    };
    let set = FileDescriptorSet::decode(std::fs::read(descriptors)?.as_slice())?;
    tonic_prost_build::configure().build_server(false).bytes(".").out_dir(folder).compile_fds(set)?;
    Ok(())
}
