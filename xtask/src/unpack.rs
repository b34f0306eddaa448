//! Files that are written only when they differ, so that cargo builds anew only what changed.
//!
//! Invariants: a folder that was mirrored has the files of its source and no others. Files in an archive all bear one
//! old date, by which cargo would take changed ones for known, so they are never unpacked in place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Unpacks the archive of a crate into a folder.
pub(crate) fn archive(archive: &Path, folder: &Path) -> Result<()> {
    let fresh = folder.with_extension("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(archive).arg("-C").arg(&fresh);
    let status = unpack.arg("--strip-components=1").status();
    let is_ok = status.context("tar cannot be started")?.success();
    ensure!(is_ok, "{} cannot be unpacked", archive.display());
    mirror(&fresh, folder)?;
    Ok(fs::remove_dir_all(&fresh)?)
}

/// Makes a folder hold the same files as another.
pub(crate) fn mirror(from: &Path, to: &Path) -> Result<()> {
    let wanted = names(from)?;
    if to.exists() {
        for name in names(to)?.difference(&wanted) {
            remove(&to.join(name))?;
        }
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            mirror(&from, &to)?;
        } else {
            write(&to, &fs::read(&from)?)?;
        }
    }
    Ok(())
}

/// Writes a file unless it holds that already.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|known| known == content) {
        return Ok(());
    }
    let Some(parent) = path.parent() else {
        bail!("{} is in no folder", path.display());
    };
    fs::create_dir_all(parent)?;
    fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrored_folder_has_the_files_of_its_source_and_no_others() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("mirror-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        write(&from.join("kept/a.rs"), b"new")?;
        write(&to.join("kept/a.rs"), b"old")?;
        write(&to.join("gone/b.rs"), b"old")?;
        mirror(&from, &to)?;
        let a = fs::read(to.join("kept/a.rs"))?;
        let is_gone = !to.join("gone").exists();
        fs::remove_dir_all(&folder)?;
        assert!(a == b"new" && is_gone);
        Ok(())
    }

    #[test]
    fn file_that_holds_the_same_keeps_its_date() -> Result<()> {
        let path = std::env::temp_dir().join(format!("same-{}", std::process::id()));
        write(&path, b"same")?;
        let before = fs::metadata(&path)?.modified()?;
        write(&path, b"same")?;
        let after = fs::metadata(&path)?.modified()?;
        fs::remove_file(&path)?;
        assert_eq!(before, after);
        Ok(())
    }
}
