//! The walk over a body.

use super::Problem;
use super::parse::{Op, Program, Width};

/// What is left of a body, and how many elements may still come.
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    elements_left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(body: &'a [u8], elements_max: usize) -> Self {
        Walk {
            rest: body,
            elements_left: elements_max,
        }
    }

    pub(super) fn elements_left(&self) -> usize {
        self.elements_left
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Recursion is as deep as the description, which no message can change.
    pub(super) fn program(&mut self, program: &Program) -> Result<(), Problem> {
        for op in &program.ops {
            match op {
                Op::Fixed(bytes) => self.skip(*bytes)?,
                Op::Blob { length, nullable } => match self.length(*length)? {
                    Some(bytes) => self.skip(bytes)?,
                    None => nullable.then_some(()).ok_or(Problem::Null)?,
                },
                Op::Array {
                    count,
                    nullable,
                    item,
                } => match self.length(*count)? {
                    Some(count) => self.items(count, item)?,
                    None => nullable.then_some(()).ok_or(Problem::Null)?,
                },
                // As in Kafka: negative is null. The codec takes whatever is not 1 for null.
                Op::Nullable(body) => match self.byte()? as i8 {
                    1 => self.program(body)?,
                    ..=-1 => {}
                    _ => return Err(Problem::Presence),
                },
                Op::Tags(known) => self.tags(known)?,
            }
        }
        Ok(())
    }

    fn items(&mut self, count: usize, item: &Program) -> Result<(), Problem> {
        let least = count
            .checked_mul(item.min_bytes.max(1))
            .ok_or(Problem::Cut)?;
        if least > self.rest.len() {
            return Err(Problem::Cut);
        }
        self.take_elements(count)?;
        if let [Op::Fixed(bytes)] = item.ops[..] {
            return self.skip(count * bytes);
        }
        for _ in 0..count {
            self.program(item)?;
        }
        Ok(())
    }

    /// Tagged fields: known ones are walked, since the codec decodes them, others skipped.
    pub(super) fn tags(&mut self, known: &[(u32, Program)]) -> Result<(), Problem> {
        let count = self.varint()? as usize;
        // Each takes a tag and a size.
        if count > self.rest.len() / 2 {
            return Err(Problem::Cut);
        }
        self.take_elements(count)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let Some((_, program)) = known.iter().find(|(number, _)| *number == tag) else {
                self.skip(size)?;
                continue;
            };
            let before = self.rest.len();
            self.program(program)?;
            if before - self.rest.len() != size {
                return Err(Problem::TagSize);
            }
        }
        Ok(())
    }

    fn take_elements(&mut self, count: usize) -> Result<(), Problem> {
        self.elements_left = self
            .elements_left
            .checked_sub(count)
            .ok_or(Problem::Elements)?;
        Ok(())
    }

    /// A length or count; `None` is null.
    fn length(&mut self, width: Width) -> Result<Option<usize>, Problem> {
        let length = match width {
            Width::Short => i32::from(i16::from_be_bytes(self.array()?)),
            Width::Int => i32::from_be_bytes(self.array()?),
            Width::Compact => return Ok((self.varint()? as usize).checked_sub(1)),
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Problem::NegativeLength),
        }
    }

    fn varint(&mut self) -> Result<u32, Problem> {
        let mut value = 0u32;
        for place in 0..5 {
            let byte = self.byte()?;
            if place == 4 && byte > 0x0f {
                return Err(Problem::Varint);
            }
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let (byte, rest) = self.rest.split_first().ok_or(Problem::Cut)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Problem::Cut)?;
        self.rest = rest;
        Ok(*array)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Problem> {
        self.rest = self.rest.get(bytes..).ok_or(Problem::Cut)?;
        Ok(())
    }
}
