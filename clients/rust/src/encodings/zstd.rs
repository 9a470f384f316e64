//! Compression by Zstandard.

use zstd::bulk;
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use super::{Boxed, Encoding};
use crate::encoded::Undecodable;

const OVER: usize = 2048;
const LEVEL: i32 = 3;
const MOST: usize = 4 * 1024 * 1024;

/// Compresses what is long enough. It needs the feature `zstd`.
///
/// What others may choose a part of should not be compressed and then encrypted: its length tells of the rest.
#[derive(Debug, Clone)]
#[must_use]
pub struct Zstd {
    over: usize,
    level: i32,
    most: usize,
}

impl Zstd {
    /// With every default.
    pub fn new() -> Self {
        Self { over: OVER, level: LEVEL, most: MOST }
    }

    /// Leaves as it is what has as many bytes or fewer. Default: 2048.
    pub fn over(mut self, bytes: usize) -> Self {
        self.over = bytes;
        self
    }

    /// Sets the level, 1 (fast) to 19 (small). Default: 3.
    ///
    /// # Panics
    ///
    /// It is another one.
    pub fn level(mut self, level: i32) -> Self {
        assert!((1..=19).contains(&level), "level is {level}; it is 1 to 19");
        self.level = level;
        self
    }

    /// Sets the most bytes that something may have decompressed. More is refused on both sides. Default: 4 MiB.
    pub fn most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// What is wrong with a frame. `None`: it is one that says how long its content is, and nothing is behind it.
    fn size(&self, frame: &[u8]) -> Option<usize> {
        let said = get_frame_content_size(frame).ok().flatten()?;
        let size = usize::try_from(said).ok().filter(|size| (1..=self.most).contains(size))?;
        (find_frame_compressed_size(frame) == Ok(frame.len())).then_some(size)
    }
}

impl Default for Zstd {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoding for Zstd {
    fn name(&self) -> &'static str {
        "zstd"
    }

    fn encode(&self, data: &[u8], _: &[u8], _: &[u8], _: Option<&str>) -> Result<Option<Vec<u8>>, Boxed> {
        if data.len() > self.most {
            return Err(format!("{} bytes are more than Zstd takes, {}", data.len(), self.most).into());
        }
        if data.len() <= self.over {
            return Ok(None);
        }
        let packed = bulk::compress(data, self.level)?;
        Ok((packed.len() < data.len()).then_some(packed))
    }

    fn decode(&self, data: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let Some(size) = self.size(data) else {
            let most = self.most;
            return Err(Undecodable::new(format!(
                "zstd: it must be one frame, which says its content's length, above 0 and at most {most}"
            )));
        };
        // Into one buffer of the size that the frame says. Piece by piece it would go on past that: 4 kB can say 1 MiB and
        // have blocks for 125 MiB.
        let content = bulk::decompress(data, size).map_err(|error| Undecodable::new(format!("zstd: {error}")))?;
        if content.len() != size {
            return Err(Undecodable::new("zstd: its content is not as long as it says"));
        }
        Ok(content)
    }
}
