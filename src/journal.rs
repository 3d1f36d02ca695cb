//! An append-only file of JSON lines: what an outside actor remembers, in a form that people can read.
//!
//! Only the file itself belongs here: durability, torn ends, damage. What the lines mean belongs to their owners.

mod index;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

pub use index::Index;

use crate::files;

/// Records that wait for the writer; whoever comes when it is full waits.
const QUEUE: usize = 4096;
/// Records that one fdatasync may cover.
const BATCH: usize = 1024;
/// Bytes read at first when one line is wanted: most lines are shorter.
const USUAL_LINE: usize = 1024;

/// A durable, append-only list of records of one type, held by one process at a time.
pub struct Journal<T> {
    place: Place<T>,
}

enum Place<T> {
    File { file: Arc<File>, to_writer: Option<mpsc::Sender<Waiting>>, writer: Option<JoinHandle<()>> },
    Memory(Mutex<Memory<T>>),
}

struct Memory<T> {
    next: u64,
    records: HashMap<u64, T>,
}

impl<T: Clone + Serialize + DeserializeOwned> Journal<T> {
    /// Opens the file, or makes it, and hands every record with its offset to `replay`, oldest first.
    ///
    /// An unfinished last line is what a killed process leaves behind: nobody was told that it was written,
    /// so it is cut off. Any other line that cannot be read is an error that names it, and so is a file that
    /// another process holds.
    pub fn open(path: &Path, replay: impl FnMut(u64, T)) -> io::Result<Self> {
        let file = files::open(path).map_err(|error| about(path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(about(path, io::Error::new(io::ErrorKind::WouldBlock, "another process holds this file")));
            }
            Err(TryLockError::Error(error)) => return Err(about(path, error)),
        }
        let tail = read_lines(path, &file, replay)?;
        let length = file.metadata()?.len();
        if length == 0 {
            // A new file is only durable with its folder.
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| about(folder, error))?;
        }
        if length > tail {
            tracing::warn!(path = %path.display(), bytes = length - tail, "journal.line_cut_off");
            file.set_len(tail)?;
            file.sync_all()?;
        }
        let file = Arc::new(file);
        let (to_writer, waiting) = mpsc::channel(QUEUE);
        let sink = Writer { file: file.clone(), tail, torn: false };
        let writer = thread::Builder::new().name("journal".into()).spawn(move || sink.run(waiting))?;
        Ok(Self { place: Place::File { file, to_writer: Some(to_writer), writer: Some(writer) } })
    }

    /// A journal without a file, which ends with the process: for load tests.
    pub fn in_memory() -> Self {
        Self { place: Place::Memory(Mutex::new(Memory { next: 0, records: HashMap::new() })) }
    }

    /// Adds a record and returns its offset once it is durable. Those who wait at the same time share one
    /// fdatasync.
    ///
    /// After an error the record is not in the journal, unless the disk refuses even to cut it off and the
    /// process ends before it agrees. For a caller that stops waiting it may or may not be there: those who must
    /// know spawn a task that does not stop.
    pub async fn append(&self, record: T) -> io::Result<u64> {
        match &self.place {
            Place::File { to_writer, .. } => {
                let mut line = serde_json::to_vec(&record)?;
                line.push(b'\n');
                let (done, answer) = oneshot::channel();
                let to_writer = to_writer.as_ref().expect("the writer is only let go when the journal is dropped");
                to_writer.send(Waiting { line, done }).await.map_err(|_| writer_is_gone())?;
                answer.await.map_err(|_| writer_is_gone())?
            }
            Place::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let offset = memory.next;
                memory.next += 1;
                memory.records.insert(offset, record);
                Ok(offset)
            }
        }
    }

    /// The record at an offset that `append` or the replay gave. A short blocking read.
    pub fn read_at(&self, offset: u64) -> io::Result<T> {
        match &self.place {
            Place::File { file, .. } => {
                let line = read_line_at(file, offset)?;
                serde_json::from_slice(&line).map_err(|error| damaged(format!("the line at byte {offset}: {error}")))
            }
            Place::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let record = memory.records.get(&offset).cloned();
                record.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no record {offset}")))
            }
        }
    }

    /// Promises that nobody will read this record again. Memory lets go of it; a file keeps everything.
    pub fn forget(&self, offset: u64) {
        if let Place::Memory(memory) = &self.place {
            memory.lock().unwrap_or_else(PoisonError::into_inner).records.remove(&offset);
        }
    }
}

impl<T> Drop for Journal<T> {
    /// Waits for the writer, so that the file is free for the next one to open it.
    fn drop(&mut self) {
        if let Place::File { to_writer, writer, .. } = &mut self.place {
            drop(to_writer.take());
            if writer.take().is_some_and(|writer| writer.join().is_err()) {
                tracing::error!("journal.writer_panicked");
            }
        }
    }
}

/// Reads a journal that another process may be writing: nothing is changed, and an unfinished last line is
/// passed over. Any other unreadable line is an error that names it.
pub fn read_all<T: DeserializeOwned>(path: &Path, each: impl FnMut(u64, T)) -> io::Result<()> {
    let file = File::open(path).map_err(|error| about(path, error))?;
    read_lines(path, &file, each).map(drop)
}

struct Waiting {
    line: Vec<u8>,
    done: oneshot::Sender<io::Result<u64>>,
}

struct Writer {
    file: Arc<File>,
    /// Where the next line goes: everything before it is durable.
    tail: u64,
    /// A write failed, and something of it may still stand behind the tail.
    torn: bool,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut bytes = Vec::new();
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            bytes.clear();
            batch.iter().for_each(|one: &Waiting| bytes.extend_from_slice(&one.line));
            let mut offset = self.tail;
            let outcome = self.write(&bytes);
            if let Err(error) = &outcome {
                tracing::error!(%error, records = batch.len(), "journal.not_written");
            }
            for one in batch.drain(..) {
                let answer = match &outcome {
                    Ok(()) => Ok(offset),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                offset += one.line.len() as u64;
                // A caller that went away is no reason to stop.
                let _ = one.done.send(answer);
            }
        }
    }

    /// All of it is durable, or none of it will be seen. A full disk is got over once it has room again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.tail)?;
            self.torn = false;
        }
        let written = self.file.write_all_at(bytes, self.tail).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.tail += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = self.file.set_len(self.tail).is_err();
                Err(error)
            }
        }
    }
}

/// Gives every finished line to `each` and returns where the last of them ends.
fn read_lines<T: DeserializeOwned>(path: &Path, file: &File, mut each: impl FnMut(u64, T)) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut offset, mut number, mut line) = (0, 0_u64, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(|error| about(path, error))? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(offset);
        }
        number += 1;
        match serde_json::from_slice(&line) {
            Ok(record) => each(offset, record),
            Err(error) => return Err(damaged(format!("{}, line {number}: {error}", path.display()))),
        }
        offset += read;
    }
}

fn read_line_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let (start, wanted) = (line.len(), line.len().max(USUAL_LINE));
        line.resize(start + wanted, 0);
        let read = file.read_at(&mut line[start..], offset + start as u64)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("no finished line at byte {offset}")));
        }
        line.truncate(start + read);
        if let Some(end) = line[start..].iter().position(|byte| *byte == b'\n') {
            line.truncate(start + end);
            return Ok(line);
        }
    }
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn writer_is_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the journal's writer has ended")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    type Seen = Vec<(u64, String)>;

    fn open(path: &Path) -> io::Result<(Journal<String>, Seen)> {
        let mut seen = Vec::new();
        let journal = Journal::open(path, |offset, record| seen.push((offset, record)))?;
        Ok((journal, seen))
    }

    fn add_raw(path: &Path, bytes: &[u8]) {
        OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, seen) = open(&path).unwrap();
        assert_eq!(seen, []);
        let long = "line\nwith breaks, ".repeat(1000);
        let first = journal.append("a".into()).await.unwrap();
        let second = journal.append(long.clone()).await.unwrap();
        assert_eq!(journal.read_at(first).unwrap(), "a");
        assert_eq!(journal.read_at(second).unwrap(), long);
        assert!(journal.read_at(1_000_000).is_err());
        drop(journal);
        assert_eq!(open(&path).unwrap().1, [(first, "a".to_owned()), (second, long)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn parallel_appends_each_get_the_offset_of_their_own_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Arc::new(open(&path).unwrap().0);
        let appends: Vec<_> = (0..500)
            .map(|i| {
                let journal = journal.clone();
                tokio::spawn(async move { (journal.append(format!("record {i}")).await.unwrap(), i) })
            })
            .collect();
        for append in appends {
            let (offset, i) = append.await.unwrap();
            assert_eq!(journal.read_at(offset).unwrap(), format!("record {i}"));
        }
        let mut count = 0;
        read_all(&path, |_, _: String| count += 1).unwrap();
        assert_eq!(count, 500);
    }

    #[tokio::test]
    async fn a_torn_last_line_is_cut_off_by_its_owner_and_passed_over_by_readers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, _) = open(&path).unwrap();
        journal.append("whole".into()).await.unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        add_raw(&path, b"\"tor");

        let mut seen = Vec::new();
        read_all(&path, |_, record: String| seen.push(record)).unwrap();
        assert_eq!(seen, ["whole"]);
        assert_ne!(fs::read(&path).unwrap(), whole, "a reader changes nothing");

        let (journal, seen) = open(&path).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(fs::read(&path).unwrap(), whole);
        journal.append("next".into()).await.unwrap();
        drop(journal);
        assert_eq!(open(&path).unwrap().1.len(), 2);
    }

    #[tokio::test]
    async fn damage_before_the_end_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, "\"one\"\n{garbage\n\"three\"\n").unwrap();
        let error = open(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(read_all(&path, |_, _: String| ()).is_err());
    }

    #[tokio::test]
    async fn one_file_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let first = open(&path).unwrap();
        assert_eq!(open(&path).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind_once_the_disk_works_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, "\"a\"\n").unwrap();
        let mut writer = Writer { file: Arc::new(File::open(&path).unwrap()), tail: 4, torn: false };
        assert!(writer.write(b"\"never\"\n").is_err(), "opened for reading only");
        assert!(writer.torn && writer.tail == 4);
        add_raw(&path, b"\"left by the failed write");
        writer.file = Arc::new(OpenOptions::new().write(true).open(&path).unwrap());
        writer.write(b"\"b\"\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"a\"\n\"b\"\n");
    }

    #[tokio::test]
    async fn memory_lets_go_of_what_is_forgotten() {
        let journal = Journal::<String>::in_memory();
        let offset = journal.append("a".into()).await.unwrap();
        assert_eq!(journal.read_at(offset).unwrap(), "a");
        journal.forget(offset);
        assert!(journal.read_at(offset).is_err());
    }
}
