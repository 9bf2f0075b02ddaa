//! Lists of names in messages: the first few, and how many more there are.

use std::fmt::{Display, Write};

/// Names that a message lists.
const NAMES_MAX: usize = 10;

/// `a, b and 3 more`.
pub fn some_of<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let mut names = names.into_iter();
    let mut text = String::new();
    for (number, name) in names.by_ref().take(NAMES_MAX).enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{name}");
    }
    match names.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_are_named_and_the_others_counted() {
        assert_eq!(some_of(["a"; 0]), "");
        assert_eq!(some_of(["a", "b"]), "a, b");
        assert_eq!(some_of(1..=10), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
        assert_eq!(some_of(1..=12), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }
}
