//! What the process gives up before it reads the first byte of a stranger: memory without end, files, sockets, other
//! programs. It keeps its pipes, its memory and its threads.
//!
//! The system calls that it keeps are listed; all others answer "not permitted". `tests/it/sandbox.rs` tries those that
//! reach beyond the process one by one, and the other tests show that the list is long enough for every codec.

#![allow(unsafe_code)]

use std::io;

use encode::limits::{PROCESS_BYTES_MAX, PROCESS_FILES_MAX, PROCESS_NICE, PROCESS_OOM_SCORE};

/// Enters the sandbox. `hardware`: encoders outside of the processor need their device files, so files can be opened.
pub(crate) fn enter(hardware: bool) -> io::Result<()> {
    // SAFETY: it takes a number. Where it is not allowed, nothing is lost.
    let _ = unsafe { libc::nice(PROCESS_NICE) };
    close_what_was_left_open();
    first_where_memory_runs_out();
    if hardware {
        nobody_looks_inside()?;
    }
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    // A device maps more than it uses. What can be written there, and is shared with nobody, is counted in any case.
    limit(if hardware { libc::RLIMIT_DATA } else { libc::RLIMIT_AS }, PROCESS_BYTES_MAX)?;
    limit(libc::RLIMIT_NOFILE, PROCESS_FILES_MAX)?;
    filter(hardware)
}

/// A process that may open files finds what others of the same user have in memory, in `/proc/PID/mem`, but not that of a
/// process that says no: one that was taken over reaches no other. The server says it of itself, too. Where no files can
/// be opened there is nobody to keep out, and `/proc` shows how a worker does.
fn nobody_looks_inside() -> io::Result<()> {
    // SAFETY: it takes numbers.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Whoever started the server may have left files open to all that come after. Nothing has been opened here yet.
fn close_what_was_left_open() {
    let (first, last, flags): (libc::c_long, libc::c_long, libc::c_long) =
        (3, libc::c_long::from(u32::MAX), 0);
    // SAFETY: nobody here uses a descriptor beside the three pipes. Kernels before 5.9 do not know it.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
}

/// Where the machine has no memory left, its kernel ends processes that have much of it: rather this one than the server. Nothing
/// is lost where there is no such file, or somebody has made it worse already.
fn first_where_memory_runs_out() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(FILE).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now < PROCESS_OOM_SCORE) {
        let _ = std::fs::write(FILE, PROCESS_OOM_SCORE.to_string());
    }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure is alive and whole.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Its pipes, memory, threads, clocks, and what it may know of itself.
const KEPT: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What older architectures have besides.
#[cfg(target_arch = "x86_64")]
const KEPT_BESIDES: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_time, libc::SYS_getrlimit];
#[cfg(not(target_arch = "x86_64"))]
const KEPT_BESIDES: &[libc::c_long] = &[];

/// What drivers of encoders outside of the processor need as well: they look for their device and speak to it. Files are
/// opened, never made or cut ([`OPENED`]), and no file may grow; devices, and what `/proc` shows of the same user, can be written, but for
/// the memory of the server and of other workers ([`nobody_looks_inside`]).
const OF_DRIVERS: &[libc::c_long] = &[
    libc::SYS_ioctl,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_pread64,
    libc::SYS_pselect6,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_memfd_create,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_mincore,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getppid,
    libc::SYS_get_mempolicy,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    // Pipes within the process.
    libc::SYS_pipe2,
    // Intel's driver (iHD) shares a card's engines with other processes by semaphores and memory of System V, and does not start
    // without. They are the user's, as the files are that can be opened here.
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmdt,
    libc::SYS_shmctl,
];

#[cfg(target_arch = "x86_64")]
const OF_DRIVERS_BESIDES: &[libc::c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_DRIVERS_BESIDES: &[libc::c_long] = &[];

/// Opening a file, and which argument says how.
#[cfg(target_arch = "x86_64")]
const OPENED: &[(libc::c_long, u32)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENED: &[(libc::c_long, u32)] = &[(libc::SYS_openat, 2)];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// Numbers above are those of the x32 ABI, the same calls under other names.
const X32: u32 = 0x4000_0000;

/// `KCMP_FILE`: whether two descriptors are one file.
const KCMP_FILE: u32 = 0;

/// `PR_SET_VMA`: names of memory, which some allocators give.
const PR_SET_VMA: u32 = 0x5356_4d41;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: libc::sock_filter = step(ANSWER, libc::SECCOMP_RET_ALLOW, 0, 0);
const REFUSE: libc::sock_filter = step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0);
/// As if the kernel were older: libraries then take the call before it, whose arguments can be looked at.
const UNKNOWN: libc::sock_filter =
    step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0);
const KILL: libc::sock_filter = step(ANSWER, libc::SECCOMP_RET_KILL_PROCESS, 0, 0);

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// The lower half of an argument, `struct seccomp_data` has them from 16 on. Both architectures are little-endian.
const fn argument(index: u32) -> libc::sock_filter {
    step(LOAD, 16 + 8 * index, 0, 0)
}

const fn upper_half(index: u32) -> libc::sock_filter {
    step(LOAD, 20 + 8 * index, 0, 0)
}

/// Calls whose arguments decide; each list of steps ends with an answer.
fn guarded(own: u32, hardware: bool) -> Vec<(libc::c_long, Vec<libc::sock_filter>)> {
    let mut calls = vec![
        // Threads, and no processes.
        (
            libc::SYS_clone,
            vec![argument(0), step(ANY_BIT, libc::CLONE_THREAD as u32, 0, 1), ALLOW, REFUSE],
        ),
        (libc::SYS_clone3, vec![UNKNOWN]),
        // Who aborts ends itself so.
        (libc::SYS_tgkill, vec![argument(0), step(EQUAL, own, 0, 1), ALLOW, REFUSE]),
        (
            libc::SYS_prctl,
            vec![
                argument(0),
                step(EQUAL, libc::PR_SET_NAME as u32, 4, 0),
                step(EQUAL, libc::PR_GET_NAME as u32, 3, 0),
                step(EQUAL, libc::PR_GET_DUMPABLE as u32, 2, 0),
                step(EQUAL, PR_SET_VMA, 1, 0),
                REFUSE,
                ALLOW,
            ],
        ),
        // Its own limits are read, not set.
        (
            libc::SYS_prlimit64,
            vec![
                argument(0),
                step(EQUAL, 0, 0, 5),
                argument(2),
                step(EQUAL, 0, 0, 3),
                upper_half(2),
                step(EQUAL, 0, 0, 1),
                ALLOW,
                REFUSE,
            ],
        ),
    ];
    if hardware {
        let made = (libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;
        let opened = |(call, how): &(libc::c_long, u32)| {
            (*call, vec![argument(*how), step(ANY_BIT, made, 0, 1), REFUSE, ALLOW])
        };
        calls.extend(OPENED.iter().map(opened));
        // Not those by which the kernel sends signals.
        let asks = [
            libc::F_DUPFD,
            libc::F_GETFD,
            libc::F_SETFD,
            libc::F_GETFL,
            libc::F_DUPFD_CLOEXEC,
            libc::F_ADD_SEALS,
            libc::F_GET_SEALS,
        ];
        let mut steps = vec![argument(1)];
        for ask in asks {
            steps.extend([step(EQUAL, ask as u32, 0, 1), ALLOW]);
        }
        // Whether to wait, and where writing begins; not that signals are sent.
        steps.extend([step(EQUAL, libc::F_SETFL as u32, 0, 3), argument(2)]);
        steps.extend([step(ANY_BIT, libc::O_ASYNC as u32, 1, 0), ALLOW, REFUSE]);
        calls.push((libc::SYS_fcntl, steps));
        // Whether two of its own descriptors are one file (Mesa asks); nothing of others.
        let same = |index| [argument(index), step(EQUAL, own, 1, 0), REFUSE];
        let mut steps = [same(0), same(1)].concat();
        steps.extend([argument(2), step(EQUAL, KCMP_FILE, 1, 0), REFUSE, ALLOW]);
        calls.push((libc::SYS_kcmp, steps));
    }
    calls
}

fn program(own: u32, hardware: bool) -> Vec<libc::sock_filter> {
    // `struct seccomp_data`: the number at 0, the architecture at 4.
    let mut program = vec![
        step(LOAD, 4, 0, 0),
        step(EQUAL, ARCHITECTURE, 1, 0),
        KILL,
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, X32, 0, 1),
        REFUSE,
    ];
    let of_drivers = OF_DRIVERS.iter().chain(OF_DRIVERS_BESIDES).filter(|_| hardware);
    for call in KEPT.iter().chain(KEPT_BESIDES).chain(of_drivers) {
        program.extend([step(EQUAL, *call as u32, 0, 1), ALLOW]);
    }
    for (call, steps) in guarded(own, hardware) {
        // A handful of steps each.
        program.push(step(EQUAL, call as u32, 0, steps.len() as u8));
        program.extend(steps);
    }
    program.push(REFUSE);
    program
}

fn filter(hardware: bool) -> io::Result<()> {
    let mut program = program(std::process::id(), hardware);
    let len = libc::c_ushort::try_from(program.len()).unwrap_or(0);
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the program is alive for both calls, and the kernel checks it.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        checked(libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
            0,
            0,
        ))
    }
}
