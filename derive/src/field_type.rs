//! Refuses field types that are visibly not shareable, with specific advice for each.
//!
//! The trait bound refuses them as well, and also types hidden by an alias; but its advice has to suit all types.

use syn::{Error, Generics, Ident, PathArguments, Type, TypePath};

/// Returns why a field of this type cannot be shared, if its spelling shows that.
pub(crate) fn refuse(ty: &Type, generics: &Generics) -> Option<Error> {
    let advice = match ty {
        Type::Array(array) => return refuse(&array.elem, generics),
        Type::Group(group) => return refuse(&group.elem, generics),
        Type::Paren(paren) => return refuse(&paren.elem, generics),
        Type::Path(path) => named(path, generics)?,
        Type::Reference(_) => {
            "a reference means nothing to another process: store the value itself, or an index".to_owned()
        }
        Type::Ptr(_) => "a pointer means nothing to another process: store an index or an offset".to_owned(),
        Type::FnPtr(_) => {
            "the address of a function differs between processes: store an enum that selects the function".to_owned()
        }
        Type::Slice(_) => "a slice has no fixed length: use an array `[T; N]`".to_owned(),
        Type::TraitObject(_) => {
            "a trait object points to code of one process: store an enum that selects the behaviour".to_owned()
        }
        Type::Tuple(tuple) if !tuple.elems.is_empty() => {
            "the layout of a tuple is not specified: use a struct with `#[repr(C)]`".to_owned()
        }
        _ => return None,
    };
    Some(Error::new_spanned(ty, advice))
}

/// Returns the advice for a type of the standard library, by its name.
fn named(ty: &TypePath, generics: &Generics) -> Option<String> {
    let name = standard_name(ty, generics)?;
    let advice = match name.to_string().as_str() {
        "usize" => "`usize` differs in width between builds: use `u64`, or `u32`".to_owned(),
        "isize" => "`isize` differs in width between builds: use `i64`, or `i32`".to_owned(),
        "String" | "OsString" | "CString" | "PathBuf" => {
            format!("`{name}` points into the heap of one process: use a fixed array `[u8; N]` and a length")
        }
        "str" => "`str` has no fixed length: use a fixed array `[u8; N]` and a length".to_owned(),
        "Vec" | "VecDeque" => format!(
            "`{name}` points into the heap of one process: use a fixed array `[T; N]` and a length, or a `SharedArray`"
        ),
        "HashMap" | "HashSet" | "BTreeMap" | "BTreeSet" | "BinaryHeap" => {
            format!("`{name}` points into the heap of one process: use a fixed array `[T; N]`")
        }
        "Box" | "Rc" | "Arc" | "Weak" | "Cow" | "NonNull" => {
            format!("`{name}` points into one process's memory: store the value itself, or an index")
        }
        "Option" | "Result" => {
            format!("the layout of `{name}` is not specified: store a `bool` or a `#[repr(u8)]` enum beside the value")
        }
        "Cell" | "RefCell" | "UnsafeCell" | "Mutex" | "RwLock" => {
            format!("`{name}` guards nothing in another process: store the value itself; `SharedValue` has the lock")
        }
        atomic if atomic.starts_with("Atomic") => {
            format!("`{name}` does not belong inside a shared value: store the plain integer, or use `SharedAtomic`")
        }
        _ => return None,
    };
    Some(advice)
}

/// Returns the last part of a path that may refer to the standard library.
///
/// A path through another module, a type parameter, and a name without the expected parameters belong to the user's own code.
fn standard_name<'a>(ty: &'a TypePath, generics: &Generics) -> Option<&'a Ident> {
    let segments = &ty.path.segments;
    let last = segments.last()?;
    let first = &segments.first()?.ident;
    let from_std = first == "std" || first == "core" || first == "alloc";
    let alone = segments.len() == 1 && !generics.type_params().any(|parameter| parameter.ident == *first);
    if ty.qself.is_some() || !(from_std || alone) {
        return None;
    }
    let takes_none = ["usize", "isize", "String", "OsString", "CString", "PathBuf", "str"]
        .iter()
        .any(|plain| last.ident == plain)
        || last.ident.to_string().starts_with("Atomic");
    (takes_none == matches!(last.arguments, PathArguments::None)).then_some(&last.ident)
}
