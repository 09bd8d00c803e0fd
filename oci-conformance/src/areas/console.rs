//! process.terminal and consoleSize. The terminal is handed over on `--console-socket`, which every runtime with runc's
//! command line has; the specification leaves the way open.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config;
use crate::console::Receiver;
use crate::container::wait_for;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("console.stdio_is_a_terminal", &["L-dev-console", "R-start-runs"], stdio),
    core("console.is_controlling_terminal", &["R-start-runs"], controlling),
    core("console.size_is_set", &["R-start-runs"], size),
    core("console.dev_console_is_the_terminal", &["L-dev-console"], dev_console),
    core("console.bytes_pass_both_ways", &["R-start-runs"], both_ways),
    core("console.of_a_user_can_be_opened", &["R-start-runs"], of_user),
    core("console.in_user_namespace_works", &["L-dev-console"], in_user_namespace),
];

/// Runs actions on a terminal; what the probe says goes to /out, since the terminal changes line ends.
fn on_terminal(
    lab: &Lab,
    mut config: Value,
    actions: &[&str],
    uid: u32,
    while_running: impl FnOnce(&mut std::fs::File) -> Verdict,
) -> Result<Value, Failure> {
    config["process"]["terminal"] = json!(true);
    let mut all = vec!["to:/place/out"];
    all.extend(actions);
    config::set_actions(&mut config, &all);
    let container = lab.container("a", &config)?;
    if uid != 0 {
        super::namespaces::give_to(&container.root(), uid)?;
    }
    let receiver = Receiver::new(lab, "c.sock")?;
    let command = container.create_command(&["--console-socket", &receiver.path]);
    let received = receiver.receive(Duration::from_secs(8));
    let answer = container.try_create_with(command)?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    let received = received.join().unwrap_or_else(|_| Err("the receiver panicked".into()))?;
    let master: OwnedFd = received.descriptors.into_iter().next().ok_or("no descriptor came over the socket")?;
    let mut master = std::fs::File::from(master);
    container.start()?;
    while_running(&mut master)?;
    container.wait()?;
    let out = container.root().join("place/out");
    wait_for(&out)?;
    let said = serde_json::from_str(&std::fs::read_to_string(out)?)?;
    container.delete()?;
    Ok(said)
}

fn stdio(lab: &Lab) -> Verdict {
    let said = on_terminal(lab, config::base(), &["facts"], 0, |_| Ok(()))?;
    let terminal = &said["facts"]["terminal"];
    ensure(terminal.is_object(), || "the standard input is no terminal".into())?;
    equal("standard output and error are terminals", &terminal["outputs"], &json!(true))?;
    let name = terminal["name"].as_str().unwrap_or_default();
    ensure(name.starts_with("/dev/pts/") || name == "/dev/console", || format!("the terminal is {name:?}"))
}

fn controlling(lab: &Lab) -> Verdict {
    let said = on_terminal(lab, config::base(), &["facts"], 0, |_| Ok(()))?;
    equal("/dev/tty can be opened", &said["facts"]["terminal"]["controlling"], &json!(true))?;
    equal("session", &said["facts"]["session"], &json!(1))
}

fn size(lab: &Lab) -> Verdict {
    let config = config::with("/process/consoleSize", json!({"height": 31, "width": 97}));
    let said = on_terminal(lab, config, &["facts"], 0, |_| Ok(()))?;
    equal("rows", &said["facts"]["terminal"]["rows"], &json!(31))?;
    equal("columns", &said["facts"]["terminal"]["columns"], &json!(97))
}

fn dev_console(lab: &Lab) -> Verdict {
    let actions = ["stat:/dev/console", "stat:/dev/pts/0", "facts"];
    let said = on_terminal(lab, config::base(), &actions, 0, |_| Ok(()))?;
    let (console, pty) = (&said["stat:/dev/console"], &said["stat:/dev/pts/0"]);
    ensure(console["type"] == "c", || format!("/dev/console is {console}"))?;
    equal("major number", &console["major"], &pty["major"])?;
    equal("minor number", &console["minor"], &pty["minor"])?;
    super::mounts::mount_at(&said["facts"], "/dev/console").map(|_| ())
}

fn both_ways(lab: &Lab) -> Verdict {
    // The probe's facts tell nothing of bytes; the terminal itself echoes what is typed.
    on_terminal(lab, config::base(), &["sleep:700"], 0, |master| {
        master.write_all(b"typed\n")?;
        let mut seen = Vec::new();
        let mut buffer = [0; 256];
        while !seen.windows(5).any(|window| window == b"typed") {
            let count = master.read(&mut buffer)?;
            ensure(count > 0, || "the terminal ended".into())?;
            seen.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        Ok(())
    })
    .map(|_| ())
}

fn of_user(lab: &Lab) -> Verdict {
    let config = config::with("/process/user", json!({"uid": 1000, "gid": 1000}));
    let said = on_terminal(lab, config, &["open:/dev/pts/0:rw"], 1000, |_| Ok(()))?;
    equal("opening the terminal", said["open:/dev/pts/0:rw"]["errno"].as_i64(), None)
}

fn in_user_namespace(lab: &Lab) -> Verdict {
    let said =
        on_terminal(lab, config::with_user_namespace(100_000), &["facts", "stat:/dev/console"], 100_000, |_| Ok(()))?;
    ensure(said["facts"]["terminal"].is_object(), || "the standard input is no terminal".into())?;
    equal("/dev/console", &said["stat:/dev/console"]["type"], &json!("c"))
}
