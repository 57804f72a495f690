//! Where victims come from: a process that uses no map itself, and forks a child for each death.
//!
//! A child that was forked has one thread and nothing to load, so that thousands can die in the time a test may take.
//! The environment variable is read once by each process: here by the child.

use crate::forked::{Child, End};
use crate::role::{self, Actor, Role, listen, say};
use std::sync::{Mutex, PoisonError};

const BETWEEN: char = '\u{1f}';

pub(crate) const ROLES: &[(&str, Role)] = &[("nursery", |_| {
    let roles = crate::roles();
    loop {
        let order = listen();
        let [role, passage, arguments @ ..] = &order.split(BETWEEN).collect::<Vec<_>>()[..] else {
            return;
        };
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (_, role) = roles.iter().find(|(name, _)| name == role).expect("the role exists");
        let mut child = Child::fork(|| {
            // SAFETY: the child has this one thread.
            unsafe { std::env::set_var("PROCSHARE_CRASH_AT", passage) };
            role(&arguments);
        });
        say(match child.end() {
            End::Killed(libc::SIGKILL) => "killed",
            End::Exited(0) => "outlived",
            _ => "failed",
        });
    }
})];

/// Has a child play a role, to die at a passage. Whether it was killed; else it has done all it had to.
pub(crate) fn is_killed(role: &str, passage: &str, arguments: &[&str]) -> bool {
    static NURSERY: Mutex<Option<Actor>> = Mutex::new(None);
    let mut nursery = NURSERY.lock().unwrap_or_else(PoisonError::into_inner);
    let nursery = nursery.get_or_insert_with(|| role::start("nursery", &[]));
    nursery.tell(&[&[role, passage], arguments].concat().join(&BETWEEN.to_string()));
    match nursery.hear().as_str() {
        "killed" => true,
        "outlived" => false,
        other => panic!("{role}, {passage}, {arguments:?}: {other}; see the child's words above"),
    }
}
