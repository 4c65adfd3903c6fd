//! A test that has a process to itself: memory is that of a whole process.

use std::process::Command;

/// Tells the inner run that it is one.
const INNER: &str = "NECK_ROOMS_INNER";

/// Runs `work` where no other test runs, by running `test` again in a process of its own.
pub fn alone(test: &str, work: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return work();
    }
    let inner = Command::new(std::env::current_exe().expect("our path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INNER, "1")
        .output()
        .expect("the inner run");
    let (said, errors) = (String::from_utf8_lossy(&inner.stdout), String::from_utf8_lossy(&inner.stderr));
    println!("{said}{errors}");
    assert!(inner.status.success(), "the inner run of {test} failed: {}", inner.status);
    assert!(said.contains("1 passed"), "there is no test {test}");
}
