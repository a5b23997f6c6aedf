//! Binary: parses the arguments, runs one command, maps an error to an exit code.

fn main() -> std::process::ExitCode {
    synctop::cli::main()
}
