//! Plain HTTP, written and read by hand, so that tests decide every byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Limits reads to five minutes, longer than any answer takes.
pub fn patient(stream: TcpStream) -> TcpStream {
    stream
        .set_read_timeout(Some(Duration::from_secs(300)))
        .unwrap();
    stream
}

/// Connects to a port of loopback, with retries.
pub fn connect(port: u16) -> TcpStream {
    patient(TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// Sends a complete request to `address`, and reads the answer.
pub fn ask(address: &str, request: &str) -> Reply {
    let mut stream = patient(TcpStream::connect(address).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    reply(&mut BufReader::new(stream))
}

/// Gets `path` from a port of loopback, with additional header lines.
pub fn get(port: u16, path: &str, headers: &str) -> Reply {
    ask(
        &format!("127.0.0.1:{port}"),
        &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{headers}\r\n"),
    )
}

/// Reads one answer.
pub fn reply(reader: &mut impl BufRead) -> Reply {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let n = reader.read_line(&mut head).unwrap();
        assert!(n > 0, "the connection was closed after {head:?}");
    }
    let status = head[9..12].parse().unwrap();
    let field = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted)
                .then(|| value.trim().to_owned())
        })
    };
    let mut body = vec![0; field("content-length").map_or(0, |n| n.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    if field("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Reply {
        status,
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

/// An offset at which the proxy's local ports are free.
pub fn free_offset() -> u16 {
    let seed = std::process::id() as u16
        ^ std::thread::current().name().map_or(0, |n| {
            n.bytes()
                .fold(7u16, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()))
        });
    (0..)
        .map(|step: u16| 20000 + seed.wrapping_add(step * 7) % 30000)
        .find(|offset| {
            [4646, 8500, 1389]
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", port + offset)).is_ok())
        })
        .unwrap()
}

/// A connection upgraded to another protocol.
pub struct Upgraded {
    stream: BufReader<TcpStream>,
}

impl Upgraded {
    /// Requests the upgrade as a browser does.
    pub fn open(port: u16, path: &str) -> Self {
        let mut stream = connect(port);
        let own = format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n");
        let request = format!(
            "GET {path} HTTP/1.1\r\n{own}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let reply = reply(&mut stream);
        assert_eq!(reply.status, 101, "{reply:?}");
        assert!(reply.head.to_lowercase().contains("upgrade: websocket"));
        Self { stream }
    }

    /// Sends a word, and returns the answer, which is as long.
    pub fn say(&mut self, word: &str) -> String {
        self.stream.get_mut().write_all(word.as_bytes()).unwrap();
        let mut heard = vec![0; word.len()];
        self.stream.read_exact(&mut heard).unwrap();
        String::from_utf8(heard).unwrap()
    }
}
