//! Compiles what users may write, and reads the errors of what they may not.
//!
//! The expected errors are those of the stable compiler; after a change `TRYBUILD=overwrite cargo test -p longhaul-macros`
//! writes them anew, to be read in the diff.

#[test]
fn what_is_right_compiles_and_what_is_wrong_says_how_to_write_it() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    cases.compile_fail("tests/fail/*.rs");
}
