//! What the kernel refuses to a child: files by Landlock, signals and abstract sockets by its scopes, and a few system calls
//! that neither covers by seccomp. All of it also holds for whatever the child starts.
//!
//! Landlock (Linux 5.13) knows files by open(2), rename(2) and the like, and forbids to trace processes outside. Not by
//! chmod(2) or setxattr(2), and nothing of limits and priorities of other processes of the same user: hence the filter.
//! Streams need any address, so the network stays open, but for ports to listen on (Linux 6.7) where they are known.
//!
//! The parent builds a [`Sandbox`]; the forked child enters it with system calls only. Beside `host::process` and
//! `host::activation` this is the only module with `unsafe`: system calls that no crate of ours offers.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::OnceLock;

use libc::{c_int, c_long, c_ulong, sock_filter};
use rustix::fs::{Mode, OFlags};

use crate::core::confinement::{Access, Confinement, Grant};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
/// Since version 2: renames and links between directories.
const REFER: u64 = 1 << 13;
/// Since version 3.
const TRUNCATE: u64 = 1 << 14;
/// Since version 5.
const IOCTL_DEV: u64 = 1 << 15;

/// What a rule for a file, not a directory, may hold.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

/// Everything of version 1.
const FIRST: u64 = EXECUTE
    | WRITE_FILE
    | READ_FILE
    | READ_DIR
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_CHAR
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_BLOCK
    | MAKE_SYM;

/// Since version 6: no abstract socket and no process outside can be reached.
const SCOPES: u64 = 0b11;
const SCOPES_SINCE: u32 = 6;

/// Asks for the version instead of making a ruleset.
const VERSION: c_ulong = 1;

/// A rule for a path and what is below it.
const PATH_BENEATH: c_long = 1;

/// A rule for a port.
const NET_PORT: c_long = 2;

/// Since version 4: bind(2) of TCP sockets. Where the kernel picks the port, it asks for port 0.
const BIND_TCP: u64 = 1;
const BIND_TCP_SINCE: u32 = 4;
const PICKED: u16 = 0;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: c_int,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// What this kernel offers, looked up once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Landlock's version; 0: there is none.
    pub landlock: u32,
    /// Why there is none, as errno.
    pub missing: Option<i32>,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
}

impl Support {
    /// Of this kernel.
    pub fn of_this_kernel() -> Support {
        static SUPPORT: OnceLock<Support> = OnceLock::new();
        *SUPPORT.get_or_init(|| {
            let (landlock, missing) = match landlock_version() {
                Ok(version) => (version, None),
                Err(error) => (0, error.raw_os_error()),
            };
            Support { landlock, missing, seccomp: can_filter() }
        })
    }

    /// Whether a child can be kept from signalling us.
    pub fn scopes_signals(self) -> bool {
        self.landlock >= SCOPES_SINCE
    }

    /// What of the confinement is missing here, in words; `None`: nothing that matters.
    pub fn lacks(self) -> Option<String> {
        if self.landlock == 0 {
            let why = self.missing.map(io::Error::from_raw_os_error).map(|error| format!(": {error}"));
            return Some(format!(
                "the kernel offers no Landlock (5.13 has it, `lsm=` may switch it off{}): stream processes can read what this user can",
                why.unwrap_or_default()
            ));
        }
        if !self.scopes_signals() {
            return Some(format!(
                "Landlock of this kernel is of version {}, and 6 (Linux 6.12) is needed to keep stream processes from signalling the worker",
                self.landlock
            ));
        }
        (!self.seccomp).then(|| "the kernel cannot filter system calls (seccomp)".to_owned())
    }

    /// The rights to files that Landlock knows here.
    fn files(self) -> u64 {
        let since = |version: u32, right: u64| if self.landlock >= version { right } else { 0 };
        FIRST | since(2, REFER) | since(3, TRUNCATE) | since(5, IOCTL_DEV)
    }
}

/// The rights of a grant.
fn rights(access: Access) -> u64 {
    match access {
        Access::Read => READ_FILE | READ_DIR,
        Access::Run => READ_FILE | READ_DIR | EXECUTE,
        Access::Use => READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV,
        Access::Own => {
            READ_FILE
                | READ_DIR
                | WRITE_FILE
                | TRUNCATE
                | REFER
                | REMOVE_DIR
                | REMOVE_FILE
                | MAKE_DIR
                | MAKE_REG
                | MAKE_SOCK
                | MAKE_FIFO
                | MAKE_SYM
        }
    }
}

/// What a child is to enter.
#[derive(Debug)]
pub struct Sandbox {
    ruleset: Option<OwnedFd>,
    rights: u64,
    filter: Vec<sock_filter>,
}

impl Sandbox {
    /// A sandbox in which these paths and this port are open; paths that do not exist are skipped.
    pub fn build(confined_to: &Confinement) -> io::Result<Sandbox> {
        let support = Support::of_this_kernel();
        let filter = if support.seccomp { filter() } else { Vec::new() };
        let rights = support.files();
        let port = confined_to.port.filter(|_| support.landlock >= BIND_TCP_SINCE);
        let network = if port.is_some() { BIND_TCP } else { 0 };
        let ruleset = if support.landlock == 0 { None } else { Some(ruleset(support, network)?) };
        if let Some(ruleset) = &ruleset {
            for grant in &confined_to.files {
                open(ruleset, grant, rights)?;
            }
            for port in port.into_iter().flat_map(|port| [port, PICKED]) {
                add_port(ruleset, port)?;
            }
        }
        Ok(Sandbox { ruleset, rights, filter })
    }

    /// Enters it, for good. In a forked child that cannot gain privileges any more: system calls only.
    pub fn enter(&self) -> io::Result<()> {
        if let Some(ruleset) = &self.ruleset {
            // Which directory this is nobody knew before the fork. Without it a child has less to read about itself.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            if let Ok(own) = rustix::fs::open(c"/proc/self", flags, Mode::empty()) {
                add_rule(ruleset, own.as_raw_fd(), rights(Access::Read) & self.rights)?;
            }
            restrict(ruleset)?;
        }
        install(&self.filter)
    }
}

/// Opens one path.
fn open(ruleset: &OwnedFd, grant: &Grant, known: u64) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(path) = rustix::fs::open(&grant.path, flags, Mode::empty()) else { return Ok(()) };
    let path = File::from(path);
    // What was opened is asked for its name: openat2(2), which can refuse links, is taken away by systemd (`RestrictSUIDSGID=`).
    let name = || std::fs::read_link(format!("/proc/self/fd/{}", path.as_raw_fd()));
    if !grant.links && !name().is_ok_and(|name| name == grant.path) {
        return Ok(());
    }
    let kind = path.metadata()?.file_type();
    let mut allowed = rights(grant.access) & known;
    if !kind.is_dir() {
        allowed &= OF_FILES;
    }
    if !kind.is_dir() && !kind.is_char_device() && !kind.is_block_device() {
        allowed &= !IOCTL_DEV;
    }
    add_rule(ruleset, path.as_raw_fd(), allowed)
}

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[allow(unsafe_code)]
fn landlock_version() -> io::Result<u32> {
    // SAFETY: no attributes are read when the version is asked for.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    Ok(u32::try_from(checked(version)?).unwrap_or(0))
}

#[allow(unsafe_code)]
fn ruleset(support: Support, network: u64) -> io::Result<OwnedFd> {
    let scoped = if support.scopes_signals() { SCOPES } else { 0 };
    // Older kernels take the longer structure when what they do not know is zero.
    let attributes = RulesetAttributes { files: support.files(), network, scoped };
    let (pointer, size) = (&raw const attributes, size_of::<RulesetAttributes>());
    // SAFETY: the structure is what the call expects, of the size that is told, and lives during the call.
    let made = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, pointer, size, 0 as c_ulong) };
    let made = RawFd::try_from(checked(made)?).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave us this descriptor, close-on-exec, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

#[allow(unsafe_code)]
fn add_rule(ruleset: &OwnedFd, parent: RawFd, allowed: u64) -> io::Result<()> {
    let rule = PathBeneath { allowed, parent };
    let (set, pointer) = (ruleset.as_raw_fd(), &raw const rule);
    // SAFETY: the structure is that of this kind of rule and lives during the call.
    checked(unsafe { libc::syscall(libc::SYS_landlock_add_rule, set, PATH_BENEATH, pointer, 0 as c_ulong) })?;
    Ok(())
}

#[allow(unsafe_code)]
fn add_port(ruleset: &OwnedFd, port: u16) -> io::Result<()> {
    let rule = NetPort { allowed: BIND_TCP, port: port.into() };
    let (set, pointer) = (ruleset.as_raw_fd(), &raw const rule);
    // SAFETY: the structure is that of this kind of rule and lives during the call.
    checked(unsafe { libc::syscall(libc::SYS_landlock_add_rule, set, NET_PORT, pointer, 0 as c_ulong) })?;
    Ok(())
}

#[allow(unsafe_code)]
fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: a plain system call without pointers.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0 as c_ulong) })?;
    Ok(())
}

/// Whether the kernel takes filters: without one it has something against the pointer, not against the request.
#[allow(unsafe_code)]
fn can_filter() -> bool {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel refuses the null pointer with EFAULT.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, c_ulong::from(libc::SECCOMP_MODE_FILTER), nothing) };
    ARCHITECTURE.is_some() && result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[allow(unsafe_code)]
fn install(filter: &[sock_filter]) -> io::Result<()> {
    if filter.is_empty() {
        return Ok(());
    }
    let len =
        libc::c_ushort::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let mode = c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: program and filter live during the call, which only reads them.
    checked(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) }.into())?;
    Ok(())
}

/// This machine's architecture as the kernel numbers it (linux/audit.h); `None`: no filter is made.
const ARCHITECTURE: Option<u32> = match cfg!(target_endian = "little") {
    true if cfg!(target_arch = "x86_64") => Some(0xc000_003e),
    true if cfg!(target_arch = "aarch64") => Some(0xc000_00b7),
    _ => None,
};

/// System calls with numbers from here on are those of x32, which would pass by our numbers.
const X32: u32 = 0x4000_0000;

/// Refused with EPERM. Modes and owners by path, because Landlock does not look at them: a child could lock us out of our own
/// state, or open it to everybody. Priorities and processors, because they reach every process of the user, and systemd's
/// unit refuses them as well. io_uring, because filters do not see what it does.
const REFUSED: &[c_long] = &[
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_io_uring_setup,
    // fchmodat2, setxattrat, removexattrat, file_setattr: one number everywhere, and newer than our libraries.
    452,
    463,
    466,
    469,
];

/// What older architectures have besides.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Where `struct seccomp_data` has the number, the architecture, and the lower half of the first argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // The codes of classic BPF have sixteen bits.
    sock_filter { code: code as u16, jt, jf, k }
}

/// The filter: what is refused, prlimit(2) of other processes, and everything of another architecture.
fn filter() -> Vec<sock_filter> {
    let Some(architecture) = ARCHITECTURE else { return Vec::new() };
    let mut program = vec![
        step(LOAD, ARCH, 0, 0),
        step(EQUAL, architecture, 1, 0),
        step(RETURN, REFUSE, 0, 0),
        step(LOAD, NUMBER, 0, 0),
        step(AT_LEAST, X32, 0, 1),
        step(RETURN, REFUSE, 0, 0),
    ];
    for number in REFUSED.iter().chain(REFUSED_HERE) {
        // Numbers of system calls are small.
        program.extend([step(EQUAL, *number as u32, 0, 1), step(RETURN, REFUSE, 0, 0)]);
    }
    program.extend([
        step(EQUAL, libc::SYS_prlimit64 as u32, 0, 3),
        step(LOAD, FIRST_ARGUMENT, 0, 0),
        step(EQUAL, 0, 1, 0),
        step(RETURN, REFUSE, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_said() {
        let of = |landlock| Support { landlock, missing: Some(libc::ENOSYS), seccomp: true };
        assert!(of(0).lacks().is_some_and(|text| text.contains("no Landlock")), "{:?}", of(0).lacks());
        assert!(of(5).lacks().is_some_and(|text| text.contains("version 5")), "{:?}", of(5).lacks());
        assert_eq!(of(6).lacks(), None);
        println!("this kernel: {:?}", Support::of_this_kernel());
    }

    #[test]
    fn rights_that_a_kernel_does_not_know_are_not_asked_for() {
        let files = |landlock| Support { landlock, missing: None, seccomp: true }.files();
        assert_eq!(files(1), FIRST);
        assert_eq!(files(2), FIRST | REFER);
        assert_eq!(files(4), FIRST | REFER | TRUNCATE);
        assert_eq!(files(7), (1 << 16) - 1);
    }

    #[test]
    fn only_its_own_directory_may_be_changed_and_nothing_in_it_run() {
        assert_eq!(rights(Access::Own) & (EXECUTE | MAKE_CHAR | MAKE_BLOCK), 0);
        for access in [Access::Read, Access::Run] {
            let changing = !(EXECUTE | READ_FILE | READ_DIR);
            assert_eq!(rights(access) & changing, 0, "{access:?}");
        }
    }
}
