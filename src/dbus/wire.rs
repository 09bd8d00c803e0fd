//! The marshalling format. Numbers are aligned to their size from the start of the message; the body starts at a
//! multiple of 8, so that it can be made on its own. Written little-endian, read in both orders.

use crate::plan::resources::value::{DEEPEST, Value, split_type};

/// No array is longer (the specification's limit), in bytes.
const LONGEST_ARRAY: usize = 1 << 26;

/// A message in the making.
#[derive(Default)]
pub(super) struct Encoder {
    pub out: Vec<u8>,
}

impl Encoder {
    /// Zeros up to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) {
        self.out.resize(self.out.len().next_multiple_of(alignment), 0);
    }

    pub fn uint32(&mut self, number: u32) {
        self.number(number.to_le_bytes());
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.out.extend_from_slice(&bytes);
    }

    fn text(&mut self, text: &str) {
        self.uint32(text.len() as u32);
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.out.push(signature.len() as u8);
        self.out.extend_from_slice(signature.as_bytes());
        self.out.push(0);
    }

    /// Appends `value`. Texts and arrays are far shorter than what 32 bits count: they come from config.json.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.out.push(*n),
            Value::Bool(b) => self.uint32(u32::from(*b)),
            Value::Int16(n) => self.number(n.to_le_bytes()),
            Value::Uint16(n) => self.number(n.to_le_bytes()),
            Value::Int32(n) => self.number(n.to_le_bytes()),
            Value::Uint32(n) => self.uint32(*n),
            Value::Int64(n) => self.number(n.to_le_bytes()),
            Value::Uint64(n) | Value::Double(n) => self.number(n.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(signature) => self.signature(signature),
            Value::Array { element, items } => self.array(element, items),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Entry(key, value) => {
                self.align(8);
                self.value(key);
                self.value(value);
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }

    /// The length counts neither itself nor the padding before the first element.
    fn array(&mut self, element: &str, items: &[Value]) {
        self.uint32(0);
        let counted = self.out.len();
        self.align(alignment(element));
        let start = self.out.len();
        items.iter().for_each(|item| self.value(item));
        let length = ((self.out.len() - start) as u32).to_le_bytes();
        if let Some(place) = self.out.get_mut(counted - 4..counted) {
            place.copy_from_slice(&length);
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Bytes of a message, to be read once. `None` from any function means that they are malformed.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Decoder { bytes, at: 0, big_endian }
    }

    /// How much was read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Padding must be zero.
    pub fn align(&mut self, alignment: usize) -> Option<()> {
        let padding = self.at.next_multiple_of(alignment) - self.at;
        self.take(padding)?.iter().all(|&byte| byte == 0).then_some(())
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().ok()?;
        if self.big_endian {
            bytes.reverse();
        }
        Some(bytes)
    }

    pub fn uint32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        let whole = self.take(1)? == [0] && !text.contains('\0');
        whole.then(|| text.to_owned())
    }

    fn text(&mut self) -> Option<String> {
        let length = self.uint32()?;
        self.terminated(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = *self.take(1)?.first()?;
        self.terminated(usize::from(length))
    }

    /// One value of each type in `signature`.
    pub fn values(&mut self, signature: &str) -> Option<Vec<Value>> {
        self.sequence(signature, DEEPEST)
    }

    fn sequence(&mut self, signature: &str, depth: usize) -> Option<Vec<Value>> {
        let mut rest = signature;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (first, others) = split_type(rest)?;
            values.push(self.value(first, depth)?);
            rest = others;
        }
        Some(values)
    }

    /// `depth` bounds variants within variants too, which no signature does.
    fn value(&mut self, signature: &str, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        Some(match signature.as_bytes().first()? {
            b'y' => Value::Byte(*self.take(1)?.first()?),
            b'b' => match self.uint32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return None,
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.number()?)),
            b'u' => Value::Uint32(self.uint32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.number()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::Double(u64::from_le_bytes(self.number()?)),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                let (first, rest) = split_type(&inner)?;
                let value = if rest.is_empty() { self.value(first, depth)? } else { return None };
                Value::Variant(Box::new(value))
            }
            b'a' => self.array(signature.get(1..)?, depth)?,
            b'(' => {
                self.align(8)?;
                Value::Struct(self.sequence(signature.get(1..signature.len() - 1)?, depth)?)
            }
            b'{' => {
                self.align(8)?;
                let mut both = self.sequence(signature.get(1..signature.len() - 1)?, depth)?.into_iter();
                Value::Entry(Box::new(both.next()?), Box::new(both.next()?))
            }
            _ => return None,
        })
    }

    fn array(&mut self, element: &str, depth: usize) -> Option<Value> {
        let length = self.uint32()? as usize;
        if length > LONGEST_ARRAY {
            return None;
        }
        self.align(alignment(element))?;
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len())?;
        let mut items = Vec::new();
        // Every element takes at least one byte, so there are no more of them than bytes arrived.
        while self.at < end {
            items.push(self.value(element, depth)?);
        }
        (self.at == end).then(|| Value::Array { element: element.to_owned(), items })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value, three levels deep.
    pub fn any_value() -> impl Strategy<Value = Value> {
        let text = "[^\\x00]{0,12}";
        let leaf = prop_oneof![
            any::<u8>().prop_map(Value::Byte),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::Int16),
            any::<u16>().prop_map(Value::Uint16),
            any::<i32>().prop_map(Value::Int32),
            any::<u32>().prop_map(Value::Uint32),
            any::<i64>().prop_map(Value::Int64),
            any::<u64>().prop_map(Value::Uint64),
            any::<u64>().prop_map(Value::Double),
            text.prop_map(Value::Text),
            "(/[a-z]{1,3}){1,3}".prop_map(Value::Path),
            "[sobuixtd]{0,5}".prop_map(Value::Signature),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                inner.clone().prop_map(|value| Value::Variant(Box::new(value))),
                (inner.clone(), 0usize..4).prop_map(|(item, count)| Value::array(&item.signature(), vec![item; count])),
                (any::<u32>(), inner).prop_map(|(key, value)| {
                    let entry = Value::Entry(Box::new(Value::Uint32(key)), Box::new(value));
                    Value::array(&entry.signature(), vec![entry])
                }),
            ]
        })
    }

    fn encode(value: &Value) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.value(value);
        encoder.out
    }

    #[test]
    fn value_is_laid_out_as_the_specification_says() {
        let properties = Value::array(
            "(sv)",
            vec![Value::Struct(vec![
                Value::text("PIDs"),
                Value::Variant(Box::new(Value::array("u", vec![Value::Uint32(7)]))),
            ])],
        );
        #[rustfmt::skip]
        assert_eq!(encode(&properties), [
            24, 0, 0, 0,  0, 0, 0, 0,               // length, padding before a structure
            4, 0, 0, 0, b'P', b'I', b'D', b's', 0,  // text
            2, b'a', b'u', 0,  0, 0, 0,             // signature of the variant, padding
            4, 0, 0, 0,  7, 0, 0, 0,                // the array
        ]);
    }

    #[test]
    fn values_big_endian_is_read() {
        let bytes = [0, 0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0, 0, 0, 1, 2];
        let expected = vec![Value::text("abc"), Value::Uint64(258)];
        assert_eq!(Decoder::new(&bytes, true).values("st"), Some(expected));
    }

    #[test]
    fn values_malformed_is_none() {
        for (bytes, signature) in [
            (&[2u8, 0, 0, 0][..], "b"),
            (&[1, 0, 0, 0, b'a', 1], "s"),
            (&[1, 0, 0, 0, 0xff, 0], "s"),
            (&[255, 255, 255, 255, 0], "s"),
            (&[255, 255, 255, 255], "ay"),
            (&[3, 0, 0, 0, 1, 0, 0, 0], "au"),
            (&[1, b'(', 0, 0], "v"),
            (&[2, b'y', b'y', 0, 1, 1], "v"),
            (&[0, 0, 0], "v"),
            (&[1, 0, 0, 0, 5, 0, 0, 0], "yu\0"),
        ] {
            assert_eq!(Decoder::new(bytes, false).values(signature), None, "{bytes:?} {signature}");
        }
        // A variant within a variant within …
        let nested: Vec<u8> = [1, b'v', 0].repeat(1000);
        assert_eq!(Decoder::new(&nested, false).values("v"), None);
    }

    proptest! {
        #[test]
        fn values_of_what_was_encoded_are_the_same(value in any_value()) {
            let bytes = encode(&value);
            let mut decoder = Decoder::new(&bytes, false);
            prop_assert_eq!(decoder.values(&value.signature()), Some(vec![value]));
            prop_assert_eq!(decoder.position(), bytes.len());
        }

        #[test]
        fn values_of_a_part_are_none(value in any_value(), cut in 0.0f64..1.0) {
            let bytes = encode(&value);
            let cut = (bytes.len() as f64 * cut) as usize;
            prop_assert_eq!(Decoder::new(&bytes[..cut], false).values(&value.signature()), None);
        }

        #[test]
        fn values_of_any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200), signature in "[ybnqiuxtdsogva(){}]{1,8}", big in any::<bool>()) {
            let _ = Decoder::new(&bytes, big).values(&signature);
        }
    }
}
