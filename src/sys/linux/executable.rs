//! Says what this process's own executable is and where its code lies.

use core::ffi::{CStr, c_int, c_void};
use core::hash::{Hash, Hasher};
use core::ops::Range;
use core::{ptr, slice};
use std::ffi::OsStr;
use std::hash::DefaultHasher;

/// Where this program can be executed again; it leads to the same file even if another one has replaced it.
pub(crate) const PATH: &str = "/proc/self/exe";
/// The same for C.
pub(super) const OWN: &CStr = c"/proc/self/exe";
/// What is needed to know the program.
pub(crate) const NEEDS: &str = "procshare supports Linux only, with /proc mounted";

/// Describes the main program of this process, without the libraries it has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// A digest of its build id and its load layout: the same in every process that runs this build.
    pub(crate) id: u64,
    /// Where it was loaded.
    base: usize,
    /// The addresses of its code.
    code: Vec<Range<usize>>,
}

impl Executable {
    /// Asks the dynamic loader.
    pub(crate) fn own() -> Option<Self> {
        let mut found = None;
        // SAFETY: the callback has the type asked for, and its data is the variable, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(take_first), (&raw mut found).cast()) };
        found
    }

    /// Tells whether the program executed was another one, the dynamic loader, which then loaded this one: `/proc/self/exe` refers
    /// to the loader.
    pub(crate) fn was_loaded_by_another() -> bool {
        let mut search = Search {
            executed: executed_headers(),
            seen: 0,
            is_library: false,
        };
        // SAFETY: the callback has the type asked for, and its data is the variable, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.is_library
    }

    /// The distance of an address in its code from where it was loaded; `None` for any other address.
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        let known = self.code.iter().any(|range| range.contains(&address));
        known.then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The address at that distance from where it was loaded, if it lies in its code.
    pub(crate) fn address_at(&self, offset: u64) -> Option<*const ()> {
        let address = self.base.wrapping_add(offset as usize);
        self.offset_of(address)?;
        Some(ptr::with_exposed_provenance(address))
    }
}

/// Makes tools that list processes show `name`; nothing is lost if that fails.
pub(crate) fn show_name(name: &OsStr) {
    let _ = std::fs::write("/proc/self/comm", name.as_encoded_bytes());
}

/// Where the kernel put the program headers of the file it executed; `None` if that is unknown.
fn executed_headers() -> Option<usize> {
    let words = std::fs::read("/proc/self/auxv").ok()?;
    let words = words.chunks_exact(size_of::<usize>());
    let words: Vec<_> = words
        .filter_map(|word| word.try_into().ok())
        .map(usize::from_ne_bytes)
        .collect();
    let mut pairs = words.chunks_exact(2);
    pairs.find_map(|pair| (pair[0] as u64 == libc::AT_PHDR).then_some(pair[1]))
}

/// Whether the file that was executed is among the libraries of this program.
struct Search {
    executed: Option<usize>,
    seen: usize,
    is_library: bool,
}

/// Looks at the objects after the first, which is the main program.
extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: the loader passes a complete description that stays until the callback returns.
    let headers = unsafe { (*info).dlpi_phdr };
    // SAFETY: `was_loaded_by_another` passes the address of its variable, which nobody else uses meanwhile.
    let search = unsafe { &mut *search.cast::<Search>() };
    search.is_library |= search.seen > 0 && search.executed == Some(headers.addr());
    search.seen += 1;
    0
}

/// Describes the object that the loader names first, which is the main program, and then stops.
extern "C" fn take_first(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: the loader passes a complete description that stays until the callback returns.
    let info = unsafe { &*info };
    // SAFETY: the loader keeps that many program headers there for as long as the object is loaded.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    // SAFETY: `own` passes the address of its variable, which nobody else uses meanwhile.
    let found = unsafe { &mut *found.cast::<Option<Executable>>() };
    *found = Some(describe(info.dlpi_addr as usize, headers));
    1
}

fn describe(base: usize, headers: &[libc::Elf64_Phdr]) -> Executable {
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.saturating_add(header.p_memsz as usize)
    };
    let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let mut hasher = DefaultHasher::new();
    for header in headers {
        (header.p_type, header.p_flags, header.p_offset).hash(&mut hasher);
        (header.p_vaddr, header.p_filesz, header.p_memsz).hash(&mut hasher);
    }
    for notes in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        let bytes = range(notes);
        let readable = |header: &libc::Elf64_Phdr| {
            let there = range(header);
            header.p_flags & libc::PF_R != 0 && there.start <= bytes.start && bytes.end <= there.end
        };
        if loaded().any(readable) {
            let first = ptr::with_exposed_provenance::<u8>(bytes.start);
            // SAFETY: the range lies in a readable part of the program that is loaded for as long as the process runs,
            // and nobody writes notes.
            unsafe { slice::from_raw_parts(first, bytes.len()) }.hash(&mut hasher);
        }
    }
    Executable {
        id: hasher.finish(),
        base,
        code: loaded()
            .filter(|header| header.p_flags & libc::PF_X != 0)
            .map(range)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_are_found_and_others_are_not() {
        let own = Executable::own().unwrap();
        assert_eq!(own, Executable::own().unwrap());
        let here = own_functions_are_found_and_others_are_not as fn() as *const ();
        let offset = own.offset_of(here.addr()).unwrap();
        assert_eq!(own.address_at(offset), Some(here));
        let library = libc::getpid as unsafe extern "C" fn() -> libc::pid_t as *const ();
        assert_eq!(own.offset_of(library.addr()), None);
        let data = 7_u64;
        assert_eq!(own.offset_of((&raw const data).addr()), None);
        assert_eq!(own.address_at(u64::MAX), None);
    }
}
