//! The priority of the threads that hash.

/// Gives this thread the lowest priority: a hash takes a processor for many milliseconds, and a request that is answered in
/// some microseconds would wait for it. With all processors busy it still gets what others leave.
///
/// Also the longest time slice: whoever wakes up with a shorter one may have the processor at once (Linux 6.12 and later;
/// before, the slice is passed over). See `docs/performance.md` for what it gives.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers sched_setattr(2)")]
pub fn yield_to_others() {
    const LOWEST: i32 = 19;
    const LONGEST: std::time::Duration = std::time::Duration::from_millis(100);
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: LOWEST,
        sched_priority: 0,
        sched_runtime: LONGEST.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a struct that outlives the call and writes nothing. 0 is the calling thread.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0;
    if refused {
        // Lowering is always allowed; if not, it is only slower for others.
        let _ = rustix::process::setpriority_process(None, LOWEST);
    }
}

/// Elsewhere that would be the priority of the process.
#[cfg(not(target_os = "linux"))]
pub const fn yield_to_others() {}
