//! The macros where another crate re-exports this one under its own name; the member `renamed` has a name of the manifest.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

/// A library that re-exports the crate.
mod library {
    pub(crate) use procshare as processes;
}

mod only_through_the_library {
    use crate::library;

    #[derive(Clone, Copy, library::processes::Shareable)]
    #[shareable(crate = library::processes)]
    #[repr(C)]
    struct Pair {
        left: u32,
        right: Side,
    }

    #[derive(Clone, Copy, library::processes::Shareable)]
    #[shareable(crate = "crate::library::processes")]
    #[repr(u32)]
    enum Side {
        Only = 5,
    }

    fn sum(pair: library::processes::SharedValue<Pair>) -> u32 {
        let pair = pair.get();
        pair.left + pair.right as u32
    }

    #[library::processes::test(crate = library::processes)]
    fn a_re_exported_crate_is_named_by_its_path() {
        let pair = Pair {
            left: 37,
            right: Side::Only,
        };
        let pair = library::processes::SharedValue::new(pair).unwrap();
        let child = library::processes::Process::spawn(sum, (pair,)).unwrap();
        assert_eq!(child.join().unwrap(), 42);
    }

    #[library::processes::test(crate = "crate::library::processes")]
    fn a_re_exported_crate_is_named_by_a_text() {
        let child = library::processes::Process::spawn(|a: u32| a + 1, (41,)).unwrap();
        assert_eq!(child.join().unwrap(), 42);
    }

    #[allow(dead_code, reason = "it compiles")]
    mod program {
        #[procshare::main(crate = crate::library::processes)]
        fn main() {}
    }
}
