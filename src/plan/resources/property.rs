//! Annotations `org.systemd.property.NAME`: properties for the scope, their values in the text form of GVariant
//! (docs.gtk.org/glib/gvariant-text-format.html), as far as properties of units use it: no maybes and no dictionaries.

use super::value::{Value, split_type};
use crate::bundle::shape::Map;
use crate::error::{Error, Result};
use crate::pointer;

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub name: String,
    pub value: Value,
}

const PREFIX: &str = "org.systemd.property.";

/// The properties that `annotations` ask for, in order of name.
pub(super) fn properties(annotations: &Map<String>) -> Result<Vec<Property>> {
    let mut found = Vec::new();
    for (key, text) in annotations.iter() {
        if let Some(name) = key.strip_prefix(PREFIX) {
            let property = property(name, text).map_err(|error| error.at(pointer::join("/annotations", key)))?;
            found.push(property);
        }
    }
    found.sort_by(|a: &Property, b: &Property| a.name.cmp(&b.name));
    Ok(found)
}

fn property(name: &str, text: &str) -> Result<Property> {
    let refused = |reason: String| Error::config("", format!("systemd property {name:?} {reason}"));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(refused("is not a name of letters and digits".to_owned()));
    }
    if matches!(name, "PIDs" | "Slice") {
        return Err(refused("is decided by the runtime".to_owned()));
    }
    let value = parse(text).ok_or_else(|| refused(format!("has the value {text:?}, which GVariant cannot read")))?;
    match name.strip_suffix("Sec").filter(|stem| !stem.is_empty() && !stem.ends_with('U')) {
        None => Ok(Property { name: name.to_owned(), value }),
        Some(stem) => {
            let value = microseconds(&value).ok_or_else(|| refused(format!("has {text:?}, which is no time")))?;
            Ok(Property { name: format!("{stem}USec"), value: Value::Uint64(value) })
        }
    }
}

/// systemd's files say `Sec`, its bus `USec`: seconds are made microseconds.
fn microseconds(value: &Value) -> Option<u64> {
    const SECOND: u64 = 1_000_000;
    match value {
        Value::Byte(n) => Some(u64::from(*n) * SECOND),
        Value::Int16(n) => u64::try_from(*n).ok()?.checked_mul(SECOND),
        Value::Uint16(n) => Some(u64::from(*n) * SECOND),
        Value::Int32(n) => u64::try_from(*n).ok()?.checked_mul(SECOND),
        Value::Uint32(n) => Some(u64::from(*n) * SECOND),
        Value::Int64(n) => u64::try_from(*n).ok()?.checked_mul(SECOND),
        Value::Uint64(n) => n.checked_mul(SECOND),
        Value::Double(bits) => {
            let micros = f64::from_bits(*bits) * 1e6;
            (0.0..1e18).contains(&micros).then_some(micros as u64)
        }
        _ => None,
    }
}

/// Reads one value; `None` where the text is none.
fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, DEEPEST_TEXT)?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

/// Brackets within brackets.
const DEEPEST_TEXT: usize = 16;

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, expected: Option<&str>, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip_space();
        match self.rest.chars().next()? {
            '@' => self.typed(expected, depth),
            '[' => self.array(expected, depth),
            '(' => self.tuple(expected, depth),
            '<' => {
                self.take("<");
                let inner = self.value(None, depth)?;
                let whole = self.take(">") && expected.is_none_or(|expected| expected == "v");
                whole.then(|| Value::Variant(Box::new(inner)))
            }
            '\'' | '"' => text_of_type(self.quoted()?, expected.unwrap_or("s")),
            _ => self.plain(expected, depth),
        }
    }

    /// `@TYPE VALUE`.
    fn typed(&mut self, expected: Option<&str>, depth: usize) -> Option<Value> {
        self.take("@");
        let end = self.rest.find(char::is_whitespace)?;
        let (signature, rest) = self.rest.split_at(end);
        let (_, after) = split_type(signature)?;
        self.rest = rest;
        let fits = after.is_empty() && expected.is_none_or(|expected| expected == signature);
        if fits { self.value(Some(signature), depth) } else { None }
    }

    /// A number, a boolean, or a keyword for the type and a value.
    fn plain(&mut self, expected: Option<&str>, depth: usize) -> Option<Value> {
        let word = self.word();
        if let Some(signature) = type_of_keyword(word) {
            let fits = expected.is_none_or(|expected| expected == signature);
            return if fits { self.value(Some(signature), depth) } else { None };
        }
        match (word, expected) {
            ("true", None | Some("b")) => Some(Value::Bool(true)),
            ("false", None | Some("b")) => Some(Value::Bool(false)),
            (_, Some(signature)) => number(word, signature),
            (_, None) => number(word, "i").or_else(|| number(word, "d").filter(|_| word.contains(['.', 'e']))),
        }
    }

    fn array(&mut self, expected: Option<&str>, depth: usize) -> Option<Value> {
        let mut element = match expected {
            Some(signature) => Some(signature.strip_prefix('a')?.to_owned()),
            None => None,
        };
        self.take("[");
        let mut items = Vec::new();
        if !self.take("]") {
            loop {
                let item = self.value(element.as_deref(), depth)?;
                element.get_or_insert_with(|| item.signature());
                items.push(item);
                if self.take("]") {
                    break;
                }
                if !self.take(",") {
                    return None;
                }
            }
        }
        Some(Value::Array { element: element?, items })
    }

    fn tuple(&mut self, expected: Option<&str>, depth: usize) -> Option<Value> {
        let mut types = match expected {
            Some(signature) => Some(signature.strip_prefix('(')?.strip_suffix(')')?),
            None => None,
        };
        self.take("(");
        let mut fields = Vec::new();
        while !self.take(")") {
            let expected = match types {
                Some(signature) => {
                    let (first, rest) = split_type(signature)?;
                    types = Some(rest);
                    Some(first)
                }
                None => None,
            };
            fields.push(self.value(expected, depth)?);
            if !self.take(",") {
                if self.take(")") {
                    break;
                }
                return None;
            }
        }
        // D-Bus has no empty structure.
        let complete = types.is_none_or(str::is_empty) && !fields.is_empty();
        complete.then_some(Value::Struct(fields))
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = self.rest.get(at + 1..)?;
                    return (!text.contains('\0')).then_some(text);
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'a' => text.push('\u{7}'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'v' => text.push('\u{b}'),
                    'u' => text.push(escaped(&mut chars, 4)?),
                    'U' => text.push(escaped(&mut chars, 8)?),
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
        None
    }
}

fn escaped(chars: &mut impl Iterator<Item = (usize, char)>, digits: usize) -> Option<char> {
    let code: String = chars.take(digits).map(|(_, c)| c).collect();
    let whole = code.len() == digits && code.bytes().all(|b| b.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(&code, 16).ok().filter(|_| whole)?)
}

fn type_of_keyword(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        "objectpath" => "o",
        "signature" => "g",
        _ => return None,
    })
}

fn text_of_type(text: String, signature: &str) -> Option<Value> {
    match signature {
        "s" => Some(Value::Text(text)),
        "o" => text.starts_with('/').then_some(Value::Path(text)),
        "g" => Some(Value::Signature(text)),
        _ => None,
    }
}

fn number(word: &str, signature: &str) -> Option<Value> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    if signature == "d" {
        let plain = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        return word.parse::<f64>().ok().filter(|_| plain).map(|number| Value::Double(number.to_bits()));
    }
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok()?,
        None if !digits.starts_with('+') => digits.parse::<u64>().ok()?,
        _ => return None,
    };
    let signed = i128::from(magnitude) * if negative { -1 } else { 1 };
    Some(match signature {
        "y" => Value::Byte(signed.try_into().ok()?),
        "n" => Value::Int16(signed.try_into().ok()?),
        "q" => Value::Uint16(signed.try_into().ok()?),
        "i" => Value::Int32(signed.try_into().ok()?),
        "u" => Value::Uint32(signed.try_into().ok()?),
        "x" => Value::Int64(signed.try_into().ok()?),
        "t" => Value::Uint64(signed.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parse_every_form_that_properties_use() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (written, value) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("7", Value::Int32(7)),
            ("-7", Value::Int32(-7)),
            ("0x10", Value::Int32(16)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("int64 -9223372036854775808", Value::Int64(i64::MIN)),
            ("byte 0xff", Value::Byte(255)),
            ("int16 -1", Value::Int16(-1)),
            ("uint16 1", Value::Uint16(1)),
            ("uint32 1", Value::Uint32(1)),
            ("boolean true", Value::Bool(true)),
            ("1.5", Value::Double(1.5f64.to_bits())),
            ("'a b'", text("a b")),
            ("\"it's\"", text("it's")),
            (r"'a\'b\n\u00e9'", text("a'b\né")),
            ("objectpath '/a'", Value::Path("/a".to_owned())),
            ("signature 'as'", Value::Signature("as".to_owned())),
            ("['a', 'b']", Value::array("s", vec![text("a"), text("b")])),
            ("@as []", Value::array("s", vec![])),
            ("@au [1, 2]", Value::array("u", vec![Value::Uint32(1), Value::Uint32(2)])),
            ("[uint64 1, 2]", Value::array("t", vec![Value::Uint64(1), Value::Uint64(2)])),
            ("[('/dev/null', 'rw')]", Value::array("(ss)", vec![Value::Struct(vec![text("/dev/null"), text("rw")])])),
            ("@(st) ('a', 1)", Value::Struct(vec![text("a"), Value::Uint64(1)])),
            ("('a',)", Value::Struct(vec![text("a")])),
            ("<'a'>", Value::Variant(Box::new(text("a")))),
        ] {
            assert_eq!(parse(written), Some(value), "{written}");
        }
    }

    #[test]
    fn parse_what_is_no_value_is_none() {
        for text in [
            "",
            " ",
            "yes",
            "True",
            "'a",
            "a'",
            "'a' 'b'",
            "[1, 'a']",
            "[]",
            "()",
            "[1",
            "[1,]x",
            "uint64 -1",
            "byte 256",
            "4294967296",
            "uint64",
            "uint64 'a'",
            "string 1",
            "@u",
            "@zz 1",
            "@u 'a'",
            "@aau [1]",
            "objectpath 'a'",
            "++1",
            "0x",
            "0x+1",
            "+-1",
            "nan",
            "inf",
            "{'a': 1}",
            "<1",
            r"'\u12'",
            "'\0'",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(parse(&"<".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn parse_any_text_ends(text in "[@a-z0-9'\"\\[\\]()<>,. \\\\-]{0,40}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn property_seconds_become_microseconds() {
        for (name, text, expected, value) in [
            ("TimeoutStopSec", "5", "TimeoutStopUSec", Value::Uint64(5_000_000)),
            ("TimeoutStopSec", "uint64 5", "TimeoutStopUSec", Value::Uint64(5_000_000)),
            ("RuntimeMaxSec", "0.5", "RuntimeMaxUSec", Value::Uint64(500_000)),
            ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec", Value::Uint64(5)),
            ("CollectMode", "'inactive'", "CollectMode", Value::text("inactive")),
        ] {
            assert_eq!(property(name, text).unwrap(), Property { name: expected.to_owned(), value });
        }
    }

    #[test]
    fn property_wrong_names_and_values_are_refused() {
        for (name, text) in [
            ("", "1"),
            ("A B", "1"),
            ("A.B", "1"),
            ("PIDs", "@au [1]"),
            ("Slice", "'a.slice'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "'5'"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("Description", "no quotes"),
        ] {
            assert!(property(name, text).is_err(), "{name} {text}");
        }
    }
}
