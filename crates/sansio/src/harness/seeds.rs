//! The committed seeds of the fuzz targets in `fuzz/`, as ordinary tests.

use std::path::{Path, PathBuf};

use super::Rng;

/// Runs `body`, which panics on a broken promise, over all seeds of a fuzz target, and over `changes`
/// small random changes of each.
///
/// # Panics
/// If there are no seeds, or `body` does. What it was given is then told.
pub fn replay(target: &str, changes: u64, body: impl Fn(&[u8])) {
    for path in seeds(target) {
        let Ok(seed) = std::fs::read(&path) else { panic!("can't read {}", path.display()) };
        for change in 0..=changes {
            let data = if change == 0 { seed.clone() } else { changed(&seed, change) };
            let told = Told { path: &path, change, data: &data };
            body(&data);
            std::mem::forget(told);
        }
    }
}

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    paths
}

/// A few flipped bytes, cuts and repeats; the same number gives the same ones.
fn changed(seed: &[u8], number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut data = seed.to_vec();
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(data.len());
        let end = at + rng.below((data.len() - at).min(64) + 1);
        match rng.below(5) {
            0 if data.len() > 2 => drop(data.drain(at..end)),
            1 => data.extend_from_within(at..end),
            2 if at < data.len() => data[at] = [0, 1, 0xff, 0x7f, 0x80][rng.below(5)],
            _ if at < data.len() => data[at] = rng.next_u64() as u8,
            _ => {}
        }
    }
    data
}

/// Dropped only while a body panics: says which input did it.
struct Told<'a> {
    path: &'a Path,
    change: u64,
    data: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { path, change, data } = self;
        eprintln!("seed {}, change {change}: {:02x?}", path.display(), data);
    }
}
