//! The notation of message fields, and its translation into what the walk executes.
//!
//! A description is a sequence of fields `[versions] name[@tag]:type`, in the order of the wire:
//!
//! - versions: `3..` from 3 on, `..12` up to 12, `3..5`; none means all the message has;
//! - tag: the field is a tagged field (KIP-482) of its struct;
//! - type: `bool i8 i16 i32 i64 f64 uuid str bytes`, an array `[type]` or `[ fields ]`, a struct
//!   `{ fields }`; a leading `n` means nullable, `n7` nullable from version 7 on.
//!
//! From `flexible_from` on, lengths are compact varints and each struct ends with tagged fields.
//! Spaces and line ends separate.

use std::ops::RangeInclusive;
use std::str::SplitWhitespace;

/// The fields of a request or response.
pub(super) struct Description {
    pub api_key: i16,
    /// Versions the description covers: those of the codec.
    pub versions: RangeInclusive<i16>,
    /// First version with compact lengths and tagged fields.
    pub flexible_from: Option<i16>,
    pub fields: &'static str,
}

/// How a length or count is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// i16, -1 = null.
    Short,
    /// i32, -1 = null.
    Int,
    /// Unsigned varint of length + 1, 0 = null.
    Compact,
}

impl Width {
    fn bytes(self) -> usize {
        match self {
            Width::Short => 2,
            Width::Int => 4,
            Width::Compact => 1,
        }
    }
}

/// One step of the walk. Adjacent fields of fixed size are one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// That many bytes.
    Fixed(usize),
    /// A string or bytes.
    Blob { length: Width, nullable: bool },
    /// A count and that many items.
    Array {
        count: Width,
        nullable: bool,
        item: Program,
    },
    /// i8 1 and a struct, or -1.
    Nullable(Program),
    /// Tagged fields, of which some are known.
    Tags(Vec<(u32, Program)>),
}

/// Steps in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub ops: Vec<Op>,
    /// Fewest bytes it can take.
    pub min_bytes: usize,
}

impl Program {
    fn push(&mut self, op: Op) {
        self.min_bytes += match &op {
            Op::Fixed(bytes) => *bytes,
            Op::Blob { length, .. } => length.bytes(),
            Op::Array { count, .. } => count.bytes(),
            Op::Nullable(_) | Op::Tags(_) => 1,
        };
        match (self.ops.last_mut(), op) {
            (Some(Op::Fixed(before)), Op::Fixed(bytes)) => *before += bytes,
            (_, op) => self.ops.push(op),
        }
    }

    fn append(&mut self, other: Program) {
        other.ops.into_iter().for_each(|op| self.push(op));
    }
}

/// Translates a description for one version; `None` when it breaks the notation, which a test
/// excludes.
pub(super) fn compile(description: &Description, version: i16) -> Option<Program> {
    let flexible = description
        .flexible_from
        .is_some_and(|from| version >= from);
    let mut parser = Parser {
        tokens: description.fields.split_whitespace(),
        version,
        flexible,
    };
    parser.fields("")
}

struct Parser {
    tokens: SplitWhitespace<'static>,
    version: i16,
    flexible: bool,
}

impl Parser {
    /// Fields up to the token `end`, or up to the last token if that is empty.
    fn fields(&mut self, end: &str) -> Option<Program> {
        let mut program = Program::default();
        let mut tags = Vec::new();
        loop {
            let token = match self.tokens.next() {
                Some(token) if token == end => break,
                Some(token) => token,
                None if end.is_empty() => break,
                None => return None,
            };
            let (present, token) = match token.contains(':') {
                true => (true, token),
                false => (in_range(token, self.version)?, self.tokens.next()?),
            };
            let (name, kind) = token.split_once(':')?;
            let field = self.field(kind)?;
            match name.split_once('@') {
                _ if !present => {}
                Some((_, tag)) if self.flexible => tags.push((tag.parse().ok()?, field)),
                Some(_) => return None,
                None => program.append(field),
            }
        }
        if self.flexible {
            program.push(Op::Tags(tags));
        }
        Some(program)
    }

    fn field(&mut self, kind: &str) -> Option<Program> {
        let (nullable, kind) = self.nullable(kind)?;
        let mut program = Program::default();
        if let Some(item) = kind.strip_prefix('[') {
            let item = match item.strip_suffix(']') {
                Some(item) => self.scalar(item, false)?,
                None => self.fields("]")?,
            };
            let count = if self.flexible {
                Width::Compact
            } else {
                Width::Int
            };
            program.push(Op::Array {
                count,
                nullable,
                item,
            });
        } else if kind == "{" {
            let body = self.fields("}")?;
            if nullable {
                program.push(Op::Nullable(body));
            } else {
                program.append(body);
            }
        } else {
            program = self.scalar(kind, nullable)?;
        }
        Some(program)
    }

    fn scalar(&self, kind: &str, nullable: bool) -> Option<Program> {
        let long = |width| if self.flexible { Width::Compact } else { width };
        let op = match kind {
            "bool" | "i8" => Op::Fixed(1),
            "i16" => Op::Fixed(2),
            "i32" => Op::Fixed(4),
            "i64" | "f64" => Op::Fixed(8),
            "uuid" => Op::Fixed(16),
            "str" => Op::Blob {
                length: long(Width::Short),
                nullable,
            },
            "bytes" => Op::Blob {
                length: long(Width::Int),
                nullable,
            },
            _ => return None,
        };
        let mut program = Program::default();
        program.push(op);
        Some(program)
    }

    /// Strips `n` or `n<version>`.
    fn nullable<'a>(&self, kind: &'a str) -> Option<(bool, &'a str)> {
        let Some(rest) = kind.strip_prefix('n') else {
            return Some((false, kind));
        };
        let kind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let from = &rest[..rest.len() - kind.len()];
        let from = if from.is_empty() {
            0
        } else {
            from.parse().ok()?
        };
        Some((self.version >= from, kind))
    }
}

fn in_range(versions: &str, version: i16) -> Option<bool> {
    let (from, to) = versions.split_once("..")?;
    let from = if from.is_empty() {
        0
    } else {
        from.parse().ok()?
    };
    let to = if to.is_empty() {
        i16::MAX
    } else {
        to.parse().ok()?
    };
    Some((from..=to).contains(&version))
}
