//! The stand-in `web-server` as a program of its own; see `tests/support/standins/web_server`.

fn main() -> std::process::ExitCode {
    stand_ins::web_server::main()
}
