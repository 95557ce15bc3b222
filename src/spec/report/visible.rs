//! Texts from outside, made safe to show: what a reader sees is what is there, and no text moves a terminal's cursor,
//! begins a line of its own or turns the direction of writing (docs/spec/11-verification.md).

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every control, line or paragraph separator and format character (Unicode Cc, Zl, Zp, Cf) written as
/// `\u{1b}`. Done twice it changes nothing more.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_invisible(character) {
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn is_invisible(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || is_format(character)
}

/// General category Cf.
fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_or_moves_the_cursor_is_written_out() {
        for (character, shown) in [
            ('\u{1b}', r"\u{1b}"),
            ('\r', r"\u{d}"),
            ('\n', r"\u{a}"),
            ('\u{7f}', r"\u{7f}"),
            ('\u{9b}', r"\u{9b}"),
            ('\u{200b}', r"\u{200b}"),
            ('\u{202e}', r"\u{202e}"),
            ('\u{2028}', r"\u{2028}"),
            ('\u{2066}', r"\u{2066}"),
            ('\u{feff}', r"\u{feff}"),
        ] {
            let once = visible(&format!("a{character}b")).into_owned();
            assert_eq!(once, format!("a{shown}b"));
            assert_eq!(visible(&once), once);
        }
        let plain = "Prüfung \"東京\" e\u{301} \\ 100 %";
        assert_eq!(visible(plain), plain);
    }
}
