//! Parse, dispatch one command, map the error to an exit code.

fn main() -> std::process::ExitCode {
    synctop::cli::main()
}
