//! Is there a WireGuard interface? By link type in sysfs, or by the UAPI socket of a userspace implementation.

use std::fs;
use std::path::{Path, PathBuf};

/// Where to look; another root in tests.
#[derive(Clone, Debug)]
pub struct WireGuard {
    links: PathBuf,
    sockets: PathBuf,
}

impl Default for WireGuard {
    fn default() -> WireGuard {
        WireGuard::below(Path::new("/"))
    }
}

impl WireGuard {
    /// Looks below `root` instead of `/`.
    pub fn below(root: &Path) -> WireGuard {
        WireGuard { links: root.join("sys/class/net"), sockets: root.join("var/run/wireguard") }
    }

    /// Whether an interface exists now.
    pub fn is_there(&self) -> bool {
        self.interfaces().next().is_some()
    }

    /// The interfaces by their names: those of the kernel, then those of userspace.
    pub fn interfaces(&self) -> impl Iterator<Item = String> {
        let kernel = entries(&self.links).filter(|link| is_wireguard(&link.join("uevent")));
        let is_socket = |socket: &PathBuf| socket.extension().is_some_and(|ext| ext == "sock");
        let userspace = entries(&self.sockets).filter(is_socket);
        let name = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
        kernel.chain(userspace).filter_map(name)
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_wireguard(uevent: &Path) -> bool {
    fs::read_to_string(uevent).is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=wireguard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 9: WireGuard is seen by link type or userspace socket
    #[test]
    fn kernel_links_and_userspace_sockets_are_found() {
        let root = std::env::temp_dir().join(format!("neck-wg-{:016x}", crate::host::entropy::number()));
        let wireguard = WireGuard::below(&root);
        assert!(!wireguard.is_there(), "nothing is there yet");
        fs::create_dir_all(root.join("sys/class/net/eth0")).unwrap();
        fs::write(root.join("sys/class/net/eth0/uevent"), "INTERFACE=eth0\nIFINDEX=2\n").unwrap();
        assert!(!wireguard.is_there(), "an Ethernet link is no WireGuard");
        fs::create_dir_all(root.join("sys/class/net/wg0")).unwrap();
        fs::write(root.join("sys/class/net/wg0/uevent"), "DEVTYPE=wireguard\nINTERFACE=wg0\n").unwrap();
        assert!(wireguard.is_there());
        assert_eq!(wireguard.interfaces().collect::<Vec<_>>(), ["wg0"]);
        fs::remove_dir_all(root.join("sys")).unwrap();
        fs::create_dir_all(root.join("var/run/wireguard")).unwrap();
        fs::write(root.join("var/run/wireguard/wg1.sock"), "").unwrap();
        assert!(wireguard.is_there());
        fs::remove_dir_all(root).unwrap();
    }
}
