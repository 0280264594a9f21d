//! A value of the metadata, with its exact type: readers of the format look at it.

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    /// Values of one type.
    Array(Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// The number that stands for the type of an array.
pub(super) const ARRAY: u32 = 9;

impl Value {
    /// The number that stands for its type.
    pub(super) fn kind(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Text(_) => 8,
            Self::Array(_) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// A whole number that is not negative, of any type.
    pub(super) fn whole(&self) -> Option<u64> {
        match *self {
            Self::U8(number) => Some(number.into()),
            Self::U16(number) => Some(number.into()),
            Self::U32(number) => Some(number.into()),
            Self::U64(number) => Some(number),
            Self::I8(number) => number.try_into().ok(),
            Self::I16(number) => number.try_into().ok(),
            Self::I32(number) => number.try_into().ok(),
            Self::I64(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// A number as a configuration in JSON has it: 1e-6 in f32 is 0.000001, not the f64 that is nearest to its bits.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::F32(number) => number.to_string().parse().ok(),
            Self::F64(number) => Some(*number),
            whole => whole.whole().map(|number| number as f64),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The bytes behind its type.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::U8(number) => bytes.push(*number),
            Self::I8(number) => bytes.extend(number.to_le_bytes()),
            Self::U16(number) => bytes.extend(number.to_le_bytes()),
            Self::I16(number) => bytes.extend(number.to_le_bytes()),
            Self::U32(number) => bytes.extend(number.to_le_bytes()),
            Self::I32(number) => bytes.extend(number.to_le_bytes()),
            Self::F32(number) => bytes.extend(number.to_le_bytes()),
            Self::Bool(flag) => bytes.push((*flag).into()),
            Self::Text(text) => encode_text(text, bytes),
            Self::Array(values) => {
                // An empty array has no type of its own; any will do.
                bytes.extend(values.first().map_or(0, Self::kind).to_le_bytes());
                bytes.extend((values.len() as u64).to_le_bytes());
                for value in values {
                    value.encode(bytes);
                }
            }
            Self::U64(number) => bytes.extend(number.to_le_bytes()),
            Self::I64(number) => bytes.extend(number.to_le_bytes()),
            Self::F64(number) => bytes.extend(number.to_le_bytes()),
        }
    }
}

/// A text: its length and its bytes.
pub(super) fn encode_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::I32(number)
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::F32(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}
