//! Bytes of records and checkpoints: big-endian integers, length-prefixed strings.
//!
//! Invariant: a [`Reader`] never reads past its input and never allocates by a length that the
//! input can't hold, so a corrupt record is an error and not a crash.

/// Stored bytes that do not have the layout they should have.
///
/// Names the problem only: the caller knows the file or key, and names it in its own error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DecodeError {
    /// What is wrong, such as `"4 bytes missing at 17"`.
    pub reason: String,
}

impl DecodeError {
    /// An error for `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Appends fields to a record. Integers are big-endian, so that unsigned keys sort.
pub trait Writer {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    /// Two bytes, two's complement.
    fn put_i16(&mut self, value: i16);
    fn put_u32(&mut self, value: u32);
    /// Four bytes, two's complement (negative values sort after positive ones).
    fn put_i32(&mut self, value: i32);
    fn put_u64(&mut self, value: u64);
    /// Eight bytes, two's complement (negative values sort after positive ones).
    fn put_i64(&mut self, value: i64);
    /// One byte, 0 or 1.
    fn put_bool(&mut self, value: bool);
    /// Four bytes of length, then the bytes.
    fn put_bytes(&mut self, value: &[u8]);
    /// As [`Writer::put_bytes`], UTF-8.
    fn put_str(&mut self, value: &str);
    /// A presence byte (0 or 1), then the string if there is one.
    fn put_opt_str(&mut self, value: Option<&str>);
    /// A presence byte (0 or 1), then the number if there is one.
    fn put_opt_i64(&mut self, value: Option<i64>);
}

impl Writer for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_bool(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    fn put_bytes(&mut self, value: &[u8]) {
        // Nothing that is stored comes near 4 GiB: a request frame is capped far below.
        assert!(
            value.len() <= u32::MAX as usize,
            "a field of more than 4 GiB"
        );
        self.put_u32(value.len() as u32);
        self.extend_from_slice(value);
    }

    fn put_str(&mut self, value: &str) {
        self.put_bytes(value.as_bytes());
    }

    fn put_opt_str(&mut self, value: Option<&str>) {
        self.put_bool(value.is_some());
        if let Some(value) = value {
            self.put_str(value);
        }
    }

    fn put_opt_i64(&mut self, value: Option<i64>) {
        self.put_bool(value.is_some());
        if let Some(value) = value {
            self.put_i64(value);
        }
    }
}

/// Reads what [`Writer`] wrote. Every method fails with [`DecodeError`] when bytes are missing.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `len` bytes, without a length in front.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.position..];
        let Some(taken) = rest.get(..len) else {
            let missing = len - rest.len();
            return Err(DecodeError::new(format!(
                "{missing} bytes missing at {}",
                self.position
            )));
        };
        self.position += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Two bytes, two's complement.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Four bytes, two's complement.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// One byte that must be 0 or 1.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::new(format!("{other} is neither 0 nor 1"))),
        }
    }

    /// Four bytes of length, then the bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    /// As [`Reader::bytes`], UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.position;
        std::str::from_utf8(self.bytes()?)
            .map_err(|error| DecodeError::new(format!("string at {at}: {error}")))
    }

    /// What [`Writer::put_opt_str`] wrote.
    pub fn opt_str(&mut self) -> Result<Option<&'a str>, DecodeError> {
        if self.bool()? {
            self.str().map(Some)
        } else {
            Ok(None)
        }
    }

    /// What [`Writer::put_opt_i64`] wrote.
    pub fn opt_i64(&mut self) -> Result<Option<i64>, DecodeError> {
        if self.bool()? {
            self.i64().map(Some)
        } else {
            Ok(None)
        }
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    /// A leading version byte; fails when it is not within `1..=newest`.
    pub fn version(&mut self, newest: u8) -> Result<u8, DecodeError> {
        let version = self.u8()?;
        if (1..=newest).contains(&version) {
            return Ok(version);
        }
        Err(DecodeError::new(format!(
            "record version {version}, known are 1 to {newest}"
        )))
    }

    /// Ends the reading; fails when bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.position {
            0 => Ok(()),
            left => Err(DecodeError::new(format!("{left} bytes too many"))),
        }
    }
}

/// Bytes of a key for an error message: printable ASCII as it is, the rest escaped, cut at 200.
pub fn printable(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 200;
    let shown = &key[..key.len().min(SHOWN_BYTES)];
    let more = if key.len() > SHOWN_BYTES { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field_reads_back() {
        let mut out = Vec::new();
        out.put_u8(1);
        out.put_u16(0xfffe);
        out.put_i16(-2);
        out.put_u32(3);
        out.put_i32(-3);
        out.put_u64(u64::MAX);
        out.put_i64(i64::MIN);
        out.put_bool(true);
        out.put_bytes(b"\xff\0");
        out.put_str("grün");
        out.put_opt_str(None);
        out.put_opt_str(Some(""));
        out.put_opt_i64(Some(-1));
        out.extend_from_slice(b"tail");

        let mut reader = Reader::new(&out);
        assert_eq!(reader.version(1).unwrap(), 1);
        assert_eq!(reader.u16().unwrap(), 0xfffe);
        assert_eq!(reader.i16().unwrap(), -2);
        assert_eq!(reader.u32().unwrap(), 3);
        assert_eq!(reader.i32().unwrap(), -3);
        assert_eq!(reader.u64().unwrap(), u64::MAX);
        assert_eq!(reader.i64().unwrap(), i64::MIN);
        assert!(reader.bool().unwrap());
        assert_eq!(reader.bytes().unwrap(), b"\xff\0");
        assert_eq!(reader.str().unwrap(), "grün");
        assert_eq!(reader.opt_str().unwrap(), None);
        assert_eq!(reader.opt_str().unwrap(), Some(""));
        assert_eq!(reader.opt_i64().unwrap(), Some(-1));
        assert_eq!(reader.rest(), b"tail");
        reader.finish().unwrap();
    }

    #[test]
    fn a_lying_length_is_an_error() {
        let mut out = Vec::new();
        out.put_u32(u32::MAX);
        assert!(Reader::new(&out).bytes().is_err());
    }

    #[test]
    fn bad_booleans_versions_strings_and_leftovers_are_errors() {
        assert!(Reader::new(&[2]).bool().is_err());
        assert!(Reader::new(&[0]).version(3).is_err());
        assert!(Reader::new(&[4]).version(3).is_err());
        assert!(Reader::new(&[0, 0, 0, 1, 0xff]).str().is_err());
        assert!(Reader::new(&[1]).finish().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.opt_str().is_ok() && reader.u16().is_ok() && reader.bytes().is_ok() {}
            let _ = reader.rest();
            reader.finish().unwrap();
        }
    }
}
