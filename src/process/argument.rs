//! `Argument` and `Returned`: what may travel to another process and back.
//!
//! Both are other names for what `serde` can encode and decode, and exist for the sake of compiler messages. For a type that cannot
//! be encoded at all, `on_unimplemented` supplies the message. A type that borrows from what it is decoded from, such as `&str`, is
//! a lifetime error, for which the compiler prints only the trait's path: so that path says what is wrong.

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

/// Marks what can be passed to a function in another process.
///
/// It is implemented for all types that own their data and implement [`Serialize`] and [`Deserialize`]. The arguments of
/// a function form a tuple; an item of a [`Pool`](crate::Pool)'s map stands for itself.
///
/// # Examples
///
/// ```
/// use procshare::process::Argument;
///
/// fn is_argument<T: Argument>() {}
///
/// is_argument::<(String, Vec<u8>, procshare::SharedCounter)>();
/// ```
///
/// Types that borrow are refused:
///
/// ```compile_fail
/// procshare::Process::spawn(|name: &str| println!("hello {name}"), ("bob",));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to another process",
    label = "cannot be passed to another process",
    note = "arguments must own their data: take a `String` in place of a `&str`, a `Vec` in place of a slice, the value in place \
            of a reference",
    note = "arguments travel encoded: derive `serde::Serialize` and `serde::Deserialize` for types of your own",
    note = "an `Instant` means nothing to another process: pass a `Duration` or a `SystemTime`"
)]
pub trait Argument: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + for<'any> arguments_must_own_their_data::TakeAString<'any>> Argument for T {}

/// Marks what a function in another process can return.
///
/// It is implemented for all types that own their data and implement [`Serialize`] and [`Deserialize`].
///
/// # Examples
///
/// ```
/// use procshare::process::Returned;
///
/// fn is_returned<T: Returned>() {}
///
/// is_returned::<Result<Vec<u8>, String>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from another process",
    label = "cannot be returned from another process",
    note = "results must own their data: return a `String` in place of a `&str`, a `Vec` in place of a slice, the value in place \
            of a reference",
    note = "results travel encoded: derive `serde::Serialize` and `serde::Deserialize` for types of your own",
    note = "an `Instant` means nothing to another process: return a `Duration` or a `SystemTime`"
)]
pub trait Returned: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + for<'any> results_must_own_their_data::ReturnAString<'any>> Returned for T {}

/// The compiler names this trait when an argument borrows.
mod arguments_must_own_their_data {
    use super::Deserialize;

    pub trait TakeAString<'any>: Deserialize<'any> {}

    impl<'any, T: Deserialize<'any>> TakeAString<'any> for T {}
}

/// The compiler names this trait when a result borrows.
mod results_must_own_their_data {
    use super::Deserialize;

    pub trait ReturnAString<'any>: Deserialize<'any> {}

    impl<'any, T: Deserialize<'any>> ReturnAString<'any> for T {}
}
