//! The directories of the files: created, made durable, and what moves from one to the other.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::file_error::FileError;

/// Where files are written, and where they are when they are finished.
#[derive(Debug)]
pub(crate) struct Directories {
    pub(crate) work: PathBuf,
    /// Another directory than `work`; `None`: files stay where they are.
    pub(crate) output: Option<PathBuf>,
}

impl Directories {
    /// Creates the directories, and checks that files can be created there and be moved.
    pub(crate) fn prepare(output: &Path, work: &Path) -> Result<Self, FileError> {
        create(output)?;
        create(work)?;
        let is_one = canonical(output)? == canonical(work)?;
        let directories = Self {
            work: work.to_owned(),
            output: (!is_one).then(|| output.to_owned()),
        };
        directories.check()?;
        Ok(directories)
    }

    fn check(&self) -> Result<(), FileError> {
        let name = format!(".nsq_to_file.{:016x}", fastrand::u64(..));
        let file = self.work.join(&name);
        let created = OpenOptions::new().write(true).create_new(true).open(&file);
        created.map_err(FileError::at("create a file in", &self.work))?;
        let checked = match &self.output {
            Some(output) => {
                let moved = output.join(&name);
                let linked = fs::hard_link(&file, &moved).and_then(|()| fs::remove_file(&moved));
                linked.map_err(|error| {
                    let (work, output) = (self.work.display(), output.display());
                    let what = format!(
                        "cannot move files from {work} to {output}, which must be on one file \
                         system with hard links"
                    );
                    FileError::new(what, error)
                })
            }
            None => Ok(()),
        };
        fs::remove_file(&file).map_err(FileError::at("remove", &file))?;
        checked?;
        for directory in [Some(&self.work), self.output.as_ref()] {
            directory.map_or(Ok(()), |directory| sync(directory))?;
        }
        Ok(())
    }
}

fn canonical(directory: &Path) -> Result<PathBuf, FileError> {
    fs::canonicalize(directory).map_err(FileError::at("find", directory))
}

/// Creates a directory and its missing parents, durably.
fn create(directory: &Path) -> Result<(), FileError> {
    let ancestors = directory.ancestors();
    let missing: Vec<_> = ancestors
        .take_while(|it| !it.as_os_str().is_empty() && !it.is_dir())
        .collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o770);
    let created = builder.create(directory);
    created.map_err(FileError::at("create the directory", directory))?;
    for parent in missing.iter().filter_map(|created| created.parent()) {
        sync(parent)?;
    }
    Ok(())
}

/// Creates the directory of a file below `base`.
pub(crate) fn create_parent(base: &Path, name: &str) -> Result<(), FileError> {
    base.join(name).parent().map_or(Ok(()), create)
}

/// Makes the entry of a file durable, and those of the directories between it and `base`: a
/// predecessor may have been killed before it did so.
pub(crate) fn sync_entry(base: &Path, name: &str) -> Result<(), FileError> {
    let path = base.join(name);
    let directories = path.ancestors().skip(1);
    for directory in directories.take_while(|directory| directory.starts_with(base)) {
        sync(directory)?;
    }
    Ok(())
}

/// Writes the entries of a directory to the disk.
fn sync(directory: &Path) -> Result<(), FileError> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let is_unsupported = |error: &io::Error| {
        let kind = error.kind();
        // Some file systems cannot: then the entries are as durable as they can be.
        matches!(kind, ErrorKind::InvalidInput | ErrorKind::Unsupported)
    };
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if !is_unsupported(&error) => {
            Err(FileError::at("sync the directory", directory)(error))
        }
        _ => Ok(()),
    }
}

/// Moves a file, durably. Returns false if the destination exists: it is never overwritten.
///
/// The file has a durable name at any time.
pub(crate) fn move_file(
    (work, old): (&Path, &str),
    (output, new): (&Path, &str),
) -> Result<bool, FileError> {
    let (from, to) = (work.join(old), output.join(new));
    create_parent(output, new)?;
    match fs::hard_link(&from, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => {
            let what = format!("cannot move {} to {}", from.display(), to.display());
            return Err(FileError::new(what, error));
        }
    }
    sync_entry(output, new)?;
    fs::remove_file(&from).map_err(FileError::at("remove", &from))?;
    sync_entry(work, old)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Directories, create_parent, move_file, sync_entry};

    #[test]
    fn directories_are_created_and_left_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (output, work) = (folder.path().join("a/b"), folder.path().join("c/d"));
        let two = Directories::prepare(&output, &work).unwrap();
        assert_eq!((&two.work, two.output.as_ref()), (&work, Some(&output)));
        for directory in [&output, &work] {
            assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
        }
        let one = Directories::prepare(&output, &output.join("../b/")).unwrap();
        assert_eq!(one.output, None);
    }

    #[test]
    fn unusable_directory_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let below = file.join("logs");
        let error = Directories::prepare(&below, &below).unwrap_err();
        let expected = format!("cannot create the directory {}: ", below.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn file_is_moved_unless_the_destination_exists() {
        let folder = tempfile::tempdir().unwrap();
        let (work, output) = (folder.path().join("work"), folder.path().join("output"));
        create_parent(&work, "t/log").unwrap();
        sync_entry(&work, "t/log").unwrap();
        fs::write(work.join("t/log"), "new").unwrap();
        create_parent(&output, "t/log").unwrap();
        fs::write(output.join("t/log"), "old").unwrap();
        assert!(!move_file((&work, "t/log"), (&output, "t/log")).unwrap());
        assert!(move_file((&work, "t/log"), (&output, "u/log")).unwrap());
        let text = |name| fs::read_to_string(output.join(name)).unwrap();
        assert_eq!((text("t/log"), text("u/log")), ("old".into(), "new".into()));
        assert!(!work.join("t/log").exists());
    }
}
