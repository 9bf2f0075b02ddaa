//! Reads decompressed records one by one, borrowing from the buffer (Kafka's `DefaultRecord`).
//!
//! A record: length varint · attributes i8 · timestamp delta varlong · offset delta varint · key
//! and value (varint length, -1 = null) · header count varint · headers (key: length ≥ 0, UTF-8 by
//! agreement; value: length, -1 = null). All varints are zigzag.

/// A record as stored in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub timestamp_delta_ms: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: RawHeaders<'a>,
}

/// The headers of a record, already checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawHeaders<'a> {
    pub count: usize,
    bytes: &'a [u8],
}

impl<'a> RawHeaders<'a> {
    /// The headers as encoded, without their count.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// One header: key and value.
pub(crate) type RawHeader<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> Iterator for RawHeaders<'a> {
    type Item = RawHeader<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        read_header(&mut self.bytes).ok()
    }
}

type Problem = &'static str;

/// Reads the record at the start of `bytes` and moves past it.
pub(crate) fn read_record<'a>(bytes: &mut &'a [u8]) -> Result<RawRecord<'a>, Problem> {
    let length = read_varint(bytes)?;
    let length = usize::try_from(length).map_err(|_| "negative length")?;
    if length > bytes.len() {
        return Err("longer than the batch");
    }
    let (mut body, rest) = bytes.split_at(length);
    let record = read_body(&mut body)?;
    if !body.is_empty() {
        return Err("bytes after the last header");
    }
    *bytes = rest;
    Ok(record)
}

fn read_body<'a>(body: &mut &'a [u8]) -> Result<RawRecord<'a>, Problem> {
    let (_attributes, rest) = body.split_first().ok_or("no attributes")?;
    *body = rest;
    let timestamp_delta_ms = read_varlong(body)?;
    let offset_delta = read_varint(body)?;
    let key = read_nullable(body)?;
    let value = read_nullable(body)?;
    let count = read_varint(body)?;
    let count = usize::try_from(count).map_err(|_| "negative header count")?;
    let headers = RawHeaders { count, bytes: body };
    for _ in 0..count {
        read_header(body)?;
    }
    Ok(RawRecord {
        timestamp_delta_ms,
        offset_delta,
        key,
        value,
        headers,
    })
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<RawHeader<'a>, Problem> {
    let key = read_nullable(bytes)?.ok_or("header without a key")?;
    Ok((key, read_nullable(bytes)?))
}

fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Problem> {
    let length = read_varint(bytes)?;
    if length < 0 {
        return Ok(None);
    }
    let (field, rest) = bytes
        .split_at_checked(length as usize)
        .ok_or("field longer than the record")?;
    *bytes = rest;
    Ok(Some(field))
}

/// A zigzag varint of at most 32 bits.
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Result<i32, Problem> {
    let raw = read_unsigned(bytes, 5)?;
    let raw = u32::try_from(raw).map_err(|_| "varint exceeds 32 bits")?;
    Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
}

/// A zigzag varint of at most 64 bits.
pub(crate) fn read_varlong(bytes: &mut &[u8]) -> Result<i64, Problem> {
    let raw = read_unsigned(bytes, 10)?;
    Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
}

fn read_unsigned(bytes: &mut &[u8], max_bytes: usize) -> Result<u64, Problem> {
    let mut value = 0u64;
    for place in 0..max_bytes {
        let (byte, rest) = bytes.split_first().ok_or("varint is cut")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("varint is too long")
}

/// Writes a zigzag varint.
pub(crate) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push((raw as u8 & 0x7f) | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip(long in any::<i64>(), short in any::<i32>()) {
            let mut out = Vec::new();
            write_varlong(&mut out, long);
            write_varlong(&mut out, i64::from(short));
            let mut rest = &out[..];
            prop_assert_eq!(read_varlong(&mut rest), Ok(long));
            prop_assert_eq!(read_varint(&mut rest), Ok(short));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_record(&mut &data[..]);
        }
    }
}
