//! Every way by which an item leaves a process, or comes back.

use procshare::__private::{decode, encode};
use procshare::{MapError, Pool, Process, SendError, SharedMap, SharedQueue, pipe};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub(crate) trait Item: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static> Item for T {}

/// Each value comes back, alone and inside of others; returns the values.
pub(crate) fn alone<T: Item>(values: &[T]) -> Vec<T> {
    for value in values {
        comes_back(value);
        comes_back(&(Some(value.clone()), Some(Some(value.clone())), vec![value.clone(); 17]));
    }
    values.to_vec()
}

fn comes_back<T: Item>(value: &T) {
    let bytes = encode(value).unwrap();
    let back = decode::<T>(&bytes);
    assert_eq!(back.as_ref(), Ok(value), "{bytes:02x?}");
    // And from no part of its bytes.
    for len in 0..bytes.len().min(300) {
        assert!(decode::<T>(&bytes[..len]).is_err(), "{len} bytes of {bytes:02x?}");
    }
}

/// The item comes back through every door.
pub(crate) fn through_doors<T: Item>(pool: &Pool, item: &T) {
    through_queue(item);
    through_pipe(item);
    through_map(item);
    let child = Process::spawn(|item: T| item, (item.clone(),)).unwrap();
    assert_eq!(&child.join().unwrap(), item, "as argument and result");
    assert_eq!(
        pool.apply(|item: T| item, (item.clone(),)).as_ref(),
        Ok(item),
        "as a job"
    );
}

fn through_queue<T: Item>(item: &T) {
    let queue = SharedQueue::<T>::new(2).unwrap();
    // More often than items are tried, so that those that are not go through as well.
    for _ in 0..20 {
        queue.put(item.clone()).unwrap();
        assert_eq!(queue.get().as_ref(), Ok(item), "in a queue");
    }
    queue.put_all(vec![item.clone(); 2]).unwrap();
    let batch: Vec<_> = queue.get_up_to(2).unwrap().collect();
    assert_eq!(batch, [Ok(item.clone()), Ok(item.clone())], "in a batch");
}

fn through_pipe<T: Item>(item: &T) {
    let (one, other) = pipe::<T>().unwrap();
    one.send(item.clone()).unwrap();
    assert_eq!(other.recv().as_ref(), Ok(item), "in a pipe");
}

fn through_map<T: Item>(item: &T) {
    let map = SharedMap::<u8, T>::with_capacity(1 << 22).unwrap();
    map.insert(&1, item).unwrap();
    assert_eq!(map.get(&1).unwrap().as_ref(), Some(item), "as a value");
    let map = SharedMap::<T, u8>::with_capacity(1 << 22).unwrap();
    match map.insert(item, &1) {
        Err(MapError::KeyTooLong { most }) => assert!(encode(item).unwrap().len() > most),
        outcome => {
            outcome.unwrap();
            assert_eq!(map.get(item).unwrap(), Some(1), "as a key");
            let keys: Vec<_> = map.keys().collect();
            assert_eq!(keys, [Ok(item.clone())], "as a key that comes back");
        }
    }
}

/// The value is refused where it is sent, whichever the door, with its type and these words; and nothing is lost.
pub(crate) fn are_refused<T: Item>(pool: &Pool, value: &T, words: &str) {
    let what = std::any::type_name::<T>();
    let tells = |reason: &str| {
        let all = words.split("...").all(|part| reason.contains(part));
        assert!(all && reason.contains(what), "{what}: {reason}");
    };
    let queue = SharedQueue::<T>::new(1).unwrap();
    match queue.put(value.clone()) {
        Err(SendError::NotEncodable { item, reason }) => {
            assert_eq!(&item, value);
            tells(&reason.to_string());
        }
        outcome => panic!("{what} in a queue: {outcome:?}"),
    }
    let error = queue.put_all(vec![value.clone()]).unwrap_err();
    tells(&error.to_string());
    assert_eq!(error.into_item(), std::slice::from_ref(value));
    assert!(queue.is_empty());
    let (one, _other) = pipe::<T>().unwrap();
    tells(&one.send(value.clone()).unwrap_err().to_string());
    let map = SharedMap::<u8, T>::with_capacity(1 << 16).unwrap();
    match map.insert(&1, value) {
        Err(MapError::NotEncodable(reason)) => tells(&reason.to_string()),
        outcome => panic!("{what} as a value: {outcome:?}"),
    }
    let map = SharedMap::<T, u8>::with_capacity(1 << 16).unwrap();
    match map.insert(value, &1) {
        Err(MapError::NotEncodable(reason)) => tells(&reason.to_string()),
        outcome => panic!("{what} as a key: {outcome:?}"),
    }
    assert!(map.is_empty());
    let refused = Process::spawn(|_: T| (), (value.clone(),)).map(drop).unwrap_err();
    assert_eq!(refused.kind(), procshare::ErrorKind::Encoding);
    tells(&refused.to_string());
    tells(&pool.apply(|_: T| (), (value.clone(),)).unwrap_err().to_string());
}
