//! A real server for tests: the one that the environment names, or one that is started and ends with the tests.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;
use tonic::Code;

use super::ids::new_id;
use crate::access::Access;
use crate::calls::{FirstUse, make};
use crate::errors::Error;
use crate::v1;
use crate::v1::access::Permission;
use crate::v1::access_admin_client::AccessAdminClient;

const START_WITHIN: Duration = Duration::from_secs(120);
const DEADLINE: Duration = Duration::from_secs(30);
const MISSING: &str = "there is no server for tests. One of these makes one known:
  pip install 'jobqueue-server[embedded]'            a server is started, and ends with the tests (Linux)
  JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command
  JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it
  JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys";

/// A real server, for tests that share it: each has a namespace of its own ([`TestScope`](super::TestScope)), so they do not
/// see each other's jobs.
///
/// It is found in this order; nothing is downloaded. `JOBQUEUE_TEST_SERVER`: the address of one that runs, with the key of
/// an administrator in `JOBQUEUE_TEST_KEY`. `JOBQUEUE_SERVER_COMMAND`: what is run, with `ephemeral` behind it.
/// `jobqueue-server` on PATH.
///
/// With `JOBQUEUE_TEST_SHARED=1` all processes of this user that ask for it get the same server, such as those of
/// cargo-nextest, which has one for each test. Empty or `0`: each has its own.
///
/// A server that was started ends when this is dropped, and with this process in whatever way that ends. One that is shared
/// ends with the last of the processes that share it.
pub struct TestServer {
    target: String,
    key: String,
    process: Option<Child>,
}

impl TestServer {
    /// Finds or starts it. Starting takes some seconds. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// `Unavailable`: there is none, or it does not start. The text says what would help.
    pub async fn start() -> Result<Self, Error> {
        if let Some(target) = given("JOBQUEUE_TEST_SERVER") {
            return Ok(Self { target, key: given("JOBQUEUE_TEST_KEY").unwrap_or_default(), process: None });
        }
        let command = given("JOBQUEUE_SERVER_COMMAND");
        let shared = shares(given("JOBQUEUE_TEST_SHARED").as_deref());
        let started = tokio::task::spawn_blocking(move || match command {
            Some(command) => run(&words_of(&command), shared, false),
            None => run(&["jobqueue-server".to_owned()], shared, true),
        });
        started.await.map_err(|error| missing(error.to_string()))?
    }

    /// The one that all tests of this process share; the first to ask starts it. It ends with the process. For one of
    /// several processes see `JOBQUEUE_TEST_SHARED` [above](Self).
    ///
    /// # Errors
    ///
    /// As those of [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<TestServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Its address, HOST:PORT.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// An administrator's key. Empty: it asks for none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes a namespace, and a key that permits everything in it.
    pub(super) async fn open_scope(&self) -> Result<(String, String), Error> {
        let name = format!("t-{}", new_id().replace('-', ""));
        let namespace = v1::CreateNamespaceRequest { name: name.clone() };
        self.ask(namespace, async |mut stub, request| stub.create_namespace(request).await).await?;
        let everything = v1::Grant {
            permissions: [Permission::Enqueue, Permission::Work, Permission::Read, Permission::Operate]
                .map(Into::into)
                .to_vec(),
            queues: vec!["*".to_owned()],
            payloads: true,
            ..v1::Grant::default()
        };
        let admin = v1::Grant { permissions: vec![Permission::Admin.into()], ..v1::Grant::default() };
        let key = v1::CreateKeyRequest {
            name: "tests".to_owned(),
            grants: vec![everything, admin],
            namespace: name.clone(),
            ..v1::CreateKeyRequest::default()
        };
        let made = self.ask(key, async |mut stub, request| stub.create_key(request).await).await?;
        Ok((name, made.secret))
    }

    /// Disables a namespace: its workers and clients are refused from then on. It stays until the server ends.
    pub(super) async fn close_scope(&self, namespace: &str) -> Result<(), Error> {
        let request = v1::DisableNamespaceRequest { name: namespace.to_owned() };
        self.ask(request, async |mut stub, request| stub.disable_namespace(request).await).await.map(drop)
    }

    async fn ask<Q, A, F, R>(&self, request: Q, send: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(AccessAdminClient<tonic::transport::Channel>, tonic::Request<Q>) -> R,
        R: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
    {
        let access = if self.key.is_empty() { Access::new() } else { Access::new().token(&self.key) };
        // A channel belongs to the runtime of one test.
        let stub = AccessAdminClient::new(access.endpoint(&self.target)?.connect_lazy());
        let first = FirstUse::new(self.target.clone(), false);
        make(&access, &first, DEADLINE, false, None, request, |request| send(stub.clone(), request)).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("target", &self.target).finish_non_exhaustive()
    }
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn missing(words: impl Into<String>) -> Error {
    Error::new(Code::Unavailable, words)
}

/// Whether a value of `JOBQUEUE_TEST_SHARED` asks for a server that processes share.
fn shares(said: Option<&str>) -> bool {
    said.is_some_and(|said| !matches!(said, "" | "0"))
}

/// A new file that has no name any more.
fn unnamed_file() -> io::Result<File> {
    let path = env::temp_dir().join(format!("jobqueue-server-{}.log", new_id()));
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    let _ = fs::remove_file(&path);
    Ok(file)
}

/// Starts a server, and waits for its first line.
fn run(command: &[String], shared: bool, sought: bool) -> Result<TestServer, Error> {
    let Some((program, first)) = command.split_first() else { return Err(missing(MISSING)) };
    let arguments = || first.iter().map(String::as_str).chain(["ephemeral"]).chain(shared.then_some("--shared"));
    let shown = std::iter::once(program.as_str()).chain(arguments()).collect::<Vec<_>>().join(" ");
    let failed = |error: io::Error| missing(format!("{shown} can't be started: {error}"));
    // The server ends a little later than this process. With this process's stderr it would hold up whatever reads that to
    // its end, such as a CI.
    let mut log = unnamed_file().map_err(failed)?;
    let mut started = Command::new(program);
    started.args(arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone().map_err(failed)?);
    let mut process = match started.spawn() {
        Ok(process) => process,
        Err(error) if sought && error.kind() == io::ErrorKind::NotFound => return Err(missing(MISSING)),
        Err(error) => return Err(failed(error)),
    };
    let (said, says) = channel();
    if let Some(output) = process.stdout.take() {
        // It reads on, so that nothing that the server says later is held up.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
    }
    let line = says.recv_timeout(START_WITHIN);
    let ends_by_itself = line == Err(RecvTimeoutError::Disconnected);
    let answer = line.ok().and_then(|line| serde_json::from_str::<Value>(&line).ok());
    let field = |name: &str| answer.as_ref()?.get(name)?.as_str().map(str::to_owned);
    if let (Some(target), Some(key)) = (field("grpc"), field("key")) {
        return Ok(TestServer { target, key, process: Some(process) });
    }
    if !ends_by_itself {
        let _ = process.kill();
    }
    let ended = process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let mut words = Vec::new();
    let _ = log.rewind().and_then(|()| log.read_to_end(&mut words));
    Err(missing(format!(
        "{shown} ended with {ended} before it answered. A server that does not know `ephemeral` is too old for this client. \
         It said:\n{}",
        String::from_utf8_lossy(&words).trim_end()
    )))
}

/// The words of a command. Quotes keep spaces together.
fn words_of(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for each in command.chars() {
        match quote {
            Some(open) if each == open => quote = None,
            None if each == '\'' || each == '"' => {
                quote = Some(each);
                word.get_or_insert_default();
            }
            None if each.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(each),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_into_words_as_a_shell_would() {
        assert_eq!(words_of(" python -m 'a b'c \"\" d"), ["python", "-m", "a bc", "", "d"]);
    }

    #[test]
    fn a_server_that_does_not_answer_is_named_and_what_would_help() {
        let none = run(&["/no/such/jobqueue-server".to_owned()], false, true).unwrap_err();
        assert!(none.message().starts_with("there is no server for tests.") && none.message().lines().count() == 5);
        let given = run(&["/no/such/server".to_owned()], false, false).unwrap_err().to_string();
        assert!(given.contains("/no/such/server ephemeral can't be started"), "{given}");
        let ended = run(&["false".to_owned()], true, false).unwrap_err().to_string();
        assert!(ended.contains("false ephemeral --shared ended with exit status: 1 before it answered"), "{ended}");
        assert!(ended.contains("is too old for this client"), "{ended}");
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_words_of_a_server_that_does_not_start_are_in_the_error() {
        let ended = run(&shell("echo 'no such database' >&2; exit 3"), false, false).unwrap_err().to_string();
        assert!(ended.contains("exit status: 3") && ended.ends_with("It said:\nno such database"), "{ended}");
        let other = run(&shell("echo hello; echo 'too early' >&2; cat"), false, false).unwrap_err().to_string();
        assert!(other.contains("signal: 9"), "{other}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_server_writes_to_a_file_without_a_name_and_not_to_what_the_tests_write_to() {
        let script = r#"printf '{"grpc": "%s", "key": "k"}\n' "$(readlink /proc/$$/fd/2)"; cat >/dev/null"#;
        let server = run(&shell(script), false, false).unwrap();
        let file = server.target().strip_suffix(" (deleted)").expect("it has a name");
        assert!(file.contains("jobqueue-server-") && !std::path::Path::new(file).exists(), "{file}");
    }

    #[test]
    fn a_server_that_processes_share_is_asked_for_unless_the_variable_is_empty_or_0() {
        let asks = [None, Some(""), Some("0"), Some("1"), Some("yes")].map(shares);
        assert_eq!(asks, [false, false, false, true, true]);
    }
}
