//! `cargo xtask package`: what is published is what is tested.
//!
//! Every crate is packed as for publication and unpacked again. The toy backend, which names the crates by version as
//! any other author's backend does, is built and tested over what was unpacked, away from the workspace.
//!
//! Invariants: nothing is asked of a registry. A case that the packed suite lists and that did not pass is a failure, and
//! so is a crate that lacks what its page in a registry shows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::process::{cargo, packages, root, step, stream};
use crate::test::{Count, counts};
use crate::unpack;

/// Is the backend that is tested over the packed crates, and its folder.
pub(crate) const TOY: &str = "toy-backend";

/// Is the name of a crate that depends on all others, to see that they compile.
const EVERYTHING: &str = "everything";

/// Is a program that says how many cases the packed suite has, as a test of the toy backend.
const LISTED: &str = r#"//! Tells how many cases the suite has.

#[test]
fn listed() {
    println!("listed: {}", longhaul_tests::CASES.len());
}
"#;

/// Is the profile of the workspace; with another, nothing that it built would fit.
const PROFILE: &str = r#"[profile.dev]
debug = "line-tables-only"

[profile.dev.package.libsqlite3-sys]
opt-level = 2

"#;

/// Is a crate of the workspace that is published.
struct Published {
    name: String,
    version: String,
}

/// Packs every crate and tests what was packed; returns what was counted.
pub(crate) fn run() -> Result<Count> {
    let published = published()?;
    let mut pack = cargo(&["package", "--no-verify", "--allow-dirty"]);
    pack.args(["--offline", "--quiet"]);
    for package in &published {
        pack.args(["--package", &package.name]);
    }
    step("pack", &mut pack)?;
    for package in &published {
        unpack::archive(&package.archive(), &package.folder())?;
        check_files(&package.folder())?;
    }
    compile_everything(&published)?;
    let count = test_toy(&published)?;
    println!("packaged: {} crates", published.len());
    println!("toy: {} cases passed", count.passed);
    Ok(count)
}

impl Published {
    fn archive(&self) -> PathBuf {
        work_folder().join(format!("{}-{}.crate", self.name, self.version))
    }

    fn folder(&self) -> PathBuf {
        work_folder().join("unpacked").join(&self.name)
    }
}

fn work_folder() -> PathBuf {
    root().join("target/package")
}

/// Lists the crates that are published, and checks what they say of themselves.
fn published() -> Result<Vec<Published>> {
    let mut published = Vec::new();
    for package in &packages()? {
        let field = |name: &str| package.get(name);
        let text = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default();
        let publish = field("publish").and_then(Value::as_array);
        if publish.is_some_and(Vec::is_empty) {
            continue;
        }
        let missing = missing_fields(package);
        ensure!(
            missing.is_empty(),
            "crate `{}` has no {}",
            text("name"),
            missing.join(", ")
        );
        published.push(Published {
            name: text("name").to_owned(),
            version: text("version").to_owned(),
        });
    }
    ensure!(!published.is_empty(), "no crate is published");
    Ok(published)
}

/// Lists what the page of a crate in a registry shows and its manifest does not say.
fn missing_fields(package: &Value) -> Vec<&'static str> {
    const TEXTS: [&str; 4] = ["description", "license", "repository", "readme"];
    const LISTS: [&str; 2] = ["keywords", "categories"];
    let text = |name: &str| package.get(name).and_then(Value::as_str);
    let list = |name: &str| package.get(name).and_then(Value::as_array);
    let texts = TEXTS.into_iter();
    let lists = LISTS.into_iter();
    texts
        .filter(|name| text(name).is_none_or(str::is_empty))
        .chain(lists.filter(|name| list(name).is_none_or(Vec::is_empty)))
        .collect()
}

fn check_files(folder: &Path) -> Result<()> {
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"] {
        let path = folder.join(file);
        ensure!(path.is_file(), "{} was not packed", path.display());
    }
    Ok(())
}

/// Compiles all packed crates with their default features, as a user's program does.
fn compile_everything(published: &[Published]) -> Result<()> {
    let folder = work_folder().join(EVERYTHING);
    let mut manifest = format!(
        "[package]\nname = \"{EVERYTHING}\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n[dependencies]\n"
    );
    for package in published {
        writeln!(manifest, "{} = \"{}\"", package.name, package.version)?;
    }
    unpack::write(&folder.join("Cargo.toml"), manifest.as_bytes())?;
    unpack::write(&folder.join("src/lib.rs"), b"//! Depends on all.\n")?;
    prepare(&folder, published)?;
    step("packed crates compile", &mut offline(&folder, &["check"]))
}

/// Tests a copy of the toy backend, which has no neighbours to fall back to.
fn test_toy(published: &[Published]) -> Result<Count> {
    let folder = work_folder().join(TOY);
    let source = root().join(TOY);
    unpack::mirror(&source.join("src"), &folder.join("src"))?;
    unpack::mirror(&source.join("tests"), &folder.join("tests"))?;
    let manifest = std::fs::read(source.join("Cargo.toml"))?;
    unpack::write(&folder.join("Cargo.toml"), &manifest)?;
    unpack::write(&folder.join("tests/listed.rs"), LISTED.as_bytes())?;
    prepare(&folder, published)?;
    let mut lint = offline(&folder, &["clippy", "--all-targets"]);
    step("toy lints", lint.args(["--", "-D", "warnings"]))?;
    let cases = ["test", "--test", "conformance"];
    let (text, is_ok) = stream(&mut offline(&folder, &cases))?;
    let count = counts(&text);
    ensure!(is_ok, "the toy backend fails over the packed crates");
    let others = ["specific", "faults", "listed"].map(|name| ["--test", name]);
    let others = [&["test"], others.as_flattened()].concat();
    let mut last = offline(&folder, &others);
    let (text, is_ok) = stream(last.args(["--", "--nocapture"]))?;
    let listed = listed(&text).filter(|_| is_ok);
    ensure!(
        count.passed > 0 && listed == Some(count.passed),
        "the packed suite lists {listed:?} cases and the toy backend passed {}",
        count.passed
    );
    let doc = ["test", "--doc"];
    step("toy example", &mut offline(&folder, &doc))?;
    Ok(count)
}

/// Puts the packed crates in the place of published ones, and other dependencies at the versions of the workspace.
fn prepare(folder: &Path, published: &[Published]) -> Result<()> {
    let mut config = String::from(PROFILE);
    config.push_str("[patch.crates-io]\n");
    for package in published {
        let path = package.folder();
        writeln!(config, "{} = {{ path = {path:?} }}", package.name)?;
    }
    unpack::write(&folder.join(".cargo/config.toml"), config.as_bytes())?;
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// Makes a command that runs cargo in a folder, and shares with the workspace what both build alike.
fn offline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command
        .current_dir(folder)
        .arg("--quiet")
        .env("CARGO_TARGET_DIR", root().join("target"))
        .env("CARGO_NET_OFFLINE", "true");
    command
}

fn listed(text: &str) -> Option<usize> {
    let number = text.split("listed: ").nth(1)?.split_whitespace().next()?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn crate_without_a_field_of_its_page_is_found() {
        let whole = json!({
            "description": "x", "license": "MIT", "repository": "x", "readme": "README.md",
            "keywords": ["x"], "categories": ["x"],
        });
        assert!(missing_fields(&whole).is_empty());
        let bare = json!({ "description": "", "license": "MIT", "readme": null, "keywords": [] });
        let missing = [
            "description",
            "repository",
            "readme",
            "keywords",
            "categories",
        ];
        assert_eq!(missing_fields(&bare), missing);
    }

    #[test]
    fn listed_cases_are_read_from_the_output_of_a_test() {
        let text = "running 1 test\ntest listed ... listed: 156\nok\n";
        assert_eq!(listed(text), Some(156));
        assert_eq!(listed("running 0 tests\n"), None);
    }
}
