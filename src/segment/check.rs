//! Checks of a segment's file: nothing in it is believed before.

use super::mapping::Mapping;
use super::refused::{foreign_self, os_error};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Header;
use crate::layout::header::{self, FROZEN, HEADER_WORDS};
use crate::primitive::identity;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, file};
use std::sync::OnceLock;

/// Checks a copy of the file's header and maps the length it gives, which is not all of a file with overflow areas.
pub(super) fn map_and_check(fd: &OwnedFd) -> Result<(Mapping, Header)> {
    let file_length = || match file::stat(fd.as_fd()) {
        Ok(stat) => Ok(stat.len),
        Err(error) => Err(os_error("fstat", error)),
    };
    header::check_shortest(file_length()?)?;
    let mut copy = [0; HEADER_WORDS * 8];
    file::read_at(fd.as_fd(), &mut copy, 0).map_err(|error| os_error("reading the header", error))?;
    // Asked after the header was read: another process may be adding overflow areas, which the header mentions once they exist.
    let file_length = file_length()?;
    let header = Header::parse(&header::words_of(&copy), file_length);
    let length = header.as_ref().map_or(file_length, |header| header.length);
    // Files of other file systems have no seals; if that cannot be asked, the file counts as not sealed.
    let sealed = file::seals(fd.as_fd()).ok();
    let frozen = sealed
        .as_ref()
        .is_some_and(|seals| seals.write && seals.shrink && seals.grow && seals.seal);
    let mapping = if frozen {
        Mapping::read_only(fd, length)
    } else {
        Mapping::writable(fd, length)
    };
    let mapping = match mapping {
        Err(_) if !frozen && sealed.is_some_and(|seals| seals.write) => {
            return Err(Error::new(
                ErrorKind::Seals,
                "expected all seals of a frozen segment or none, found some",
            ));
        }
        mapping => mapping.map_err(|error| os_error("mmap", error))?,
    };
    let header = header?;
    match (header.flags & FROZEN != 0, frozen) {
        (true, false) => Err(Error::new(
            ErrorKind::Seals,
            "the header says that the segment is frozen, but its file is not sealed",
        )),
        (false, true) => Err(Error::new(
            ErrorKind::Seals,
            "the segment's file is sealed, but the header does not say that it is frozen",
        )),
        _ => Ok((mapping, header)),
    }
}

/// The flags of a segment whose layout this version does not know.
pub(super) fn flags_of_any_version(fd: &OwnedFd) -> Result<u32> {
    let mapping = Mapping::writable(fd, header::SHORTEST).map_err(|error| os_error("mmap", error))?;
    Header::flags_of_any_version(mapping.words()).ok_or_else(|| {
        Error::new(
            ErrorKind::NotASegment,
            "the magic number at the start of the segment was overwritten",
        )
    })
}

/// Refuses a segment whose creator lived in other namespaces than this process.
pub(super) fn check_namespaces(header: &Header) -> Result<()> {
    let own = identity::namespaces().map_err(foreign_self)?;
    let pairs = [
        ("PID", header.pid_namespace, own.pid),
        ("time", header.time_namespace, own.time),
    ];
    for (which, expected, found) in pairs {
        if expected == 0 || found == 0 {
            let whose = if found == 0 { "this process" } else { "its creator" };
            let needed = sys::identity::NAMESPACES_NEED;
            let message = format!("the {which} namespace of {whose} is unknown: {needed}");
            return Err(Error::new(ErrorKind::ForeignNamespace, message));
        }
        if expected != found {
            let message = format!("expected {which} namespace {expected}, found this process in {found}");
            return Err(Error::new(ErrorKind::ForeignNamespace, message));
        }
    }
    Ok(())
}

/// The id of this start of the machine; zeros if it cannot be determined.
pub(super) fn boot_id() -> Result<[u64; 2]> {
    static BOOT_ID: OnceLock<[u64; 2]> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(*known);
    }
    let found = sys::identity::boot_id().map_err(|error| os_error("reading the machine's boot id", error))?;
    let bytes = u128::from_le_bytes(found.unwrap_or_default());
    let boot_id = [bytes as u64, (bytes >> 64) as u64];
    if is_known(boot_id) {
        return Ok(*BOOT_ID.get_or_init(|| boot_id));
    }
    Ok(boot_id) // It may be available later.
}

/// Whether a boot id could be determined.
pub(super) fn is_known(boot_id: [u64; 2]) -> bool {
    boot_id != [0, 0]
}
