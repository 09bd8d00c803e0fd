//! D-Bus over a Unix socket, as much as it takes to call one service and to await its signals: marshalling,
//! messages, addresses, authentication (dbus.freedesktop.org/doc/dbus-specification.html). One thread, no event loop,
//! every wait bounded; whatever arrives is decoded by total functions, and what cannot be is an error.
//!
//! Uses `plan` (values, as data), `error` and `sys`. Called by `cgroup`.

mod address;
mod connection;
mod message;
mod wire;

pub(crate) use address::{Address, parse as parse_addresses};
pub(crate) use connection::{Call, Connection, refusal};
pub(crate) use message::{Kind, Message};

/// The other side, for the tests of those that call services.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::message::tests::{encode, read_message};
}
