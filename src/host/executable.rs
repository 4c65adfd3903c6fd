//! Whether this host could start a program, by the beginning of its file: for which processor it was built, and which loader or
//! interpreter it needs. Nothing is run.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of a file that are looked at: the names of loaders and interpreters stand in them.
const HEAD: u64 = 4096;

/// A program header that names the loader (elf(5)).
const PT_INTERP: u32 = 3;

/// Processors, as ELF numbers them.
const PROCESSORS: [(u16, &str); 6] =
    [(3, "x86"), (40, "ARM"), (62, "x86-64"), (183, "ARM 64"), (21, "PowerPC 64"), (243, "RISC-V")];

/// Processors that may run what was built for another one.
const ALSO: [(u16, u16); 2] = [(62, 3), (183, 40)];

/// Why the kernel would not start it. `None`: it would, as far as can be seen.
pub fn hindrance(program: &Path) -> Option<String> {
    let head = head_of(program)?;
    if head.starts_with(b"\x7fELF") {
        let own = head_of(Path::new("/proc/self/exe"))?;
        of_processor(&head, &own).or_else(|| of_loader(&head))
    } else {
        of_script(&head)
    }
}

fn head_of(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

fn of_processor(head: &[u8], own: &[u8]) -> Option<String> {
    let (theirs, ours) = (number(head, 18, 2)? as u16, number(own, 18, 2)? as u16);
    if theirs == ours || ALSO.contains(&(ours, theirs)) || is_emulated() {
        return None;
    }
    let name = |wanted: u16| {
        let known = PROCESSORS.iter().find(|(number, _)| *number == wanted);
        known.map_or_else(|| format!("processors of kind {wanted}"), |(_, name)| (*name).to_owned())
    };
    Some(format!("is built for {}, and this host's processor is {}", name(theirs), name(ours)))
}

/// Whether something is registered that runs programs of other processors (binfmt_misc).
fn is_emulated() -> bool {
    let registered = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    registered.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("qemu"))
}

fn of_loader(head: &[u8]) -> Option<String> {
    // Where the headers' table begins, how large one is, how many there are; in one, where the name is and how long.
    let (table, each, count, at, length, width) = match head.get(4)? {
        1 => (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?, 4, 16, 4),
        2 => (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?, 8, 32, 8),
        _ => return None,
    };
    let headers = (0..count).map_while(|index| head.get(usize::try_from(table + index * each).ok()?..));
    let loader =
        headers.filter(|header| number(header, 0, 4) == Some(u64::from(PT_INTERP))).find_map(|header| {
            let begin = usize::try_from(number(header, at, width)?).ok()?;
            let length = usize::try_from(number(header, length, width)?).ok()?;
            head.get(begin..begin.checked_add(length)?)?.split(|byte| *byte == 0).next()
        })?;
    let loader = std::str::from_utf8(loader).ok().filter(|loader| !Path::new(loader).exists())?;
    Some(format!("needs the loader {loader:?}, which is missing: it is built for another system"))
}

/// A little-endian number, as all processors have it that we are built for.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let digits = bytes.get(at..at.checked_add(width)?)?;
    Some(digits.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn of_script(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
    let interpreter = line.split([' ', '\t']).next().filter(|name| name.starts_with('/'))?;
    if Path::new(interpreter).exists() {
        return None;
    }
    let lines = if line.ends_with('\r') { ": its lines end as on Windows" } else { "" };
    Some(format!("is a script for {interpreter:?}, which is missing{lines}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a program of our own kind that names this loader.
    fn program(loader: &str) -> Vec<u8> {
        let mut head = vec![0; 120];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let own = head_of(Path::new("/proc/self/exe")).expect("our own program");
        head[18..20].copy_from_slice(&own[18..20]);
        for (at, value) in [(32, 64u64), (64 + 8, 120), (64 + 32, loader.len() as u64 + 1)] {
            head[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        (head[54], head[56], head[64]) = (56, 1, 3);
        head.extend(loader.bytes().chain([0]));
        head
    }

    fn said(content: &[u8]) -> Option<String> {
        let path = std::env::temp_dir().join(format!("neck-program-{:016x}", crate::host::entropy::number()));
        std::fs::write(&path, content).expect("a file");
        let found = hindrance(&path);
        std::fs::remove_file(path).expect("removed");
        found
    }

    #[test]
    fn what_this_host_could_not_start_is_told() {
        let mut foreign = program("/lib/ld.so");
        foreign[18..20].copy_from_slice(&[243, 0]);
        let foreign =
            if is_emulated() { None } else { Some((foreign, "is built for RISC-V, and this host's")) };
        let rows = [
            (program("/lib/ld-none.so.1"), "needs the loader \"/lib/ld-none.so.1\", which is missing"),
            (b"#!/nonexistent/node\n".to_vec(), "is a script for \"/nonexistent/node\", which is missing"),
            (b"#! /bin/sh\r\nexit 0\r\n".to_vec(), "its lines end as on Windows"),
        ];
        for (content, words) in rows.into_iter().chain(foreign) {
            let found = said(&content);
            assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{words}: {found:?}");
        }
    }

    #[test]
    fn what_could_be_started_or_cannot_be_judged_is_left_alone() {
        assert_eq!(hindrance(Path::new("/proc/self/exe")), None);
        assert_eq!(hindrance(Path::new("/nonexistent")), None);
        let cut: Vec<Vec<u8>> =
            (0..program("/lib/x").len()).map(|end| program("/lib/x")[..end].to_vec()).collect();
        for content in
            [b"#!/bin/sh -e\n".to_vec(), b"#!".to_vec(), b"\x7fELF".to_vec(), vec![0xff; 9000], Vec::new()]
                .into_iter()
                .chain(cut)
        {
            let found = said(&content);
            assert!(found.is_none(), "{content:?}: {found:?}");
        }
    }
}
