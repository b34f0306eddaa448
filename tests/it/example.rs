//! The programs of the examples, built into the folder that this test was built into.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Returns the program of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    FOLDER.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells this test of its own package would make it build others anew.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            build.env_remove(name);
        }
    }
    let built = build
        .args(["build", "--quiet", "--package=longhaul", "--examples"])
        .arg("--features=postgres,redis")
        .arg(format!("--profile={name}"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status();
    assert!(built.unwrap().success(), "the examples do not build");
    profile.join("examples")
});
