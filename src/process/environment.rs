//! How a child's environment differs from its parent's.

use super::marker::{MARKER, Marker};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};

/// Changes to an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Environment {
    /// Whether it starts empty.
    clear: bool,
    /// `None` removes a variable.
    changes: BTreeMap<OsString, Option<OsString>>,
}

impl Environment {
    pub(super) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.changes.insert(key.to_owned(), Some(value.to_owned()));
    }

    pub(super) fn remove(&mut self, key: &OsStr) {
        self.changes.insert(key.to_owned(), None);
    }

    pub(super) fn clear(&mut self) {
        self.clear = true;
        self.changes.clear();
    }

    /// Refuses what an environment cannot hold.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |(key, value): &(&OsString, &Option<OsString>)| {
            let no_value = value
                .as_ref()
                .is_some_and(|value| value.as_encoded_bytes().contains(&0));
            !can_be_set(key) || no_value
        };
        match self.changes.iter().find(bad) {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!(
                    "invalid environment variable {key:?}: its name must not be empty or contain `=` \
                    or NUL, and its value must not contain NUL"
                );
                Err(Error::new(ErrorKind::InvalidName, message))
            }
        }
    }

    /// This process's variables with the changes applied, without the marker of a child.
    fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let inherited = (!self.clear).then(std::env::vars_os).into_iter().flatten();
        let kept = inherited.filter(|(key, _)| !self.changes.contains_key(key));
        let set = self.changes.iter();
        let set = set.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        kept.chain(set).filter(|(key, _)| key != MARKER)
    }

    /// The lines that `exec` takes, with this marker.
    pub(super) fn lines(&self, marker: &Marker) -> Vec<CString> {
        let line = |(key, value): (OsString, OsString)| {
            let mut line = key.into_encoded_bytes();
            line.push(b'=');
            line.extend(value.as_encoded_bytes());
            line
        };
        let marker = format!("{MARKER}={marker}").into_bytes();
        let lines = self.variables().map(line).chain([marker]);
        // No string from an environment holds a NUL, and those of the builder were checked.
        lines.filter_map(|line| CString::new(line).ok()).collect()
    }

    /// The same variables, as changes that give them to a process whatever its own environment is.
    pub(super) fn whole(&self) -> Self {
        Environment {
            clear: true,
            changes: self.variables().map(|(key, value)| (key, Some(value))).collect(),
        }
    }

    /// Makes the changes in this process.
    ///
    /// # Safety
    ///
    /// This process has no other thread that may look at the environment.
    pub(super) unsafe fn apply(&self) {
        let unwanted = std::env::vars_os().filter(|(key, _)| self.clear && !self.changes.contains_key(key));
        let unwanted: Vec<_> = unwanted.map(|(key, _)| (key, None)).collect();
        let unwanted = unwanted.iter().map(|(key, value)| (key, value));
        for (key, value) in unwanted.chain(&self.changes).filter(|(key, _)| can_be_set(key)) {
            match value {
                // Most are unchanged.
                _ if std::env::var_os(key) == *value => {}
                // SAFETY: the caller knows that no other thread looks.
                Some(value) => unsafe { std::env::set_var(key, value) },
                // SAFETY: the caller knows that no other thread looks.
                None => unsafe { std::env::remove_var(key) },
            }
        }
    }
}

fn can_be_set(key: &OsStr) -> bool {
    let key = key.as_encoded_bytes();
    !key.is_empty() && !key.iter().any(|byte| [0, b'='].contains(byte))
}
