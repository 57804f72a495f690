//! Says how much memory can still be taken, and what of it copies of this process get.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{check, file};

/// Leaves a mapping out of children that are forked from now on.
///
/// # Errors
/// Whatever `madvise` reports.
///
/// # Safety
/// The range is a mapping of this process, or what follows some bytes of its first page, and no child uses it.
pub(crate) unsafe fn keep_from_children(base: *const u8, len: usize) -> io::Result<()> {
    let skipped = base.addr() % file::page_size();
    let page = base.wrapping_sub(skipped).cast_mut().cast();
    // SAFETY: the pages are the caller's mapping, as it promises; the call changes nothing in this process.
    check(unsafe { libc::madvise(page, len + skipped, libc::MADV_DONTFORK) }).map(drop)
}

/// Returns the bytes that can be allocated without a process being killed.
///
/// The minimum of what the machine has available and what each memory cgroup above this process still allows; swap is not counted.
/// `None` if nothing can be determined.
pub(crate) fn available_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_available(&text));
    cgroup_headrooms().into_iter().chain(machine).min()
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Describes mounts, files and fields of one version of the controller.
struct Controller {
    file_system: &'static str,
    usual_point: &'static str,
    limit: &'static str,
    usage: &'static str,
    inactive: &'static str,
    active: &'static str,
    dirty: &'static str,
    writeback: &'static str,
}

const V1: Controller = Controller {
    file_system: "cgroup",
    usual_point: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
    active: "total_active_file",
    dirty: "total_dirty",
    writeback: "total_writeback",
};

const V2: Controller = Controller {
    file_system: "cgroup2",
    usual_point: "/sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    inactive: "inactive_file",
    active: "active_file",
    dirty: "file_dirty",
    writeback: "file_writeback",
};

/// Returns what each limited cgroup above this process still allows.
fn cgroup_headrooms() -> Vec<u64> {
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
        return Vec::new();
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut headrooms = Vec::new();
    for (group, controller) in own_groups(&own) {
        let folders = folders(&group, find_mount(&mounts, controller));
        headrooms.extend(folders.iter().filter_map(|folder| headroom(folder, controller)));
    }
    headrooms
}

/// Finds the memory cgroups of this process in `/proc/self/cgroup`.
fn own_groups(text: &str) -> Vec<(PathBuf, &'static Controller)> {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, PathBuf::from(fields.next()?));
        if controllers.is_empty() {
            Some((path, &V2))
        } else {
            controllers
                .split(',')
                .any(|name| name == "memory")
                .then_some((path, &V1))
        }
    };
    text.lines().filter_map(parse).collect()
}

/// Says where a hierarchy is mounted, and which part of it.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

fn find_mount(mountinfo: &str, controller: &Controller) -> Mount {
    let found = mountinfo.lines().find_map(|line| parse_mount(line, controller));
    found.unwrap_or_else(|| Mount {
        root: PathBuf::from("/"),
        point: PathBuf::from(controller.usual_point),
    })
}

/// Parses `36 35 0:1 ROOT POINT rw,relatime shared:1 - cgroup2 SOURCE rw,OPTIONS`.
fn parse_mount(line: &str, controller: &Controller) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let file_system = kind.next()?;
    // Only version 1 has a mount for each controller and names it in the options.
    let serves_memory = file_system == "cgroup2" || kind.nth(1)?.split(',').any(|option| option == "memory");
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    (file_system == controller.file_system && serves_memory).then(|| Mount {
        root: PathBuf::from(root),
        point: PathBuf::from(point),
    })
}

/// Lists the folders of a cgroup and its visible parents.
fn folders(group: &Path, mount: Mount) -> Vec<PathBuf> {
    // A cgroup outside the mounted part (`/../other`) cannot be reached; then the mounted part counts.
    let below = group.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let folder = mount.point.join(below);
    folder
        .ancestors()
        .take_while(|it| it.starts_with(&mount.point))
        .map(PathBuf::from)
        .collect()
}

/// Returns what one cgroup still allows; `None` without a limit.
fn headroom(folder: &Path, controller: &Controller) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let limit: u64 = read(controller.limit)?.trim().parse().ok()?;
    let usage: u64 = read(controller.usage)?.trim().parse().ok()?;
    let cache = read("memory.stat").map_or(0, |stat| reclaimable(&stat, controller));
    Some(limit.saturating_sub(usage.saturating_sub(cache)))
}

/// Returns the file cache that can be dropped at once: clean, and only half of what is in use.
fn reclaimable(stat: &str, controller: &Controller) -> u64 {
    let field = |name: &str| -> u64 {
        let found = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let cache = field(controller.inactive).saturating_add(field(controller.active) / 2);
    cache
        .saturating_sub(field(controller.dirty))
        .saturating_sub(field(controller.writeback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        let available = available_memory().unwrap();
        assert!(available > 1 << 20);
    }

    #[test]
    fn meminfo_is_parsed() {
        let text = "MemTotal:  9 kB\nMemAvailable:    12 kB\n";
        assert_eq!(mem_available(text), Some(12 * 1024));
        assert_eq!(mem_available("MemAvailable: x kB"), None);
        assert_eq!(mem_available(""), None);
    }

    #[test]
    fn both_hierarchies_are_found() {
        let text = "9:name=systemd:/\n4:cpu,memory:/one/a:b\n0::/two\n";
        let groups: Vec<_> = own_groups(text)
            .into_iter()
            .map(|(path, it)| (path, it.file_system))
            .collect();
        assert_eq!(groups, [("/one/a:b".into(), "cgroup"), ("/two".into(), "cgroup2")]);
        let mounts = "1 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      1 2 0:3 /one /m rw,relatime shared:4 - cgroup cgroup rw,memory\n\
                      1 2 0:4 / /u rw - cgroup2 cgroup2 rw\n";
        let v1 = find_mount(mounts, &V1);
        assert_eq!(
            v1,
            Mount {
                root: "/one".into(),
                point: "/m".into()
            }
        );
        assert_eq!(find_mount(mounts, &V2).point, PathBuf::from("/u"));
        assert_eq!(find_mount("", &V2).point, PathBuf::from("/sys/fs/cgroup"));
        assert_eq!(
            folders(Path::new("/one/a/b"), v1),
            ["/m/a/b", "/m/a", "/m"].map(PathBuf::from)
        );
        let outside = Mount {
            root: "/one".into(),
            point: "/m".into(),
        };
        assert_eq!(folders(Path::new("/../x"), outside), [PathBuf::from("/m")]);
    }

    #[test]
    fn headroom_is_limit_less_usage_with_clean_cache_back() {
        let folder = std::env::temp_dir().join(format!("procshare-cgroup-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        assert_eq!(headroom(&folder, &V2), None);
        put("memory.max", "1000\n");
        put("memory.current", "800\n");
        let bare = headroom(&folder, &V2);
        put(
            "memory.stat",
            "anon 500\ninactive_file 100\nactive_file 60\nfile_dirty 20\nfile_writeback 10\n",
        );
        let cached = headroom(&folder, &V2);
        put("memory.max", "max\n");
        let unlimited = headroom(&folder, &V2);
        put("memory.max", "700\n");
        let over = headroom(&folder, &V2);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(bare, Some(200));
        assert_eq!(cached, Some(300));
        assert_eq!(unlimited, None);
        assert_eq!(over, Some(0));
    }
}
