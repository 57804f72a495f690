//! Programs and tests that start children are plain functions without arguments.

#[procshare::test]
async fn asynchronous() {}

#[procshare::test]
fn with_an_argument(number: u32) {}

#[procshare::test(name = "x")]
fn with_parameters_of_the_attribute() {}

#[procshare::test]
#[test]
fn twice_a_test() {}

#[procshare::main]
fn start() {}

mod inner {
    #[procshare::main]
    async fn main() {}
}

fn main() {}
