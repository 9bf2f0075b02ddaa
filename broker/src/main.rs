//! The `carrick` binary.

fn main() -> std::process::ExitCode {
    carrick::cli::main()
}
