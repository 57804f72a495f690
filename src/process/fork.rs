//! The start method `Fork`: the child is a copy of this process.

use super::argument::Returned;
use super::call;
use super::child::Core;
use super::copy::{NoReturn, Quiet};
use super::mailbox::{Answer, Draft, Mailbox};
use super::plan::{EncodedCall, Plan, Reserved, failure, post};
use super::start_request::{self, introduce, leave, settle};
use crate::error::Result;
use crate::messages::{Notes, inherit, leave_to_child};
use crate::primitive::crash_point;
use crate::sys::{fork, spawn};
use crate::travel::{Attachments, DescriptorSource};
use std::sync::Arc;

/// Starts a copy that finds its start request in the mailbox, like any other child.
pub(super) fn start(plan: Plan, mut encoded_call: EncodedCall) -> Result<Arc<Core>> {
    let quiet = Quiet::begin()?;
    let parent = plan.parent()?;
    let mut start_request = plan.start_request(&encoded_call, plan.folder.as_ref(), parent.as_ref())?;
    start_request.environment = Some(plan.environment.clone());
    let mailbox = post(&start_request, encoded_call.arguments)?;
    let reserved = Reserved::new()?;
    match quiet.copy().map_err(|error| failure("fork", error))? {
        Some((pid, _)) => plan.started(pid, reserved, mailbox, &mut encoded_call.attachments),
        None => {
            let _end = NoReturn;
            drop(reserved);
            crash_point!("start.born");
            let code = start_request::carry_out(&mailbox, start_request::take(&mailbox), DescriptorSource::Copied);
            spawn::exit_at_once(code)
        }
    }
}

/// Starts a copy that calls the closure, which both processes have and drop.
pub(super) fn run<R: Returned, H>(
    plan: Plan,
    closure: impl FnOnce() -> R,
    handle: impl Fn(Arc<Core>) -> H,
) -> Result<H> {
    let quiet = Quiet::begin()?;
    let parent = plan.parent()?;
    let mailbox = Mailbox::post(&[], &[], Draft::default())
        .map_err(|error| failure("creating the child's mailbox file", error))?;
    let notes: Notes = Arc::new(fork::CommonWords::new().map_err(|error| failure("mapping a shared page", error))?);
    let reserved = Reserved::new()?;
    crash_point!("start.posted");
    match quiet.copy().map_err(|error| failure("fork", error))? {
        Some((pid, copy)) => {
            // Before destructors run: if one panics, the handle is dropped, and is treated like any other.
            let process = plan
                .started(pid, reserved, mailbox, &mut Attachments::default())
                .map(handle);
            // It has ended, or has an identity of its own.
            match copy {
                Some(child) => leave_to_child(child, notes, closure),
                None => drop(closure),
            }
            process
        }
        None => {
            let _end = NoReturn;
            drop(reserved);
            crash_point!("start.born");
            inherit(notes);
            let begun = mailbox
                .begin()
                .map_err(|error| failure("reporting the start to the parent", error))
                .and_then(|()| {
                    crash_point!("start.begun");
                    introduce(plan.name);
                    // SAFETY: the copy has one thread.
                    unsafe { plan.environment.apply() };
                    settle(parent, plan.folder)
                });
            let answer = match begun {
                Ok(()) => call::answer(&mailbox, closure),
                Err(error) => Answer::not_started(&error),
            };
            let code = leave(&mailbox, answer);
            spawn::exit_at_once(code)
        }
    }
}
