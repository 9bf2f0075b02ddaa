//! One configuration name: type, default, check and doc. The broker and topic tables consist of
//! them.

/// The type of a value, as DescribeConfigs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits, signed.
    Int,
    /// 16 bits, signed.
    Short,
    /// 64 bits, signed.
    Long,
    /// A floating point number.
    Double,
    /// Comma-separated text.
    List,
    /// A Java class; nothing here loads one.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The code in DescribeConfigs responses (`DescribeConfigsResponse.ConfigType`).
    pub const fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }
}

/// What a value must satisfy in addition to its type.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Nothing.
    Any,
    /// A number, at least this.
    AtLeast(i64),
    /// A number in this range, ends included.
    Between(i64, i64),
    /// A ratio from 0 to 1.
    Ratio,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words.
    ListOf(&'static [&'static str]),
    /// Kafka takes more, Carrick only this; the text says why.
    Only(&'static str, &'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct ConfigDef {
    /// Kafka's name.
    pub name: &'static str,
    pub kind: Kind,
    /// Its default; `None` where Kafka has none.
    pub default: Option<&'static str>,
    /// What a value must satisfy.
    pub check: Check,
    /// What it does here, for DescribeConfigs and the manual.
    pub doc: &'static str,
}

/// A line of a table.
pub const fn def(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    check: Check,
    doc: &'static str,
) -> ConfigDef {
    ConfigDef {
        name,
        kind,
        default,
        check,
        doc,
    }
}

impl ConfigDef {
    /// Checks a value. Surrounding blanks are not part of it, as in Kafka.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let value = value.trim();
        match self.kind {
            Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => self.check_text(value),
                _ => Err("must be true or false".to_owned()),
            },
            Kind::Short => self.check_integer(value, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Int => self.check_integer(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Long => self.check_integer(value, i64::MIN, i64::MAX),
            Kind::Double => self.check_double(value),
            Kind::String | Kind::List | Kind::Class | Kind::Password => self.check_text(value),
        }
    }

    fn check_integer(&self, value: &str, min: i64, max: i64) -> Result<(), String> {
        let number: i64 = value
            .parse()
            .map_err(|_| "must be a whole number".to_owned())?;
        let (min, max) = match self.check {
            Check::AtLeast(least) => (least, max),
            Check::Between(least, most) => (least, most),
            _ => (min, max),
        };
        if number < min {
            return Err(format!("must be at least {min}"));
        }
        if number > max {
            return Err(format!("must be at most {max}"));
        }
        Ok(())
    }

    fn check_double(&self, value: &str) -> Result<(), String> {
        let number: f64 = value.parse().map_err(|_| "must be a number".to_owned())?;
        match self.check {
            Check::Ratio if !(0.0..=1.0).contains(&number) => {
                Err("must be between 0 and 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_text(&self, value: &str) -> Result<(), String> {
        match self.check {
            Check::OneOf(words) if !words.contains(&value) => {
                Err(format!("must be one of {}", words.join(", ")))
            }
            Check::ListOf(words) => match list(value).find(|word| !words.contains(word)) {
                Some(word) => Err(format!("'{word}' must be one of {}", words.join(", "))),
                None => Ok(()),
            },
            Check::Only(only, why) if value != only => {
                Err(format!("only '{only}' is supported: {why}"))
            }
            _ => Ok(()),
        }
    }
}

/// The words of a comma-separated list.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn def(kind: Kind, check: Check) -> ConfigDef {
        ConfigDef {
            name: "x",
            kind,
            default: None,
            check,
            doc: "",
        }
    }

    #[test]
    fn numbers_are_held_to_their_type_and_range() {
        let int = def(Kind::Int, Check::AtLeast(1));
        assert!(int.check(" 7 ").is_ok());
        assert_eq!(int.check("0").unwrap_err(), "must be at least 1");
        assert_eq!(
            int.check("2147483648").unwrap_err(),
            "must be at most 2147483647"
        );
        assert_eq!(int.check("seven").unwrap_err(), "must be a whole number");
        assert!(
            def(Kind::Long, Check::Any)
                .check("9223372036854775807")
                .is_ok()
        );
    }

    #[test]
    fn words_are_held_to_their_list() {
        let policy = def(Kind::List, Check::ListOf(&["compact", "delete"]));
        assert!(policy.check("compact, delete").is_ok());
        assert!(
            policy
                .check("compact,shred")
                .unwrap_err()
                .contains("'shred'")
        );
        let only = def(
            Kind::String,
            Check::Only("producer", "nothing is recompressed"),
        );
        assert!(
            only.check("zstd")
                .unwrap_err()
                .contains("nothing is recompressed")
        );
    }
}
