//! Moves network devices of the host into the container (config-linux.md#network-devices): renamed on the way, their
//! permanent addresses of global scope set again, and up. Done by the parent, which alone has rights over both sides.
//!
//! With the container's network namespace the kernel gives physical devices back to the host and destroys virtual ones,
//! as at the end of every container. A container that could not be created must not cost the host a device, so until
//! then [`Moved::undo`] brings them back.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Context, Error, Kind, Result, Warning};
use crate::plan::NetDevice;
use crate::pointer;
use crate::sys::netlink::{Message, Request, Socket, attributes, u32_at};

// linux/if_link.h
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// Flags that say what an address is for, rather than what state it is in.
const IFA_F_KEPT: u32 = 0x02 | 0x10 | 0x200 | 0x400;
// linux/rtnetlink.h: global scope.
const RT_SCOPE_UNIVERSE: u8 = 0;

/// Length of ifaddrmsg.
const ADDRESS: usize = 8;
/// How often a dump of addresses is asked for again when they change under it.
const DUMP_ATTEMPTS: u32 = 8;
/// How many names of a series are tried; the kernel's own limit for one template is of this size (a page of bits).
const MOST_DEVICES: u32 = 32_768;

/// Devices that were moved, for the way back.
#[derive(Debug)]
pub(crate) struct Moved {
    host_namespace: OwnedFd,
    devices: Vec<(NetDevice, Link)>,
}

impl Moved {
    /// Brings the devices back, last first, each with its name, addresses and state. What fails is a warning.
    pub(crate) fn undo(self, network_namespace: BorrowedFd<'_>) -> Vec<Warning> {
        if self.devices.is_empty() {
            return Vec::new();
        }
        match self.sockets(network_namespace) {
            Ok((mut host, mut container)) => self.undo_with(&mut host, &mut container, network_namespace),
            Err(error) => vec![Warning::ignored(&error)],
        }
    }

    fn sockets(&self, network_namespace: BorrowedFd<'_>) -> Result<(Socket, Socket)> {
        let host = Socket::open().context(|| "open a netlink socket")?;
        Ok((host, open_inside(self.host_namespace.as_fd(), network_namespace)?))
    }

    fn undo_with(&self, host: &mut Socket, container: &mut Socket, inside: BorrowedFd<'_>) -> Vec<Warning> {
        let mut way =
            Way { from: container, from_namespace: inside, to: host, to_namespace: self.host_namespace.as_fd() };
        let back = |(device, link): &(NetDevice, Link)| {
            way.relocate(&device.name, &device.host_name, link.is_up)
                .context(|| format!("move the network device {} back to the host", device.host_name))
        };
        self.devices.iter().rev().map(back).filter_map(Result::err).map(|error| Warning::ignored(&error)).collect()
    }
}

/// Moves `devices`, in order, from the calling thread's network namespace into that of `network_namespace`; if one
/// cannot be moved, the others come back. Errors carry the pointer `/linux/netDevices/NAME`. The calling thread visits
/// the other namespace and returns; if it could not, that is the error.
pub(crate) fn move_all(devices: &[NetDevice], network_namespace: BorrowedFd<'_>) -> Result<Moved> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let host_namespace = rustix::fs::openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty())
        .context(|| "open our network namespace")?;
    let mut moved = Moved { host_namespace, devices: Vec::with_capacity(devices.len()) };
    if devices.is_empty() {
        return Ok(moved);
    }
    let (mut host, mut container) = moved.sockets(network_namespace)?;
    for device in devices {
        let mut way = Way {
            from: &mut host,
            from_namespace: moved.host_namespace.as_fd(),
            to: &mut container,
            to_namespace: network_namespace,
        };
        let relocated = free_name(way.to, device).and_then(|name| {
            let link = way.relocate(&device.host_name, &name, true)?;
            Ok((NetDevice { host_name: device.host_name.clone(), name }, link))
        });
        match relocated {
            Ok(device) => moved.devices.push(device),
            Err(error) => {
                // The cause matters more than what the way back met.
                let _ = moved.undo_with(&mut host, &mut container, network_namespace);
                return Err(error
                    .context(format!(
                        "move the network device {} into the container as {}",
                        device.host_name, device.name
                    ))
                    .at(pointer::join("/linux/netDevices", &device.host_name)));
            }
        }
    }
    Ok(moved)
}

/// A netlink socket stays in the namespace in which it was opened.
fn open_inside(own: BorrowedFd<'_>, network_namespace: BorrowedFd<'_>) -> Result<Socket> {
    setns(network_namespace, CloneFlags::CLONE_NEWNET).context(|| "enter the container's network namespace")?;
    let socket = Socket::open();
    setns(own, CloneFlags::CLONE_NEWNET).context(|| "come back to our network namespace")?;
    socket.context(|| "open a netlink socket in the container's network namespace")
}

/// What a device is called in the namespace of `socket`: its name, or, for a template such as `eth%d`, the first of the
/// series that is free. (The kernel would choose the same, but would not tell which.)
fn free_name(socket: &mut Socket, device: &NetDevice) -> Result<String> {
    let name = &device.name;
    if !device.is_template() {
        return Ok(name.clone());
    }
    for number in 0..MOST_DEVICES {
        let candidate = name.replacen("%d", &number.to_string(), 1);
        match find(socket, &candidate) {
            Err(Errno::ENODEV) => return Ok(candidate),
            Err(errno) => return Err(Error::sys(errno, format!("look for a device called {candidate}"))),
            Ok(_) => {}
        }
    }
    Err(Error::sys(Errno::ENFILE, format!("find a free name for {name}")))
}

/// From one network namespace to another.
struct Way<'a> {
    from: &'a mut Socket,
    from_namespace: BorrowedFd<'a>,
    to: &'a mut Socket,
    to_namespace: BorrowedFd<'a>,
}

impl Way<'_> {
    /// Moves the device called `old`, which is called `new` from then on. Gives what it was before.
    fn relocate(&mut self, old: &str, new: &str, set_up: bool) -> Result<Link> {
        let link = find(self.from, old).context(|| "find it")?;
        let addresses = addresses(self.from, link.index).context(|| "read its addresses")?;
        // The kernel moves a device first and then fails to rename it, so the name must be known to be free.
        match find(self.to, new) {
            Err(Errno::ENODEV) => {}
            Ok(_) => return Err(Error::sys(Errno::EEXIST, format!("there is a device called {new} already"))),
            Err(errno) => return Err(Error::sys(errno, format!("look for a device called {new}"))),
        }
        // Set down by the kernel on the way.
        hand_over(self.from, link.index, self.to_namespace, new).context(|| "change its namespace")?;
        // The index is another one where it was taken.
        let index = find(self.to, new).context(|| "find it where it went")?.index;
        if let Err(error) = self.configure(index, &addresses, set_up) {
            // The cause matters more than what the way back met.
            let _ = hand_over(self.to, index, self.from_namespace, old);
            return Err(error);
        }
        Ok(link)
    }

    fn configure(&mut self, index: u32, addresses: &[Address], set_up: bool) -> Result<()> {
        for address in addresses {
            address
                .request(index)
                .and_then(|request| self.to.transact(request))
                .context(|| format!("set its address {address}"))?;
        }
        if set_up {
            let up = link_request(libc::RTM_NEWLINK, index, libc::IFF_UP.cast_unsigned());
            self.to.transact(up).context(|| "set it up")?;
        }
        Ok(())
    }
}

/// Moves and renames a link in one request.
fn hand_over(from: &mut Socket, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let request = link_request(libc::RTM_SETLINK, index, 0)
        .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())?
        .name(IFLA_IFNAME, name)?;
    from.transact(request).map(drop)
}

/// What RTM_GETLINK tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    index: u32,
    is_up: bool,
}

/// A request about a link, with `flags` (IFF_*) to set.
fn link_request(kind: u16, index: u32, flags: u32) -> Request {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    // Which flags the request is about.
    header.extend(flags.to_ne_bytes());
    Request::new(kind, 0, &header)
}

/// The device called `name`. Errors: ENODEV.
fn find(socket: &mut Socket, name: &str) -> Result<Link, Errno> {
    let request = link_request(libc::RTM_GETLINK, 0, 0).name(IFLA_IFNAME, name)?;
    let answers = socket.transact(request)?;
    let link = answers.iter().find(|answer| answer.kind == libc::RTM_NEWLINK).ok_or(Errno::ENODEV)?;
    let flags = u32_at(&link.body, 8).unwrap_or_default();
    let index = u32_at(&link.body, 4).ok_or(Errno::ENODEV)?;
    Ok(Link { index, is_up: flags & libc::IFF_UP.cast_unsigned() != 0 })
}

/// An address as it is set again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// IFA_LOCAL, IFA_ADDRESS and IFA_BROADCAST, as far as the device had them.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// `None` for an address that does not move: of the link or the host, or given for a time (by DHCP or by a
    /// router's advertisement).
    fn parse(message: &Message, index: u32) -> Option<Address> {
        let [family, prefix, short_flags, scope, ..] = *message.body.as_slice() else { return None };
        if message.kind != libc::RTM_NEWADDR || u32_at(&message.body, 4) != Some(index) || scope != RT_SCOPE_UNIVERSE {
            return None;
        }
        let long_flags = attributes(&message.body, ADDRESS).find(|(kind, _)| *kind == IFA_FLAGS);
        let flags = long_flags.and_then(|(_, data)| u32_at(data, 0)).unwrap_or(u32::from(short_flags));
        if flags & IFA_F_PERMANENT == 0 {
            return None;
        }
        let attributes = attributes(&message.body, ADDRESS)
            .filter(|(kind, _)| matches!(*kind, IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST))
            .map(|(kind, data)| (kind, data.to_vec()))
            .collect();
        Some(Address { family, prefix, flags: flags & IFA_F_KEPT, attributes })
    }

    fn request(&self, index: u32) -> Result<Request, Errno> {
        let mut header = vec![self.family, self.prefix, 0, RT_SCOPE_UNIVERSE];
        header.extend(index.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut request = Request::new(libc::RTM_NEWADDR, flags, &header);
        for (kind, data) in &self.attributes {
            request = request.attribute(*kind, data)?;
        }
        request.attribute(IFA_FLAGS, &self.flags.to_ne_bytes())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |wanted| self.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, data)| data.as_slice());
        let bytes = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS)).unwrap_or_default();
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            write!(f, "{}", std::net::Ipv4Addr::from(v4))?;
        } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
            write!(f, "{}", std::net::Ipv6Addr::from(v6))?;
        }
        write!(f, "/{}", self.prefix)
    }
}

fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Address>> {
    for _ in 0..DUMP_ATTEMPTS {
        match socket.transact(Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS])) {
            Ok(answers) => return Ok(answers.iter().filter_map(|answer| Address::parse(answer, index)).collect()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys(errno, "list addresses")),
        }
    }
    Err(Error::new(Kind::System, "addresses change all the time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(flags: u8, scope: u8, index: u32) -> Message {
        let mut body = vec![2, 24, flags, scope];
        body.extend(index.to_ne_bytes());
        body.extend([8, 0, 2, 0, 10, 1, 2, 3]);
        Message { kind: libc::RTM_NEWADDR, body }
    }

    #[test]
    fn address_permanent_and_global_is_kept() {
        let address = Address::parse(&message(0x80, 0, 7), 7).unwrap();
        assert_eq!(address.to_string(), "10.1.2.3/24");
        assert_eq!(address.flags, 0);
    }

    #[test]
    fn address_of_the_link_of_another_device_or_temporary_is_left() {
        assert_eq!(Address::parse(&message(0x80, 253, 7), 7), None);
        assert_eq!(Address::parse(&message(0x80, 0, 8), 7), None);
        assert_eq!(Address::parse(&message(0, 0, 7), 7), None);
    }

    #[test]
    fn address_truncated_message_is_left() {
        let whole = message(0x80, 0, 7);
        for length in 0..8 {
            assert_eq!(Address::parse(&Message { kind: whole.kind, body: whole.body[..length].to_vec() }, 7), None);
        }
    }
}

/// Each test has two network namespaces of its own: that of its thread, and the container's.
#[cfg(test)]
mod privileged {
    use super::*;
    use std::process::Command;

    /// Runs `ip` in the thread's network namespace (children inherit it).
    fn ip(args: &str) -> String {
        let output = Command::new("ip").args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn own_namespace() -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty()).unwrap()
    }

    fn new_namespace() -> OwnedFd {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
        own_namespace()
    }

    /// `test` gets (the host's, the container's) namespace, in a thread that is in the host's.
    fn in_namespaces(test: impl FnOnce(OwnedFd, OwnedFd) + Send) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let container = new_namespace();
                let host = new_namespace();
                test(host, container);
            });
            thread.join().unwrap();
        });
    }

    fn inside(container: &OwnedFd, args: &str) -> String {
        let own = own_namespace();
        setns(container, CloneFlags::CLONE_NEWNET).unwrap();
        let text = ip(args);
        setns(own, CloneFlags::CLONE_NEWNET).unwrap();
        text
    }

    fn device(host_name: &str, name: &str) -> NetDevice {
        NetDevice { host_name: host_name.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn move_all_veth_end_arrives_renamed_with_addresses_and_up() {
        in_namespaces(|_host, container| {
            ip("link add va type veth peer name vb");
            ip("addr add 10.9.8.7/24 broadcast 10.9.8.255 dev va");
            ip("addr add 2001:db8::5/64 nodad dev va");
            ip("addr add 169.254.1.1/16 scope link dev va");
            ip("link set vb up");
            ip("link set va up");
            move_all(&[device("va", "eth0")], container.as_fd()).unwrap();
            assert!(!ip("-o link show").contains("va@"));
            let link = inside(&container, "-o link show eth0");
            assert!(link.contains(",UP") && link.contains("LOWER_UP"), "{link}");
            let addresses = inside(&container, "-o addr show eth0");
            assert!(addresses.contains("10.9.8.7/24 brd 10.9.8.255 scope global"), "{addresses}");
            assert!(addresses.contains("2001:db8::5/64"), "{addresses}");
            assert!(!addresses.contains("169.254.1.1"), "{addresses}");
        });
    }

    #[test]
    fn move_all_template_gets_the_first_free_number_and_comes_back() {
        in_namespaces(|_host, container| {
            inside(&container, "link add eth0 type veth peer name other");
            ip("link add va type veth peer name vb");
            let moved = move_all(&[device("va", "eth%d"), device("vb", "eth%d")], container.as_fd()).unwrap();
            assert!(inside(&container, "-o link show eth1").contains(",UP"));
            assert!(inside(&container, "-o link show eth2").contains(",UP"));
            assert_eq!(moved.undo(container.as_fd()), []);
            assert!(ip("-o link show va").contains("va@") && ip("-o link show vb").contains("vb@"));
        });
    }

    #[test]
    fn move_all_taken_name_fails_and_leaves_the_device() {
        in_namespaces(|_host, container| {
            inside(&container, "link add eth0 type veth peer name other");
            ip("link add va type veth peer name vb");
            let error = move_all(&[device("va", "eth0")], container.as_fd()).unwrap_err();
            assert_eq!(error.pointer(), Some("/linux/netDevices/va"));
            assert_eq!(error.raw_errno(), Some(libc::EEXIST));
            assert!(ip("-o link show va").contains("va"));
        });
    }

    #[test]
    fn move_all_second_device_fails_first_comes_back_as_it_was() {
        in_namespaces(|_host, container| {
            ip("link add va type veth peer name vb");
            ip("addr add 10.9.8.7/24 dev va");
            ip("link set va up");
            let error = move_all(&[device("va", "eth0"), device("gone", "eth1")], container.as_fd()).unwrap_err();
            assert_eq!(error.pointer(), Some("/linux/netDevices/gone"));
            assert!(ip("-o addr show va").contains("10.9.8.7/24"));
            assert!(ip("-o link show va").contains(",UP"));
        });
    }

    #[test]
    fn undo_device_that_was_down_is_down() {
        in_namespaces(|_host, container| {
            ip("link add va type veth peer name vb");
            let moved = move_all(&[device("va", "eth0")], container.as_fd()).unwrap();
            assert_eq!(moved.undo(container.as_fd()), []);
            assert!(!ip("-o link show va").contains(",UP"));
        });
    }

    #[test]
    fn move_all_index_taken_inside_still_arrives() {
        in_namespaces(|_host, container| {
            inside(&container, "link add x0 type veth peer name x1");
            ip("link add va type veth peer name vb");
            move_all(&[device("va", "va"), device("vb", "eth1")], container.as_fd()).unwrap();
            assert!(inside(&container, "-o link show eth1").contains(",UP"));
        });
    }

    #[test]
    fn move_all_missing_device_fails_with_its_pointer() {
        in_namespaces(|host, container| {
            let error = move_all(&[device("no/such", "eth0")], container.as_fd()).unwrap_err();
            assert_eq!(error.pointer(), Some("/linux/netDevices/no~1such"));
            assert_eq!(error.raw_errno(), Some(libc::ENODEV));
            let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
            assert_eq!(inode(&own_namespace()), inode(&host));
        });
    }

    #[test]
    fn move_all_loopback_is_refused() {
        in_namespaces(|_host, container| {
            let error = move_all(&[device("lo", "eth0")], container.as_fd()).unwrap_err();
            assert_eq!(error.pointer(), Some("/linux/netDevices/lo"));
        });
    }
}
