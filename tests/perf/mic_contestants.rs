//! The contestants of the microphone benchmark: the product's media thread and a plain forwarder, each a process of its own, and
//! nothing at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hydraneckwebrtc::config::settings::{Role, Settings};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::Media;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::mic::Mic;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::sdp::Offer;
use serde_json::{Value, json};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Input, Output};

use crate::browser::Browser;

/// Sound per packet: Opus at 40 kbit/s.
const PAYLOAD: usize = 100;

/// A browser looks for answers each so many packets: five times a second.
const LISTENS_EVERY: u64 = 10;

/// Those that are connected answer after so many more were connected: a silent one would be gone after half a minute.
const BREATHES_EVERY: usize = 50;

/// Everything connects within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time of day, on the clock that the kernel notes arrivals by.
pub fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    u64::try_from(since.as_nanos()).expect("before the year 2554")
}

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody.
    Direct,
    /// recvfrom and sendto.
    Plain,
    /// The product.
    Neck,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Plain => "plain",
            Kind::Neck => "neck",
        }
    }
}

/// A forwarder and those who talk to it.
pub struct Contestant {
    pub kind: Kind,
    pub mics: Mics,
    child: Option<Child>,
}

/// Microphones of one kind.
pub enum Mics {
    /// Plain packets to one address.
    Plain { sockets: Vec<UdpSocket>, to: SocketAddr, turn: usize, sequence: u16 },
    /// Browsers.
    Real { browsers: Vec<Browser>, turn: usize, sequence: u64 },
}

impl Contestant {
    pub fn start(kind: Kind, count: usize, ear: SocketAddr) -> Contestant {
        if kind == Kind::Direct {
            return Contestant { kind, mics: plain(count, ear), child: None };
        }
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--serve", kind.name(), &ear.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program again");
        let mut input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mics = match kind {
            Kind::Neck => connect(count, &mut input, &mut output),
            _ => plain(count, line(&mut output).trim().parse().expect("an address")),
        };
        // Its input stays open as long as it lives.
        child.stdin = Some(input);
        Contestant { kind, mics, child: Some(child) }
    }

    /// CPU of the forwarder so far, user and system, of all its threads.
    pub fn cpu(&self) -> Duration {
        let Some(child) = &self.child else { return Duration::ZERO };
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("its threads").flatten();
        let spent = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut text = String::new();
    output.read_line(&mut text).expect("a line");
    text
}

fn plain(count: usize, to: SocketAddr) -> Mics {
    let sockets = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    Mics::Plain { sockets, to, turn: 0, sequence: 0 }
}

fn connect(count: usize, input: &mut ChildStdin, output: &mut BufReader<ChildStdout>) -> Mics {
    let mut browsers: Vec<Browser> = Vec::new();
    for index in 1..=count {
        let (mut browser, offer) = Browser::offering("127.0.0.1");
        writeln!(input, "{}", json!({ "sdp": offer })).expect("its input");
        let answer: Value = serde_json::from_str(&line(output)).expect("an answer");
        browser.accept(answer["sdp"].as_str().expect("SDP"));
        assert!(browser.run(PATIENCE, |browser| browser.connected), "not connected");
        browser.sent = Vec::new();
        browser.socket.set_nonblocking(true).expect("no waiting");
        browsers.push(browser);
        if index % BREATHES_EVERY == 0 || index == count {
            browsers.iter_mut().for_each(breathe);
        }
    }
    Mics::Real { browsers, turn: 0, sequence: 0 }
}

fn payload() -> Vec<u8> {
    // The first byte is that of Opus: one frame of 20 ms. What is no Opus is not passed on.
    let mut payload = vec![31 << 3; PAYLOAD];
    payload[1..9].copy_from_slice(&nanos().to_be_bytes());
    payload
}

impl Mics {
    pub fn count(&self) -> usize {
        match self {
            Mics::Plain { sockets, .. } => sockets.len(),
            Mics::Real { browsers, .. } => browsers.len(),
        }
    }

    /// The next microphone in turn says a packet.
    pub fn say_next(&mut self) {
        match self {
            Mics::Plain { sockets, to, turn, sequence } => {
                let mut packet = vec![0x80, 111];
                packet.extend(sequence.to_be_bytes());
                packet.extend([0; 8]);
                packet.extend(payload());
                let _ = sockets[*turn].send_to(&packet, *to);
                *turn = (*turn + 1) % sockets.len();
                *sequence = sequence.wrapping_add(u16::from(*turn == 0));
            }
            Mics::Real { browsers, turn, sequence } => {
                say(&mut browsers[*turn], *sequence);
                *turn = (*turn + 1) % browsers.len();
                *sequence += u64::from(*turn == 0);
            }
        }
    }
}

fn say(browser: &mut Browser, sequence: u64) {
    let now = Instant::now();
    let time = u32::try_from(sequence * 960 % (1 << 32)).expect("a timestamp");
    let pt = browser.rtc.media(browser.mid).expect("its media").remote_pts()[0];
    let packet = RtpWrite::new(pt, (sequence + 1).into(), time, now, payload());
    browser.rtc.direct_api().stream_tx_by_mid(browser.mid, None).expect("its stream").write_rtp(packet);
    browser.rtc.handle_input(Input::Timeout(now)).expect("time passes");
    drain(browser);
    if sequence.is_multiple_of(LISTENS_EVERY) {
        listen(browser);
    }
}

/// Answers what it was asked and asks what it has to, so that it counts as there.
fn breathe(browser: &mut Browser) {
    listen(browser);
    browser.rtc.handle_input(Input::Timeout(Instant::now())).expect("time passes");
    drain(browser);
}

fn listen(browser: &mut Browser) {
    let local = browser.socket.local_addr().expect("its address");
    let mut buffer = [0u8; 2_000];
    while let Ok((length, source)) = browser.socket.recv_from(&mut buffer) {
        if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..length]) {
            browser.rtc.handle_input(Input::Receive(Instant::now(), receive)).expect("a datagram");
            drain(browser);
        }
    }
}

fn drain(browser: &mut Browser) {
    loop {
        match browser.rtc.poll_output().expect("output") {
            Output::Timeout(_) => return,
            Output::Transmit(out) => drop(browser.socket.send_to(&out.contents, out.destination)),
            Output::Event(_) => {}
        }
    }
}

/// What this program is when it starts itself again. Ends with its parent.
pub fn serve(kind: &str, ear: &str) {
    let ear: SocketAddr = ear.parse().expect("an address");
    match kind {
        "neck" => neck(ear),
        _ => forward(ear),
    }
}

fn forward(ear: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20);
    println!("{}", socket.local_addr().expect("its address"));
    let work = move || {
        let mut packet = [0u8; 2_000];
        while let Ok(length) = socket.recv(&mut packet) {
            let _ = socket.send_to(&packet[..length], ear);
        }
    };
    std::thread::Builder::new().name("forward".into()).spawn(work).expect("a thread");
    let _ = std::io::stdin().read(&mut [0; 1]);
}

fn neck(ear: SocketAddr) {
    let mut settings = Settings::defaults(Role::Worker);
    settings.webrtc.udpmux = Some(0);
    settings.webrtc.threads = 1;
    settings.webrtc.max_peers = 10_000;
    let pulses = Pulses::new();
    let (media, threads) = Media::start(MediaConfig::new(&settings), &pulses).expect("a media thread");
    for (number, line) in (0u128..).zip(std::io::stdin().lines().map_while(Result::ok)) {
        let offer: Value = serde_json::from_str(&line).expect("an offer");
        let session = SessionId::from_entropy(number.to_be_bytes());
        let role = Box::new(Mic::new(ear, u32::try_from(number).expect("few")));
        let sdp = offer["sdp"].as_str().expect("SDP");
        let accepted = media
            .offer(Wanted { session, role, offer: Offer::read(sdp).expect("an offer") })
            .expect("an answer");
        println!("{}", json!({ "sdp": accepted.answer }));
    }
    threads.stop(Duration::from_secs(5));
}
