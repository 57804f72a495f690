//! `SharedArray` against a vector.

use crate::common::watchdog;
use procshare::SharedArray;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Get(usize),
    Set(usize, u32),
    Swap(usize, usize),
    Fill(u32),
    CopyFromSlice(Vec<u32>),
    Sort,
    Rotate(usize),
}

fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let index = move || 0..len;
    let step = prop_oneof![
        index().prop_map(Step::Get),
        (index(), any::<u32>()).prop_map(|(at, element)| Step::Set(at, element)),
        (index(), index()).prop_map(|(first, second)| Step::Swap(first, second)),
        any::<u32>().prop_map(Step::Fill),
        prop::collection::vec(any::<u32>(), len).prop_map(Step::CopyFromSlice),
        Just(Step::Sort),
        index().prop_map(Step::Rotate),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_array_does_what_a_vector_does(
        (start, steps) in (1usize..70).prop_flat_map(|len| (prop::collection::vec(any::<u32>(), len), steps(len)))
    ) {
        let _watchdog = watchdog(60);
        let array = SharedArray::from_slice(&start).unwrap();
        let peer = array.clone();
        let mut vector = start;
        for step in steps {
            match step {
                Step::Get(at) => prop_assert_eq!(array.get(at).unwrap(), vector[at]),
                Step::Set(at, element) => {
                    array.set(at, element).unwrap();
                    vector[at] = element;
                }
                Step::Swap(first, second) => {
                    array.swap(first, second).unwrap();
                    vector.swap(first, second);
                }
                Step::Fill(element) => {
                    array.fill(element).unwrap();
                    vector.fill(element);
                }
                Step::CopyFromSlice(elements) => {
                    array.copy_from_slice(&elements).unwrap();
                    vector = elements;
                }
                Step::Sort => {
                    array.get_lock().unwrap().sort();
                    vector.sort();
                }
                Step::Rotate(by) => {
                    array.get_lock().unwrap().rotate_left(by);
                    vector.rotate_left(by);
                }
            }
            prop_assert_eq!(&peer.to_vec().unwrap(), &vector);
        }
        prop_assert_eq!(&*array.freeze().unwrap(), vector.as_slice());
    }
}
