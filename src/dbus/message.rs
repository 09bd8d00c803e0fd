//! Messages: a header of fixed part and fields, and a body.

use super::wire::{Decoder, Encoder};
use crate::plan::resources::value::Value;

/// Bytes before the fields, and the length of those.
pub(super) const FIXED: usize = 16;

/// The specification's limit for a whole message.
const LONGEST: usize = 1 << 27;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// A message that arrived. Fields that no caller asks for are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: Kind,
    /// The call that it answers.
    pub reply_to: Option<u32>,
    pub interface: String,
    pub member: String,
    pub error_name: String,
    signature: String,
    body: Vec<u8>,
    big_endian: bool,
}

/// Codes of header fields.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR_NAME: u8 = 4;
    pub const REPLY_SERIAL: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SIGNATURE: u8 = 8;
}

/// A method call. On a direct connection there is no `destination`.
pub(super) fn encode_call(serial: u32, destination: Option<&str>, call: &super::Call<'_>) -> Vec<u8> {
    let mut body = Encoder::default();
    call.arguments.iter().for_each(|argument| body.value(argument));
    let mut fields = vec![
        header_field(field::PATH, Value::Path(call.path.to_owned())),
        header_field(field::INTERFACE, Value::text(call.interface)),
        header_field(field::MEMBER, Value::text(call.member)),
    ];
    fields.extend(destination.map(|name| header_field(field::DESTINATION, Value::text(name))));
    if !call.arguments.is_empty() {
        let signature = call.arguments.iter().map(Value::signature).collect();
        fields.push(header_field(field::SIGNATURE, Value::Signature(signature)));
    }
    let mut message = Encoder { out: vec![b'l', 1, 0, 1] };
    message.uint32(body.out.len() as u32);
    message.uint32(serial);
    message.value(&Value::array("(yv)", fields));
    message.align(8);
    message.out.extend_from_slice(&body.out);
    message.out
}

fn header_field(code: u8, value: Value) -> Value {
    Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))])
}

/// The length of the message that begins with `start`, of at least [`FIXED`] bytes; `None` if it is malformed or too
/// long.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let mut decoder = fixed(start)?;
    let body = decoder.uint32()? as usize;
    decoder.uint32()?;
    let fields = decoder.uint32()? as usize;
    let length = FIXED.checked_add(fields)?.next_multiple_of(8).checked_add(body)?;
    (length <= LONGEST).then_some(length)
}

fn fixed(start: &[u8]) -> Option<Decoder<'_>> {
    let big_endian = match start.first()? {
        b'l' => false,
        b'B' => true,
        _ => return None,
    };
    // Version 1 of the protocol is the only one.
    if *start.get(3)? != 1 {
        return None;
    }
    let mut decoder = Decoder::new(start, big_endian);
    decoder.uint32()?;
    Some(decoder)
}

impl Message {
    /// Reads a whole message; `None` if it is malformed or of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let mut decoder = fixed(bytes)?;
        let kind = match bytes.get(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return None,
        };
        let body_length = decoder.uint32()? as usize;
        decoder.uint32()?;
        let fields = decoder.values("a(yv)")?;
        decoder.align(8)?;
        let body = bytes.get(decoder.position()..).filter(|body| body.len() == body_length)?;
        let mut message = Message {
            kind,
            reply_to: None,
            interface: String::new(),
            member: String::new(),
            error_name: String::new(),
            signature: String::new(),
            body: body.to_owned(),
            big_endian: bytes.first() == Some(&b'B'),
        };
        if let Some(Value::Array { items, .. }) = fields.into_iter().next() {
            items.into_iter().try_for_each(|item| message.set_field(item))?;
        }
        Some(message)
    }

    fn set_field(&mut self, item: Value) -> Option<()> {
        let Value::Struct(pair) = item else { return None };
        let [Value::Byte(code), Value::Variant(value)] = <[Value; 2]>::try_from(pair).ok()? else { return None };
        match (code, *value) {
            (field::INTERFACE, Value::Text(text)) => self.interface = text,
            (field::MEMBER, Value::Text(text)) => self.member = text,
            (field::ERROR_NAME, Value::Text(text)) => self.error_name = text,
            (field::REPLY_SERIAL, Value::Uint32(serial)) => self.reply_to = Some(serial),
            (field::SIGNATURE, Value::Signature(signature)) => self.signature = signature,
            (field::INTERFACE | field::MEMBER | field::ERROR_NAME | field::REPLY_SERIAL | field::SIGNATURE, _) => {
                return None;
            }
            // Fields to come are to be ignored.
            _ => {}
        }
        Some(())
    }

    /// The arguments; `None` if they are malformed.
    pub fn body(&self) -> Option<Vec<Value>> {
        let mut decoder = Decoder::new(&self.body, self.big_endian);
        decoder.values(&self.signature).filter(|_| decoder.position() == self.body.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::super::Call;
    use super::super::wire::tests::any_value;
    use super::*;

    /// What a service sends: used by the tests of the connection too.
    pub fn encode(kind: Kind, fields: Vec<(u8, Value)>, arguments: &[Value]) -> Vec<u8> {
        let mut body = Encoder::default();
        arguments.iter().for_each(|argument| body.value(argument));
        let mut fields: Vec<Value> = fields.into_iter().map(|(code, value)| header_field(code, value)).collect();
        let signature: String = arguments.iter().map(Value::signature).collect();
        fields.push(header_field(field::SIGNATURE, Value::Signature(signature)));
        let mut message = Encoder { out: vec![b'l', kind as u8 + 1, 0, 1] };
        message.uint32(body.out.len() as u32);
        message.uint32(1);
        message.value(&Value::array("(yv)", fields));
        message.align(8);
        message.out.extend_from_slice(&body.out);
        message.out
    }

    /// The next call that arrives, with its serial; `None` at the end.
    pub fn read_message(socket: &mut impl std::io::Read) -> Option<(u32, Message)> {
        let mut bytes = vec![0; FIXED];
        socket.read_exact(&mut bytes).ok()?;
        bytes.resize(length(&bytes)?, 0);
        socket.read_exact(&mut bytes[FIXED..]).ok()?;
        let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        Message::decode(&bytes).map(|message| (serial, message))
    }

    /// The answer of a bus to Hello, as dbus-daemon 1.14 sent it.
    const ANSWER: &[u8] = b"l\x02\x01\x01\x0a\x00\x00\x00\x01\x00\x00\x00\x3d\x00\x00\x00\x06\x01s\x00\x05\x00\x00\x00:1.42\x00\x00\x00\
        \x05\x01u\x00\x01\x00\x00\x00\x08\x01g\x00\x01s\x00\x00\x07\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x05\x00\x00\x00:1.42\x00";

    #[test]
    fn decode_answer_of_a_bus() {
        assert_eq!(length(&ANSWER[..FIXED]), Some(ANSWER.len()));
        let message = Message::decode(ANSWER).unwrap();
        assert_eq!((message.kind, message.reply_to), (Kind::Return, Some(1)));
        assert_eq!(message.body(), Some(vec![Value::text(":1.42")]));
    }

    #[test]
    fn decode_cut_or_changed_never_panics() {
        for cut in 0..ANSWER.len() {
            assert_eq!(Message::decode(&ANSWER[..cut]), None, "{cut}");
        }
        for at in 0..ANSWER.len() {
            for bit in 0..8 {
                let mut bytes = ANSWER.to_vec();
                bytes[at] ^= 1 << bit;
                let _ = (length(&bytes), Message::decode(&bytes).map(|message| message.body()));
            }
        }
    }

    #[test]
    fn length_of_what_is_no_message_is_none() {
        assert_eq!(length(b"l\x02\x01\x01"), None);
        assert_eq!(length(&[b'l', 1, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), None, "version");
        assert_eq!(length(&[b'x', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), None, "byte order");
        assert_eq!(length(&[b'l', 1, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0]), None, "length");
    }

    proptest! {
        #[test]
        fn decode_of_what_was_encoded_is_the_same(arguments in prop::collection::vec(any_value(), 0..4), serial in 1u32..) {
            let call = Call { path: "/a/b", interface: "a.b", member: "C", arguments };
            let bytes = encode_call(serial, Some("x.y"), &call);
            prop_assert_eq!(length(&bytes), Some(bytes.len()));
            let message = Message::decode(&bytes).unwrap();
            prop_assert_eq!((message.kind, message.interface.as_str(), message.member.as_str()), (Kind::Call, "a.b", "C"));
            prop_assert_eq!(message.body(), Some(call.arguments));
        }

        #[test]
        fn decode_of_any_bytes_ends(mut bytes in prop::collection::vec(any::<u8>(), 0..300), valid in any::<bool>()) {
            if valid && bytes.len() > FIXED {
                bytes[..4].copy_from_slice(b"l\x04\x00\x01");
                bytes[12..16].copy_from_slice(&64u32.to_le_bytes());
            }
            let _ = (length(&bytes), Message::decode(&bytes).map(|message| message.body()));
        }
    }
}
