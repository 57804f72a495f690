//! The start method `Spawn`: the program's own executable is started again.
//!
//! What becomes of a child while it is being started, by whichever method, is tabulated in `design`.

use super::child::Core;
use super::environment::Environment;
use super::mailbox::Mailbox;
use super::marker::Marker;
use super::orphans;
use super::plan::{EncodedCall, Plan, Reserved, copy_stream, describe, failure, post, proc_failure};
use super::program::{self, Way};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::executable::{self, Executable};
use crate::sys::file::{AsFd, BorrowedFd};
use crate::sys::surroundings::Stream;
use crate::sys::{privilege, spawn};
use std::ffi::CString;
use std::sync::Arc;

/// Starts a child that finds its start request in the mailbox.
pub(super) fn start(plan: Plan, mut encoded_call: EncodedCall) -> Result<Arc<Core>> {
    orphans::reap();
    let way = program::way()?;
    let parent = plan.parent()?;
    // If there is no standard output, none is passed on.
    let stdout = if way.is_noisy() {
        copy_stream(Stream::Out)?
    } else {
        None
    };
    let mut start_request = plan.start_request(&encoded_call, plan.folder.as_ref(), parent.as_ref())?;
    start_request.stdout = describe(stdout.as_ref())?;
    let mailbox = post(&start_request, encoded_call.arguments)?;
    let own = [stdout.as_ref(), parent.as_ref(), plan.folder.as_ref()];
    let own = own.into_iter().flatten().map(AsFd::as_fd);
    let keep: Vec<_> = own.chain(encoded_call.attachments.descriptors()).collect();
    let reserved = Reserved::new()?;
    let pid = launch(way, &mailbox, &plan.environment, keep)?;
    plan.started(pid, reserved, mailbox, &mut encoded_call.attachments)
}

/// Starts this program again, with the mailbox and the descriptors to keep.
pub(super) fn launch<'a>(
    way: Way,
    mailbox: &'a Mailbox,
    environment: &Environment,
    mut keep: Vec<BorrowedFd<'a>>,
) -> Result<u32> {
    check_program(mailbox)?;
    keep.push(mailbox.fd().as_fd());
    let marker = Marker::of(mailbox.fd()).map_err(|error| failure("fstat", error))?;
    spawn::spawn_self(&command_line(way), &environment.lines(&marker), &keep, way.is_noisy())
        .map_err(|error| proc_failure(&format!("starting {}", executable::PATH), error))
}

/// Refuses a start whose child would not reach its entry: it would run its own main, and in turn start children there.
fn check_program(mailbox: &Mailbox) -> Result<()> {
    let trusted = mailbox.is_trusted().map_err(|error| failure("fstat", error))?;
    // A program that has more rights than its caller accepts nothing from it.
    let gain = privilege::gain().or((!trusted).then_some("files it creates belong to another user"));
    if let Some(gain) = gain {
        let message = format!(
            "a child would run with privileges that this process lacks, and would not trust it: {gain}; use \
                StartMethod::Fork, or remove the program's own privileges"
        );
        return Err(Error::new(ErrorKind::PermissionDenied, message));
    }
    if Executable::was_loaded_by_another() {
        let program = std::fs::read_link(executable::PATH).unwrap_or_default();
        let message = format!(
            "this program was started through {}, which a child would run in its place: start the program directly, or \
                use StartMethod::Fork",
            program.display()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// The program's name as its caller gave it, and what leads a child to its entry.
fn command_line(way: Way) -> Vec<CString> {
    let own_name = std::env::args_os().next().unwrap_or_default().into_encoded_bytes();
    let rest = way.arguments().into_iter().map(String::into_bytes);
    // No string from a command line contains a NUL.
    [own_name]
        .into_iter()
        .chain(rest)
        .filter_map(|text| CString::new(text).ok())
        .collect()
}
