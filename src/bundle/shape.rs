//! How JSON is accepted: `null` stands for an absent value, an object is an object (serde would take an array
//! of its fields as well), and a key occurs once.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A JSON object of the user's own keys, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map<V>(Vec<(String, V)>);

impl<V> Map<V> {
    /// The entries in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `null` is the type's default.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(json: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

/// An object, and not an array of its fields.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<T, D::Error> {
    Ok(Object::deserialize(json)?.0)
}

/// An object or `null`.
pub(super) fn optional_object<'de, D, T>(json: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(json)?.map(|object| object.0))
}

/// An array of objects, or `null`.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Vec<T>, D::Error> {
    struct Elements<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of objects")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(Object(element)) = array.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }

    json.deserialize_any(Elements(PhantomData))
}

/// An object of the user's keys with plain values, or `null`.
pub(super) fn entries<'de, D: Deserializer<'de>, V: Deserialize<'de>>(json: D) -> Result<Map<V>, D::Error> {
    json.deserialize_any(Entries(PhantomData::<V>))
}

/// An object of the user's keys with objects as values, or `null`.
pub(super) fn object_entries<'de, D: Deserializer<'de>, V: Deserialize<'de>>(json: D) -> Result<Map<V>, D::Error> {
    let entries: Map<Object<V>> = json.deserialize_any(Entries(PhantomData))?;
    Ok(Map(entries.0.into_iter().map(|(key, value)| (key, value.0)).collect()))
}

struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = Map<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Map<V>, E> {
        Ok(Map(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Map<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = object.next_key::<String>()? {
            entries.push((key, object.next_value_seed(Seed(PhantomData::<V>))?));
        }
        let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some((key, _)) = keys.iter().zip(keys.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
        }
        Ok(Map(entries))
    }
}

struct Seed<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> DeserializeSeed<'de> for Seed<V> {
    type Value = V;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<V, D::Error> {
        V::deserialize(json)
    }
}

/// A value that was written as an object.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object))
            }
        }

        json.deserialize_map(Fields(PhantomData)).map(Object)
    }
}
