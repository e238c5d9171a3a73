//! Child processes that never outlive their parent, whatever happens to it.
//!
//! Every child is told to end when its standard input closes, which also happens when the parent is killed; on drop it is
//! killed at once. What a child says is kept, and printed if the test fails.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes into a log in `folder`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let also = out.try_clone().expect("the same log file");
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(also)
            .env("NO_COLOR", "1")
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Gone already is as good.
            kill_process(pid, signal).ok();
        }
    }

    /// SIGSTOP now; SIGCONT when what is returned is dropped. A small shell does that, which goes by its own standard
    /// input, so that nothing stays frozen when the test itself is killed.
    ///
    /// # Panics
    /// If there is no shell.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        self.signal(Signal::STOP);
        let thaw = format!("read -r line; kill -CONT {}", self.id());
        let shell = Command::new("sh").args(["-c", &thaw]).stdin(Stdio::piped()).spawn();
        Frozen(shell.expect("a shell"))
    }

    /// Closes its standard input, as the death of its parent does.
    pub fn abandon(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Its exit code, once it has ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// From now on no file that it writes may grow beyond so many bytes, or all may again: a full disk, and with 0 one that
    /// takes no write at all, without a mount. A process that ignores SIGXFSZ meets an error of the write, as there.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Fsize, limit).expect("the process is gone");
    }

    /// Resident memory from now on: what it needs at its highest more than it has at this moment.
    ///
    /// # Panics
    /// If the process is gone.
    #[must_use]
    pub fn watch_memory(&self) -> Memory {
        let folder = PathBuf::from(format!("/proc/{}", self.id()));
        // Five asks Linux to count the peak anew.
        std::fs::write(folder.join("clear_refs"), "5").expect("the process is gone");
        let before = kib(&folder, "VmRSS:");
        Memory { folder, before }
    }
}

/// The memory of a process since a moment.
#[derive(Debug)]
pub struct Memory {
    folder: PathBuf,
    before: u64,
}

impl Memory {
    /// KiB more at the highest than at the beginning.
    ///
    /// # Panics
    /// If the process is gone.
    #[must_use]
    pub fn most_growth_kib(&self) -> u64 {
        kib(&self.folder, "VmHWM:").saturating_sub(self.before)
    }
}

fn kib(process: &Path, what: &str) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).expect("the process is gone");
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kib.expect("memory in KiB")
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "this is where a failed test shows what its processes said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- {} said:", self.name);
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// A process that is stopped until this is dropped, or until the one that stopped it dies.
#[derive(Debug)]
pub struct Frozen(Child);

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// A port that is free now and stays free while its process is restarted: below the range from which the system takes
/// ports for outgoing connections, so that none of those, not even one to the port itself, can be in the way.
///
/// # Panics
/// If none is free.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_100;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let start = std::process::id().wrapping_mul(131);
    let free = (0..COUNT).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).ok()?;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    free.expect("a free port")
}

/// The `mainstay` command of this build.
#[must_use]
pub fn mainstay() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("mainstay-cli", "mainstay"))
}

/// The fake agent of this build.
#[must_use]
pub fn fake_agent() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("mainstay-tests", "fake-agent"))
}

/// Says where a binary is, and builds it first unless it is newer than every source. `cargo test --workspace` has built it
/// already; `cargo test --package mainstay-tests` alone has not.
fn build(package: &str, binary: &str) -> PathBuf {
    // target/PROFILE/deps/this-test, or target/PROFILE/this-binary
    let exe = std::env::current_exe().expect("the path of this program");
    let folder = exe.ancestors().find(|path| path.join("deps").is_dir()).expect("cargo's target directory");
    let built = folder.join(binary);
    if modified(&built).is_some_and(|built| built > newest_source()) {
        return built;
    }
    let release = folder.file_name().is_some_and(|name| name == "release");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "--package", package, "--bin", binary]);
    cargo.arg("--target-dir").arg(folder.parent().expect("cargo's target directory"));
    if release {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo");
    assert!(status.success(), "{binary} does not build");
    built
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// When a source of any crate was changed last.
fn newest_source() -> SystemTime {
    let crates = std::fs::read_dir(root()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<_> = crates.filter(|path| path.join("Cargo.toml").is_file()).collect();
    let mut newest = modified(&root().join("Cargo.lock")).unwrap_or(SystemTime::UNIX_EPOCH);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            // What only tests are made of is in none of the binaries.
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                folders.push(path);
            } else if path.is_file() {
                newest = newest.max(modified(&path).unwrap_or(newest));
            }
        }
    }
    newest
}
