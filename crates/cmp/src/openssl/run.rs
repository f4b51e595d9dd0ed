//! Runs the command: no shell, no inherited environment, bounded output, killed when its time is over or when nobody
//! waits for it any more.

use std::{ffi::OsStr, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

use super::spawn::spawn;

/// Most bytes that are kept of each output stream.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) end: End,
    /// Both streams, standard output first, each cut at [`MAX_OUTPUT_BYTES`].
    pub(super) output: Vec<u8>,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With exit code 0.
    Success,
    /// With another exit code.
    Failure,
    /// By a signal that was not ours.
    Signal(i32),
    /// By us: its time was over.
    OutOfTime,
}

/// Runs `program` in `directory` with nothing but these arguments and variables. Dropping the future kills it.
pub(super) async fn run(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    variables: &[(&str, &str)],
    directory: &Path,
    limit: Duration,
) -> io::Result<Finished> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = spawn(command).await?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let work = async {
        tokio::join!(
            drain(stdout, &mut output),
            drain(stderr, &mut errors),
            child.wait()
        )
        .2
    };
    let end = match timeout(limit, work).await {
        Ok(status) => {
            let status = status?;
            match std::os::unix::process::ExitStatusExt::signal(&status) {
                Some(signal) => End::Signal(signal),
                None if status.success() => End::Success,
                None => End::Failure,
            }
        }
        Err(_) => {
            child.kill().await?;
            End::OutOfTime
        }
    };
    output.push(b'\n');
    output.append(&mut errors);
    Ok(Finished { end, output })
}

/// Reads to the end, keeps the beginning: a program that talks too much must not stall on a full pipe.
async fn drain(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Finished {
        let directory = std::env::temp_dir();
        run(
            Path::new("/bin/sh"),
            &["-c", script],
            &[("LC_ALL", "C")],
            &directory,
            limit,
        )
        .await
        .unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_environment_holds_what_was_given_and_nothing_else() {
        let finished = shell("/usr/bin/env", LONG).await;
        let text = String::from_utf8(finished.output).unwrap();
        let names = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name);
        // The shell adds its own.
        let names: Vec<&str> = names
            .filter(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name))
            .collect();
        assert_eq!(names, ["LC_ALL"]);
    }

    #[tokio::test]
    async fn both_streams_are_kept_up_to_a_bound_and_the_end_is_known() {
        assert_eq!(
            shell("echo out; echo err >&2", LONG).await.output,
            b"out\n\nerr\n"
        );
        assert_eq!(shell("exit 3", LONG).await.end, End::Failure);
        assert_eq!(shell("kill -11 $$", LONG).await.end, End::Signal(11));
        let flood = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", LONG).await;
        assert_eq!(
            (flood.end, flood.output.len()),
            (End::Success, 2 * MAX_OUTPUT_BYTES + 1)
        );
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_killed() {
        let finished = shell("echo begun; exec sleep 1000", Duration::from_millis(200)).await;
        assert_eq!(finished.end, End::OutOfTime);
        assert!(finished.output.starts_with(b"begun"));
    }

    #[tokio::test]
    async fn a_program_that_nobody_waits_for_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let begun = directory.path().join("begun");
        let script = format!(
            "echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 1000",
            begun.display()
        );
        let arguments = ["-c".to_owned(), script];
        let mut running = Box::pin(run(
            Path::new("/bin/sh"),
            &arguments,
            &[("PATH", "/usr/bin:/bin")],
            directory.path(),
            LONG,
        ));
        while !begun.exists() {
            tokio::select! {
                _ = &mut running => panic!("it must not end by itself"),
                () = tokio::task::yield_now() => (),
            }
        }
        let pid = std::fs::read_to_string(&begun).unwrap();
        let process = Path::new("/proc").join(pid.trim());
        assert!(process.exists());
        drop(running);
        let gone = async {
            // A killed process may stay as a zombie until the runtime has taken its status.
            while std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, gone).await.unwrap();
    }
}
