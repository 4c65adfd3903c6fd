//! The stand-in `streamer` as a program of its own; see `src/demo/streamer.rs`.

fn main() -> std::process::ExitCode {
    hydraneckwebrtc::demo::streamer::main()
}
