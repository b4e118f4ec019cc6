//! A program that ends together with this process, however this process ends: a small shell holds the other end of a pipe and
//! kills the program when the pipe closes. It does not know what it runs.
//!
//! Linux's "die with the parent" signal would need `unsafe` here, and follows the thread that started the child: it is sent
//! when an async runtime retires that thread. A pipe closes exactly when the process ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::Error;
use super::error::io;

/// The shell script. Arguments: a folder, a file to create when the program has ended, the program and its arguments. Standard
/// input is the pipe. When it closes, the script kills the program and removes the folder. A program that ended by itself leaves
/// the folder with its log until then.
const GUARD: &str = r#"
dir=$1 ended=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
( read -r _ <&3; [ -e "$ended" ] || kill -9 "$child" ) &
reader=$!
wait "$child"
echo "ended with exit code $?"
: >"$ended"
wait "$reader"
rm -rf "$dir"
"#;

/// Number of log lines that an error shows.
const TAIL: usize = 15;

/// A program that ends together with this process.
pub struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
    log: PathBuf,
    ended: PathBuf,
}

impl Guarded {
    /// Starts `program`; its output goes to `<dir>/<name>.log`, and `dir` is removed when this process ends.
    ///
    /// Errors: no shell, or the log cannot be written.
    pub fn start(name: &str, program: &Path, arguments: &[String], dir: &Path) -> Result<Self, Error> {
        let log = dir.join(format!("{name}.log"));
        let ended = dir.join(format!("{name}.ended"));
        let output = File::create(&log).map_err(io(format!("write {}", log.display())))?;
        let errors = output.try_clone().map_err(io(format!("write {}", log.display())))?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args([dir, &ended, program])
            .args(arguments)
            // Less garbage collection, because memory is plenty and processors are few.
            .env("GOGC", "400")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // A process group of its own, so that Ctrl-C does not reach the guard and the guard outlives this process.
            .process_group(0)
            .spawn()
            .map_err(io(format!("start {name}")))?;
        let pipe = guard.stdin.take();
        Ok(Self { guard, pipe, log, ended })
    }

    /// Whether the program ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.ended.exists() || !matches!(self.guard.try_wait(), Ok(None))
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
        // The guard ends by itself once the pipe is closed, so a failed wait needs no handling.
        let _ = self.guard.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::*;

    fn shell(dir: &TempDir, script: &str) -> Guarded {
        Guarded::start("shell", Path::new("sh"), &["-c".into(), script.into()], dir.path()).unwrap()
    }

    fn within_ten_seconds(mut condition: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if condition() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn a_program_that_ended_is_reported_and_keeps_its_log() {
        let dir = TempDir::new().unwrap();
        let mut program = shell(&dir, "echo port is taken; exit 3");
        assert!(within_ten_seconds(|| program.has_ended()));
        assert_eq!(program.log(), "port is taken\nended with exit code 3");
    }

    #[test]
    fn a_dropped_program_is_killed_and_its_folder_removed_even_if_it_ignores_signals() {
        let dir = TempDir::new().unwrap();
        let mut program = shell(&dir, "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done");
        assert!(within_ten_seconds(|| !program.log().is_empty()));
        let process = Path::new("/proc").join(program.log());
        assert!(!program.has_ended() && process.exists());
        drop(program);
        assert!(!process.exists() && !dir.path().exists());
    }
}
