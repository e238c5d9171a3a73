//! The embedded store across processes: killed in mid-commit, out of disk space, opened twice. This test binary starts
//! itself as the other process; the tests called `part_…` are that process and do nothing otherwise.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use mainstay_store::{Batch, CommitError, OpenError, ReadError, SledOptions, SledStore, Status, Store};

/// Tells the other process where the store is.
const DIR: &str = "MAINSTAY_STORE_TEST_DIR";
const WRITERS: u32 = 8;

fn part(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    as_part(&mut command, name, dir);
    command
}

fn as_part(command: &mut Command, name: &str, dir: &Path) {
    command.args(["--exact", "--nocapture", name]).env(DIR, dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
}

/// The other process; it does not outlive the test.
struct Part(Child);

impl Part {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

/// The store of a part; `None` if somebody runs the part alone, which proves nothing.
fn dir_of_part() -> Option<PathBuf> {
    env::var_os(DIR).map(PathBuf::from)
}

/// One write to the pipe a line, so that lines of several threads do not mix.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn key(table: char, writer: u32, n: u32) -> Vec<u8> {
    format!("{table}/{writer:02}/{n:08}").into_bytes()
}

/// Sizes on both sides of every threshold of the store; for some time only those that stay in their records, and so whole
/// groups of them.
fn payload(writer: u32, n: u32) -> Vec<u8> {
    let sizes: &[usize] =
        if n % 64 < 32 { &[0, 40, 900, 4_000] } else { &[0, 40, 900, 4_096, 4_097, 9_000, 20_000] };
    let size = sizes[(writer + n) as usize % sizes.len()];
    let mut payload = format!("{writer}:{n}:").into_bytes();
    payload.resize(payload.len() + size, (n % 251) as u8);
    payload
}

/// How many records a writer has in each table; fails on gaps, half batches and wrong contents.
fn count(store: &SledStore, writer: u32) -> u32 {
    let tables = ['a', 'b'].map(|table| {
        let (mut n, mut after) = (0, None);
        loop {
            let prefix = format!("{table}/{writer:02}/");
            let page = store.scan(prefix.as_bytes(), after.as_deref(), 1000).unwrap();
            assert_eq!(page.damaged, []);
            for (found, entry) in page.entries {
                assert_eq!(found, key(table, writer, n), "a gap");
                assert_eq!(entry.value, payload(writer, n));
                n += 1;
            }
            after = page.next;
            if after.is_none() {
                return n;
            }
        }
    });
    assert_eq!(tables[0], tables[1], "half a batch");
    tables[0]
}

fn write(store: &SledStore, writer: u32, n: u32) -> Result<u64, CommitError> {
    let batch = Batch::new().absent(key('a', writer, n)).put(key('a', writer, n), payload(writer, n));
    store.commit(batch.put(key('b', writer, n), payload(writer, n))).wait()
}

#[test]
fn no_acknowledged_commit_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut dice = 0x9e37_79b9_u64;
    for round in 0..12 {
        // The moment of the kill is a number of acknowledgements, not a time: xorshift from a fixed seed.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let deadline = 1 + dice % 400;
        let mut child = Part::start(part("part_that_writes_until_it_is_killed", dir.path()));
        let mut acks = BTreeMap::new();
        let mut seen = 0;
        for line in child.lines() {
            if let Some(ack) = line.strip_prefix("ack ") {
                let (writer, n) = ack.split_once(' ').unwrap();
                acks.insert(writer.parse::<u32>().unwrap(), n.parse::<u32>().unwrap());
                seen += 1;
            }
            if seen == deadline {
                child.0.kill().unwrap();
            }
        }
        let status = child.0.wait().unwrap();
        assert!(seen >= deadline && !status.success(), "round {round}: the writer ended by itself: {status}");
        let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
        for (writer, last) in acks {
            let stored = count(&store, writer);
            assert!(stored > last, "round {round}: writer {writer} was told {last}, {stored} are stored");
        }
        acknowledged += seen;
    }
    assert!(acknowledged > 12);
}

#[test]
fn part_that_writes_until_it_is_killed() {
    let Some(dir) = dir_of_part() else { return };
    let store = SledStore::open(dir, SledOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for n in count(store, writer).. {
                    write(store, writer, n).unwrap();
                    say(&format!("ack {writer} {n}"));
                }
            });
        }
    });
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_heals_when_space_returns() {
    let dir = tempfile::tempdir().unwrap();
    // A limit on file sizes is a full disk that needs no mount: with the signal ignored, writes past it fail.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -S -f 12288; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap());
    as_part(&mut command, "part_that_fills_its_disk", dir.path());
    let mut child = Part::start(command);
    let pid = child.0.id().to_string();
    let mut said = Vec::new();
    for line in child.lines() {
        if line == "full" {
            let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
            assert!(raised.success());
        }
        said.push(line);
    }
    assert!(child.0.wait().unwrap().success(), "{said:#?}");
    assert!(said.iter().any(|line| line == "full") && said.iter().any(|line| line == "healed"), "{said:#?}");
}

#[test]
fn part_that_fills_its_disk() {
    let Some(dir) = dir_of_part() else { return };
    let store = SledStore::open(dir, SledOptions::default()).unwrap();
    let mut changes = store.status_changes();
    assert_eq!(block_on(changes.next()), Some(Status::Writable));
    let (stored, error) = (0..).find_map(|n| write(&store, 1, n).err().map(|error| (n, error))).unwrap();
    assert!(matches!(error, CommitError::Unknown { .. }), "{error}");
    assert!(matches!(write(&store, 1, stored), Err(CommitError::ReadOnly { .. })));
    assert!(matches!(store.status(), Status::ReadOnly { .. }));
    // What shares a page with the write that failed may have to wait; most does not, and nothing counts as damaged.
    let served = (0..stored).filter(|n| match store.get(&key('a', 1, *n)) {
        Ok(entry) => entry.unwrap().value == payload(1, *n),
        Err(ReadError::Unavailable { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    assert!(served.count() as u32 > stored * 9 / 10, "reads are served");
    assert_eq!(store.quarantined(), []);
    assert!(matches!(block_on(changes.next()), Some(Status::ReadOnly { .. })));
    say("full");
    assert_eq!(block_on(changes.next()), Some(Status::Writable));
    let healed = count(&store, 1);
    assert!(healed == stored || healed == stored + 1, "{healed} of {stored}");
    for n in healed..healed + 200 {
        write(&store, 1, n).unwrap();
    }
    assert_eq!(count(&store, 1), healed + 200);
    say("healed");
}

/// How long the store may need to notice that its disk is full, or has room again: it takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_disk_that_fills_up_under_load_is_noticed_whichever_write_it_meets_and_no_acknowledged_commit_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
    as_part(&mut command, "part_that_writes_whenever_it_can", dir.path());
    let mut child = Part::start(command);
    let pid = child.0.id().to_string();
    let limit = |bytes: &str| {
        let set =
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
        assert!(set.unwrap().success());
    };
    let (said, lines) = mpsc::channel();
    let spoken = child.lines();
    std::thread::spawn(move || spoken.map(|line| said.send(line)).take_while(Result::is_ok).for_each(drop));
    let mut acks = BTreeMap::new();
    let mut until = |what: &str, mut times: u32| {
        while times > 0 {
            let line =
                lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"));
            assert!(!line.contains("panicked"), "{line}");
            if let Some((writer, n)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' ')) {
                acks.insert(writer.parse::<u32>().unwrap(), n.parse::<u32>().unwrap());
            }
            times -= u32::from(line.starts_with(what));
        }
    };
    until("writable", 1);
    for round in 0..30 {
        until("ack", 20 + 7 * round);
        limit(if round % 2 == 0 { "0" } else { "4096" });
        until("read-only", 1);
        limit("unlimited");
        until("writable", 1);
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    for (writer, last) in acks {
        assert!(count(&store, writer) > last, "writer {writer} was told {last}");
    }
}

#[test]
fn part_that_writes_whenever_it_can() {
    let Some(dir) = dir_of_part() else { return };
    let store = SledStore::open(dir, SledOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let mut n = 0;
                loop {
                    match write(store, writer, n) {
                        Ok(_) => {
                            say(&format!("ack {writer} {n}"));
                            n += 1;
                        }
                        // Whether it is there nobody knows; the store is asked once it can be.
                        Err(_) => {
                            let mut changes = store.status_changes();
                            while block_on(changes.next()).is_some_and(|status| !status.is_writable()) {}
                            n += (0..)
                                .find_map(|_| {
                                    Some(u32::from(store.get(&key('a', writer, n)).ok()?.is_some()))
                                })
                                .unwrap();
                        }
                    }
                }
            });
        }
        let mut changes = store.status_changes();
        while let Some(status) = block_on(changes.next()) {
            say(if status.is_writable() { "writable" } else { "read-only" });
        }
    });
}

#[test]
fn a_second_process_is_told_that_another_one_holds_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    let mut child = Part::start(part("part_that_opens_a_store_in_use", dir.path()));
    let said: Vec<_> = child.lines().collect();
    assert!(child.0.wait().unwrap().success(), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("another process holds the store")), "{said:#?}");
    store.commit(Batch::new().put("k", "still mine")).wait().unwrap();
}

#[test]
fn part_that_opens_a_store_in_use() {
    let Some(dir) = dir_of_part() else { return };
    let refused = SledStore::open(dir, SledOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    say(&refused.to_string());
}
