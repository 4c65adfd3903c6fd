//! The node script that drives Chromium on the browser's host.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::net::{BROWSER, Net};

/// No command takes longer: the longest waits 20 s for a connection.
const PATIENCE: Duration = Duration::from_secs(60);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A Chromium.
pub struct Browser {
    node: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// Why there is no browser here; `None`: there is one.
pub fn missing() -> Option<&'static str> {
    if !works(Command::new("node").arg("--version")) {
        return Some("node is not installed");
    }
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Some("Chromium is not installed");
    }
    let directory = Path::new(ROOT).join("tests/browser");
    let there = || directory.join("node_modules/playwright-core/index.mjs").exists();
    if !there() {
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
        works(install.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"));
    }
    (!there()).then_some("playwright-core cannot be had (npm ci in tests/browser)")
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Browser {
    /// Chromium on the browser's host, whose microphone plays `wav`; pages of these origins may use it.
    pub fn start(net: &Net, wav: &Path, origins: &[&str]) -> Browser {
        let mut node = net
            .command(BROWSER, "node")
            .arg(Path::new(ROOT).join("tests/mic_acceptance/browser.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let output = BufReader::new(node.stdout.take().expect("its output"));
        let (heard, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { stdin: node.stdin.take(), node, answers };
        browser.ask("launch", json!({"wav": wav, "origins": origins}));
        browser
    }

    /// One command; its answer.
    pub fn ask(&mut self, command: &str, mut options: Value) -> Value {
        options["command"] = json!(command);
        let stdin = self.stdin.as_mut().expect("it listens");
        writeln!(stdin, "{options}").expect("it hears us");
        let line = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {command}"));
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes Chromium and removes its profile when its stdin ends.
        drop(self.stdin.take());
        let _ = self.answers.recv_timeout(Duration::from_secs(10));
        for _ in 0..500 {
            if self.node.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
