//! A queue bounded by the number of its items against a naive queue, whatever the sizes.

use crate::blob::Blob;
use crate::queues::Stage;
use procshare::SendError;
use proptest::prelude::*;
use std::collections::VecDeque;

/// The length of an item, and how often it is there.
#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    PutAll(Vec<usize>),
    Get,
    GetUpTo(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![0..40usize, 0..500usize, 3_000..20_000usize, 32_000..70_000usize];
    let step = prop_oneof![
        4 => len.clone().prop_map(Step::Put),
        1 => prop::collection::vec(len, 0..6).prop_map(Step::PutAll),
        4 => Just(Step::Get),
        1 => (0..10usize).prop_map(Step::GetUpTo),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Also where a ring has been filled up with items, so that small ones go elsewhere as well.
    #[test]
    fn order_and_bytes_are_those_of_a_naive_queue_whatever_the_sizes(steps in steps(), fill in any::<bool>()) {
        const ITEMS: usize = 40;
        let stage = Stage::new();
        let queue = stage.segment.queue::<Blob>("queue", ITEMS).unwrap();
        let empty = stage.taken();
        let (mut naive, mut next) = (VecDeque::new(), 0);
        let mut new = |len: usize| {
            next += 1;
            Blob::new(next, len)
        };
        if fill {
            for _ in 0..ITEMS - 10 {
                naive.push_back(new(1100));
                queue.try_put(naive.back().cloned().unwrap()).unwrap();
            }
        }
        for step in steps {
            match step {
                Step::Put(len) => {
                    let item = new(len);
                    match queue.try_put(item.clone()) {
                        Ok(()) => naive.push_back(item),
                        outcome => prop_assert_eq!((outcome, naive.len()), (Err(SendError::Full(item)), ITEMS)),
                    }
                }
                Step::PutAll(lens) if naive.len() + lens.len() <= ITEMS => {
                    let items: Vec<Blob> = lens.into_iter().map(&mut new).collect();
                    queue.put_all(items.clone()).unwrap();
                    naive.extend(items);
                }
                Step::GetUpTo(most) if !naive.is_empty() => {
                    let batch: Vec<Blob> = queue.get_up_to(most).unwrap().map(Result::unwrap).collect();
                    prop_assert!(batch.len() <= most && (most == 0 || !batch.is_empty()));
                    let expected: Vec<Blob> = naive.drain(..batch.len()).collect();
                    prop_assert!(batch == expected);
                }
                Step::Get => prop_assert!(queue.try_get().ok() == naive.pop_front()),
                Step::PutAll(_) | Step::GetUpTo(_) => {}
            }
            prop_assert_eq!(queue.len(), naive.len());
        }
        for expected in naive {
            prop_assert!(queue.get().unwrap() == expected);
        }
        prop_assert!(stage.taken() <= empty + 4096, "all but the page small ones go on in");
    }
}
