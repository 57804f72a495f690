//! `SharedQueue` against a naive queue.

use crate::queues::{BYTES, bytes_of, small, text};
use procshare::{RecvError, SendError, SharedQueue};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    TryPut(usize),
    PutAll(Vec<usize>),
    Get,
    TryGet,
    GetUpTo(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![6 => 0..200usize, 3 => 200..2000usize, 1 => 3500..5000usize];
    let step = prop_oneof![
        20 => len().prop_map(Step::Put),
        20 => len().prop_map(Step::TryPut),
        10 => prop::collection::vec(len(), 0..5).prop_map(Step::PutAll),
        15 => Just(Step::Get),
        15 => Just(Step::TryGet),
        15 => (0..6usize).prop_map(Step::GetUpTo),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..80)
}

/// What a queue ought to do.
struct Naive {
    items: usize,
    queued: VecDeque<String>,
    closed: bool,
}

impl Naive {
    fn bytes(&self) -> usize {
        self.queued.iter().map(|text| bytes_of(text)).sum()
    }

    fn is_full(&self) -> bool {
        self.queued.len() >= self.items || self.bytes() >= BYTES
    }

    fn put(&mut self, item: String, waiting: fn(String) -> SendError<String>) -> Result<(), SendError<String>> {
        let bytes = bytes_of(&item);
        if bytes > BYTES {
            return Err(SendError::TooLarge {
                item,
                bytes,
                capacity: BYTES,
            });
        }
        if self.closed {
            return Err(SendError::Closed(item));
        }
        if self.queued.len() == self.items || self.bytes() + bytes > BYTES {
            return Err(waiting(item));
        }
        self.queued.push_back(item);
        Ok(())
    }

    /// As `put_all`; `None` if that would wait.
    fn put_all(&mut self, texts: &[String]) -> Option<Result<(), SendError<Vec<String>>>> {
        let before = self.queued.clone();
        for (at, item) in texts.iter().enumerate() {
            let left = texts[at..].to_vec();
            match self.put(item.clone(), SendError::Full) {
                Ok(()) => {}
                Err(SendError::TooLarge { bytes, capacity, .. }) => {
                    return Some(Err(SendError::TooLarge {
                        item: left,
                        bytes,
                        capacity,
                    }));
                }
                Err(SendError::Closed(_)) => return Some(Err(SendError::Closed(left))),
                Err(_) => {
                    self.queued = before;
                    return None;
                }
            }
        }
        Some(Ok(()))
    }

    fn get(&mut self, waiting: RecvError) -> Result<String, RecvError> {
        let nothing = if self.closed { RecvError::Closed } else { waiting };
        self.queued.pop_front().ok_or(nothing)
    }

    fn get_up_to(&mut self, most: usize) -> Vec<String> {
        let taken = most.min(self.queued.len());
        self.queued.drain(..taken).collect()
    }
}

/// Does the step on both, and compares what they say. Calls that would wait are given no time.
fn step(queue: &SharedQueue<String>, naive: &mut Naive, step: &Step, letter: u8) {
    match step {
        Step::Put(len) => {
            let expected = naive.put(text(letter, *len), SendError::TimedOut);
            let got = match expected {
                Err(SendError::TimedOut(_)) => queue.put_timeout(text(letter, *len), Duration::ZERO),
                _ => queue.put(text(letter, *len)),
            };
            assert_eq!(got, expected);
        }
        Step::TryPut(len) => {
            let expected = naive.put(text(letter, *len), SendError::Full);
            assert_eq!(queue.try_put(text(letter, *len)), expected);
        }
        Step::PutAll(lens) => {
            let texts: Vec<String> = lens.iter().map(|len| text(letter, *len)).collect();
            if let Some(expected) = naive.put_all(&texts) {
                assert_eq!(queue.put_all(texts), expected);
            }
        }
        Step::Get => {
            let expected = naive.get(RecvError::TimedOut);
            let got = match expected {
                Err(RecvError::TimedOut) => queue.get_timeout(Duration::ZERO),
                _ => queue.get(),
            };
            assert_eq!(got, expected);
        }
        Step::TryGet => assert_eq!(queue.try_get(), naive.get(RecvError::Empty)),
        Step::GetUpTo(most) => {
            if !naive.queued.is_empty() || *most == 0 {
                let got: Vec<_> = queue.get_up_to(*most).unwrap().map(Result::unwrap).collect();
                assert_eq!(got, naive.get_up_to(*most));
            } else if naive.closed {
                assert_eq!(queue.get_up_to(*most).unwrap_err(), RecvError::Closed);
            }
        }
        Step::Close => {
            queue.close();
            naive.closed = true;
        }
    }
    assert_eq!(
        (queue.len(), queue.is_empty()),
        (naive.queued.len(), naive.queued.is_empty())
    );
    assert_eq!((queue.is_full(), queue.is_closed()), (naive.is_full(), naive.closed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_naive_queue_does(items in 1..7usize, steps in steps()) {
        let queue = small(items);
        let mut naive = Naive { items, queued: VecDeque::new(), closed: false };
        for (letter, what) in steps.iter().enumerate() {
            step(&queue, &mut naive, what, letter as u8);
        }
    }
}
