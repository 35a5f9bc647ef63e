//! What a worker may do. A process of its own enters the worker's sandbox and tries what reaches beyond it, one call after
//! the other; and of a worker at work the kernel says what holds it.

#![allow(unsafe_code)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use encode::Ladder;
use encode::wire::{Codec, H264, Output, PictureSource, Source, ToEncoder};

use crate::faults::children;
use crate::studio::{ENCODER, FIRST, Studio, renditions};

#[path = "../../src/sandbox.rs"]
mod entered;

/// With it, this program is the process that tries.
const INSIDE: &str = "AIRWAVE_ENCODER_INSIDE";

const BEGINS: &str = "what is not as it should be:";

/// Calls that answer "not permitted" whatever their arguments are. Those are none that would do anything.
const REFUSED: &[(&str, libc::c_long)] = &[
    ("socket", libc::SYS_socket),
    ("socketpair", libc::SYS_socketpair),
    ("connect", libc::SYS_connect),
    ("bind", libc::SYS_bind),
    ("listen", libc::SYS_listen),
    ("accept4", libc::SYS_accept4),
    ("sendto", libc::SYS_sendto),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvmsg", libc::SYS_recvmsg),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("kcmp", libc::SYS_kcmp),
    ("kill", libc::SYS_kill),
    ("tkill", libc::SYS_tkill),
    ("tgkill", libc::SYS_tgkill),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("prlimit64", libc::SYS_prlimit64),
    ("setpriority", libc::SYS_setpriority),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("openat2", libc::SYS_openat2),
    ("truncate", libc::SYS_truncate),
    ("ftruncate", libc::SYS_ftruncate),
    ("fallocate", libc::SYS_fallocate),
    ("unlinkat", libc::SYS_unlinkat),
    ("renameat2", libc::SYS_renameat2),
    ("mkdirat", libc::SYS_mkdirat),
    ("mknodat", libc::SYS_mknodat),
    ("linkat", libc::SYS_linkat),
    ("symlinkat", libc::SYS_symlinkat),
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("fchown", libc::SYS_fchown),
    ("fchownat", libc::SYS_fchownat),
    ("utimensat", libc::SYS_utimensat),
    ("setxattr", libc::SYS_setxattr),
    ("chdir", libc::SYS_chdir),
    ("chroot", libc::SYS_chroot),
    ("pwrite64", libc::SYS_pwrite64),
    ("sendfile", libc::SYS_sendfile),
    ("splice", libc::SYS_splice),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("setns", libc::SYS_setns),
    ("unshare", libc::SYS_unshare),
    ("setuid", libc::SYS_setuid),
    ("setgid", libc::SYS_setgid),
    ("capset", libc::SYS_capset),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("io_setup", libc::SYS_io_setup),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("inotify_init1", libc::SYS_inotify_init1),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("quotactl", libc::SYS_quotactl),
    ("acct", libc::SYS_acct),
    ("swapon", libc::SYS_swapon),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("sethostname", libc::SYS_sethostname),
    ("clock_settime", libc::SYS_clock_settime),
    ("settimeofday", libc::SYS_settimeofday),
    ("adjtimex", libc::SYS_adjtimex),
    ("msgget", libc::SYS_msgget),
    ("mq_open", libc::SYS_mq_open),
    ("personality", libc::SYS_personality),
    ("setsid", libc::SYS_setsid),
    ("seccomp", libc::SYS_seccomp),
];

#[cfg(target_arch = "x86_64")]
const REFUSED_BESIDES: &[(&str, libc::c_long)] = &[
    ("creat", libc::SYS_creat),
    ("unlink", libc::SYS_unlink),
    ("rename", libc::SYS_rename),
    ("renameat", libc::SYS_renameat),
    ("mkdir", libc::SYS_mkdir),
    ("rmdir", libc::SYS_rmdir),
    ("mknod", libc::SYS_mknod),
    ("link", libc::SYS_link),
    ("symlink", libc::SYS_symlink),
    ("chmod", libc::SYS_chmod),
    ("chown", libc::SYS_chown),
    ("utime", libc::SYS_utime),
    ("fork", libc::SYS_fork),
    ("vfork", libc::SYS_vfork),
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("modify_ldt", libc::SYS_modify_ldt),
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_BESIDES: &[(&str, libc::c_long)] = &[];

/// What is refused only where no driver needs it.
const REFUSED_WITHOUT_HARDWARE: &[(&str, libc::c_long)] = &[
    ("openat", libc::SYS_openat),
    ("newfstatat", libc::SYS_newfstatat),
    ("statx", libc::SYS_statx),
    ("readlinkat", libc::SYS_readlinkat),
    ("faccessat", libc::SYS_faccessat),
    ("getdents64", libc::SYS_getdents64),
    ("ioctl", libc::SYS_ioctl),
    ("fcntl", libc::SYS_fcntl),
    ("memfd_create", libc::SYS_memfd_create),
    ("eventfd2", libc::SYS_eventfd2),
    ("pipe2", libc::SYS_pipe2),
    ("shmget", libc::SYS_shmget),
    ("shmat", libc::SYS_shmat),
    ("shmdt", libc::SYS_shmdt),
    ("shmctl", libc::SYS_shmctl),
    ("semget", libc::SYS_semget),
    ("semop", libc::SYS_semop),
    ("semctl", libc::SYS_semctl),
];

/// 0, or what the kernel says is wrong.
fn errno(result: libc::c_long) -> i32 {
    if result >= 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// Nowhere, in each argument: no memory, no file, no process.
fn nowhere(call: libc::c_long) -> i32 {
    const NOWHERE: libc::c_long = -1;
    // SAFETY: no argument is memory, so the kernel writes nowhere.
    errno(unsafe { libc::syscall(call, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE) })
}

fn call(call: libc::c_long, a: libc::c_long, b: libc::c_long, c: libc::c_long) -> i32 {
    const NONE: libc::c_long = 0;
    // SAFETY: callers give memory that is alive, or none.
    errno(unsafe { libc::syscall(call, a, b, c, NONE, NONE, NONE) })
}

/// All that is not as it should be, in lines.
fn tried(hardware: bool) -> String {
    let own = libc::c_long::from(std::process::id());
    let mut wrong = String::new();
    let mut expect = |name: &str, expected: i32, found: i32| {
        if found != expected {
            wrong.push_str(&format!("{name}: {found}, not {expected}\n"));
        }
    };
    let refused = REFUSED.iter().chain(REFUSED_BESIDES);
    for (name, number) in refused.chain(REFUSED_WITHOUT_HARDWARE.iter().filter(|_| !hardware)) {
        expect(name, libc::EPERM, nowhere(*number));
    }
    let (null, name) = (c"/dev/null".as_ptr() as libc::c_long, c"worker".as_ptr() as libc::c_long);
    let open = |how: i32| call(libc::SYS_openat, libc::AT_FDCWD.into(), null, how.into());
    let opened = if hardware { 0 } else { libc::EPERM };
    expect("a file, to read", opened, open(libc::O_RDONLY));
    expect("a device", opened, open(libc::O_RDWR));
    for (name, how) in [
        ("made", libc::O_CREAT | libc::O_WRONLY),
        ("cut", libc::O_TRUNC | libc::O_WRONLY),
        ("without a name", libc::O_TMPFILE | libc::O_WRONLY),
    ] {
        expect(&format!("a file, {name}"), libc::EPERM, open(how));
    }
    let mut limit = libc::rlimit { rlim_cur: 7, rlim_max: 7 };
    let limit = &raw mut limit as libc::c_long;
    let files = libc::c_long::from(libc::RLIMIT_NOFILE);
    let read = |pid: libc::c_long| {
        const NONE: libc::c_long = 0;
        // SAFETY: the structure is alive.
        errno(unsafe { libc::syscall(libc::SYS_prlimit64, pid, files, NONE, limit) })
    };
    expect("its own limits, read", 0, read(0));
    expect("another's limits", libc::EPERM, read(1));
    expect("its own limits, set", libc::EPERM, call(libc::SYS_prlimit64, 0, files, limit));
    // SAFETY: it answers a number.
    let thread = libc::c_long::from(unsafe { libc::gettid() });
    expect("a signal to itself", 0, call(libc::SYS_tgkill, own, thread, 0));
    expect("a signal to another", libc::EPERM, call(libc::SYS_tgkill, 1, 1, 0));
    expect("a name", 0, call(libc::SYS_prctl, libc::PR_SET_NAME.into(), name, 0));
    expect("no dumps", libc::EPERM, call(libc::SYS_prctl, libc::PR_SET_DUMPABLE.into(), 1, 0));
    let asked = libc::c_long::from(libc::F_SETFL);
    let flags = |how: i32| call(libc::SYS_fcntl, 0, asked, how.into());
    expect("not to wait", opened, flags(libc::O_NONBLOCK));
    expect("signals when there is something", libc::EPERM, flags(libc::O_ASYNC));
    let owner = libc::c_long::from(libc::F_SETOWN);
    expect("signals to another", libc::EPERM, call(libc::SYS_fcntl, 0, owner, 1));
    // A kernel may be without.
    let same = |pid| call(libc::SYS_kcmp, own, pid, 0) != libc::EPERM;
    expect("whether two files are one", i32::from(hardware), same(own).into());
    expect("whether those of another are", 0, same(1).into());
    expect("kinds of that", libc::EPERM, call(libc::SYS_kcmp, own, own, 1));
    // SAFETY: it answers a number.
    let looked_at = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
    expect("whether others look inside", i32::from(!hardware), looked_at);
    expect("a process", libc::EPERM, call(libc::SYS_clone, libc::SIGCHLD.into(), 0, 0));
    expect("a process, as of late", libc::ENOSYS, nowhere(libc::SYS_clone3));
    expect("a thread", 0, std::thread::spawn(|| 0).join().unwrap_or(-1));
    expect("memory", 0, i32::from(vec![1u8; 16 << 20].iter().any(|byte| *byte != 1)));
    let most = usize::try_from(encode::limits::PROCESS_BYTES_MAX).unwrap();
    let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let to = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: new memory, which nobody uses.
    let more = unsafe { libc::mmap(std::ptr::null_mut(), most, to, how, -1, 0) };
    expect("more memory than it may have", libc::ENOMEM, errno(more as libc::c_long));
    wrong
}

/// Not a test by itself: the process that the one below starts.
#[test]
fn inside() {
    let Ok(which) = std::env::var(INSIDE) else { return };
    let hardware = which == "hardware";
    entered::enter(hardware).unwrap();
    let wrong = format!("\n{BEGINS}\n{}tried\n", tried(hardware));
    // SAFETY: the text is alive; the process ends here, as its other threads are not those of a worker.
    unsafe {
        libc::write(1, wrong.as_ptr().cast(), wrong.len());
        libc::_exit(0);
    }
}

#[test]
fn what_reaches_beyond_the_process_is_not_permitted() {
    for which in ["software", "hardware"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "sandbox::inside", "--nocapture"]).env(INSIDE, which);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // What stands before it is the harness's.
        let found = said.lines().skip_while(|line| *line != BEGINS).skip(1);
        assert_eq!(found.collect::<Vec<_>>(), ["tried"], "{which}: {output:?}");
    }
}

#[tokio::test]
async fn a_worker_at_work_is_held_by_all_that_is_said_of_it() {
    let studio =
        Studio::make("testsrc2=size=320x180:rate=30:duration=1", "-c:v libx264 -bf 0 -g 30");
    let renditions = renditions(1).await;
    let level = &Ladder::new(vec!["96p".parse().unwrap()]).levels(&studio.config)[0];
    studio.there.send_replace((1, 1));
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert!(made.part(0).await.unwrap().is_some());
    let running = children();
    assert_eq!((running.len(), renditions.counters().started.load(Ordering::Relaxed)), (1, 1));
    let of = |pid: &str, file: &str| {
        std::fs::read_to_string(Path::new("/proc").join(pid).join(file)).unwrap()
    };
    let worker = running[0].to_string();
    let status = of(&worker, "status");
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|l| l == line), "{line}: {status}");
    }
    let limits = of(&worker, "limits");
    for (name, most) in [
        ("Max core file size", 0),
        ("Max file size", 0),
        ("Max address space", encode::limits::PROCESS_BYTES_MAX),
        ("Max open files", encode::limits::PROCESS_FILES_MAX),
    ] {
        let line = limits.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        let found: Vec<&str> = line.split_whitespace().take(2).collect();
        assert_eq!(found, [most.to_string(), most.to_string()], "{name}");
    }
    // proc(5): the 19th field, the third one behind the name.
    let nice = |pid: &str| {
        let stat = of(pid, "stat");
        let fields = stat.rsplit_once(") ").unwrap().1.to_owned();
        fields.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(nice(&worker), (nice("self") + encode::limits::PROCESS_NICE).min(19));
    assert!(of(&worker, "environ").is_empty(), "no environment");
    // Its pipes, and nothing else.
    let files = std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten();
    let targets = files.map(|f| std::fs::read_link(f.path()).unwrap());
    let targets: Vec<String> = targets.map(|t| t.to_string_lossy().into_owned()).collect();
    assert_eq!(targets.len(), 3, "{targets:?}");
    assert!(targets.iter().all(|t| t.starts_with("pipe:")), "{targets:?}");
}

/// Nobody writes to files in the sandbox: what the program says by hand comes out all the same.
#[test]
fn why_an_encoder_does_not_work_is_said_into_a_file_too() {
    let tried = |stderr: Stdio| {
        let mut command = Command::new(ENCODER);
        command.args(["--try", "h264_of_nobody"]).stdin(Stdio::null()).stderr(stderr);
        command.output().unwrap()
    };
    let piped = tried(Stdio::piped());
    let said = String::from_utf8(piped.stderr).unwrap();
    assert!(said.contains("h264_of_nobody"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("said");
    let filed = tried(std::fs::File::create(&path).unwrap().into());
    assert_eq!(filed.status, piped.status);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), said);
}

/// The server is killed while its worker hangs: here it waits for somebody who reads what it says.
#[test]
fn a_worker_that_hangs_ends_with_its_server() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let mut command = Command::new(ENCODER);
    command.arg("work").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut worker = command.spawn().unwrap();
    let (mut server, said) = (worker.stdin.take().unwrap(), worker.stdout.take().unwrap());
    // SAFETY: it takes numbers.
    let room = unsafe { libc::fcntl(said.as_raw_fd(), libc::F_SETPIPE_SZ, 4_096) };
    assert_eq!(room, 4_096);
    let level = H264 {
        width: 96,
        height: 96,
        frame_rate: (30, 1),
        crf_tenths: 230,
        max_kbps: 100,
        buffer_kbit: 100,
        level: 10,
        colour: None,
        encoder: encode::SOFTWARE.to_owned(),
        parameter_set: 0,
    };
    let (codec, record) = (Codec::H264, bytes::Bytes::new());
    let source = PictureSource { codec, width: 96, height: 96, reorder: 0, record };
    let outputs = vec![Output::H264(level); 16];
    let begin = ToEncoder::Begin { source: Source::Pictures(source), outputs }.encode();
    // Each of them is answered by 16 sets of parameters: more than there is room for.
    for _ in 0..20 {
        server.write_all(&begin).and_then(|()| server.write_all(&ToEncoder::End.encode())).unwrap();
    }
    drop(server);
    let ended = worker.wait().unwrap();
    assert!(!ended.success(), "{ended}: it was not done");
    drop(said);
}
