//! The files of one topic: one is open at a time, and others follow by name, age and size.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use actix_nsq::bytes::Bytes;
use flate2::Compression;
use jiff::{Timestamp, tz::TimeZone};
use log::info;

use crate::{
    datetime::DatetimeFormat,
    directories::{Directories, create_parent, move_file, sync_entry},
    file_error::FileError,
    file_name::{TopicName, with_revision},
    output::Output,
    rotation::{FileState, Rotation},
};

/// How the files of a topic are written.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Begins each line of the log.
    pub(crate) label: String,
    pub(crate) name: TopicName,
    pub(crate) datetime: DatetimeFormat,
    pub(crate) zone: TimeZone,
    pub(crate) directories: Arc<Directories>,
    pub(crate) rotation: Rotation,
    pub(crate) compression: Option<Compression>,
    /// Without messages there is no file.
    pub(crate) skips_empty: bool,
}

/// The files of a topic. The methods block.
#[derive(Debug)]
pub(crate) struct LogFile {
    plan: Plan,
    open: Option<OpenFile>,
    /// Of the file that is open, or was: the name, which may have a place for the revision.
    name: String,
    revision: u32,
}

#[derive(Debug)]
struct OpenFile {
    /// With the revision.
    name: String,
    path: PathBuf,
    output: Output,
    opened: Instant,
}

impl LogFile {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            open: None,
            name: String::new(),
            revision: 0,
        }
    }

    /// Begins each line of the log.
    pub(crate) fn label(&self) -> &str {
        &self.plan.label
    }

    /// Writes records, and syncs them if `sync`, or if a file was opened. Returns whether all
    /// records so far are durable.
    pub(crate) fn write(&mut self, records: &[Bytes], mut sync: bool) -> Result<bool, FileError> {
        let name = self.current_name()?;
        for record in records {
            if self.needs_rotation(&name) {
                self.rotate(&name)?;
                sync = true;
            }
            self.on_open("write to", |output| output.write(record))?;
        }
        self.on_open("write to", Output::flush)?;
        if sync {
            self.sync()?;
        }
        Ok(sync)
    }

    /// Makes all records durable.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        let unsynced = self.open.as_ref().map_or(0, |open| open.output.unsynced());
        if unsynced == 0 {
            return Ok(());
        }
        info!("{} syncing {unsynced} records to disk", self.plan.label);
        self.on_open("sync", Output::sync)
    }

    /// What is done in each interval: syncs, and rotates also without messages. Without messages
    /// the next file is opened, or, if empty files are skipped, the last one is closed.
    pub(crate) fn tick(&mut self) -> Result<(), FileError> {
        self.sync()?;
        let name = self.current_name()?;
        if !self.needs_rotation(&name) {
            Ok(())
        } else if self.plan.skips_empty {
            self.close()
        } else {
            self.rotate(&name)
        }
    }

    /// Syncs and closes the file, and moves it to the output directory.
    pub(crate) fn close(&mut self) -> Result<(), FileError> {
        self.sync()?;
        self.on_open("sync", Output::finish)?;
        let Some(OpenFile { name, .. }) = self.open.take() else {
            return Ok(());
        };
        match &self.plan.directories.output {
            Some(output) => self.move_to(output, &name),
            None => Ok(()),
        }
    }

    fn on_open(
        &mut self,
        action: &str,
        work: impl FnOnce(&mut Output) -> std::io::Result<()>,
    ) -> Result<(), FileError> {
        match &mut self.open {
            Some(open) => work(&mut open.output).map_err(FileError::at(action, &open.path)),
            None => Ok(()),
        }
    }

    /// The name that a file gets now.
    fn current_name(&self) -> Result<String, FileError> {
        let Plan { zone, datetime, .. } = &self.plan;
        let now = Timestamp::now().to_zoned_datetime(zone.clone());
        let datetime = datetime
            .format(&now)
            .map_err(|error| FileError::new("cannot name a file", std::io::Error::other(error)))?;
        Ok(self.plan.name.at(&datetime))
    }

    fn needs_rotation(&self, name: &str) -> bool {
        let Some(open) = &self.open else { return true };
        let state = FileState {
            name: &self.name,
            age: open.opened.elapsed(),
            size: open.output.size(),
        };
        let reason = self.plan.rotation.reason(state, name);
        if let Some(reason) = &reason {
            let (label, path) = (&self.plan.label, open.path.display());
            info!("{label} {path}: {reason}, rotating");
        }
        reason.is_some()
    }

    /// Closes the file, and opens the next one.
    fn rotate(&mut self, name: &str) -> Result<(), FileError> {
        self.close()?;
        self.revision = if name == self.name {
            self.revision + 1
        } else {
            0
        };
        name.clone_into(&mut self.name);
        let mut skipped = 0;
        let open = loop {
            if let Some(open) = self.try_open()? {
                break open;
            }
            self.revision += 1;
            skipped += 1;
        };
        let (label, path) = (&self.plan.label, open.path.display());
        if skipped > 0 {
            info!("{label} {skipped} earlier revisions of {path} are full or finished");
        }
        info!("{label} opening {path}");
        self.open = Some(open);
        Ok(())
    }

    /// Opens the file of the current revision, unless it must not be continued.
    fn try_open(&self) -> Result<Option<OpenFile>, FileError> {
        let plan = &self.plan;
        let name = with_revision(&self.name, self.revision);
        if let Some(output) = &plan.directories.output {
            let path = output.join(&name);
            if path.try_exists().map_err(FileError::at("find", &path))? {
                return Ok(None);
            }
        }
        let work = &plan.directories.work;
        create_parent(work, &name)?;
        let path = work.join(&name);
        let is_new = plan.compression.is_some() || plan.rotation.interval.is_some();
        let opened = Output::open(&path, plan.compression, is_new);
        let Some(output) = opened.map_err(FileError::at("open", &path))? else {
            return Ok(None);
        };
        if plan.rotation.is_too_large(output.size()).is_some() {
            return Ok(None);
        }
        sync_entry(work, &name)?;
        Ok(Some(OpenFile {
            name,
            path,
            output,
            opened: Instant::now(),
        }))
    }

    /// Moves a finished file, as the next revision if the destination exists.
    fn move_to(&self, output: &Path, name: &str) -> Result<(), FileError> {
        let work = &self.plan.directories.work;
        let mut revision = self.revision;
        let mut moved_name = name.to_owned();
        while !move_file((work, name), (output, &moved_name))? {
            revision += 1;
            moved_name = with_revision(&self.name, revision);
        }
        let (from, to) = (work.join(name), output.join(moved_name));
        let label = &self.plan.label;
        info!(
            "{label} moved finished file {} to {}",
            from.display(),
            to.display()
        );
        Ok(())
    }
}
