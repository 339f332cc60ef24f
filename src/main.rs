//! The `chatkit-server` binary: reads the command line, runs the command, maps errors to exit
//! codes.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chatkit_server::cli::run()
}
