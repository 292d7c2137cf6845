//! A network between a client and a broker, which a test can cut.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

/// How many connections it has at most; further ones are closed at once.
const MAX_CONNECTIONS: usize = 256;

/// Forwards TCP connections to a port of this machine.
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Network {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    is_closed: bool,
    num_accepted: u64,
    /// Both ends of each connection; the second is missing for those that were made during a cut.
    connections: HashMap<u64, (TcpStream, Option<TcpStream>)>,
}

impl Proxy {
    /// A proxy on a free port, which need not have anything to forward to yet.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network { target, state: Mutex::default(), changed: Condvar::new() });
        let acceptor = {
            let network = network.clone();
            thread::spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if !network.take(client) {
                        break;
                    }
                }
            })
        };
        Self { port, network, acceptor: Some(acceptor) }
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses everything from now on, as a network does: connections stay open and carry nothing, not even their
    /// end, and new ones are never answered.
    pub fn cut(&self) {
        self.network.lock().is_cut = true;
    }

    /// Ends the connections from before and during the cut, and forwards new ones.
    pub fn mend(&self) {
        let mut state = self.network.lock();
        state.is_cut = false;
        state.disconnect();
        self.network.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.is_closed = true;
        state.disconnect();
        drop(state);
        self.network.changed.notify_all();
        // The acceptor sees that it is closed when something connects.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            self.acceptor.take().map(JoinHandle::join);
        }
    }
}

impl State {
    fn disconnect(&mut self) {
        for (_, (client, broker)) in self.connections.drain() {
            for end in [Some(client), broker].into_iter().flatten() {
                end.shutdown(Shutdown::Both).ok(); // the peer may have gone
            }
        }
    }
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Takes a new connection; whether to go on.
    fn take(self: &Arc<Self>, client: TcpStream) -> bool {
        let mut state = self.lock();
        if state.is_closed {
            return false;
        }
        if state.connections.len() == MAX_CONNECTIONS {
            return true;
        }
        state.num_accepted += 1;
        let id = state.num_accepted;
        if state.is_cut {
            state.connections.insert(id, (client, None));
            return true;
        }
        // Refused at once where nobody listens, which the client is told by the end of its connection.
        let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return true };
        for (from, to) in [(&client, &broker), (&broker, &client)] {
            from.set_nodelay(true).unwrap();
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let network = self.clone();
            thread::spawn(move || network.forward(id, from, to));
        }
        state.connections.insert(id, (client, Some(broker)));
        true
    }

    /// Carries one direction of a connection until either end closes it.
    fn forward(&self, id: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16_384];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let mut state = self.lock();
            while state.is_cut && state.connections.contains_key(&id) {
                state = self.changed.wait(state).expect("no panic under the lock");
            }
            let is_open = state.connections.contains_key(&id);
            drop(state);
            if !is_open || read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        // A connection whose broker went while the network was cut ends with the cut only.
        let mut state = self.lock();
        while state.is_cut && state.connections.contains_key(&id) {
            state = self.changed.wait(state).expect("no panic under the lock");
        }
        state.connections.remove(&id);
        drop(state);
        for end in [from, to] {
            end.shutdown(Shutdown::Both).ok();
        }
    }
}
