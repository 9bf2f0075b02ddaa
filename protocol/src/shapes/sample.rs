//! Bodies made from their descriptions, for tests: well-formed, or with one fault.

use super::parse::{Op, Program, Width};

/// SplitMix64.
pub(super) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> usize {
        (self.next() % bound) as usize
    }
}

/// What the writer does wrong, at the how-manieth place that allows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// A length or count that no body holds.
    Lie(usize),
    /// A null where there must be a value.
    Null(usize),
}

/// Writes well-formed bytes of a program, but for the fault.
pub(super) struct Writer {
    pub out: Vec<u8>,
    rng: Rng,
    fault: Fault,
    /// Places passed at which a lie, and at which a null, was possible.
    pub lies: usize,
    pub nulls: usize,
    /// How many copies of one item an array holds, by the array's depth; none: some items each.
    copies: &'static [usize],
    depth: usize,
    /// Texts to choose from; none: letters, and numbers without sense.
    words: &'static [&'static str],
}

impl Writer {
    pub fn new(seed: u64, fault: Fault, words: &'static [&'static str]) -> Self {
        Writer {
            out: Vec::new(),
            rng: Rng(seed),
            fault,
            lies: 0,
            nulls: 0,
            copies: &[],
            depth: 0,
            words,
        }
    }

    /// Copies of one item in arrays of each depth, one in those below; nothing is null that could be
    /// an array.
    pub fn with_copies(mut self, copies: &'static [usize]) -> Self {
        self.copies = copies;
        self
    }

    pub fn program(&mut self, program: &Program) {
        for op in &program.ops {
            match op {
                Op::Fixed(bytes) => self.number(*bytes),
                Op::Blob { length, .. } if self.rng.below(4) != 0 && !self.words.is_empty() => {
                    let word = self.words[self.rng.below(self.words.len() as u64)];
                    self.put(*length, word.len() as i64);
                    self.out.extend(word.as_bytes());
                }
                Op::Blob { length, nullable } => {
                    if let Some(bytes) = self.length(*length, *nullable, 9) {
                        let text = (0..bytes).map(|i| b'a' + (i % 26) as u8);
                        self.out.extend(text);
                    }
                }
                Op::Array { count, item, .. } if !self.copies.is_empty() => {
                    let copies = self.copies.get(self.depth).copied().unwrap_or(1);
                    self.put(*count, copies as i64);
                    let from = self.out.len();
                    self.depth += 1;
                    self.program(item);
                    self.depth -= 1;
                    let one = self.out[from..].to_vec();
                    self.out.extend(one.repeat(copies - 1));
                }
                Op::Array {
                    count,
                    nullable,
                    item,
                } => {
                    for _ in 0..self.length(*count, *nullable, 4).unwrap_or(0) {
                        self.program(item);
                    }
                }
                Op::Nullable(body) => match self.rng.below(2) {
                    0 => self.out.push(0xff),
                    _ => {
                        self.out.push(1);
                        self.program(body);
                    }
                },
                Op::Tags(known) => self.tags(known),
            }
        }
    }

    /// Some numbers, one after the other: with words to choose from, often such that mean something.
    fn number(&mut self, bytes: usize) {
        let fill = match self.rng.below(4) {
            _ if self.words.is_empty() => return self.noise(bytes),
            0 => return self.noise(bytes),
            1 => 0xff,
            _ => 0,
        };
        let last = if self.rng.below(2) == 0 { fill } else { 1 };
        self.out.extend(std::iter::repeat_n(fill, bytes - 1));
        self.out.push(last);
    }

    fn noise(&mut self, bytes: usize) {
        for _ in 0..bytes {
            let byte = self.rng.next() as u8;
            self.out.push(byte);
        }
    }

    fn length(&mut self, width: Width, nullable: bool, below: u64) -> Option<usize> {
        self.lies += 1;
        self.nulls += usize::from(!nullable);
        let length = self.rng.below(below);
        if !nullable && self.fault == Fault::Null(self.nulls - 1) {
            self.put(width, -1);
            return None;
        }
        if self.fault == Fault::Lie(self.lies - 1) {
            self.put(
                width,
                if width == Width::Short {
                    0x7fff
                } else {
                    0x7fff_fffe
                },
            );
        } else if nullable && self.rng.below(4) == 0 {
            self.put(width, -1);
            return None;
        } else {
            self.put(width, length as i64);
        }
        Some(length)
    }

    fn put(&mut self, width: Width, length: i64) {
        match width {
            Width::Short => self.out.extend((length as i16).to_be_bytes()),
            Width::Int => self.out.extend((length as i32).to_be_bytes()),
            Width::Compact => self.varint((length + 1) as u32),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn tags(&mut self, known: &[(u32, Program)]) {
        self.lies += 1;
        let chosen: Vec<_> = known.iter().filter(|_| self.rng.below(2) == 0).collect();
        let stranger = self.rng.below(4) == 0;
        if self.fault == Fault::Lie(self.lies - 1) {
            self.varint(0x7fff_ffff);
        } else {
            self.varint((chosen.len() + usize::from(stranger)) as u32);
        }
        for (tag, program) in chosen {
            self.varint(*tag);
            let outer = std::mem::take(&mut self.out);
            self.program(program);
            let content = std::mem::replace(&mut self.out, outer);
            self.varint(content.len() as u32);
            self.out.extend(content);
        }
        if stranger {
            // A small one that this struct does not have: the codec must not know it either.
            let foreign: Vec<_> = (0..9)
                .filter(|tag| known.iter().all(|(number, _)| number != tag))
                .collect();
            let place = self.rng.below(foreign.len() as u64);
            self.varint(foreign[place]);
            let bytes = self.rng.below(200);
            self.varint(bytes as u32);
            self.noise(bytes);
        }
    }
}
