//! What the process gives up before it reads the first byte of a stranger: memory without end, files, sockets, other
//! programs. It keeps its pipes, its memory and its threads.

#![allow(unsafe_code)]

use std::io;

use encode::limits::{PROCESS_BYTES_MAX, PROCESS_FILES_MAX, PROCESS_NICE};

/// Enters the sandbox. `hardware`: encoders outside of the processor need their device files, so files can be opened.
pub(crate) fn enter(hardware: bool) -> io::Result<()> {
    // SAFETY: it takes a number. Where it is not allowed, nothing is lost.
    let _ = unsafe { libc::nice(PROCESS_NICE) };
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    if !hardware {
        // A device maps more than it uses.
        limit(libc::RLIMIT_AS, PROCESS_BYTES_MAX)?;
    }
    limit(libc::RLIMIT_NOFILE, PROCESS_FILES_MAX)?;
    filter(hardware)
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure is alive and whole.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// System calls that answer "not permitted" from now on: the network, other programs and processes, and what writes.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mount,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
];

/// Those that older architectures have besides.
#[cfg(target_arch = "x86_64")]
const REFUSED_BESIDES: &[libc::c_long] =
    &[libc::SYS_unlink, libc::SYS_rename, libc::SYS_mkdir, libc::SYS_link, libc::SYS_symlink];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_BESIDES: &[libc::c_long] = &[];

/// Opening files: libraries have read what they need.
#[cfg(target_arch = "x86_64")]
const FILES: &[libc::c_long] = &[libc::SYS_open, libc::SYS_openat, libc::SYS_openat2];
#[cfg(not(target_arch = "x86_64"))]
const FILES: &[libc::c_long] = &[libc::SYS_openat, libc::SYS_openat2];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// Numbers above are those of the x32 ABI, the same calls under other names.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn filter(hardware: bool) -> io::Result<()> {
    let refuse = step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0);
    let kill = step(ANSWER, libc::SECCOMP_RET_KILL_PROCESS, 0, 0);
    // `struct seccomp_data`: the number at 0, the architecture at 4.
    let mut program = vec![
        step(LOAD, 4, 0, 0),
        step(EQUAL, ARCHITECTURE, 1, 0),
        kill,
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, X32, 0, 1),
        refuse,
    ];
    let files = if hardware { &[][..] } else { FILES };
    for call in REFUSED.iter().chain(REFUSED_BESIDES).chain(files) {
        program.push(step(EQUAL, *call as u32, 0, 1));
        program.push(refuse);
    }
    program.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0, 0));
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
