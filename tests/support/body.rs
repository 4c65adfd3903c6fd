//! The stand-in body as a program of its own; see `tests/support/standins/sunshine/control.rs`.

fn main() -> std::process::ExitCode {
    stand_ins::sunshine::control::main()
}
