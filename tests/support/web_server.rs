//! The stand-in `web-server` as a program of its own; see `src/demo/web_server`.

fn main() -> std::process::ExitCode {
    hydraneckwebrtc::demo::web_server::main()
}
