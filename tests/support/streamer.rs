//! The stand-in `streamer` as a program of its own; see `tests/support/standins/streamer.rs`.

fn main() -> std::process::ExitCode {
    stand_ins::streamer::main()
}
