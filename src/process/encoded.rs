//! The arguments and the result of a child, encoded.

use super::mailbox::{Answer, Draft, Mailbox};
use crate::encoding::Trial;
use crate::error::Result;
use crate::travel::{self, Attachments, Received};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The arguments of a child; in the draft if they are long.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) draft: Draft,
}

/// Encodes a child's arguments, which the child decodes as a `D`.
pub(super) fn pack<D: DeserializeOwned>(arguments: &impl Serialize) -> Result<(Encoded, Attachments)> {
    let mut encoded = Encoded::default();
    let Encoded { bytes, draft } = &mut encoded;
    let work = || travel::pack::<D>(arguments, bytes, draft, Trial::of_type::<D>());
    let (stored, attachments) = travel::packing(Attachments::default(), work);
    encoded.draft.len = stored? as u64;
    Ok((encoded, attachments))
}

/// Decodes the arguments of this process.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8], received: Received) -> Result<T> {
    travel::unpacking(received, || travel::unpack(bytes))
}

/// Encodes the result of this process.
pub(super) fn pack_result<T: Serialize>(result: &T, mut mailbox: &Mailbox) -> Result<Answer> {
    let mut bytes = Vec::new();
    let stored = travel::refusing(|| travel::pack_result(result, &mut bytes, &mut mailbox))?;
    Ok(match stored {
        0 => Answer::Value(bytes),
        stored => Answer::LongValue(stored as u64),
    })
}

/// Decodes the result of a child.
pub(super) fn unpack_result<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    travel::refusing(|| travel::unpack_result(bytes))
}
