//! The bounded buffer between threads that log and the one that writes.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::meters::METERS;

/// What may wait for the writer, in bytes: some thousand lines. As much again may be with the writer.
const ROOM: usize = 1 << 20;
/// A buffer that grew in a burst of lines keeps no more than this.
const KEPT: usize = 1 << 16;
/// The name of the thread that writes.
const WRITER: &str = "log";
/// A stream that took nothing is tried again after so long …
const AGAIN: Duration = Duration::from_millis(250);
/// … or after this, if it only has no room just now, as a terminal that does not block.
const SOON: Duration = Duration::from_millis(10);

/// Takes lines from any thread, and never keeps one waiting.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// The writer has something to do.
    filled: Condvar,
    /// The writer has done something.
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    bytes: Vec<u8>,
    /// Lines that found no room, and were not spoken of yet.
    lost: u64,
    /// The writer has lines that are not written yet.
    is_writing: bool,
    /// The process ends: what cannot be written at once is given up.
    is_closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Starts the thread that writes to `sink`. It ends with the process, or with [`Lines::flush`].
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn write_to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = lines.0.clone();
        thread::Builder::new().name(WRITER.into()).spawn(move || write(&shared, sink))?;
        Ok(lines)
    }

    /// Takes one line, or counts it as lost.
    fn push(&self, line: &[u8]) {
        let Some((end, body)) = line.split_last() else { return };
        let mut waiting = self.0.lock();
        let is_full = waiting.bytes.len() + line.len() > ROOM;
        // The writer's own line says how many were lost, so that line must not be lost.
        if is_full && thread::current().name() != Some(WRITER) {
            waiting.lost += 1;
            drop(waiting);
            METERS.log_lines_lost.of(()).increment(1);
            return;
        }
        let start = waiting.bytes.len();
        waiting.bytes.extend_from_slice(body);
        // One event is one line, whatever a server or a client put into a field.
        waiting.bytes[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        waiting.bytes.push(*end);
        let is_idle = !waiting.is_writing;
        drop(waiting);
        if is_idle {
            self.0.filled.notify_one();
        }
    }

    /// Waits until all lines are written, or given up; at most for `patience`. The writer ends.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut waiting = self.0.lock();
        waiting.is_closing = true;
        self.0.filled.notify_one();
        while !waiting.bytes.is_empty() || waiting.is_writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.0.written.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = &'l Self;

    fn make_writer(&'l self) -> Self::Writer {
        self
    }
}

/// `tracing_subscriber` writes each line whole.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the writer thread does.
fn write(shared: &Shared, mut sink: impl Write) {
    let mut lines = Vec::new();
    loop {
        let mut waiting = shared.lock();
        waiting.is_writing = false;
        shared.written.notify_all();
        while waiting.bytes.is_empty() {
            if waiting.is_closing {
                return;
            }
            waiting = shared.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.bytes, &mut lines);
        waiting.is_writing = true;
        drop(waiting);
        if !deliver(shared, &mut sink, &lines) {
            let mut waiting = shared.lock();
            waiting.bytes.clear();
            waiting.is_writing = false;
            shared.written.notify_all();
            return;
        }
        lines.clear();
        lines.shrink_to(KEPT);
        let lost = std::mem::take(&mut shared.lock().lost);
        if lost > 0 {
            tracing::warn!(lines = lost, "log.lines_lost");
        }
    }
}

/// Writes it all, however long the stream takes nothing. False if it is given up because the process ends.
fn deliver(shared: &Shared, sink: &mut impl Write, mut lines: &[u8]) -> bool {
    while !lines.is_empty() {
        let pause = match sink.write(lines) {
            Ok(written @ 1..) => {
                lines = &lines[written..];
                continue;
            }
            Err(fault) if fault.kind() == ErrorKind::Interrupted => continue,
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => SOON,
            // Closed or full: it may be emptied, and until then nothing is asked for in vain all the time.
            Ok(_) | Err(_) => AGAIN,
        };
        if shared.lock().is_closing {
            return false;
        }
        thread::sleep(pause);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A stream that does with each write what it is told, and says what it has taken.
    struct Told {
        answers: Receiver<io::Result<usize>>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.answers.recv().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))??;
            let taken = &bytes[..bytes.len().min(most)];
            self.taken.send(taken.to_vec()).map_err(io::Error::other)?;
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told() -> (Lines, Sender<io::Result<usize>>, Receiver<Vec<u8>>) {
        let (answer, answers) = channel();
        let (taken, written) = channel();
        (Lines::write_to(Told { answers, taken }).unwrap(), answer, written)
    }

    #[test]
    fn lines_are_written_in_their_order_and_each_is_one() {
        let (lines, answer, written) = told();
        for text in ["one\n", "two\nforged\r\n", "three\n"] {
            lines.push(text.as_bytes());
        }
        (0..3).for_each(|_| answer.send(Ok(usize::MAX)).unwrap());
        lines.flush(PATIENCE);
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(all).unwrap(), "one\ntwo forged \nthree\n");
    }

    #[test]
    fn a_stream_that_fails_and_comes_back_has_missed_nothing() {
        let (lines, answer, written) = told();
        for kind in [ErrorKind::BrokenPipe, ErrorKind::StorageFull, ErrorKind::Interrupted] {
            answer.send(Err(kind.into())).unwrap();
        }
        answer.send(Ok(2)).unwrap();
        answer.send(Ok(usize::MAX)).unwrap();
        lines.push(b"one\n");
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"on");
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"e\n");
    }

    #[test]
    fn a_reader_that_never_reads_keeps_no_thread_waiting() {
        let (lines, answer, _written) = told();
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        let began = Instant::now();
        for _ in 0..3 * ROOM / line.len() {
            lines.push(&line);
        }
        assert!(began.elapsed() < PATIENCE);
        let lost = lines.0.lock().lost;
        assert!(lost as usize >= ROOM / line.len(), "{lost}");
        lines.flush(Duration::from_millis(10));
        drop(answer);
    }

    #[test]
    fn an_end_does_not_wait_for_a_closed_stream() {
        let (lines, answer, _written) = told();
        drop(answer);
        lines.push(b"last\n");
        let began = Instant::now();
        lines.flush(PATIENCE);
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    }
}
