//! The rows of a Parquet file.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::Value;

use super::{Fields, MAX_LINE_BYTES, Record};
use crate::error::DataError;
use crate::pair::{Origin, Position};
use crate::quiet::quietly;

pub(super) struct ParquetReader {
    file: PathBuf,
    rows: RowIter<'static>,
    count: usize,
    finished: bool,
}

impl ParquetReader {
    pub(super) fn new(file: &Path, source: File) -> Result<Self, DataError> {
        let reader = caught(|| SerializedFileReader::new(source));
        let reader = reader.map_err(|error| damaged(file, &error))?;
        if let Some(what) = unreadable(reader.metadata()) {
            return Err(DataError::NotRows {
                path: file.into(),
                what,
                hint: "write it anew with zstd: pq.write_table(pq.read_table(OLD), NEW, compression=\"zstd\") in Python, where pq is \
                       pyarrow.parquet",
            });
        }
        Ok(Self { file: file.into(), rows: RowIter::from_file_into(Box::new(reader)), count: 0, finished: false })
    }

    pub(super) fn next_record(&mut self) -> Option<Result<Record, DataError>> {
        if self.finished {
            return None;
        }
        let row = match caught(|| self.rows.next().transpose()) {
            Ok(row) => Ok(row?),
            Err(error) => Err(error),
        };
        self.count += 1;
        self.finished = row.is_err();
        let origin = Origin { file: self.file.clone(), position: Position::Row(self.count) };
        Some(match row {
            Ok(row) if bytes(row.get_column_iter()) > MAX_LINE_BYTES => {
                Err(DataError::RowTooLong { origin, limit: MAX_LINE_BYTES })
            }
            Ok(row) => Ok(Record { origin, fields: fields(row), surrogates: 0 }),
            Err(error) => Err(damaged(&self.file, &error)),
        })
    }
}

/// What a file is whose compression is not read here; none for others.
fn unreadable(metadata: &ParquetMetaData) -> Option<&'static str> {
    let groups = metadata.row_groups().iter();
    let mut columns = groups.flat_map(|group| group.columns());
    columns.find_map(|column| match column.compression() {
        Compression::LZ4 | Compression::LZ4_RAW => Some("Parquet compressed by lz4, which is not read"),
        Compression::BROTLI(_) => Some("Parquet compressed by brotli, which is not read"),
        Compression::LZO => Some("Parquet compressed by lzo, which is not read"),
        _ => None,
    })
}

/// About how many bytes some columns of a row would take as JSON.
fn bytes<'f>(columns: impl Iterator<Item = (&'f String, &'f Field)>) -> usize {
    columns.map(|(name, field)| name.len() + field_bytes(field)).sum()
}

fn field_bytes(field: &Field) -> usize {
    match field {
        Field::Str(text) => text.len(),
        Field::Bytes(bytes) => bytes.len(),
        Field::Group(row) => bytes(row.get_column_iter()),
        Field::ListInternal(list) => list.elements().iter().map(field_bytes).sum(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            entries.map(|(key, value)| field_bytes(key) + field_bytes(value)).sum()
        }
        _ => size_of::<Value>(),
    }
}

/// Calls into the reader, which panics on some damaged files. It is not used again then.
fn caught<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    quietly(|| panic::catch_unwind(AssertUnwindSafe(work)))
        .unwrap_or_else(|_| Err(ParquetError::General("the reader fails on it".into())))
}

fn damaged(file: &Path, error: &ParquetError) -> DataError {
    DataError::Parquet { path: file.into(), problem: error.to_string() }
}

fn fields(row: Row) -> Fields {
    let columns = row.into_columns().into_iter();
    columns.map(|(name, field)| (name, value(&field))).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) | Field::Date(value) | Field::TimeMillis(value) => (*value).into(),
        Field::Long(value)
        | Field::TimeMicros(value)
        | Field::TimestampMillis(value)
        | Field::TimestampMicros(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float16(value) => f32::from(*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Decimal(value) => format!("{value:?}").into(),
        Field::Str(text) => text.as_str().into(),
        // Old writers do not say of a text that it is one.
        Field::Bytes(bytes) => match str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => Value::Null,
        },
        Field::Group(row) => {
            let columns = row.get_column_iter();
            let fields = columns.map(|(name, field)| (name.clone(), value(field)));
            Value::Object(fields.collect())
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            let entries = entries.map(|(key, of)| {
                let key = match value(key) {
                    Value::String(key) => key,
                    key => key.to_string(),
                };
                (key, value(of))
            });
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = "message schema {
        required binary prompt (UTF8);
        optional group chosen (LIST) {
            repeated group list {
                optional group element { optional binary role (UTF8); optional binary content; }
            }
        }
        optional double score;
    }";

    /// Two rows: a conversation of two messages, and one without an answer whose score is none.
    fn file(compression: Compression) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut file = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = |texts: &[&str]| -> Vec<ByteArray> { texts.iter().map(|text| (*text).into()).collect() };
        let in_lists = [(texts(&["user", "assistant", "user"]), [4, 4, 4]), (texts(&["Ask?", "Yes, é."]), [4, 4, 3])];
        let mut column = group.next_column().unwrap().unwrap();
        let prompts = texts(&["Ask?", "Say?"]);
        column.typed::<ByteArrayType>().write_batch(&prompts, None, None).unwrap();
        column.close().unwrap();
        for (values, defined) in in_lists {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&defined), Some(&[0, 1, 0])).unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[f64::NAN], Some(&[0, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file
    }

    /// The rows of a file of these bytes, and what is wrong with it.
    fn read(bytes: &[u8]) -> Result<Vec<Value>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        let mut reader = ParquetReader::new(&path, file).map_err(|error| error.to_string())?;
        let records = std::iter::from_fn(|| reader.next_record());
        let fields = records.map(|record| Ok(record.map_err(|error| error.to_string())?.fields.into()));
        fields.collect()
    }

    #[test]
    fn nested_columns_of_every_compression() {
        let expected = [
            json!({ "prompt": "Ask?", "chosen": [
                { "role": "user", "content": "Ask?" }, { "role": "assistant", "content": "Yes, é." },
            ], "score": null }),
            json!({ "prompt": "Say?", "chosen": [{ "role": "user", "content": null }], "score": null }),
        ];
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            assert_eq!(read(&file(compression)).unwrap(), expected, "{compression}");
        }
    }

    #[test]
    fn a_compression_that_is_not_read_is_named() {
        let mut file = file(Compression::SNAPPY);
        // The codec of a column is a small number in its metadata, behind the rows: 1 is snappy, 4 brotli, 7 lz4.
        let metadata = file.len()
            - 8
            - usize::try_from(u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap())).unwrap();
        for (codec, name) in [(4, "brotli"), (7, "lz4")] {
            let mut found = Vec::new();
            for at in metadata..file.len() - 8 {
                let before = std::mem::replace(&mut file[at], codec * 2);
                if before == 2
                    && let Err(error) = read(&file)
                    && error.contains("compressed by")
                {
                    found.push(error);
                }
                file[at] = before;
            }
            assert!(!found.is_empty() && found.iter().all(|error| error.contains(name)), "{found:?}");
        }
    }

    #[test]
    fn a_row_of_the_greatest_length_is_read_and_a_longer_one_is_not() {
        let field = |length: usize| Field::Str("x".repeat(length));
        let row = |field: &Field| bytes([(&"prompt".to_owned(), field)].into_iter());
        assert_eq!(row(&field(100)), 106);
        let list = Field::Group(Row::new(vec![("a".into(), field(9)), ("b".into(), Field::Null)]));
        assert_eq!(row(&list), 6 + 1 + 9 + 1 + size_of::<Value>());
    }

    #[test]
    fn a_damaged_file_is_an_error_not_a_crash() {
        let whole = file(Compression::SNAPPY);
        assert!(read(&whole[..whole.len() - 9]).is_err());
        for at in 4..whole.len() {
            for bit in [0x01, 0x80] {
                let mut damaged = whole.clone();
                damaged[at] ^= bit;
                _ = read(&damaged);
            }
        }
    }
}
