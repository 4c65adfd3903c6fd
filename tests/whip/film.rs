//! What a publisher sends in tests: picture and sound of real FFmpeg, passed on packet by packet by a client of str0m.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use hydraneckwebrtc::media::rtp::packet;

use crate::client::Client;

/// FFmpeg that sends VP8 or H264, and Opus, to two sockets of ours, with a key frame each second: nobody can ask it for one.
pub struct Film {
    process: Child,
    video: UdpSocket,
    audio: UdpSocket,
    sent: [u64; 2],
}

impl Film {
    /// VP8.
    pub fn start() -> Film {
        Film::encoded(&["libvpx", "-deadline", "realtime", "-cpu-used", "8"])
    }

    /// H264, as browsers make it.
    pub fn of_h264() -> Film {
        Film::encoded(&[
            "libx264",
            "-profile:v",
            "baseline",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-pix_fmt",
            "yuv420p",
        ])
    }

    /// H264 made in this way.
    pub fn of_h264_with(more: &[&str]) -> Film {
        let usual = ["libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
        Film::encoded(&[&usual[..], more].concat())
    }

    fn encoded(encoder: &[&str]) -> Film {
        let [video, audio] = [0; 2].map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_nonblocking(true).expect("nonblocking");
            socket
        });
        let to = |socket: &UdpSocket| {
            let port = socket.local_addr().expect("an address").port();
            format!("rtp://127.0.0.1:{port}?rtcpport={port}&pkt_size=1100")
        };
        let process = Command::new("/usr/bin/ffmpeg")
            .args([
                "-loglevel",
                "error",
                "-nostdin",
                "-re",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=160x90:rate=15",
            ])
            .args(["-re", "-f", "lavfi", "-i", "sine=frequency=440", "-map", "0:v", "-c:v"])
            .args(encoder)
            .args(["-b:v", "200k", "-g", "15", "-f", "rtp", &to(&video)])
            .args(["-map", "1:a", "-c:a", "libopus", "-f", "rtp", &to(&audio)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg");
        Film { process, video, audio, sent: [1, 1] }
    }

    /// Passes on what there is.
    pub fn play(&mut self, publisher: &mut Client) {
        let mids = [publisher.video, publisher.audio];
        let mut room = [0; 2048];
        for ((socket, mid), sent) in [&self.video, &self.audio].into_iter().zip(mids).zip(&mut self.sent) {
            while let Ok(length) = socket.recv(&mut room) {
                let Some(packet) = packet::parse(&room[..length]) else { continue };
                publisher.write(mid, *sent, packet.timestamp, packet.marker, packet.payload.to_vec());
                *sent += 1;
            }
        }
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
