//! Other clients than this library, as processes.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python with kazoo, running a script of `tests/support`.
pub(crate) fn kazoo(script: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let mut command = Command::new("python3");
    command
        .arg(folder.join(script))
        .env("PYTHONPATH", kazoo_folder());
    command
}

/// Beside what cargo builds, where scripts/test puts it.
fn kazoo_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kazoo");
    assert!(
        folder.join("kazoo").is_dir(),
        "This test runs beside kazoo, a ZooKeeper client in Python. Install it with\n    \
         python3 -m pip install --target {} kazoo==2.10.0",
        folder.display()
    );
    folder
}

/// What ZooKeeper's own shell prints when it is told this.
pub(crate) fn zk_cli(server: &str, commands: &str) -> String {
    let mut shell = Command::new(zk_cli_script())
        .args(["-server", server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run zkCli.sh");
    let mut input = shell.stdin.take().unwrap();
    input.write_all(commands.as_bytes()).unwrap();
    drop(input);
    let output = shell.wait_with_output().unwrap();
    let [printed, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    printed + &errors
}

fn zk_cli_script() -> PathBuf {
    let home = env::var_os("ZOOKEEPER_HOME").unwrap_or_else(|| "/usr/share/zookeeper".into());
    let script = Path::new(&home).join("bin/zkCli.sh");
    let there = script.exists();
    assert!(there, "no {}: install ZooKeeper", script.display());
    script
}
