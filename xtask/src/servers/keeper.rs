//! The process that holds servers for another one, and stops them when that one is gone or says so.
//!
//! A server that a test kills is started again, on the data it had. The keeper learns of the end by its standard input closing (tests, load), or by a byte on a Unix socket (`services down`).

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::{
    detached,
    spec::{Running, Spec, scratch},
};
use crate::process::{Failure, Result, about};

/// How often servers are looked after.
const LOOK: Duration = Duration::from_millis(300);

pub(crate) const COMMAND: &str = "__keep";
/// Said when all servers answer.
pub(crate) const READY: &str = "ready";

/// The keeper as a command, its standard output piped to us.
pub(super) fn command(specs: &[Spec], socket: Option<&Path>) -> Result<Command> {
    let mut command = detached(std::env::current_exe().map_err(about("my own program"))?);
    command.arg(COMMAND).args(specs.iter().map(Spec::encode)).stdout(Stdio::piped());
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    Ok(command)
}

pub(crate) fn run(arguments: &[String]) -> Result {
    let (specs, socket) = read(arguments)?;
    let listener = match &socket {
        Some(path) => Some(UnixListener::bind(path).map_err(about(path.display()))?),
        None => None,
    };
    let dir = scratch()?;
    let (mut running, failure) = start_all(&specs, &dir);
    let mut asker = None;
    if failure.is_none() {
        announce(&running);
        let (send, ended) = mpsc::channel();
        std::thread::spawn(move || send.send(wait_for_the_end(listener.as_ref())));
        asker = loop {
            match ended.recv_timeout(LOOK) {
                Ok(asker) => break asker,
                Err(mpsc::RecvTimeoutError::Timeout) => running.iter_mut().for_each(Running::revive),
                Err(mpsc::RecvTimeoutError::Disconnected) => break None,
            }
        };
    }
    for server in running.into_iter().rev() {
        server.stop();
    }
    let _gone = fs::remove_dir_all(&dir);
    if let Some(path) = socket {
        let _gone = fs::remove_file(path);
    }
    // Closing the connection tells `services down` that everything is gone.
    drop(asker);
    failure.map_or(Ok(()), Err)
}

fn read(arguments: &[String]) -> Result<(Vec<Spec>, Option<PathBuf>)> {
    let (mut specs, mut socket) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--socket" {
            socket = arguments.next().map(PathBuf::from);
        } else {
            let spec = Spec::decode(argument);
            specs.push(spec.ok_or_else(|| Failure::message(format!("the keeper does not know `{argument}`")))?);
        }
    }
    Ok((specs, socket))
}

/// All at once: the slowest decides how long the tests wait.
fn start_all(specs: &[Spec], dir: &Path) -> (Vec<Running>, Option<Failure>) {
    let results: Vec<Result<Running>> = std::thread::scope(|scope| {
        let starts: Vec<_> = specs.iter().map(|spec| scope.spawn(|| spec.start(dir))).collect();
        let join = |start: std::thread::ScopedJoinHandle<'_, _>| {
            start.join().unwrap_or_else(|_| Err(Failure::message("panicked")))
        };
        starts.into_iter().map(join).collect()
    });
    let (mut running, mut failure) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(server) => running.push(server),
            Err(why) => failure = Some(why),
        }
    }
    (running, failure)
}

/// Our standard output is not read after this.
fn announce(running: &[Running]) {
    let mut output = std::io::stdout().lock();
    for (name, value) in running.iter().flat_map(|server| &server.exports) {
        let _unheard = writeln!(output, "{name}={value}");
    }
    let _unheard = writeln!(output, "{READY}");
    let _unheard = output.flush();
}

fn wait_for_the_end(listener: Option<&UnixListener>) -> Option<std::os::unix::net::UnixStream> {
    let Some(listener) = listener else {
        let _closed = std::io::stdin().lock().read_to_end(&mut Vec::new());
        return None;
    };
    // A connection without a byte only asks whether we are here.
    listener.incoming().flatten().find_map(|mut asker| matches!(asker.read(&mut [0]), Ok(1)).then_some(asker))
}
