//! The programs of the README, as tests.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
