//! The bytes of one file: records, plain or compressed, and what makes them durable.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    mem,
    path::Path,
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};

/// Bytes of records after which they are passed to the file: always whole records, so that those
/// of several writers of one file do not mix.
const CHUNK: usize = 64 << 10;

/// An open file that grows.
#[derive(Debug)]
pub(crate) struct Output {
    file: Arc<File>,
    compression: Option<Compression>,
    /// The gzip member that has begun.
    member: Option<GzEncoder<Arc<File>>>,
    /// Whole records that the file does not have yet.
    buffer: Vec<u8>,
    /// Bytes of all records, before compression, and what was in the file before.
    size: u64,
    /// Records since the last sync.
    unsynced: usize,
}

impl Output {
    /// Opens the file for appending. `None` if it exists and `is_new` does not allow that.
    ///
    /// What follows the last line feed of an existing file that is not compressed is the half
    /// record of a writer that was killed. It becomes a line of its own.
    pub(crate) fn open(
        path: &Path,
        compression: Option<Compression>,
        is_new: bool,
    ) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        if is_new {
            options.create_new(true);
        } else {
            options.create(true);
        }
        let mut file = match options.open(path) {
            Ok(file) => file,
            Err(error) if is_new && error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut size = file.metadata()?.len();
        if size > 0 && compression.is_none() && last_byte(&mut file)? != b'\n' {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok(Some(Self {
            file: Arc::new(file),
            compression,
            member: None,
            buffer: Vec::new(),
            size,
            unsynced: 0,
        }))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced
    }

    /// Appends a record and a line feed. It may stay in memory until [`flush`](Self::flush).
    pub(crate) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(record);
        self.buffer.push(b'\n');
        self.size += record.len() as u64 + 1;
        self.unsynced += 1;
        if self.buffer.len() >= CHUNK {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Passes all records to the file, or to its compression.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = mem::take(&mut self.buffer);
        match self.compression {
            None => (&*self.file).write_all(&buffer)?,
            Some(level) => self.member(level).write_all(&buffer)?,
        }
        buffer.clear();
        buffer.shrink_to(2 * CHUNK);
        self.buffer = buffer;
        Ok(())
    }

    fn member(&mut self, level: Compression) -> &mut GzEncoder<Arc<File>> {
        let begin = || GzEncoder::new(Arc::clone(&self.file), level);
        self.member.get_or_insert_with(begin)
    }

    /// Makes all records durable: ends the gzip member, and writes the file to the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Some(member) = self.member.take() {
            member.finish()?;
        }
        self.file.sync_all()?;
        self.unsynced = 0;
        Ok(())
    }

    /// Syncs what is not synced. A compressed file without records gets an empty member: gzip
    /// rejects an empty file.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let is_empty = self.size == 0;
        if let Some(level) = self.compression.filter(|_| is_empty) {
            self.member(level);
        } else if self.unsynced == 0 {
            return Ok(());
        }
        self.sync()
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path};

    use flate2::{Compression, read::MultiGzDecoder};

    use super::Output;

    fn plain(path: &Path) -> Output {
        Output::open(path, None, false).unwrap().unwrap()
    }

    #[test]
    fn half_record_becomes_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, after) in [("", "one\n"), ("two\n", "two\none\n"), ("ha", "ha\none\n")] {
            fs::write(&path, before).unwrap();
            let mut output = plain(&path);
            output.write(b"one").unwrap();
            assert_eq!((output.size(), output.unsynced()), (after.len() as u64, 1));
            output.sync().unwrap();
            assert_eq!(output.unsynced(), 0);
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn compressed_file_is_valid_after_each_sync() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.gz");
        let level = Some(Compression::new(6));
        // Whether the file is valid, and what can be read.
        let text = || {
            let mut text = String::new();
            let mut members = MultiGzDecoder::new(fs::File::open(&path).unwrap());
            (members.read_to_string(&mut text).is_ok(), text)
        };
        let mut output = Output::open(&path, level, true).unwrap().unwrap();
        output.write(b"one").unwrap();
        output.sync().unwrap();
        assert_eq!(text(), (true, "one\n".into()));
        output.write(b"two").unwrap();
        output.flush().unwrap();
        assert_eq!(text(), (false, "one\n".into()));
        output.sync().unwrap();
        assert_eq!(text(), (true, "one\ntwo\n".into()));
        assert!(Output::open(&path, level, true).unwrap().is_none());

        fs::remove_file(&path).unwrap();
        let mut empty = Output::open(&path, level, true).unwrap().unwrap();
        empty.finish().unwrap();
        assert_eq!(text(), (true, String::new()));
        assert!(fs::metadata(&path).unwrap().len() > 0);
    }
}
