//! One entry at a time: looking it up, storing it, changing it, removing it.

use super::bytes::{Copied, Scratch, decode, with_key, with_value};
use super::error::MapError;
use super::shared_map::SharedMap;
use super::untyped::TimeToLive;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::time::Duration;

impl<K, V> SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Tells whether there is an entry under `key`.
    ///
    /// The call counts neither as a hit nor as a use.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert!(!map.contains_key("one")?);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(self.untyped.shape(), None, key, |key| {
            self.untyped.look(self.untyped.key(key), &mut ())
        })
        .or_else(MapError::of_lookup)
    }

    /// Returns the value under `key`.
    ///
    /// A key can be looked up by any borrowed form that is encoded alike: a `String` by a `str`, a `Vec` or an array by a slice.
    ///
    /// # Errors
    ///
    /// [`NotEncodable`](MapError::NotEncodable), [`NotDecodable`](MapError::NotDecodable), [`Corrupt`](MapError::Corrupt), and,
    /// if a writer was in the way, the errors of locking: [`WouldBlock`](MapError::WouldBlock),
    /// [`TimedOut`](MapError::TimedOut), [`WouldDeadlock`](MapError::WouldDeadlock),
    /// [`ForeignNamespace`](MapError::ForeignNamespace).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert("one", &1)?;
    /// assert_eq!(map.get("one")?, Some(1));
    /// assert_eq!(map.get("two")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(self.untyped.shape(), None, key, |key| {
            let mut value = Copied::<V>::new();
            let found = self.untyped.get(self.untyped.key(key), &mut value)?;
            found.then(|| value.decode()).transpose()
        })
        .or_else(MapError::of_lookup)
    }

    /// Stores `value` under `key`, and returns the previous value.
    ///
    /// The entry's time to live starts again. A value that replaces another needs room beside it, unless it is about as long
    /// and few of its bytes differ.
    ///
    /// # Errors
    ///
    /// [`Full`](MapError::Full), [`KeyTooLong`](MapError::KeyTooLong), the errors of locking, and those of [`get`](Self::get);
    /// of these only [`NotDecodable`](MapError::NotDecodable) concerns the previous value, and the new one is then in place.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert_eq!(map.insert("one", &1)?, None);
    /// assert_eq!(map.insert("one", &2)?, Some(1));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn insert<Q>(&self, key: &Q, value: &V) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        self.insert_living(key, value, TimeToLive::Usual)
    }

    /// Stores `value` under `key` for `ttl`, and returns the previous value.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert_with_ttl("token", &7, Duration::ZERO)?;
    /// assert_eq!(map.get("token")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn insert_with_ttl<Q>(&self, key: &Q, value: &V, ttl: Duration) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        self.insert_living(key, value, TimeToLive::For(ttl))
    }

    #[inline]
    fn insert_living<Q>(&self, key: &Q, value: &V, ttl: TimeToLive) -> Result<Option<V>, MapError>
    where
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(self.untyped.shape(), Some(&self.keys), key, |key| {
            with_value(self.untyped.shape(), &self.values, value, |value| {
                let mut old = Copied::<V>::new();
                let found = self.untyped.insert(self.untyped.key(key), value, ttl, &mut old)?;
                found.then(|| old.decode()).transpose()
            })
        })
    }

    /// Returns the value under `key`, or stores and returns what `make` returns.
    ///
    /// `make` runs without a lock. If another caller stores a value in the meantime, that value is returned.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u64, u64>::with_capacity(4096)?;
    /// assert_eq!(map.get_or_insert_with(&7, || 7 * 7)?, 49);
    /// assert_eq!(map.get_or_insert_with(&7, || unreachable!())?, 49);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> Result<V, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let made = make();
        let found = with_key::<K, Q, _>(self.untyped.shape(), Some(&self.keys), key, |key| {
            with_value(self.untyped.shape(), &self.values, &made, |value| {
                let mut found = Copied::<V>::new();
                let was_there = self
                    .untyped
                    .insert_if_absent(self.untyped.key(key), value, &mut found)?;
                was_there.then(|| found.decode()).transpose()
            })
        })?;
        Ok(found.unwrap_or(made))
    }

    /// Removes the entry under `key`, and returns its value.
    ///
    /// # Errors
    ///
    /// The errors of locking, and those of [`get`](Self::get); after [`NotDecodable`](MapError::NotDecodable) the entry is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert("one", &1)?;
    /// assert_eq!(map.remove("one")?, Some(1));
    /// assert_eq!(map.remove("one")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(self.untyped.shape(), None, key, |key| {
            let mut old = Copied::<V>::new();
            let found = self.untyped.remove(self.untyped.key(key), &mut old)?;
            found.then(|| old.decode()).transpose()
        })
        .or_else(MapError::of_lookup)
    }

    /// Replaces the value under `key` with what `change` makes of it.
    ///
    /// Returns the new value; `None` stands for no entry, before and after. The change is one step to all others: the shard of
    /// `key` is locked while `change` runs, and readers see the previous value, without waiting. If `change` panics, or its
    /// process is killed, nothing has changed. An entry that existed keeps its expiry time.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but here nothing has changed. Inside `change`, every call of any map returns
    /// [`WouldDeadlock`](MapError::WouldDeadlock).
    ///
    /// # Examples
    ///
    /// ```
    /// let visits = procshare::SharedMap::<String, u64>::with_capacity(4096)?;
    /// visits.update("home", |count| Some(count.unwrap_or(0) + 1))?;
    /// assert_eq!(visits.update("home", |count| Some(count.unwrap_or(0) + 1))?, Some(2));
    /// assert_eq!(visits.update("home", |_| None)?, None);
    /// assert!(visits.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn update<Q>(&self, key: &Q, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(self.untyped.shape(), Some(&self.keys), key, |key| {
            self.untyped
                .update(self.untyped.key(key), Copied::<V>::new(), |before, turn| {
                    let after = change(before.map(|mut before| before.decode()).transpose()?);
                    match &after {
                        Some(value) => with_value(self.untyped.shape(), &self.values, value, |value| {
                            turn.into(Some(value))
                        })?,
                        None => turn.into(None)?,
                    }
                    Ok(after)
                })
        })
    }

    /// Replaces the value under `key` with `new` if it is `current`.
    ///
    /// `None` stands for no entry. Values are compared in encoded form, so equal values of a type without an order of its own,
    /// such as a `HashMap`, may differ. An entry that existed keeps its expiry time.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but here nothing has changed. The inner error is the value found, if it is not `current`.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert_eq!(map.compare_exchange("one", None, Some(&1))?, Ok(()));
    /// assert_eq!(map.compare_exchange("one", Some(&2), Some(&3))?, Err(Some(1)));
    /// assert_eq!(map.compare_exchange("one", Some(&1), None)?, Ok(()));
    /// assert!(map.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn compare_exchange<Q>(
        &self,
        key: &Q,
        current: Option<&V>,
        new: Option<&V>,
    ) -> Result<Result<(), Option<V>>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        let bytes_of = |value| with_value(self.untyped.shape(), &self.values, value, |bytes| Ok(bytes.to_vec()));
        let (current, new) = (current.map(bytes_of).transpose()?, new.map(bytes_of).transpose()?);
        with_key::<K, Q, _>(self.untyped.shape(), Some(&self.keys), key, |key| {
            let mut found = Scratch::new();
            let key = self.untyped.key(key);
            match self
                .untyped
                .compare_exchange(key, current.as_deref(), new.as_deref(), &mut found.0)?
            {
                Ok(()) => Ok(Ok(())),
                Err(true) => Ok(Err(Some(decode(&found.0)?))),
                Err(false) => Ok(Err(None)),
            }
        })
    }
}
