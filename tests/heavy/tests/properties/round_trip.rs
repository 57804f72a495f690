//! Whatever is encoded comes back.

use crate::types::*;
use procshare::__private::{decode, encode};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn records() -> impl Strategy<Value = Record> {
    let small = any::<(u8, i8, u16, i16)>();
    let large = any::<(u32, i32, u64, i64)>();
    let wide = prop_oneof![
        any::<(u128, i128)>(),
        any::<(u64, i64)>().prop_map(|(a, b)| (a.into(), b.into()))
    ];
    let others = (
        any::<char>(),
        option::of(".{0,40}"),
        option::of(option::of(any::<u8>())),
    );
    let runs = vec(vec(any::<u16>(), 0..40), 0..3);
    let by_name = btree_map(".{0,20}", vec(any::<f32>(), 0..40), 0..3);
    (small, large, wide, others, runs, by_name).prop_map(
        |(small, large, wide, (letter, maybe, perhaps), runs, by_name)| Record {
            small,
            large,
            wide,
            letter,
            maybe,
            perhaps,
            runs,
            by_name,
        },
    )
}

pub(crate) fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Unit),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(Tree::Signed),
        any::<i8>().prop_map(|number| Tree::Signed(number.into())),
        any::<u64>().prop_map(Tree::Unsigned),
        any::<f64>().prop_map(Tree::Float),
        any::<f32>().prop_map(Tree::Single),
        ".{0,40}".prop_map(Tree::Text),
        vec(any::<u8>(), 0..300).prop_map(Tree::Bytes),
        vec(any::<i32>(), 0..40).prop_map(Tree::Numbers),
        vec(any::<u128>(), 0..20).prop_map(Tree::Wide),
        records().prop_map(|record| Tree::Record(Box::new(record))),
    ];
    leaf.prop_recursive(6, 40, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Tree::List),
            btree_map(".{0,20}", inner.clone(), 0..20).prop_map(Tree::Map),
            btree_map(any::<i64>(), inner.clone(), 0..5).prop_map(Tree::ByNumber),
            (inner.clone(), any::<u8>()).prop_map(|(tree, number)| Tree::Pair(Box::new(tree), number)),
            (option::of(inner), option::of(option::of(any::<i16>()))).prop_map(|(first, second)| Tree::Fields {
                first: first.map(Box::new),
                second,
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn values_come_back(tree in trees()) {
        let bytes = encode(&tree).unwrap();
        prop_assert_eq!(decode::<Tree>(&bytes).unwrap(), tree);
    }

    #[test]
    fn numbers_come_back_in_every_width(number in any::<i128>(), shift in 0..128u32) {
        let number = number >> shift;
        macro_rules! each {
            ($($type:ident)*) => {$(
                let narrow = number as $type;
                prop_assert_eq!(decode::<$type>(&encode(&narrow).unwrap()).unwrap(), narrow);
                let many = vec![narrow; 20];
                prop_assert_eq!(&decode::<Vec<$type>>(&encode(&many).unwrap()).unwrap(), &many);
            )*};
        }
        each!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
        // And as what is wider, whatever it was written as.
        let (narrow, wide) = (number as i32, i128::from(number as i32));
        prop_assert_eq!(decode::<i128>(&encode(&narrow).unwrap()).unwrap(), wide);
        prop_assert_eq!(decode::<Vec<i128>>(&encode(&vec![narrow; 20]).unwrap()).unwrap(), vec![wide; 20]);
    }
}
