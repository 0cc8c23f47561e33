//! The program; everything it does is in the library.

/// Requests make and drop many small values on several threads; the C library's allocator took a third of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    grantlog::cli::run()
}
