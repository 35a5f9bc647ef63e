//! What the machine gives: memory and random numbers.

use std::fs;
use std::path::{Path, PathBuf};

/// A quarter of the machine's memory, unless the configuration says.
pub(super) fn cache_bytes(mib: u32) -> usize {
    if mib > 0 {
        return mib as usize * (1 << 20);
    }
    memory_bytes().map_or(1 << 30, |bytes| bytes as usize / 4)
}

/// The machine's memory, or what a control group leaves of it to this process: the kernel ends who takes more.
pub(crate) fn memory_bytes() -> Option<u64> {
    memory_under(Path::new("/"))
}

/// The same, where the system's files are below that directory.
fn memory_under(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    let bytes = kib.checked_mul(1_024)?;
    Some(group_limits(root).fold(bytes, u64::min))
}

/// What each group that the process is in, and those around it, may have at most (cgroups(7)): `HIERARCHY:CONTROLLERS:PATH`, none
/// named in version 2. A container may see its own group as the root, whatever the path says.
fn group_limits(root: &Path) -> impl Iterator<Item = u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let files: Vec<PathBuf> = groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (mount, name) = match controllers {
                "" => ("sys/fs/cgroup", "memory.max"),
                _ if controllers.split(',').any(|controller| controller == "memory") => {
                    ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
                }
                _ => return None,
            };
            let mount = root.join(mount);
            let group = Path::new(path.trim_start_matches('/'));
            Some(group.ancestors().map(|group| mount.join(group).join(name)).collect::<Vec<_>>())
        })
        .flatten()
        .collect();
    // No bound is `max` in version 2, and a number beyond all memory in version 1.
    files.into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// Random bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random_bytes(&mut bytes);
    bytes
}

/// Which node of a network of relays this is, for as long as it runs: nobody else has drawn the same.
pub(super) fn node_number() -> Option<io_moq::listen::Node> {
    io_moq::listen::Node::new(u64::from_le_bytes(random()) >> 11 | 1)
}

pub(crate) fn fill_random(bytes: &mut [u8; 32]) {
    fill_random_bytes(bytes);
}

pub(super) fn fill_random_bytes(bytes: &mut [u8]) {
    // Without random numbers no key is a secret: better no server than that one.
    if aws_lc_rs::rand::fill(bytes).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_is_what_the_narrowest_group_around_the_process_has() {
        let v2 = ("sys/fs/cgroup/", "memory.max");
        let v1 = ("sys/fs/cgroup/memory/", "memory.limit_in_bytes");
        let none = 0x7fff_ffff_ffff_f000_u64.to_string();
        let (two, three) = ((2 * GIB).to_string(), (3 * GIB).to_string());
        for (groups, (mount, name), limits, expect) in [
            ("", v2, vec![], 8),
            ("0::/\n", v2, vec![], 8),
            // A container that sees its group as the root.
            ("0::/\n", v2, vec![("", &two)], 2),
            ("0::/a/b\n", v2, vec![("", &two)], 2),
            ("0::/a/b\n", v2, vec![("a/b", &three), ("a", &two)], 2),
            ("0::/a/b\n", v2, vec![("a/b", &two), ("a", &three)], 2),
            ("0::/a/b\n", v2, vec![("a/c", &two)], 8),
            ("0::/a\n", v2, vec![("a", &"max".to_owned())], 8),
            ("4:memory:/a\n0::/\n", v1, vec![("a", &two)], 2),
            ("4:cpu,memory:/a\n", v1, vec![("", &three)], 3),
            ("4:cpu:/a\n", v1, vec![("a", &two)], 8),
            ("4:memory:/a\n", v1, vec![("a", &none)], 8),
        ] {
            let root = tempfile::tempdir().unwrap();
            let write = |file: String, text: &str| {
                let file = root.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            };
            write("proc/meminfo".to_owned(), "MemFree: 1 kB\nMemTotal:  8388608 kB\n");
            write("proc/self/cgroup".to_owned(), groups);
            for (group, limit) in &limits {
                write(format!("{mount}{group}/{name}"), &format!("{limit}\n"));
            }
            assert_eq!(memory_under(root.path()), Some(expect * GIB), "{groups:?} {limits:?}");
        }
    }
}
