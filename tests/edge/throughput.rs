//! What a small request costs. Not part of the tests: `cargo test --release --test edge -- --ignored --nocapture`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hydraneckwebrtc::edge::router::Decision;

use crate::support::{TestEdge, forward};

const CONNECTIONS: usize = 128;
const THREADS: usize = 4;
const RUN: Duration = Duration::from_secs(3);

/// Answers with 1 KiB, as fast as a thread per connection can.
fn fast_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n{}",
        "x".repeat(1024)
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let reply = reply.clone();
            std::thread::spawn(move || {
                stream.set_nodelay(true).expect("nodelay");
                let mut part = [0; 4096];
                while stream.read(&mut part).is_ok_and(|n| n > 0)
                    && stream.write_all(reply.as_bytes()).is_ok()
                {}
            });
        }
    });
    address
}

/// Requests per run; each thread keeps all its connections busy.
fn load(address: SocketAddr) -> usize {
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            std::thread::spawn(move || {
                let connect = |_| TcpStream::connect(address).expect("connected");
                let mut streams: Vec<_> = (0..CONNECTIONS / THREADS).map(connect).collect();
                let (mut done, end, mut part) = (0, Instant::now() + RUN, [0; 4096]);
                while Instant::now() < end {
                    for stream in &mut streams {
                        let request = b"GET /session/x/file.js HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";
                        stream.write_all(request).expect("sent");
                    }
                    for stream in &mut streams {
                        let mut got = 0;
                        while got < 1024 {
                            let n = stream.read(&mut part).expect("a reply");
                            assert!(n > 0, "the connection is kept");
                            got += n;
                        }
                        done += 1;
                    }
                }
                done
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("loaded")).sum()
}

/// CPU time of the edge's threads so far.
fn edge_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        if name.starts_with("edge-") { schedstat.split(' ').next()?.parse::<u64>().ok() } else { None }
    });
    Duration::from_nanos(nanoseconds.sum())
}

#[test]
#[ignore = "a measurement"]
fn a_small_request_is_cheap() {
    let to = fast_upstream();
    let edge = TestEdge::with(
        |config| config.settings.requests_per_connection = u32::MAX,
        move |_| Decision::Forward(forward(to)),
    );
    let before = edge_cpu();
    let done = load(edge.edge().local_addr());
    let cpu = edge_cpu() - before;
    let direct = load(to);
    let seconds = RUN.as_secs_f64();
    println!("through the edge {:.0}/s, direct {:.0}/s", done as f64 / seconds, direct as f64 / seconds);
    println!("CPU of the edge per request: {:.1} us", cpu.as_secs_f64() * 1e6 / done as f64);
}
