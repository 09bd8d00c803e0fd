//! The service manager on its bus (org.freedesktop.systemd1(5)): units are started, stopped, changed and asked for.
//!
//! Root speaks to systemd directly, over the socket that systemctl(1) uses, which needs no bus to be up and saves
//! a process on the way; everybody else, and root where that socket is missing, by the bus. What takes time is a job,
//! whose end systemd announces by a signal: nothing here polls.

use std::env;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::properties::UnitProperty;
use crate::dbus::{Address, Call, Connection, Kind, Message, parse_addresses, refusal};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::plan::resources::value::Value;

/// How long all that one command asks of systemd may take. A machine that is starting up has many jobs.
const PATIENCE: Duration = Duration::from_secs(60);

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A connection to a service manager.
pub(super) struct Manager {
    connection: Connection,
    /// By a bus: signals have to be asked for. A direct connection gets all of them.
    by_bus: bool,
    user: bool,
}

/// What became of a call that starts a job.
enum Outcome {
    /// The job ended with this result.
    Ended(String),
    /// There is no job.
    Refused(Message),
}

impl Manager {
    /// Connects to the user's service manager, or to the system's.
    pub fn open(user: bool) -> Result<Manager> {
        let mut failed = None;
        for Place { address, by_bus } in places(user) {
            match Connection::open(&address, by_bus.then_some(NAME), PATIENCE) {
                Ok(connection) => return Manager::greet(connection, by_bus, user),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        let error = failed.unwrap_or_else(|| Error::sys(Errno::ENOENT, "no address of the bus is known"));
        Err(if user {
            error.context("reach the user's service manager").hint(
                "log in by ssh or machinectl, or run `loginctl enable-linger`, and set XDG_RUNTIME_DIR; \
                 or use --cgroup-manager cgroupfs",
            )
        } else {
            error.context("reach systemd").hint("use --cgroup-manager cgroupfs where systemd does not run")
        })
    }

    fn greet(mut connection: Connection, by_bus: bool, user: bool) -> Result<Manager> {
        if by_bus {
            // Nothing is sent before it; its answer, our name on the bus, tells nothing that is needed.
            connection.send_to_bus(&bus_call("Hello", Vec::new()))?;
        }
        Ok(Manager { connection, by_bus, user })
    }

    /// Starts the transient `unit` and waits until it runs.
    ///
    /// # Errors
    /// Name the unit: it exists, the manager refuses or does not answer, the job fails.
    pub fn start(&mut self, unit: &str, properties: Vec<UnitProperty>) -> Result<(), Unstarted> {
        let describe = |error: Error| error.context(format!("start unit {unit}"));
        self.watch_jobs().map_err(describe).map_err(Unstarted::Surely)?;
        match self.try_start(unit, &properties).map_err(describe).map_err(Unstarted::Perhaps)? {
            Outcome::Refused(message) => self.start_again(unit, properties, &message).map_err(|error| match error {
                Unstarted::Surely(error) => Unstarted::Surely(describe(error)),
                Unstarted::Perhaps(error) => Unstarted::Perhaps(describe(error)),
            }),
            ended => self.ended_well(ended).map_err(describe).map_err(Unstarted::Perhaps),
        }
    }

    /// What a refusal leaves to be tried: an older systemd without the newest properties, or a unit of that name
    /// that failed earlier and is only remembered.
    fn start_again(&mut self, unit: &str, properties: Vec<UnitProperty>, message: &Message) -> Result<(), Unstarted> {
        let count = properties.len();
        let properties = match message.error_name.as_str() {
            "org.freedesktop.systemd1.UnitExists" => {
                let reset = manager_call("ResetFailedUnit", vec![Value::text(unit)]);
                let reset = self.connection.call(&reset);
                reset.map_err(|_not_failed| Unstarted::Surely(refusal(message).errno(Errno::EEXIST)))?;
                properties
            }
            "org.freedesktop.DBus.Error.PropertyReadOnly"
            | "org.freedesktop.DBus.Error.UnknownProperty"
            | "org.freedesktop.DBus.Error.InvalidArgs" => {
                let version = self.version().map_err(Unstarted::Surely)?;
                let known: Vec<_> = properties.into_iter().filter(|entry| entry.since <= version).collect();
                if known.len() == count {
                    return Err(Unstarted::Surely(refusal(message)));
                }
                known
            }
            _ => return Err(Unstarted::Surely(refusal(message))),
        };
        match self.try_start(unit, &properties).map_err(Unstarted::Perhaps)? {
            Outcome::Refused(message) => Err(Unstarted::Surely(refusal(&message))),
            ended => self.ended_well(ended).map_err(Unstarted::Perhaps),
        }
    }

    fn try_start(&mut self, unit: &str, properties: &[UnitProperty]) -> Result<Outcome> {
        let arguments = vec![
            Value::text(unit),
            // As with a job that is there already: a unit that is transient has none.
            Value::text("fail"),
            list(properties),
            // No other units along with it.
            Value::array("(sa(sv))", Vec::new()),
        ];
        self.job(&manager_call("StartTransientUnit", arguments))
    }

    /// Stops `unit` and waits until it is gone; one that is not there is no error.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let describe = |error: Error| error.context(format!("stop unit {unit}"));
        self.watch_jobs().map_err(describe)?;
        let call = manager_call("StopUnit", vec![Value::text(unit), Value::text("replace")]);
        match self.job(&call).map_err(describe)? {
            Outcome::Refused(message) if message.error_name == "org.freedesktop.systemd1.NoSuchUnit" => Ok(()),
            outcome => self.ended_well(outcome).map_err(describe),
        }
    }

    /// Kills every process of `unit`.
    pub fn kill(&mut self, unit: &str) -> Result<()> {
        let arguments = vec![Value::text(unit), Value::text("all"), Value::Int32(libc::SIGKILL)];
        self.call(&manager_call("KillUnit", arguments), || format!("kill unit {unit}"))
    }

    /// Changes properties of `unit` until it ends.
    pub fn set_properties(&mut self, unit: &str, mut properties: Vec<UnitProperty>) -> Result<()> {
        let call = |properties: &[UnitProperty]| {
            manager_call("SetUnitProperties", vec![Value::text(unit), Value::Bool(true), list(properties)])
        };
        let describe = || format!("set properties of unit {unit}");
        let Err(error) = self.call(&call(&properties), describe) else { return Ok(()) };
        let count = properties.len();
        let version = self.version().map_err(|error| error.context(describe()))?;
        properties.retain(|entry| entry.since <= version);
        if properties.len() == count { Err(error) } else { self.call(&call(&properties), describe) }
    }

    /// Moves a process into `unit`, or into the cgroup `below` it, where the caller itself may not.
    pub fn attach(&mut self, unit: &str, below: &str, pid: u32) -> Result<()> {
        let pids = Value::array("u", vec![Value::Uint32(pid)]);
        let arguments = vec![Value::text(unit), Value::text(below), pids];
        self.call(&manager_call("AttachProcessesToUnit", arguments), || format!("move process {pid} to unit {unit}"))
    }

    /// What `unit` calls itself; its name if there is none.
    pub fn description(&mut self, unit: &str) -> Result<String> {
        self.property(&unit_path(unit), UNIT, "Description")
            .map_err(|error| error.context(format!("ask for unit {unit}")))
    }

    /// Of systemd: `257` from `257.7-1~deb13u1` or `systemd 219`.
    fn version(&mut self) -> Result<u32> {
        let text = self.property(PATH, MANAGER, "Version")?;
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let number = digits.get(..end).unwrap_or_default().parse();
        number.map_err(|error| Error::new(ErrorKind::System, format!("version of systemd {text:?}: {error}")))
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<String> {
        let arguments = vec![Value::text(interface), Value::text(name)];
        let message = self.connection.call(&Call { path, interface: PROPERTIES, member: "Get", arguments })?;
        match message.body().and_then(|body| body.into_iter().next()) {
            Some(Value::Variant(value)) => match *value {
                Value::Text(text) => Ok(text),
                other => Err(odd(&format!("{name} of type {}", other.signature()))),
            },
            _ => Err(odd(name)),
        }
    }

    fn call<S: Into<String>>(&mut self, call: &Call<'_>, describe: impl FnOnce() -> S) -> Result<()> {
        self.connection.call(call).map(drop).map_err(|error| error.context(describe().into()))
    }

    /// Asks the bus for the signals that tell the end of jobs.
    fn watch_jobs(&mut self) -> Result<()> {
        if self.by_bus {
            let rule = format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved'");
            self.connection.send_to_bus(&bus_call("AddMatch", vec![Value::Text(rule)]))?;
            self.connection.send(&manager_call("Subscribe", Vec::new()))?;
        }
        Ok(())
    }

    /// Sends `call`, which starts a job, and waits for the job's end.
    fn job(&mut self, call: &Call<'_>) -> Result<Outcome> {
        let serial = self.connection.send(call)?;
        let mut job = None;
        let mut removed: Vec<(String, String)> = Vec::new();
        loop {
            let message = self.connection.receive()?;
            match message.kind {
                Kind::Return if message.reply_to == Some(serial) => match message.body().as_deref() {
                    Some([Value::Path(path), ..]) => job = Some(path.clone()),
                    _ => return Err(odd("a job")),
                },
                Kind::Error if message.reply_to == Some(serial) => return Ok(Outcome::Refused(message)),
                // What was asked of the bus before: without it the end of the job would not be heard.
                Kind::Error if message.reply_to.is_some_and(|other| other < serial) => return Err(refusal(&message)),
                Kind::Signal if message.interface == MANAGER && message.member == "JobRemoved" => {
                    match message.body().as_deref() {
                        Some([_, Value::Path(path), _, Value::Text(result), ..]) => {
                            removed.push((path.clone(), result.clone()));
                        }
                        _ => return Err(odd("JobRemoved")),
                    }
                }
                _ => {}
            }
            if let Some(job) = &job
                && let Some((_, result)) = removed.iter().find(|(path, _)| path == job)
            {
                return Ok(Outcome::Ended(result.clone()));
            }
        }
    }

    fn ended_well(&self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Ended(result) if result == "done" => Ok(()),
            Outcome::Ended(result) => Err(Error::new(ErrorKind::System, format!("the job ended with {result:?}"))
                .hint(if self.user { "see journalctl --user" } else { "see journalctl" })),
            Outcome::Refused(message) => Err(refusal(&message)),
        }
    }
}

/// Why a unit did not start.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// Nothing was made.
    Surely(Error),
    /// It may be there, or come to be there.
    Perhaps(Error),
}

fn odd(what: &str) -> Error {
    Error::new(ErrorKind::System, format!("systemd's answer about {what} is not understood"))
}

fn manager_call(member: &'static str, arguments: Vec<Value>) -> Call<'static> {
    Call { path: PATH, interface: MANAGER, member, arguments }
}

fn bus_call(member: &'static str, arguments: Vec<Value>) -> Call<'static> {
    Call { path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus", member, arguments }
}

fn list(properties: &[UnitProperty]) -> Value {
    let pair = |entry: &UnitProperty| {
        let value = Value::Variant(Box::new(entry.property.value.clone()));
        Value::Struct(vec![Value::text(&entry.property.name), value])
    };
    Value::array("(sv)", properties.iter().map(pair).collect())
}

/// The object of a unit: what is not a letter or a digit becomes `_NN`, as does a digit at the beginning.
fn unit_path(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || index > 0 && byte.is_ascii_digit() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// Where a manager may be reached.
struct Place {
    address: Address,
    by_bus: bool,
}

/// In the order in which they are tried: what the environment says, the manager's own socket, the usual place of the
/// bus.
fn places(user: bool) -> Vec<Place> {
    let given = env::var(if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" });
    let bus = |address| Place { address, by_bus: true };
    let mut places: Vec<Place> = parse_addresses(&given.unwrap_or_default()).into_iter().map(bus).collect();
    if user {
        let directory = env::var("XDG_RUNTIME_DIR").ok().filter(|directory| !directory.is_empty());
        let directory = directory.unwrap_or_else(|| format!("/run/user/{}", geteuid()));
        places.push(Place { address: Address::Path(format!("{directory}/systemd/private")), by_bus: false });
        places.push(bus(Address::Path(format!("{directory}/bus"))));
    } else {
        places.push(Place { address: Address::Path("/run/systemd/private".to_owned()), by_bus: false });
        places.push(bus(Address::Path("/run/dbus/system_bus_socket".to_owned())));
    }
    places
}

#[cfg(test)]
mod tests;
