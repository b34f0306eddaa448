//! A way to a server that can be cut, as a cable can.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes on what comes, while it is not cut.
pub(crate) struct Proxy {
    port: u16,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Proxy {
    /// Listens before the server that the URL names.
    pub(crate) fn before(url: &str) -> Self {
        let server = address(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let connections = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                // While it is cut, the client is dropped as soon as it comes.
                if let Some(open) = &mut *connections.lock().unwrap() {
                    let server = TcpStream::connect(&server).unwrap();
                    pass_on(&client, &server);
                    pass_on(&server, &client);
                    open.extend([client, server]);
                }
            }
        });
        Self { port, open }
    }

    /// Returns the URL through the proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(address(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Ends all connections and lets none come.
    pub(crate) fn cut(&self) {
        let open = self.open.lock().unwrap().take();
        for stream in open.into_iter().flatten() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub(crate) fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

/// Returns the part `host:port` of a URL.
fn address(url: &str) -> &str {
    let (_, place) = url.rsplit_once('@').unwrap();
    place.split('/').next().unwrap()
}

fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
}
