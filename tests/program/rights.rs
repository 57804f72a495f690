//! Children of programs that have, or would gain, other rights than whoever starts them.

use super::begin::{EVERY, WORKS, refused_as, start_by_every_method};
use super::stage::{self, Ended, NOBODY};
use super::{Part, Test, part};
use procshare::ErrorKind;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const PARTS: &[Part] = &[
    part("gives up its rights", give_up_rights),
    part("makes files for another", make_files_for_another),
    part("becomes nobody", become_nobody),
];

pub(crate) const TESTS: &[Test] = &[
    ("what_the_child_would_refuse_is_refused_before_it_starts", refused),
    ("rights_that_are_not_gained_hinder_nobody", not_gained),
];

fn give_up_rights() -> ExitCode {
    // SAFETY: the calls take numbers and return them.
    let own = unsafe { libc::getgid() };
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::setresgid(own, own, own) }, 0);
    // SAFETY: the call only returns a number.
    let own = unsafe { libc::getuid() };
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::setresuid(own, own, own) }, 0);
    start_by_every_method()
}

fn become_nobody() -> ExitCode {
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    start_by_every_method()
}

fn make_files_for_another() -> ExitCode {
    // SAFETY: the call takes a number.
    unsafe { libc::setfsuid(NOBODY) };
    start_by_every_method()
}

/// A copy of this program with bits and capabilities of its own, where everybody can run it.
struct Copy(PathBuf);

impl Copy {
    fn new(what: &str, owner: u32, mode: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: numbers need only differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-program-{}-{number}-{what}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Copy(path)
    }

    /// Gives whoever runs it the right to low ports: `cap_net_bind_service`, permitted, with those flags.
    fn with_capability(self, flags: u32, permitted: bool) -> Self {
        let bit = 1_u32 << 10;
        let (permitted, inheritable) = if permitted { (bit, 0) } else { (0, bit) };
        let words = [0x0200_0000 | flags, permitted, inheritable, 0, 0];
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        let path = CString::new(self.0.as_os_str().as_encoded_bytes()).unwrap();
        let (name, value) = (c"security.capability".as_ptr(), bytes.as_ptr().cast());
        // SAFETY: both strings end in NUL, and the value is that long.
        let set = unsafe { libc::setxattr(path.as_ptr(), name, value, bytes.len(), 0) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        self
    }

    fn run(&self, part: &str, user: Option<u32>) -> Ended {
        let mut command = stage::command(&self.0, part);
        if let Some(user) = user {
            stage::become_user(&mut command, user);
        }
        stage::run(command)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Whether copies can be given what they need here; says so if not.
fn can_give_rights() -> bool {
    // SAFETY: the call only returns a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped, as only root may give a program rights");
    }
    root
}

const GIVES_UP: &str = "gives up its rights";

fn refused() {
    if !can_give_rights() {
        return;
    }
    let plain = || Copy::new("cap", 0, 0o755);
    let cases = [
        (
            "a file capability",
            plain().with_capability(1, true),
            EVERY,
            Some(NOBODY),
        ),
        (
            "one that is only permitted",
            plain().with_capability(0, true),
            EVERY,
            Some(NOBODY),
        ),
        ("set-user-id", Copy::new("suid", 0, 0o4755), EVERY, Some(NOBODY)),
        (
            "set-user-id given up",
            Copy::new("suid", 0, 0o4755),
            GIVES_UP,
            Some(NOBODY),
        ),
        ("set-group-id", Copy::new("sgid", 0, 0o2755), EVERY, Some(NOBODY)),
        (
            "set-group-id given up",
            Copy::new("sgid", 0, 0o2755),
            GIVES_UP,
            Some(NOBODY),
        ),
        (
            "root that became nobody",
            plain().with_capability(1, true),
            "becomes nobody",
            None,
        ),
        (
            "root's own set-user-id",
            Copy::new("suid", 0, 0o4755),
            "becomes nobody",
            None,
        ),
        (
            "another user for files",
            Copy::new("plain", 0, 0o755),
            "makes files for another",
            None,
        ),
    ];
    for (what, copy, part, user) in cases {
        let ended = copy.run(part, user);
        assert_eq!(
            ended.lines(),
            refused_as(ErrorKind::PermissionDenied),
            "{what}: {ended:?}"
        );
    }
}

fn not_gained() {
    if !can_give_rights() {
        return;
    }
    let plain = || Copy::new("cap", 0, 0o755);
    let cases = [
        ("nothing", plain(), EVERY, Some(NOBODY)),
        ("root, who has all", plain().with_capability(1, true), EVERY, None),
        (
            "what nobody hands on",
            plain().with_capability(0, false),
            EVERY,
            Some(NOBODY),
        ),
        ("root's own set-user-id", Copy::new("suid", 0, 0o4755), EVERY, None),
        (
            "set-user-id of the same user",
            Copy::new("own", NOBODY, 0o6755),
            EVERY,
            Some(NOBODY),
        ),
        ("root that became nobody", plain(), "becomes nobody", None),
    ];
    for (what, copy, part, user) in cases {
        let ended = copy.run(part, user);
        assert_eq!(ended.lines(), WORKS, "{what}: {ended:?}");
    }
}
