//! A body as a program, for tests that put it into a network namespace of its own.
//!
//! `stand-in-body ADDRESS HTTP MANAGEMENT HYDRABODY [USER PASSWORD]` prints `ready HTTP MANAGEMENT HYDRABODY` (the ports,
//! also those of the kernel's choice for 0) and then obeys lines of standard input:
//!
//! | line | does, and prints |
//! |---|---|
//! | a JSON object | replaces all fault switches: `ok` |
//! | `events` | the events so far, a JSON array |
//! | `max_pairings_at_once` | that number |
//! | `die`, `revive`, `forget_pairings` | `ok` |
//!
//! Anything else prints `error: …`. It ends with its standard input.

use std::env;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use super::{Body, BodyOptions, BodyPorts};

const USAGE: &str = "usage: stand-in-body ADDRESS HTTP MANAGEMENT HYDRABODY [USER PASSWORD]";

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(options) = options(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match Body::start(&options).and_then(|body| obey(&body)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stand-in-body: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Option<BodyOptions> {
    let [ip, http, management, hydrabody, rest @ ..] = arguments else { return None };
    let mut options = BodyOptions::on(ip.parse().ok()?);
    options.ports = BodyPorts {
        http: http.parse().ok()?,
        management: management.parse().ok()?,
        hydrabody: hydrabody.parse().ok()?,
    };
    match rest {
        [] => {}
        [user, password] => (options.user, options.password) = (user.clone(), password.clone()),
        _ => return None,
    }
    Some(options)
}

fn obey(body: &Body) -> io::Result<()> {
    let ports = body.ports();
    say(&format!("ready {} {} {}", ports.http, ports.management, ports.hydrabody))?;
    for line in io::stdin().lock().lines() {
        let answer = carry_out(body, line?.trim()).unwrap_or_else(|error| format!("error: {error}"));
        say(&answer)?;
    }
    Ok(())
}

fn carry_out(body: &Body, line: &str) -> io::Result<String> {
    match line {
        "events" => return serde_json::to_string(&body.events()).map_err(io::Error::from),
        "max_pairings_at_once" => return Ok(body.max_pairings_at_once().to_string()),
        "die" => body.die(),
        "revive" => body.revive()?,
        "forget_pairings" => body.forget_pairings(),
        json => body.set_faults(serde_json::from_str(json)?)?,
    }
    Ok(String::from("ok"))
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
