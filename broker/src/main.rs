//! The `carrick` binary: the command line does everything.

fn main() -> std::process::ExitCode {
    carrick::main()
}
