//! A process that ends with us, however we end: a small shell holds the other end of a pipe and kills it when that closes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::{Error, io};

/// Starts the program in the background, waits for the pipe on standard input to close or the program to end, then kills it
/// and removes the folder that is its first argument.
const GUARD: &str = r#"
dir=$1; shift
"$@" </dev/null &
child=$!
( while kill -0 $child 2>/dev/null; do sleep 1; done; kill $$ 2>/dev/null ) </dev/null &
watcher=$!
trap 'kill -9 $child $watcher 2>/dev/null; exit 0' TERM
read -r _
kill -9 $child $watcher 2>/dev/null
rm -rf "$dir"
"#;

/// Lines of a log that an error shows.
const TAIL: usize = 15;

/// A process that ends with us.
pub struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
    log: PathBuf,
}

impl Guarded {
    /// Starts `program`; its output goes to `<dir>/<name>.log`, and `dir` is removed when we die.
    ///
    /// Errors: no shell, or the log cannot be written.
    pub fn start(name: &str, program: &Path, arguments: &[String], dir: &Path) -> Result<Self, Error> {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).map_err(io(format!("write {}", log.display())))?;
        let errors = output.try_clone().map_err(io(format!("write {}", log.display())))?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(dir)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(io(format!("start {name}")))?;
        let pipe = guard.stdin.take();
        Ok(Self { guard, pipe, log })
    }

    /// Whether the process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.guard.try_wait(), Ok(None))
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The guard ends on its own once the pipe is closed; nothing is left to do if waiting fails.
        let _ = self.guard.wait();
    }
}
