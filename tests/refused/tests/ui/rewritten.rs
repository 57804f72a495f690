//! A macro below the derive may change the type that the derive has seen.

use attributes::rewrite;
use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[rewrite((u64)(&'static u64))]
#[repr(C)]
struct ToReference {
    at: u64,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((Wrapped)(::std::mem::ManuallyDrop<Wrapped>))]
#[repr(C)]
struct ToSmartPointer {
    at: Wrapped,
}

#[derive(Clone, Copy, Shareable)]
#[repr(transparent)]
struct Wrapped(u64);

#[derive(Clone, Copy, Shareable)]
#[rewrite((u8)(bool))]
#[repr(C)]
struct ToFewerValues(u8);

#[derive(Clone, Copy, Shareable)]
#[rewrite((1)(2))]
#[repr(C)]
struct Generic<T> {
    at: [T; 1],
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((u32)(Never))]
#[repr(C, packed)]
struct Packed {
    at: [u32; 0],
}

#[derive(Clone, Copy)]
enum Never {}

#[derive(Clone, Copy, Shareable)]
#[rewrite((first)(second: &'static (), first))]
#[repr(C)]
struct OneFieldMore {
    first: u64,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((second)(#[cfg(any())] second))]
#[repr(C)]
struct OneFieldLess {
    first: u64,
    second: u64,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((first)(other))]
#[repr(C)]
struct Renamed {
    first: u64,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((struct)(union) (u32)(u32, other: ()))]
#[repr(C)]
struct ToUnion {
    only: u32,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((Only)(Only(&'static str)))]
#[repr(u8)]
enum VariantWithField {
    Only,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((Only)(Only, Other))]
#[repr(u8)]
enum OneVariantMore {
    Only,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((Two)(#[cfg(any())] Two))]
#[repr(u8)]
enum OneVariantLess {
    One,
    Two,
}

fn main() {}
