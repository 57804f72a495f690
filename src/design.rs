//! The design.
