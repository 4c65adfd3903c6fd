//! The stand-in body as a program of its own; see `src/demo/sunshine/control.rs`.

fn main() -> std::process::ExitCode {
    hydraneckwebrtc::demo::sunshine::control::main()
}
