//! `cargo xtask verify`: the gate that reads, and `cargo xtask fix`, which mends.

use anyhow::Result;

use crate::package::TOY;
use crate::process::{cargo, root, step};
use crate::{deny, diagram, tidy, weight};

/// Lists the feature sets of the facade that must build alone.
const FEATURES: [&str; 11] = [
    "",
    "macros",
    "memory",
    "sqlite",
    "sqlx",
    "sqlite,sqlx",
    "postgres",
    "sqlite,postgres",
    "redis",
    "testing",
    "full",
];

/// Lists the feature sets of the simulator, which no other build turns on.
const SIMULATOR_FEATURES: [&str; 2] = ["simulator", "broken"];

/// Checks everything and changes nothing.
pub(crate) fn run() -> Result<()> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    // It is outside of the workspace, and linted where it is tested: over the packed crates.
    let mut toy = cargo(&["fmt", "--check"]);
    step("format of the toy", toy.current_dir(root().join(TOY)))?;
    tidy::run()?;
    diagram::check()?;
    let lints = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", &mut cargo(&lints))?;
    for features in FEATURES {
        let name = format!("feature `{features}` alone");
        let arguments = [
            "clippy",
            "--package",
            "longhaul",
            "--no-default-features",
            "--features",
            features,
            "--",
            "-D",
            "warnings",
        ];
        step(&name, &mut cargo(&arguments))?;
    }
    for features in SIMULATOR_FEATURES {
        let name = format!("simulator with feature `{features}`");
        let arguments = [
            "clippy",
            "--package",
            "longhaul-testing",
            "--all-targets",
            "--features",
            features,
            "--",
            "-D",
            "warnings",
        ];
        step(&name, &mut cargo(&arguments))?;
    }
    weight::check()?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps"]);
    step("docs", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
    deny::run()
}

/// Mends format, lints and the diagram.
pub(crate) fn fix() -> Result<()> {
    let lints = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
    ];
    step("clippy", &mut cargo(&lints))?;
    step("format", &mut cargo(&["fmt", "--all"]))?;
    let mut toy = cargo(&["fmt"]);
    step("format of the toy", toy.current_dir(root().join(TOY)))?;
    diagram::write()
}
