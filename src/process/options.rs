//! What can be set for a start, and the choice of the start method.

use super::argument::Returned;
use super::call::EntryPoint;
use super::child::{AtEnd, Core};
use super::copy::check_loans;
use super::encoded;
use super::environment::Environment;
use super::method::StartMethod;
use super::plan::{EncodedCall, Plan, failure};
use super::server::Server;
use super::{fork, program, server, spawn};
use crate::error::Result;
use crate::primitive::{AtomicU64, Ordering};
use crate::sys::surroundings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;

/// What was requested for a child.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    pub(super) detached: bool,
    pub(super) environment: Environment,
    pub(super) folder: Option<PathBuf>,
    pub(super) route: Route,
}

/// What makes the child.
#[derive(Clone)]
pub(super) enum Route {
    Method(StartMethod),
    Served(Arc<Server>),
}

impl Default for Route {
    fn default() -> Self {
        Route::Method(StartMethod::default())
    }
}

impl Options {
    /// Starts a child that runs an entry point with arguments that it decodes as a `D`.
    pub(super) fn start<D: DeserializeOwned>(
        self,
        function: EntryPoint,
        arguments: &impl Serialize,
    ) -> Result<Arc<Core>> {
        let route = self.route.clone();
        match route {
            Route::Method(StartMethod::Fork) => check_loans()?,
            Route::Method(_) => drop(program::way()?),
            Route::Served(_) => {}
        }
        let plan = self.plan()?;
        let (arguments, attachments) = encoded::pack::<D>(arguments)?;
        let encoded_call = EncodedCall {
            function,
            arguments,
            attachments,
        };
        match route {
            Route::Method(StartMethod::Spawn) => spawn::start(plan, encoded_call),
            Route::Method(StartMethod::Fork) => fork::start(plan, encoded_call),
            Route::Method(StartMethod::ForkServer) => server::start(plan, encoded_call),
            Route::Served(own) => own.start(&plan, encoded_call),
        }
    }

    /// Copies this process; the copy calls the closure. The handle of the child is made before the closure is dropped here.
    pub(super) fn copy<R: Returned, H>(
        self,
        closure: impl FnOnce() -> R,
        handle: impl Fn(Arc<Core>) -> H,
    ) -> Result<H> {
        check_loans()?;
        let plan = self.plan()?;
        fork::run(plan, closure, handle)
    }

    /// Checks what was requested, and opens in advance what can be opened.
    fn plan(self) -> Result<Plan> {
        self.environment.check()?;
        let open = |path: PathBuf| {
            surroundings::open_folder(&path)
                .map_err(|error| failure(&format!("opening the working directory {}", path.display()), error))
        };
        let at_end = match (self.detached, self.daemon) {
            (true, _) => AtEnd::Leave,
            (false, true) => AtEnd::End,
            (false, false) => AtEnd::Wait,
        };
        Ok(Plan {
            name: self.name.unwrap_or_else(next_name),
            daemon: self.daemon,
            at_end,
            environment: self.environment,
            folder: self.folder.map(open).transpose()?,
        })
    }
}

fn next_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: numbers only need to differ.
    format!("Process-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
