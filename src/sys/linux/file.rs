//! File objects: made, sized, sealed, locked and named; their bytes allocated, written, read and given back.
//!
//! Every descriptor is closed on `exec`. If a file would exceed the limit of file sizes (`ulimit -f`), the kernel ends the process
//! by a signal, so each call that makes a file longer or writes to it compares first.

use core::ffi::CStr;
use core::mem::{ManuallyDrop, MaybeUninit};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(crate) use super::super::types::{AsFd, BorrowedFd, OwnedFd, Seals, Stat};
use super::{check, retry};

/// The folder of named segments.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";
/// How to get that folder where it is missing.
pub(crate) const MOUNT_SHARED_MEMORY: &str = "mount a tmpfs there (mount -t tmpfs -o mode=1777 tmpfs /dev/shm)";

/// Makes an empty anonymous file object that can be sealed.
///
/// It can never be executed, if the kernel is able to forbid that.
///
/// # Errors
/// Whatever `memfd_create` reports.
pub(crate) fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match memfd_with(name, flags | libc::MFD_NOEXEC_SEAL) {
        // Kernels before 6.3 do not know this flag.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => memfd_with(name, flags),
        outcome => outcome,
    }
}

fn memfd_with(name: &CStr, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a string that ends in NUL and outlives the call.
    let fd = retry(|| unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Fixes the length of a memfd for ever.
///
/// # Errors
/// `InvalidInput` if the object cannot be sealed.
pub(crate) fn seal_size(fd: BorrowedFd<'_>) -> io::Result<()> {
    add_seals(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)
}

/// Fixes length and bytes of a memfd for ever.
///
/// # Errors
/// `ResourceBusy` while a writable mapping exists, `InvalidInput` if it cannot be sealed.
pub(crate) fn seal_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    let size = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    add_seals(fd, size | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL)
}

fn add_seals(fd: BorrowedFd<'_>, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the argument is a number.
    retry(|| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// Tells how a file object is sealed; one that does not support seals has none.
///
/// # Errors
/// Whatever `fcntl` reports, except for objects that do not support seals.
pub(crate) fn seals(fd: BorrowedFd<'_>) -> io::Result<Seals> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let bits = match retry(|| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) }) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => 0,
        outcome => outcome?,
    };
    Ok(Seals {
        write: bits & libc::F_SEAL_WRITE != 0,
        shrink: bits & libc::F_SEAL_SHRINK != 0,
        grow: bits & libc::F_SEAL_GROW != 0,
        seal: bits & libc::F_SEAL_SEAL != 0,
    })
}

/// Asks about an open file object.
///
/// # Errors
/// Whatever `fstat` reports.
pub(crate) fn stat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    let mut buffer = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open, and the buffer is writable for one stat.
    retry(|| unsafe { libc::fstat(fd.as_raw_fd(), buffer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel has written all of it.
    let stat = unsafe { buffer.assume_init() };
    Ok(Stat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        len: stat.st_size.unsigned_abs(),
        uid: stat.st_uid,
        mode: stat.st_mode & 0o7777,
        is_file: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
        blocks: stat.st_blocks.unsigned_abs(),
    })
}

/// Asks about a name, without following a symbolic link.
///
/// # Errors
/// Whatever `lstat` reports.
pub(crate) fn stat_path(path: &Path) -> io::Result<Stat> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(Stat {
        dev: metadata.dev(),
        ino: metadata.ino(),
        len: metadata.len(),
        uid: metadata.uid(),
        mode: metadata.mode() & 0o7777,
        is_file: metadata.is_file(),
        blocks: metadata.blocks(),
    })
}

/// Makes a file object in `folder` that has no name yet.
///
/// # Errors
/// `EOPNOTSUPP` or `EISDIR` if the file system cannot; otherwise what `open` reports.
pub(crate) fn open_unnamed(folder: &Path, mode: u32) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(mode)
        .open(folder)?;
    widen(&file, mode)?;
    Ok(file.into())
}

/// Gives an unnamed file object its first name.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise what `linkat` reports.
pub(crate) fn link_unnamed(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let to = c_path(path)?;
    let from = CString::new(fd_path(fd))?;
    match link_at(libc::AT_FDCWD, &from, &to, libc::AT_SYMLINK_FOLLOW) {
        // No /proc. This way needs the capability, or Linux 6.10.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            link_at(fd.as_raw_fd(), c"", &to, libc::AT_EMPTY_PATH)
        }
        outcome => outcome,
    }
}

fn link_at(folder: libc::c_int, from: &CStr, to: &CStr, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: both paths are strings that end in NUL and outlive the call.
    let call = || unsafe { libc::linkat(folder, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) };
    retry(call).map(drop)
}

/// Makes a file object under a name that must be free.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise what `open` reports.
pub(crate) fn create_exclusive(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true);
    let file = options.custom_flags(libc::O_NOFOLLOW).mode(mode).open(path)?;
    widen(&file, mode).inspect_err(|_| drop(unlink(path)))?;
    Ok(file.into())
}

/// Restores the permission bits that the umask took away.
fn widen(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Renames a file to a name that must be free.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise what `renameat2` reports.
pub(crate) fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    let (from_text, to_text) = (c_path(from)?, c_path(to)?);
    // SAFETY: both paths are strings that end in NUL and outlive the call.
    let call = || unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from_text.as_ptr(),
            libc::AT_FDCWD,
            to_text.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    match retry(call) {
        // The file system supports no flags; a hard link does not replace either.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            fs::hard_link(from, to)?;
            unlink(from)
        }
        outcome => outcome.map(drop),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Opens a name for reading and writing.
///
/// Neither follows symbolic links nor waits for the other end of a FIFO.
///
/// # Errors
/// `ELOOP` for a symbolic link, `EISDIR` for a folder; otherwise what `open` reports.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(file.into())
}

/// Opens a file object again: same bytes, but its own locks.
///
/// # Errors
/// What `open` reports; `NotFound` without `/proc`.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(fd_path(fd))?.into())
}

/// A descriptor's path; the thread's, as a leader that has ended has no descriptors.
fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

/// Removes a name.
///
/// # Errors
/// Whatever `unlink` reports.
pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Takes the shared lock of this open file description; false if another holds it exclusively.
///
/// A failed attempt to change an exclusive lock loses it.
///
/// # Errors
/// Whatever `flock` reports, except for a lock that is taken.
pub(crate) fn lock_shared(fd: BorrowedFd<'_>) -> io::Result<bool> {
    lock(fd, libc::LOCK_SH)
}

/// Takes the exclusive lock of this open file description; false if another holds any lock.
///
/// A failed attempt to change a shared lock loses it.
///
/// # Errors
/// Whatever `flock` reports, except for a lock that is taken.
pub(crate) fn lock_exclusive(fd: BorrowedFd<'_>) -> io::Result<bool> {
    lock(fd, libc::LOCK_EX)
}

fn lock(fd: BorrowedFd<'_>, operation: libc::c_int) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and the other argument is a number.
    match retry(|| unsafe { libc::flock(fd.as_raw_fd(), operation | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the bytes left in the file system, if it is limited.
///
/// A memfd has no such limit: it uses the machine's memory.
///
/// # Errors
/// Whatever `fstatvfs` reports.
pub(crate) fn free_space(fd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let mut buffer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the descriptor is open, and the buffer is writable for one statvfs.
    retry(|| unsafe { libc::fstatvfs(fd.as_raw_fd(), buffer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so all of it has been written.
    let system = unsafe { buffer.assume_init() };
    let limited = system.f_blocks != 0;
    Ok(limited.then(|| system.f_bavail.saturating_mul(system.f_frsize)))
}

/// Tells whether the bytes of a file object exist in memory only.
///
/// # Errors
/// Whatever `fstatfs` reports.
pub(crate) fn is_memory_backed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    /// Not defined by the C library's bindings.
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    let mut buffer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the buffer is writable for one statfs.
    retry(|| unsafe { libc::fstatfs(fd.as_raw_fd(), buffer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel has written all of it.
    let system = unsafe { buffer.assume_init() };
    // The field's type differs between targets; every magic number fits in 32 bits.
    let memory = [libc::TMPFS_MAGIC as u32, libc::HUGETLBFS_MAGIC as u32, RAMFS_MAGIC];
    Ok(memory.contains(&(system.f_type as u32)))
}

/// Returns the size of a memory page.
pub(crate) fn page_size() -> usize {
    // SAFETY: the call only looks up a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    check(size)
        .ok()
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(4096)
}

/// The longest file that this process may write.
pub(crate) fn file_size_limit() -> u64 {
    soft_limit(libc::RLIMIT_FSIZE)
}

/// How much memory this process may lock.
pub(crate) fn locked_memory_limit() -> u64 {
    soft_limit(libc::RLIMIT_MEMLOCK)
}

fn soft_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the pointer is to room for one limit, which the kernel fills on success.
    let asked = check(unsafe { libc::getrlimit(resource, limit.as_mut_ptr()) });
    // SAFETY: read only if the call has filled it.
    asked.map_or(u64::MAX, |_| unsafe { limit.assume_init() }.rlim_cur)
}

/// Refuses to write up to byte `end` of a file if that would cause a signal.
///
/// # Errors
/// `FileTooLarge`, which names the limit.
pub(crate) fn check_end(end: u64) -> io::Result<()> {
    let limit = file_size_limit();
    // The kernel takes a length as a signed number.
    if end > limit.min(i64::MAX as u64) {
        let message = format!("a file of {end} bytes exceeds the file-size limit of {limit} bytes (ulimit -f)");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(())
}

/// Sets the length; bytes beyond the old one read as zero and take no space yet.
///
/// # Errors
/// `FileTooLarge` beyond the limit of file sizes or of the file system; otherwise what `ftruncate` reports.
pub(crate) fn set_len(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    check_end(len)?;
    borrowed(fd).set_len(len)
}

/// Sets the length and takes the space, so no later write fails.
///
/// Memory file systems allocate real memory here: a memfd longer than the machine's memory gets this process killed, and is not an
/// error. The caller asks beforehand whether there is enough.
///
/// # Errors
/// As [`set_len`]; also a full file system, an exceeded quota, or lack of memory.
pub(crate) fn allocate(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    set_len(fd, len)?;
    if len == 0 {
        return Ok(());
    }
    // The kernel has accepted it as a length, so it fits.
    let size = len as libc::off_t;
    // SAFETY: the descriptor is open, and the other arguments are numbers.
    match retry(|| unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, size) }) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => write_out(fd, size),
        outcome => outcome.map(drop),
    }
}

/// Allocates space by writing, on file systems without `fallocate`.
fn write_out(fd: BorrowedFd<'_>, size: libc::off_t) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open, and the other arguments are numbers.
        match unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, size) } {
            0 => return Ok(()),
            libc::EINTR => {}
            number => return Err(io::Error::from_raw_os_error(number)),
        }
    }
}

/// Writes all of `bytes` at `offset`, independently of the descriptor's position.
///
/// # Errors
/// `FileTooLarge` beyond the limit of file sizes; otherwise what `pwrite` reports.
#[cfg(feature = "messages")]
pub(crate) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    check_end(offset.saturating_add(bytes.len() as u64))?;
    borrowed(fd).write_all_at(bytes, offset)
}

/// Fills `bytes` from `offset`.
///
/// # Errors
/// Whatever `pread` reports; `UnexpectedEof` if the file ends first.
pub(crate) fn read_at(fd: BorrowedFd<'_>, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    borrowed(fd).read_exact_at(bytes, offset)
}

/// As [`read_at`], into uninitialised memory; on success all of it is written.
///
/// # Errors
/// Whatever `pread` reports; `UnexpectedEof` if the file ends first.
#[cfg(feature = "messages")]
pub(crate) fn read_into(fd: BorrowedFd<'_>, mut target: &mut [MaybeUninit<u8>], mut offset: u64) -> io::Result<()> {
    while !target.is_empty() {
        let (address, len) = (target.as_mut_ptr().cast(), target.len());
        // SAFETY: the target has `len` bytes, which may be written; the descriptor is open while it is borrowed.
        let read = retry(|| unsafe { libc::pread(fd.as_raw_fd(), address, len, offset as libc::off_t) })?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        target = &mut target[read as usize..];
    }
    Ok(())
}

/// Appends `len` bytes to `buffer`, which has room for them; on failure, nothing.
///
/// # Errors
/// As [`read_into`]; `InvalidInput` if there is no room.
#[cfg(feature = "messages")]
pub(crate) fn append_at(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    let room = buffer
        .spare_capacity_mut()
        .get_mut(..len)
        .ok_or(io::ErrorKind::InvalidInput)?;
    read_into(fd, room, offset)?;
    // SAFETY: this many bytes behind the buffer's old end have just been written.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(())
}

/// Gives back the memory of a file's bytes, which then read as zero; the file keeps its length.
///
/// # Errors
/// Whatever `fallocate` reports.
pub(crate) fn punch(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: the call takes numbers; the descriptor is open while it is borrowed.
    retry(|| unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset as libc::off_t, len as libc::off_t) }).map(drop)
}

/// Tells whether bytes of a file that ends at `end` at most can be written by calls, and their memory given back.
pub(crate) fn can_give_back(fd: BorrowedFd<'_>, end: u64) -> bool {
    borrowed(fd).write_at(&[], 0).is_ok() && punch(fd, end, page_size() as u64).is_ok()
}

/// The descriptor as a file that does not close it.
fn borrowed(fd: BorrowedFd<'_>) -> ManuallyDrop<File> {
    // SAFETY: the descriptor is open while it is borrowed, and the file is never dropped, so it is closed by its owner.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}

#[cfg(test)]
mod tests {
    use super::super::{Errno, errno_is};
    use super::*;
    use std::path::PathBuf;

    /// A folder in memory that vanishes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let name = format!("procshare-test-sys-{test}-{}", std::process::id());
            let path = Path::new("/dev/shm").join(name);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn closes_on_exec(fd: &OwnedFd) -> bool {
        // SAFETY: the descriptor is open, and the request takes no argument.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        flags & libc::FD_CLOEXEC != 0
    }

    #[test]
    fn a_memfd_is_sized_and_sealed() {
        let fd = memfd(c"procshare-test").unwrap();
        let fd = fd.as_fd();
        assert_eq!(seals(fd).unwrap(), Seals::default());
        allocate(fd, 10_000).unwrap();
        let facts = stat(fd).unwrap();
        assert_eq!((facts.len, facts.is_file), (10_000, true));
        assert!(facts.blocks * 512 >= 10_000);
        seal_size(fd).unwrap();
        let sized = Seals {
            shrink: true,
            grow: true,
            ..Seals::default()
        };
        assert_eq!(seals(fd).unwrap(), sized);
        assert!(allocate(fd, 20_000).is_err());
        seal_all(fd).unwrap();
        assert_eq!(
            seals(fd).unwrap(),
            Seals {
                write: true,
                seal: true,
                ..sized
            }
        );
        assert!(seal_size(fd).is_err());
        assert_eq!(free_space(fd).unwrap(), None);
        assert!(is_memory_backed(fd).unwrap());
    }

    #[test]
    fn lengths_no_file_can_have_are_errors() {
        let fd = memfd(c"procshare-test").unwrap();
        allocate(fd.as_fd(), 0).unwrap();
        // Any smaller length is really allocated, until the machine has no memory left.
        assert!(allocate(fd.as_fd(), u64::MAX).is_err());
    }

    #[test]
    fn an_unnamed_file_gets_one_name() {
        let folder = Folder::new("unnamed");
        let fd = open_unnamed(&folder.0, 0o666).unwrap();
        assert_eq!(folder.names(), 0);
        let facts = stat(fd.as_fd()).unwrap();
        assert_eq!((facts.mode, facts.uid), (0o666, super::super::identity::user_id()));
        let path = folder.0.join("name");
        link_unnamed(fd.as_fd(), &path).unwrap();
        assert_eq!(stat_path(&path).unwrap(), facts);
        let again = open_unnamed(&folder.0, 0o600).unwrap();
        let taken = link_unnamed(again.as_fd(), &path).unwrap_err();
        assert!(errno_is(&taken, Errno::Eexist));
        let nowhere = link_unnamed(again.as_fd(), &folder.0.join("none/name")).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
        assert!(seal_size(fd.as_fd()).is_err());
        assert!(free_space(fd.as_fd()).unwrap().is_some());
        assert!(is_memory_backed(fd.as_fd()).unwrap());
        unlink(&path).unwrap();
        assert_eq!(folder.names(), 0);
    }

    #[test]
    fn exclusive_names_are_never_replaced() {
        let folder = Folder::new("exclusive");
        let (one, two) = (folder.0.join("one"), folder.0.join("two"));
        let first = create_exclusive(&one, 0o622).unwrap();
        assert_eq!(stat(first.as_fd()).unwrap().mode, 0o622);
        assert!(errno_is(&create_exclusive(&one, 0o600).unwrap_err(), Errno::Eexist));
        let second = create_exclusive(&two, 0o600).unwrap();
        assert!(errno_is(&rename_noreplace(&one, &two).unwrap_err(), Errno::Eexist));
        assert_eq!(stat_path(&two).unwrap(), stat(second.as_fd()).unwrap());
        unlink(&two).unwrap();
        rename_noreplace(&one, &two).unwrap();
        assert_eq!(stat_path(&two).unwrap(), stat(first.as_fd()).unwrap());
        assert_eq!(folder.names(), 1);
    }

    #[test]
    fn what_is_no_file_is_told_apart() {
        let folder = Folder::new("kinds");
        let (link, fifo) = (folder.0.join("link"), folder.0.join("fifo"));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(errno_is(&open(&link).unwrap_err(), Errno::Eloop));
        assert!(!stat_path(&link).unwrap().is_file);
        assert!(errno_is(&open(&folder.0).unwrap_err(), Errno::Eisdir));
        assert_eq!(
            open(&folder.0.join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let text = c_path(&fifo).unwrap();
        // SAFETY: the path is a string that ends in NUL and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        let opened = open(&fifo).unwrap();
        assert!(!stat(opened.as_fd()).unwrap().is_file);
    }

    #[test]
    fn locks_belong_to_the_open_file_description() {
        let folder = Folder::new("locks");
        let one = open_unnamed(&folder.0, 0o600).unwrap();
        let (one, copy) = (one.as_fd(), one.try_clone().unwrap());
        let two = reopen(one).unwrap();
        let two = two.as_fd();
        assert_eq!(stat(one).unwrap(), stat(two).unwrap());
        assert!(lock_shared(one).unwrap());
        assert!(lock_shared(two).unwrap());
        assert!(!lock_exclusive(two).unwrap());
        lock(two, libc::LOCK_UN).unwrap();
        assert!(lock_exclusive(copy.as_fd()).unwrap());
        assert!(!lock_shared(two).unwrap());
        lock(one, libc::LOCK_UN).unwrap();
        assert!(lock_exclusive(two).unwrap());
    }

    #[test]
    fn every_descriptor_closes_on_exec() {
        let folder = Folder::new("exec");
        let path = folder.0.join("file");
        let anonymous = memfd(c"procshare-test").unwrap();
        let all = [
            reopen(anonymous.as_fd()).unwrap(),
            anonymous,
            open_unnamed(&folder.0, 0o600).unwrap(),
            create_exclusive(&path, 0o600).unwrap(),
            open(&path).unwrap(),
        ];
        assert!(all.iter().all(closes_on_exec));
    }

    #[test]
    fn a_page_has_a_power_of_two() {
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }
}
