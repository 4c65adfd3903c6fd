//! What a process has: descriptors, and the ports of its machine.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Pid;

/// A port that is listened on, as the kernel lists it: the protocol, and the address in its hexadecimal digits, without a port that the
/// kernel chose.
pub type Port = (&'static str, String);

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default()
}

/// Every port that somebody listens on, on the machine of this process, in order.
pub fn ports(pid: u32) -> Vec<Port> {
    const LISTENS: &str = "0A";
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
        for row in text.lines().skip(1) {
            let mut fields = row.split_whitespace().skip(1);
            let (Some(local), Some(state)) = (fields.next(), fields.nth(1)) else { continue };
            if protocol.starts_with("tcp") && state != LISTENS {
                continue;
            }
            // What is bound to no address in particular has a port of the kernel's choice: another one in each process.
            let (ip, _) = local.split_once(':').unwrap_or((local, ""));
            let is_chosen = protocol.starts_with("udp") && ip.chars().all(|digit| digit == '0');
            found.push((protocol, if is_chosen { ip.to_owned() } else { local.to_owned() }));
        }
    }
    found.sort_unstable();
    found
}

/// Every process that this one sees, by its name and state: in a namespace of our own, all that was started here.
pub fn processes() -> BTreeMap<i32, String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        Some((pid, format!("{} {}", name.split_once('(')?.1, rest.split(' ').next()?)))
    })
    .collect()
}

/// SIGKILL to a whole group, which may have ended by itself.
pub fn kill_group(pid: i32) {
    let _ =
        Pid::from_raw(pid).map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::KILL));
}
