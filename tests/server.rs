//! A server on loopback that is asked in JSON, writes down what it was asked, and does what it is told.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde_json::Value;

/// What the server does with a request.
pub(crate) enum Deed {
    /// Status 200 with this body.
    Reply(String),
    /// This status, with these headers and this body.
    Status(u16, &'static str, &'static str),
    /// Promises more than it sends.
    CutOff,
    /// Says nothing for so long.
    Silence(Duration),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its path, with what stands behind the question mark.
    pub(crate) path: String,
    /// Its body.
    pub(crate) body: Value,
}

impl Asked {
    /// The texts to translate.
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts = self.body["q"].as_array().unwrap();
        texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }
}

/// The server.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Does to the n-th request, from one, what `deed` says.
    pub(crate) fn new(deed: impl Fn(&Asked, usize) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() };
        let (all, deed) = (Arc::clone(&server.asked), Arc::new(deed));
        spawn(move || {
            for stream in listener.incoming() {
                let (all, deed) = (Arc::clone(&all), Arc::clone(&deed));
                spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(asked) = request(&stream) else { return };
                    let number = {
                        let mut all = all.lock().unwrap();
                        all.push(asked.clone());
                        all.len()
                    };
                    // A client that was killed reads nothing.
                    _ = stream.write_all(response(&deed(&asked, number)).as_bytes());
                });
            }
        });
        server
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut line, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if path.is_empty() {
            path = line.split(' ').nth(1)?.to_owned();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, body: serde_json::from_slice(&body).ok()? })
}

fn response(deed: &Deed) -> String {
    let whole = |status: u16, headers: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    };
    match deed {
        Deed::Reply(body) => whole(200, "", body),
        Deed::Status(status, headers, body) => whole(*status, headers, body),
        Deed::CutOff => "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{\"translated".to_owned(),
        Deed::Silence(time) => {
            sleep(*time);
            String::new()
        }
    }
}
