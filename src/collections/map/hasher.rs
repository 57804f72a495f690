//! How keys are hashed: one way for all maps, and others for tests.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};

/// A way to hash the bytes of a key from a seed, and the name by which programs agree on it.
#[derive(Clone, Copy)]
pub(crate) struct NamedHasher {
    pub(crate) name: &'static str,
    /// None for the one that maps use unless told otherwise.
    pub(crate) hash: Option<fn(&[u8], u64) -> u64>,
}

/// Portable, and stable from version to version.
pub(super) const RAPIDHASH: NamedHasher = NamedHasher {
    name: "rapidhash v3",
    hash: None,
};

/// Every map stores the hash of this text, since a program that hashes differently would find nothing.
pub(super) const PROOF_TEXT: &[u8] = b"procshare";

/// A hasher and its seed.
#[derive(Clone)]
pub(super) enum Hasher {
    Rapid(RapidSecrets),
    Other(fn(&[u8], u64) -> u64, u64),
}

impl Hasher {
    pub(super) fn new(named: NamedHasher, seed: u64) -> Self {
        match named.hash {
            None => Hasher::Rapid(RapidSecrets::seed(seed)),
            Some(hash) => Hasher::Other(hash, seed),
        }
    }

    #[inline(always)]
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        match self {
            Hasher::Rapid(secrets) => rapidhash_v3_inline::<true, false, false>(bytes, secrets),
            Hasher::Other(hash, seed) => hash(bytes, *seed),
        }
    }
}
