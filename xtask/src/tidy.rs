//! House rules that no other tool checks.
//!
//! Invariants: a rule that fails names file and line. Long files and functions are notes, not failures.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::root;

/// Is the most lines of a file.
const FILE_LINES_MAX: usize = 800;

/// Is the length of a file, tests not counted, from which it is noted.
const FILE_LINES_NOTED: usize = 400;

/// Is the length of a function from which it is noted.
const FUNCTION_LINES_NOTED: usize = 70;

/// Checks all tracked files.
pub(crate) fn run() -> Result<()> {
    let mut found = Vec::new();
    let mut notes = Vec::new();
    for path in tracked()? {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        found.extend(machine_paths(&path, &text));
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(rust_rules(&path, &text));
            notes.extend(rust_notes(&path, &text));
        }
    }
    found.extend(unknown_paths("ARCHITECTURE.md")?);
    for note in &notes {
        println!("note: {note}");
    }
    ensure!(found.is_empty(), "house rules:\n  {}", found.join("\n  "));
    println!("--- house rules hold; {} notes", notes.len());
    Ok(())
}

fn tracked() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git cannot be started")?;
    ensure!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(PathBuf::from).collect())
}

fn machine_paths(path: &Path, text: &str) -> Vec<String> {
    let folders = ["work", "farm"].map(|folder| format!("/{folder}/"));
    let starts_a_path = |line: &str, at: usize| {
        !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || "._-/}".contains(letter))
    };
    places(path, text, |line| {
        folders.iter().any(|folder| {
            line.match_indices(folder.as_str())
                .any(|(at, _)| starts_a_path(line, at))
        })
    })
    .map(|place| format!("{place}: a path of one machine"))
    .collect()
}

fn rust_rules(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_case = path.starts_with("macros/tests/pass") || path.starts_with("macros/tests/fail");
    if !is_case && !text.starts_with("//!") {
        found.push(format!("{}:1: does not begin with `//!`", path.display()));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX && !is_test(path) {
        found.push(format!(
            "{}: {lines} lines; at most {FILE_LINES_MAX}",
            path.display()
        ));
    }
    if path.starts_with("xtask") {
        return found;
    }
    let banned = ["todo!(", "unimplemented!(", "FIXME", "XXX", "HACK"];
    found.extend(
        places(path, text, |line| {
            banned.iter().any(|word| line.contains(word)) || is_skipped_test(line)
        })
        .map(|place| format!("{place}: unfinished")),
    );
    found
}

/// Tells whether a line skips a test. What only writes a golden file, or is a process of a test, is no test itself.
fn is_skipped_test(line: &str) -> bool {
    let is_no_test = ["writes ", "is started as a process "]
        .iter()
        .any(|reason| line.contains(&format!("#[ignore = \"{reason}")));
    line.contains("#[ignore") && !is_no_test
}

fn rust_notes(path: &Path, text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if is_test(path) {
        return notes;
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = code.lines().count();
    if lines > FILE_LINES_NOTED {
        notes.push(format!("{}: {lines} lines", path.display()));
    }
    let mut start: Option<(usize, &str)> = None;
    for (number, line) in code.lines().enumerate() {
        let indent = line
            .get(..line.len() - line.trim_start().len())
            .unwrap_or("");
        if is_function(line.trim_start()) {
            start = Some((number, indent));
        }
        if let Some((from, of)) = start
            && line.trim_end() == format!("{of}}}")
        {
            if number - from > FUNCTION_LINES_NOTED {
                notes.push(format!(
                    "{}:{}: a function of {} lines",
                    path.display(),
                    from + 1,
                    number - from
                ));
            }
            start = None;
        }
    }
    notes
}

fn is_function(line: &str) -> bool {
    let line = line
        .trim_start_matches("pub ")
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("const ")
        .trim_start_matches("async ");
    line.starts_with("fn ")
}

fn is_test(path: &Path) -> bool {
    let is_folder =
        |part: &std::ffi::OsStr| part == "tests" || part == "examples" || part == "benches";
    path.iter().any(is_folder) || path.ends_with("tests.rs")
}

fn places<'a>(
    path: &'a Path,
    text: &'a str,
    holds: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| holds(line))
        .map(|(number, _)| format!("{}:{}", path.display(), number + 1))
}

/// Finds files that a document names in backticks and that do not exist.
fn unknown_paths(document: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join(document))
        .with_context(|| format!("{document} cannot be read"))?;
    let is_path = |word: &&str| {
        word.contains('/')
            && !word.contains([' ', '*', '<', '{', ':', '('])
            && (word.ends_with(".rs") || word.ends_with(".md") || word.ends_with(".sql"))
    };
    let named = text.split('`').skip(1).step_by(2).filter(is_path);
    Ok(named
        .filter(|path| !root().join(path).exists())
        .map(|path| format!("{document}: names `{path}`, which does not exist"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_a_head_is_found() {
        let found = rust_rules(Path::new("core/src/x.rs"), "fn main() {}\n");
        assert_eq!(found, ["core/src/x.rs:1: does not begin with `//!`"]);
        assert!(rust_rules(Path::new("macros/tests/fail/x.rs"), "fn main() {}\n").is_empty());
    }

    #[test]
    fn unfinished_code_is_found_with_its_line() {
        let text = format!("//! X.\nfn x() {{ {}) }}\n", "todo!(");
        assert_eq!(
            rust_rules(Path::new("core/src/x.rs"), &text),
            ["core/src/x.rs:2: unfinished"]
        );
    }

    #[test]
    fn path_of_a_machine_is_found_and_a_url_is_not() {
        let path = |folder: &str| format!("see /{folder}/main\n");
        assert_eq!(machine_paths(Path::new("a.md"), &path("work")).len(), 1);
        assert!(machine_paths(Path::new("a.md"), "https://example.com/work/x\n").is_empty());
    }

    #[test]
    fn long_function_is_noted() {
        let text = format!("//! X.\nfn long() {{\n{}}}\n", "    x();\n".repeat(80));
        let notes = rust_notes(Path::new("core/src/x.rs"), &text);
        assert_eq!(notes, ["core/src/x.rs:2: a function of 81 lines"]);
    }
}
