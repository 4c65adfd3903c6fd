// Two machines: network namespaces with a veth between them. What listens in `far` is visited from `near`.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Of the machines, by name: 198.51.100.0/24 is nobody's (RFC 5737), and never leaves the namespaces. */
export const ADDRESSES = { near: "198.51.100.1", far: "198.51.100.2" };
export const ADDRESSES_6 = { near: "fd99::1", far: "fd99::2" };

const ip = (...args) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] });

/** `null` where namespaces are refused; `close()` removes them. `inside(side, program, …args)` is a command in one. */
export function makeNetwork() {
    const id = process.pid;
    const names = { near: `neckbn${id}`, far: `neckbf${id}` };
    const made = [];
    const close = () => made.forEach(name => ip("netns", "del", name));
    try {
        for (const name of Object.values(names)) {
            ip("netns", "add", name);
            made.push(name);
        }
        ip("link", "add", `vn${id}`, "netns", names.near, "type", "veth", "peer", "name", `vf${id}`, "netns", names.far);
        for (const [side, device] of [["near", `vn${id}`], ["far", `vf${id}`]]) {
            ip("-n", names[side], "link", "set", "lo", "up");
            ip("-n", names[side], "addr", "add", `${ADDRESSES[side]}/24`, "dev", device);
            ip("-n", names[side], "addr", "add", `${ADDRESSES_6[side]}/64`, "dev", device, "nodad");
            ip("-n", names[side], "link", "set", device, "up");
            // Browsers ask which address leads out.
            ip("-n", names[side], "route", "add", "default", "dev", device);
            ip("-n", names[side], "-6", "route", "add", "default", "dev", device);
        }
    } catch (error) {
        close();
        if (existsSync("/usr/sbin/ip") || existsSync("/sbin/ip") || existsSync("/usr/bin/ip")) {
            return { refused: String(error.stderr ?? error) };
        }
        return { refused: "no ip(8) here" };
    }
    const inside = (side, program, ...args) => ["ip", "netns", "exec", names[side], program, ...args];
    return { inside, close };
}
