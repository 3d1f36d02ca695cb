//! A network that can be told to fail: it carries connections of 127.0.0.1 to a server's socket, until it does not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Cluster, Node};

const LOOK: Duration = Duration::from_millis(5);

pub struct Wire {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nothing passes any more; connections are taken all the same.
    is_silent: AtomicBool,
    /// Connections with a smaller number are silent for ever.
    forgotten: AtomicUsize,
    is_over: AtomicBool,
    opened: AtomicUsize,
    /// From which connection on each is held up, and for how long.
    delay: Mutex<Option<(usize, Duration)>>,
}

impl Wire {
    pub fn to(cluster: &Cluster, node: Node) -> Self {
        let (state, socket) = (Arc::new(State::default()), cluster.socket(node));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (number, state, socket) =
                    (shared.opened.fetch_add(1, Ordering::Relaxed), shared.clone(), socket.clone());
                thread::spawn(move || carry(client, socket, number, &state));
            }
        });
        Self { port, state }
    }

    /// From now on nothing passes, in either direction, and nobody is told.
    pub fn silence(&self) {
        self.state.is_silent.store(true, Ordering::Relaxed);
    }

    /// The same for the connections of now; later ones are as always.
    pub fn forget(&self) {
        self.state.forgotten.store(self.state.opened.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Holds up each connection from this one on, counted from 0, before anything of it passes.
    pub fn delay_from(&self, first: usize, by: Duration) {
        *self.state.delay.lock().unwrap() = Some((first, by));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the one who waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(client: TcpStream, socket: PathBuf, number: usize, state: &Arc<State>) {
    let delay = state.delay.lock().unwrap().filter(|(first, _)| number >= *first);
    thread::sleep(delay.map_or(Duration::ZERO, |(_, by)| by));
    state.wait_while_silent(number);
    let Ok(server) = UnixStream::connect(socket) else { return };
    let (from_client, to_client) = (client.try_clone().expect("a handle"), client);
    let (from_server, to_server) = (server.try_clone().expect("a handle"), server);
    let there = state.clone();
    thread::spawn(move || {
        let _ = there.copy(number, from_client, &to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = state.copy(number, from_server, &to_client);
    let _ = to_client.shutdown(Shutdown::Write);
}

impl State {
    fn copy(&self, number: usize, mut from: impl Read, mut to: impl Write) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            self.wait_while_silent(number);
            if read == 0 || self.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            to.write_all(&buffer[..read])?;
        }
    }

    fn wait_while_silent(&self, number: usize) {
        while !self.is_over.load(Ordering::Relaxed)
            && (self.is_silent.load(Ordering::Relaxed) || number < self.forgotten.load(Ordering::Relaxed))
        {
            thread::sleep(LOOK);
        }
    }
}
