//! A program that may start children.

#[procshare::main]
fn main() -> Result<(), std::num::ParseIntError> {
    let two: i32 = "2".parse()?;
    assert_eq!(two, 2);
    Ok(())
}
