//! Values as D-Bus types them ("D-Bus Specification", type system). Data only: `dbus` encodes and decodes them.

/// One value. Its type is its [`Value::signature`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    /// The bits of an IEEE 754 double, so that values can be compared.
    Double(u64),
    Text(String),
    /// An object path.
    Path(String),
    /// A signature as a value.
    Signature(String),
    /// All of the type `element`, which an empty array has too.
    Array {
        element: String,
        items: Vec<Value>,
    },
    Struct(Vec<Value>),
    /// Of a dictionary, which is an array of entries.
    Entry(Box<Value>, Box<Value>),
    /// A value that carries its own type.
    Variant(Box<Value>),
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// An array of `items`, which must all be of the type `element`.
    pub fn array(element: &str, items: Vec<Value>) -> Value {
        Value::Array { element: element.to_owned(), items }
    }

    /// An array of bytes.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::array("y", bytes.iter().copied().map(Value::Byte).collect())
    }

    /// The type, in the words of a signature.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::Int16(_) => "n".to_owned(),
            Value::Uint16(_) => "q".to_owned(),
            Value::Int32(_) => "i".to_owned(),
            Value::Uint32(_) => "u".to_owned(),
            Value::Int64(_) => "x".to_owned(),
            Value::Uint64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::Path(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array { element, .. } => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Entry(key, value) => format!("{{{}{}}}", key.signature(), value.signature()),
            Value::Variant(_) => "v".to_owned(),
        }
    }
}

/// No type is nested deeper: the specification's limit for arrays and structures together.
pub(crate) const DEEPEST: usize = 64;

/// Splits the first complete type off a signature; `None` where there is none.
pub(crate) fn split_type(signature: &str) -> Option<(&str, &str)> {
    signature.split_at_checked(type_length(signature.as_bytes(), DEEPEST)?)
}

fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let (&first, rest) = signature.split_first()?;
    match first {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => Some(1),
        b'a' if rest.first() == Some(&b'{') => {
            let (&key, value) = rest.get(1..)?.split_first()?;
            let basic = !matches!(key, b'v' | b'a' | b'(' | b'{') && type_length(&[key], 1) == Some(1);
            let value = type_length(value, depth).filter(|_| basic)?;
            (rest.get(value + 2) == Some(&b'}')).then_some(value + 4)
        }
        b'a' => type_length(rest, depth).map(|element| element + 1),
        b'(' => {
            let mut at = 0;
            while rest.get(at) != Some(&b')') {
                at += type_length(rest.get(at..)?, depth)?;
            }
            (at > 0).then_some(at + 2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_type_takes_one_complete_type() {
        for (signature, first, rest) in [
            ("s", "s", ""),
            ("uoss", "u", "oss"),
            ("a(sv)a(sa(sv))", "a(sv)", "a(sa(sv))"),
            ("a{sv}u", "a{sv}", "u"),
            ("aaay", "aaay", ""),
            ("(a{s(iu)}v)x", "(a{s(iu)}v)", "x"),
        ] {
            assert_eq!(split_type(signature), Some((first, rest)), "{signature}");
        }
    }

    #[test]
    fn split_type_of_what_is_none_is_none() {
        for signature in ["", "a", "(", "()", "(s", ")", "a{}", "a{s}", "a{vs}", "a{asv}", "a{sss}", "{sv}", "h", "é"]
        {
            assert_eq!(split_type(signature), None, "{signature:?}");
        }
        assert_eq!(split_type(&"a".repeat(10_000)), None);
        assert_eq!(split_type(&"(".repeat(10_000)), None);
    }
}
