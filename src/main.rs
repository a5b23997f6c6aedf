//! Binary: parses the arguments, runs one command, maps an error to an exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // The allocator, built to ask for no huge pages, forbids them to the process as well. The engines that
    // it starts would inherit that.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    synctop::cli::main()
}
