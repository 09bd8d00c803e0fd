//! Where a bus listens: `unix:path=/run/dbus/system_bus_socket;unix:abstract=/tmp/dbus-x,guid=…`.

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// In the file system.
    Path(String),
    /// In the abstract namespace (unix(7)).
    Abstract(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(path) => f.write_str(path),
            Address::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// The Unix sockets of a list of addresses, in its order; other transports are passed over.
pub(crate) fn parse(list: &str) -> Vec<Address> {
    list.split(';').filter_map(one).collect()
}

fn one(address: &str) -> Option<Address> {
    let keys = address.strip_prefix("unix:")?;
    keys.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        match key {
            "path" => unescape(value).map(Address::Path),
            "abstract" => unescape(value).map(Address::Abstract),
            _ => None,
        }
    })
}

/// `%NN` is a byte.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_lists_unix_sockets() {
        let path = |path: &str| Address::Path(path.to_owned());
        for (list, expected) in [
            ("unix:path=/run/user/1000/bus", vec![path("/run/user/1000/bus")]),
            ("unix:abstract=/tmp/dbus-x,guid=00ff", vec![Address::Abstract("/tmp/dbus-x".to_owned())]),
            ("unix:guid=1,path=/a%20b;tcp:host=x;unix:path=/c", vec![path("/a b"), path("/c")]),
            ("", vec![]),
            ("unix:", vec![]),
            ("unix:path=", vec![]),
            ("unix:path=/a%2", vec![]),
            ("unix:path=/a%zz", vec![]),
            ("unix:path=/a%00", vec![]),
            ("unix:path=/a%ff", vec![]),
        ] {
            assert_eq!(parse(list), expected, "{list}");
        }
    }
}
