//! A way to the API server on which everything can vanish, as in a network that is cut: nobody is told.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, reason = "tests only")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub struct Way {
    pub url: String,
    open: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    pub fn to(server: &str) -> Self {
        let target = server
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self {
            url: format!("https://{}", listener.local_addr().unwrap()),
            open: Arc::new(AtomicBool::new(true)),
            streams: Arc::default(),
        };
        let accepting = way.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                accepting.join(near, &target);
            }
        });
        way
    }

    fn join(&self, near: TcpStream, target: &str) {
        let Ok(far) = TcpStream::connect(target) else {
            return;
        };
        let both = [(&near, &far), (&far, &near)];
        for (from, to) in both {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.streams.lock().unwrap().push(from.try_clone().unwrap());
            let open = Arc::clone(&self.open);
            std::thread::spawn(move || carry(from, to, &open));
        }
    }

    /// From now on everything vanishes.
    pub fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// New connections go through; those from before the cut are broken.
    pub fn mend(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.open.store(true, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, open: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if open.load(Ordering::SeqCst) && to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
